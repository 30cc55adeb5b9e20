package watcher

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/scan"
)

// attributes is what a directory's own changes come as: utimensat(2) that sets the time of modification alone is told as
// IN_MODIFY.
const attributes = unix.IN_ATTRIB | unix.IN_MODIFY

// handle turns one event into items and bookkeeping.
func (w *Watcher) handle(e event) error {
	if e.mask&unix.IN_Q_OVERFLOW != 0 {
		w.lost()
		return nil
	}
	n := w.wds[e.wd]
	if n == nil {
		w.unknown(e)
		return nil
	}
	if e.mask&unix.IN_IGNORED != 0 {
		return w.ignored(e.wd)
	}
	others := w.aliases[e.wd]
	if err := w.changed(n, e); err != nil {
		return err
	}
	for _, n := range others {
		if err := w.changed(n, e); err != nil {
			return err
		}
	}
	return nil
}

// lost is what an overflow means. The kernel does not say whose events it dropped.
func (w *Watcher) lost() {
	w.stats.Overflows++
	if w.repair.now == nil {
		w.config.Log.Warn("the kernel dropped events: the whole tree is scanned again",
			"fs.inotify.max_queued_events", sysctl("fs.inotify.max_queued_events"))
	}
	w.overflowed()
}

// changed handles an event of directory n, or of an entry in it.
func (w *Watcher) changed(n *node, e event) error {
	dir, ok := w.pathOf(n)
	if !ok {
		return nil // moved away or replaced: the item that said so covers it
	}
	if len(e.name) == 0 {
		return w.changedSelf(n, dir, e.mask)
	}
	isDir := e.mask&unix.IN_ISDIR != 0
	if n == w.root && e.mask&unix.IN_DELETE != 0 {
		w.checkRootBy(rootSoon)
	}
	if w.config.Skip != nil && w.config.Skip(dir, string(e.name), isDir) {
		return nil
	}
	if isDir {
		w.changedDir(n, dir, e)
	} else {
		w.changedFile(n, dir, e)
	}
	return nil
}

// changedSelf is for the directory itself. Its parent reports its attributes too, but not where it is a mount point.
func (w *Watcher) changedSelf(n *node, dir string, mask uint32) error {
	if n == w.root && mask&(unix.IN_MOVE_SELF|unix.IN_DELETE_SELF|unix.IN_UNMOUNT) != 0 {
		return w.rootGone("moved, removed or unmounted")
	}
	if mask&unix.IN_UNMOUNT != 0 {
		w.stats.Rescans++ // IN_IGNORED comes next
	}
	if mask&attributes != 0 {
		w.emit(queue.Item{Kind: queue.Path, Path: dir})
	}
	return nil
}

func (w *Watcher) rootGone(how string) error {
	return fmt.Errorf("watch %q: %w: it was %s", w.config.Path, scan.ErrRootChanged, how)
}

// changedDir is for a child directory.
func (w *Watcher) changedDir(n *node, dir string, e event) {
	c := n.children[string(e.name)]
	switch {
	case e.mask&unix.IN_CREATE != 0:
		// If it is watched already it was found by a listing, after it was made: had it been removed in between, that event
		// would have come first. The listing's group reports it. After an overflow nothing can be concluded.
		if c == nil || c.wd == 0 || w.repair.now != nil {
			w.fresh(n, string(e.name))
		}
	case e.mask&unix.IN_MOVED_TO != 0:
		w.fresh(n, string(e.name))
	case e.mask&unix.IN_MOVED_FROM != 0:
		w.emit(queue.Item{Kind: queue.Path, Path: scan.Join(dir, string(e.name))})
		// When two entries change places, the event that the other one has come is before the one that this one has gone.
		w.fresh(n, string(e.name))
	case e.mask&unix.IN_DELETE != 0:
		w.emit(queue.Item{Kind: queue.Path, Path: scan.Join(dir, string(e.name))})
		if c != nil {
			w.drop(c)
		}
	case e.mask&attributes != 0:
		w.emit(queue.Item{Kind: queue.Path, Path: scan.Join(dir, string(e.name))})
		if c != nil && w.failed[c] != nil {
			w.fresh(n, c.name) // perhaps we may read it now
		}
	}
}

// changedFile is for everything that is not a directory.
func (w *Watcher) changedFile(n *node, dir string, e event) {
	const atOnce = unix.IN_CLOSE_WRITE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO
	if e.mask&atOnce != 0 {
		delete(w.writing.files, fileKey{n, string(e.name)})
		w.emit(queue.Item{Kind: queue.Path, Path: scan.Join(dir, string(e.name))})
		return
	}
	if e.mask&unix.IN_ATTRIB != 0 {
		if w.writing.files[fileKey{n, string(e.name)}] == nil {
			w.emit(queue.Item{Kind: queue.Path, Path: scan.Join(dir, string(e.name))})
		}
		return // else it will be reported with its data
	}
	if e.mask&(unix.IN_CREATE|unix.IN_MODIFY) == 0 {
		return
	}
	if !w.writing.changed(n, e.name, time.Now(), w.caughtUp, e.mask&unix.IN_CREATE != 0) {
		w.emit(queue.Item{Kind: queue.Path, Path: scan.Join(dir, string(e.name))})
		return
	}
	w.wakeBy(w.writing.next())
}

// ignored handles the end of a watch that we did not end: the directory was removed or its file system unmounted. Of a
// removal the parent tells as well, before or after. What is in its place now, a directory that was below a mount for
// instance, is looked at in any case.
func (w *Watcher) ignored(wd int32) error {
	owners := append([]*node{w.wds[wd]}, w.aliases[wd]...)
	delete(w.wds, wd)
	delete(w.aliases, wd)
	for _, n := range owners {
		n.wd = 0
		switch {
		case n == w.root:
			return w.rootGone("removed or unmounted")
		case n.alive():
			w.fresh(n.parent, n.name)
		}
	}
	return nil
}

// unknown handles events of watches that belong to no directory.
func (w *Watcher) unknown(e event) {
	if c := w.cookies[e.wd]; c != nil && e.mask&unix.IN_IGNORED != 0 {
		delete(w.cookies, e.wd)
		w.cookieRead(c)
	}
}
