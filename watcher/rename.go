package watcher

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/scan"
)

const (
	// halfWait is how long the second half of a rename is waited for, in milliseconds, when it is not there with the first
	// one. The kernel queues them one right after the other; if there is none, the entry has left the tree.
	halfWait = 2

	// maxLooked bounds what is looked through to find out whether all is told of what was renamed.
	maxLooked = 1024
)

// readOtherHalf reads on if the last of the n bytes of events in buf are the first half of a rename. It returns how many
// bytes have come.
func (w *Watcher) readOtherHalf(buf []byte, n int) int {
	if w.config.Renamed == nil || len(buf)-n < readBuffer/2 || !endsInHalf(buf[:n]) {
		return 0
	}
	fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
	if ready, err := unix.Poll(fds, halfWait); err != nil || ready == 0 {
		return 0
	}
	more, err := unix.Read(w.fd, buf[n:])
	if err != nil {
		return 0 // the next read tells
	}
	return more
}

// endsInHalf reports whether the last event is the first half of a rename.
func endsInHalf(buf []byte) bool {
	var e event
	var err error
	for len(buf) > 0 && err == nil {
		e, buf, err = parseEvent(buf)
	}
	return err == nil && e.mask&unix.IN_MOVED_FROM != 0
}

// otherHalf returns the second half of the rename of which e is the first, if it is what comes next.
func (w *Watcher) otherHalf(e event, buf []byte) (to event, rest []byte, ok bool) {
	if w.config.Renamed == nil || e.mask&unix.IN_MOVED_FROM == 0 || len(buf) == 0 {
		return to, nil, false
	}
	to, rest, err := parseEvent(buf)
	return to, rest, err == nil && to.mask&unix.IN_MOVED_TO != 0 && to.cookie == e.cookie
}

// renamed handles both halves of a rename at once, if all is told of what was renamed. Otherwise it does nothing.
func (w *Watcher) renamed(from, to event, seen time.Time) bool {
	a, b := w.wds[from.wd], w.wds[to.wd]
	if a == nil || b == nil || len(w.aliases[from.wd])+len(w.aliases[to.wd]) > 0 || w.repair.now != nil {
		return false
	}
	fromDir, fromOk := w.pathOf(a)
	toDir, toOk := w.pathOf(b)
	isDir := from.mask&unix.IN_ISDIR != 0
	fromName, toName := string(from.name), string(to.name)
	if skip := w.config.Skip; !fromOk || !toOk ||
		skip != nil && (skip(fromDir, fromName, isDir) || skip(toDir, toName, isDir)) {
		return false
	}
	if isDir && !w.toldDir(a.children[fromName]) || !isDir && !w.toldFile(a, fromName) {
		return false
	}
	w.config.Renamed(queue.Rename{
		From: scan.Join(fromDir, fromName), To: scan.Join(toDir, toName), Dir: isDir, Since: w.caughtUp, Seen: seen,
	})
	if isDir {
		w.fresh(a, fromName) // as changedDir does
		w.fresh(b, toName)
	} else {
		delete(w.writing.files, fileKey{b, toName})
	}
	return true
}

// toldFile reports whether everything that happened to a file has been emitted: nothing of it is held back, and it is not
// in a directory that will be reported as a whole.
func (w *Watcher) toldFile(dir *node, name string) bool {
	return w.writing.files[fileKey{dir, name}] == nil && w.reported(dir, false)
}

// toldDir is toldFile for a directory and all that is below it.
func (w *Watcher) toldDir(c *node) bool {
	if c == nil || c.wd == 0 || !w.reported(c, true) || len(w.writing.files) > maxLooked || len(w.failed) > maxLooked {
		return false
	}
	for key := range w.writing.files {
		if key.dir.within(c) {
			return false
		}
	}
	for n := range w.failed {
		if n.within(c) {
			return false
		}
	}
	return true
}

// reported reports whether no group is open that n, or with below anything below it, will be reported with.
func (w *Watcher) reported(n *node, below bool) bool {
	looked := 0
	for g := w.groups.first; g != nil; g = g.next {
		if looked++; looked > maxLooked || n.within(g.root) || below && g.root.within(n) {
			return false
		}
	}
	return true
}

// within reports whether n is a, or below it.
func (n *node) within(a *node) bool {
	for ; n != nil; n = n.parent {
		if n == a {
			return true
		}
	}
	return false
}
