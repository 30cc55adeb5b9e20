package watcher

import (
	"sync"
	"time"

	"github.com/syncd/syncd/internal/queue"
)

// A group is the work of watching one directory and everything below it. What it found is reported once, when all of
// it is watched.
type group struct {
	root    *node
	initial bool // the start: nothing is reported, Ready is closed
	deep    bool // after an overflow: what is known already is looked at as well
	retry   bool // of a directory that could not be watched: reported if it can be now
	found   bool // root is a directory
	foreign bool // root is on another file system

	after      time.Time // what it is for happened later
	seq        uint64
	open       int // directories still to be looked at
	prev, next *group
}

// A task is one directory to look at.
type task struct {
	n *node
	g *group
}

// taskList is the stack of tasks: depth first, so that it stays as short as the tree allows.
type taskList struct {
	changed sync.Cond
	stack   []task
	open    int // on the stack or being worked on
	stopped bool
}

func (l *taskList) push(t task) {
	l.stack = append(l.stack, t)
	l.open++
	t.g.open++
	l.changed.Signal()
}

// pop waits for a task; false when stopped.
func (l *taskList) pop() (task, bool) {
	for len(l.stack) == 0 && !l.stopped {
		l.changed.Wait()
	}
	if l.stopped {
		return task{}, false
	}
	last := len(l.stack) - 1
	t := l.stack[last]
	l.stack[last] = task{}
	l.stack = l.stack[:last]
	if last == 0 && cap(l.stack) > 1024 {
		l.stack = nil
	}
	return t, true
}

func (l *taskList) stop() {
	l.stopped = true
	l.changed.Broadcast()
}

// groupList has the open groups in the order of their making, and who waits for them.
type groupList struct {
	first, last *group
	seq         uint64
	waiting     []groupWait // in order of upTo
}

// A groupWait waits for all groups up to a number.
type groupWait struct {
	upTo uint64
	done chan struct{}
}

func (l *groupList) add(g *group) {
	l.seq++
	g.seq = l.seq
	g.prev = l.last
	if l.last == nil {
		l.first = g
	} else {
		l.last.next = g
	}
	l.last = g
}

func (l *groupList) remove(g *group) {
	if g.prev == nil {
		l.first = g.next
	} else {
		g.prev.next = g.next
	}
	if g.next == nil {
		l.last = g.prev
	} else {
		g.next.prev = g.prev
	}
	g.prev, g.next = nil, nil
	l.release()
}

// wait closes done when all groups that are open now have ended.
func (l *groupList) wait(done chan struct{}) {
	l.waiting = append(l.waiting, groupWait{l.seq, done})
	l.release()
}

func (l *groupList) release() {
	for len(l.waiting) > 0 && (l.first == nil || l.first.seq > l.waiting[0].upTo) {
		close(l.waiting[0].done)
		l.waiting[0] = groupWait{}
		l.waiting = l.waiting[1:]
	}
}

// watchBelow starts a group at n.
func (w *Watcher) watchBelow(n *node, g *group) {
	g.after = w.caughtUp
	w.groups.add(g)
	w.tasks.push(task{n, g})
}

// finished ends a task, and its group with the last.
func (w *Watcher) finished(t task) {
	w.tasks.open--
	if t.g.open--; t.g.open > 0 {
		return
	}
	w.report(t.g)
	w.groups.remove(t.g)
	if t.g.deep {
		w.repaired()
	}
	if w.tasks.open == 0 {
		w.settled()
	}
}

// report emits what a group was for.
func (w *Watcher) report(g *group) {
	if w.counting {
		return // Run is about to fail
	}
	if g.initial {
		close(w.ready)
		return
	}
	path, ok := g.root.path()
	switch {
	case !ok || !g.found:
	case g.deep || g.retry:
		w.rescan(queue.Item{Kind: queue.Tree, Path: path})
	case g.foreign:
		w.emit(queue.Item{Kind: queue.Path, Path: path})
	default:
		w.emit(queue.Item{Kind: queue.Tree, Path: path})
	}
}

// settled is called whenever no directory is left to look at.
func (w *Watcher) settled() {
	if w.counting {
		w.cancel(w.limitReached())
	}
}

// repair makes sure, after an overflow, that what is watched is what is there. One walk goes on at a time.
type repair struct {
	now, after *group
}

// overflowed starts a walk, or notes that one more is needed. Whoever waits for open groups waits for that one as well.
func (w *Watcher) overflowed() {
	if w.repair.after != nil {
		return
	}
	g := &group{root: w.root, deep: true}
	if w.repair.now != nil {
		w.repair.after = g
		g.after = w.caughtUp
		w.groups.add(g)
		return
	}
	w.repair.now = g
	w.watchBelow(w.root, g)
}

func (w *Watcher) repaired() {
	w.repair.now, w.repair.after = w.repair.after, nil
	if g := w.repair.now; g != nil {
		w.tasks.push(task{g.root, g})
	}
}
