package watcher

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/scan"
)

const (
	// watchMask is what is asked of every directory. IN_MODIFY is there for what changes without a close: truncate(2), and
	// writers that never close. Opening and reading are not asked for: they would be most of the events of a busy server.
	watchMask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
		unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | unix.IN_ONLYDIR
	// rootMask is for the root, whose parent is not watched.
	rootMask = watchMask | unix.IN_MOVE_SELF | unix.IN_DELETE_SELF
	// addMask keeps a second watch on the root, through a bind mount, from narrowing the first.
	addMask = unix.IN_MASK_ADD

	maxWarned  = 10               // directories named in the log as not watched
	retryAfter = 30 * time.Second // until a directory that could not be watched is tried again
)

// errGone means that there is no directory of that name. If one comes, so will an event.
var errGone = errors.New("no directory any more")

// work looks at directories until the list is stopped.
func (w *Watcher) work() {
	for {
		w.mu.Lock()
		t, ok := w.tasks.pop()
		if !ok {
			w.mu.Unlock()
			return
		}
		path, alive := t.n.path()
		w.mu.Unlock()
		if alive {
			t = w.visit(t, path)
		}
		w.mu.Lock()
		w.finished(t)
		w.mu.Unlock()
	}
}

// visit watches one directory, then lists it: a directory that is made after the listing is announced by the watch, so
// that none is missed. It returns the task as it turned out.
func (w *Watcher) visit(t task, path string) task {
	dir, err := w.config.Root.OpenDir(path)
	if err != nil {
		w.notWatched(t, path, err)
		return t
	}
	// Until it is closed, the directory's inode cannot go, so IN_IGNORED comes after its watch has been noted.
	defer dir.Close()
	if w.config.OneFileSystem {
		if other, err := dir.OtherDevice(); err != nil || other {
			w.foreign(t)
			return t
		}
	}
	if w.isCounting() {
		w.countOnly(t, dir)
		return t
	}
	if t, err = w.watch(t, dir); err == nil {
		err = w.list(t, dir)
	}
	switch {
	case err == nil:
		w.isWatched(t)
	case errors.Is(err, unix.ENOSPC):
		w.startCounting()
		w.countOnly(t, dir)
	default:
		w.notWatched(t, path, err)
	}
	return t
}

// watch adds the kernel's watch of an open directory.
func (w *Watcher) watch(t task, dir *scan.Dir) (task, error) {
	mask := uint32(watchMask)
	if t.n == w.root {
		mask = rootMask
	}
	w.retiring.RLock()
	defer w.retiring.RUnlock()
	// By descriptor: no symlink, rename or long path can lead elsewhere than where the listing will be from.
	wd, err := unix.InotifyAddWatch(w.fd, "/proc/self/fd/"+strconv.Itoa(dir.Fd()), mask|addMask)
	if err != nil {
		return t, fmt.Errorf("inotify_add_watch: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.watched(t, int32(wd))
}

// watched notes the watch of a task's directory.
func (w *Watcher) watched(t task, wd int32) (task, error) {
	n := t.n
	if !n.alive() {
		if n.wd == 0 {
			w.own(wd, n)
			w.retire(n)
		}
		return t, errGone
	}
	if n.wd != 0 && n.wd != wd {
		// After an overflow: another directory has taken this one's place.
		w.drop(n)
		n, _ = n.parent.child(n.name)
		if t.g.root == t.n {
			t.g.root = n
		}
		t.n = n
	}
	w.own(wd, n)
	t.g.found = t.g.found || n == t.g.root
	return t, nil
}

// list finds the directories in a directory that is watched.
func (w *Watcher) list(t task, dir *scan.Dir) error {
	if t.g.deep {
		w.mu.Lock()
		for _, c := range t.n.children {
			w.tasks.push(task{c, t.g})
		}
		w.mu.Unlock()
	}
	return dir.Subdirs(w.config.Skip, func(names []string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !t.n.alive() {
			return
		}
		for _, name := range names {
			if c, made := t.n.child(name); made {
				w.tasks.push(task{c, t.g})
			}
		}
	})
}

// isWatched ends an earlier failure.
func (w *Watcher) isWatched(t task) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.failed, t.n)
}

// foreign drops a directory on another file system.
func (w *Watcher) foreign(t task) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !t.n.alive() {
		return
	}
	if t.g.root == t.n {
		t.g.foreign, t.g.found = true, true
	}
	// The node stays, without a watch: its parent's listing shall not find it again and again. An event on it looks anew.
}

// notWatched records why a directory is not watched or not listed.
func (w *Watcher) notWatched(t task, path string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, scan.ErrNotDir) || errors.Is(err, errGone) || !t.n.alive() {
		w.vanished(t, err)
		return
	}
	if t.g.root == t.n {
		t.g.found = !t.g.retry
	}
	if t.n == w.root {
		w.cancel(fmt.Errorf("watch the root: %w", err))
		return
	}
	_, before := w.failed[t.n]
	w.failed[t.n] = err
	w.wakeBy(time.Now().Add(retryAfter))
	if before {
		return
	}
	if w.warned++; w.warned <= maxWarned {
		w.config.Log.Warn("directory is not watched: its changes are only found by a rescan", "path", path, "err", err)
	}
	if w.warned == maxWarned {
		w.config.Log.Warn("further directories that are not watched are named by --status only")
	}
}

// vanished drops a directory that is not there.
func (w *Watcher) vanished(t task, err error) {
	if t.n == w.root {
		w.cancel(fmt.Errorf("watch the root: %w: %w", scan.ErrRootChanged, err))
		return
	}
	delete(w.failed, t.n)
	w.drop(t.n)
}

// retryFailed tries again to watch what could not be watched.
func (w *Watcher) retryFailed() {
	for n := range w.failed {
		if n.alive() {
			w.watchBelow(n, &group{root: n, retry: true})
		} else {
			delete(w.failed, n)
		}
	}
}
