package watcher

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/internal/treetest"
)

type item = queue.Item

// atomicText is a log to look into while it is written.
type atomicText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (a *atomicText) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.text.Write(p)
}

func (a *atomicText) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.text.String()
}

func (a *atomicText) logger() *slog.Logger { return slog.New(slog.NewTextHandler(a, nil)) }

// patience is how long a test waits for what must happen.
const patience = time.Minute

// A watch is a Watcher at work, and what it emitted.
type watch struct {
	*Watcher
	t      *testing.T
	dir    string
	ended  chan error
	cancel context.CancelFunc

	mu    sync.Mutex
	items []queue.Item
}

func (w *watch) emitted(i queue.Item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.items = append(w.items, i)
}

// newWatch makes a Watcher of dir that is not started.
func newWatch(t *testing.T, dir string, configure ...func(*Watcher)) *watch {
	t.Helper()
	root, err := scan.OpenRoot(dir)
	ok(t, err)
	t.Cleanup(func() { root.Close() })
	inner, err := New(Config{Root: root, Path: dir})
	ok(t, err)
	for _, f := range configure {
		f(inner)
	}
	return &watch{Watcher: inner, t: t, dir: dir, ended: make(chan error, 1)}
}

func (w *watch) start() {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go func() { w.ended <- w.Run(ctx, w.emitted) }()
	w.t.Cleanup(func() {
		cancel()
		<-w.Watcher.ended
	})
}

// begin watches dir and waits until it is ready.
func begin(t *testing.T, dir string, configure ...func(*Watcher)) *watch {
	t.Helper()
	w := newWatch(t, dir, configure...)
	w.start()
	w.isReady()
	return w
}

func (w *watch) isReady() {
	w.t.Helper()
	select {
	case <-w.Ready():
	case err := <-w.ended:
		w.t.Fatalf("Run ended: %v", err)
	case <-time.After(patience):
		w.t.Fatalf("not ready: %+v", w.Stats())
	}
}

func (w *watch) sync() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.Sync(ctx); err != nil {
		select {
		case end := <-w.ended:
			w.t.Fatalf("Run ended: %v", end)
		default:
		}
		w.t.Fatalf("Sync: %v, %+v", err, w.Stats())
	}
}

// take returns what was emitted since the last time.
func (w *watch) take() []queue.Item {
	w.mu.Lock()
	defer w.mu.Unlock()
	items := w.items
	w.items = nil
	return items
}

// retireNow removes all watches that nobody needs, without waiting for their time.
func (w *watch) retireNow() {
	for {
		w.Watcher.mu.Lock()
		for i := range w.retired.waiting {
			w.retired.waiting[i].when = time.Time{}.Add(1)
		}
		w.retired.again = time.Time{}.Add(1)
		left := len(w.retired.waiting) + len(w.retired.now)
		w.Watcher.mu.Unlock()
		if left == 0 {
			return
		}
		w.removeWatches()
	}
}

// fails waits for Run to end with an error.
func (w *watch) fails() error {
	w.t.Helper()
	select {
	case err := <-w.ended:
		return err
	case <-time.After(patience):
		w.t.Fatalf("Run goes on: %+v", w.Stats())
		return nil
	}
}

// names turns items into "path a", "tree b", each once, in order.
func names(items []queue.Item) []string {
	var all []string
	for _, i := range items {
		all = append(all, strings.ToLower(i.Kind.String())+" "+i.Path)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// snapshot is all of a tree but what items do not speak of: a directory's time follows from its children.
func snapshot(t *testing.T, dir string) treetest.Tree {
	t.Helper()
	return treetest.Snapshot(t, dir, treetest.Options{})
}

// uncovered returns the paths that differ and that no item covers. A Path that is gone covers all that was below it.
func uncovered(before, after treetest.Tree, items []queue.Item) (missed []string) {
	covered := coverage(after, items)
	inode := map[string]bool{} // names whose inode was reported by another name: inotify cannot know of them
	for _, tree := range []treetest.Tree{before, after} {
		for p, n := range tree {
			if n.Link != "" && covered(p) {
				inode[n.Link] = true
			}
		}
	}
	touched := map[string]bool{} // directories in which something was reported
	for _, i := range items {
		touched[path.Dir(i.Path)] = true
	}
	for _, p := range changedPaths(before, after) {
		a, b := before[p], after[p]
		if a.Mode&unix.S_IFMT == unix.S_IFDIR && b.Mode&unix.S_IFMT == unix.S_IFDIR && touched[p] {
			a.Mtime, a.Nsec = b.Mtime, b.Nsec
		}
		a.Link, b.Link = "", "" // follows from the other names
		if a != b && !covered(p) && !inode[after[p].Link] && !inode[before[p].Link] {
			missed = append(missed, p)
		}
	}
	return missed
}

func changedPaths(before, after treetest.Tree) (paths []string) {
	for p, n := range before {
		if after[p] != n {
			paths = append(paths, p)
		}
	}
	for p := range after {
		if _, was := before[p]; !was {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return paths
}

func coverage(after treetest.Tree, items []queue.Item) func(string) bool {
	set := map[queue.Item]bool{}
	for _, i := range items {
		set[i] = true
	}
	return func(p string) bool {
		if set[queue.Item{Kind: queue.Path, Path: p}] || set[queue.Item{Kind: queue.Dir, Path: p}] ||
			set[queue.Item{Kind: queue.Dir, Path: path.Dir(p)}] {
			return true
		}
		for d := p; ; d = path.Dir(d) {
			_, there := after[d]
			if set[queue.Item{Kind: queue.Tree, Path: d}] || !there && set[queue.Item{Kind: queue.Path, Path: d}] {
				return true
			}
			// A directory that gave way to something else takes what was below it along.
			if d != p && set[queue.Item{Kind: queue.Path, Path: d}] && after[d].Mode&unix.S_IFMT != unix.S_IFDIR {
				return true
			}
			if d == "." {
				return false
			}
		}
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// needRoot skips what only root can do; in CI it must not be missing.
// A place runs file system operations with paths relative to a directory.
type place struct {
	t   testing.TB
	dir string
}

func (p place) at(name string) string { return filepath.Join(p.dir, name) }

func (p place) mkdir(names ...string) {
	p.t.Helper()
	for _, name := range names {
		ok(p.t, os.MkdirAll(p.at(name), 0o755))
	}
}

func (p place) write(name, content string) {
	p.t.Helper()
	ok(p.t, os.WriteFile(p.at(name), []byte(content), 0o644))
}

func (p place) mv(from, to string) {
	p.t.Helper()
	ok(p.t, unix.Rename(p.at(from), p.at(to)))
}

func (p place) exchange(a, b string) {
	p.t.Helper()
	ok(p.t, unix.Renameat2(unix.AT_FDCWD, p.at(a), unix.AT_FDCWD, p.at(b), unix.RENAME_EXCHANGE))
}

func (p place) rm(name string) {
	p.t.Helper()
	ok(p.t, os.RemoveAll(p.at(name)))
}

func (p place) open(name string) *os.File {
	p.t.Helper()
	f, err := os.OpenFile(p.at(name), os.O_RDWR|os.O_CREATE, 0o644)
	ok(p.t, err)
	p.t.Cleanup(func() { f.Close() })
	return f
}

// bind mounts from on to, until the test ends.
func (p place) bind(from, to string) {
	p.t.Helper()
	need.Root(p.t.(*testing.T))
	ok(p.t, unix.Mount(p.at(from), p.at(to), "", unix.MS_BIND, ""))
	p.t.Cleanup(func() {
		if err := unix.Unmount(p.at(to), unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			p.t.Error(err)
		}
	})
}
