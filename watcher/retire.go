package watcher

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// retireAfter is how long the watches of a directory that was dropped are kept: if it was only renamed, it is found
	// with them at its new place.
	retireAfter = 2 * time.Second

	// Each removal puts an IN_IGNORED into the kernel's queue. They are spaced so that they cannot fill it.
	retireAtOnce = 256
	retirePause  = 10 * time.Millisecond
)

// retired has the directories that were dropped and whose watches may still be in the kernel.
type retired struct {
	waiting []retiredNode // in order of time
	now     []*node       // to be looked at, those below them included
	again   time.Time
}

type retiredNode struct {
	n    *node
	when time.Time
}

// retire has the watches of n, and of everything below it, removed after a while.
func (w *Watcher) retire(n *node) {
	when := time.Now().Add(retireAfter)
	w.retired.waiting = append(w.retired.waiting, retiredNode{n, when})
	w.wakeBy(when)
}

// next returns when there is something to do; the zero time if there is nothing.
func (r *retired) next() time.Time {
	switch {
	case len(r.now) > 0:
		return r.again
	case len(r.waiting) > 0:
		return r.waiting[0].when
	}
	return time.Time{}
}

// removeWatches removes some of the watches that nobody needs any more.
func (w *Watcher) removeWatches() {
	w.mu.Lock()
	due := w.retired.next()
	w.mu.Unlock()
	now := time.Now()
	if due.IsZero() || due.After(now) {
		return
	}
	w.retiring.Lock()
	defer w.retiring.Unlock()
	for _, wd := range w.unneeded(now) {
		// It fails when the directory has been removed, and its watch with it.
		_, _ = unix.InotifyRmWatch(w.fd, uint32(wd))
	}
}

// unneeded takes up to retireAtOnce watches off the books.
func (w *Watcher) unneeded(now time.Time) (wds []int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &w.retired
	for len(r.waiting) > 0 && !r.waiting[0].when.After(now) {
		r.now = append(r.now, r.waiting[0].n)
		r.waiting[0] = retiredNode{}
		r.waiting = r.waiting[1:]
	}
	for looked := 0; len(r.now) > 0 && looked < 16*retireAtOnce && len(wds) < retireAtOnce; looked++ {
		last := len(r.now) - 1
		n := r.now[last]
		r.now[last] = nil
		r.now = r.now[:last]
		for _, c := range n.children {
			r.now = append(r.now, c)
		}
		n.children = nil
		delete(w.failed, n)
		if n.wd != 0 && w.disown(n) {
			wds = append(wds, n.wd)
		}
		n.wd = 0
	}
	if len(r.now) == 0 {
		r.now = nil
	}
	r.again = now.Add(retirePause)
	return wds
}
