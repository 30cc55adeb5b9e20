package watcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/internal/treetest"
)

// gate holds the reader, so that the kernel's queue fills.
type gate struct {
	mu sync.Mutex
}

func (g *gate) install(w *Watcher) {
	w.hooks.beforeRead = func() { g.mu.Lock(); defer g.mu.Unlock() }
}

// overflow makes the kernel drop events while change runs. The queue's limit holds for the whole test.
func (g *gate) overflow(w *watch, p place, change func()) {
	w.t.Helper()
	before := w.Stats().Overflows
	g.mu.Lock()
	p.write("wake", "") // the reader may be waiting inside of read: it takes this, then it is held
	p.write("fill0", "")
	p.write("fill1", "")
	for i := range 2 * sysctl("fs.inotify.max_queued_events") { // by turns: equal events in a row are one
		ok(w.t, os.Chmod(p.at(fmt.Sprint("fill", i%2)), 0o600))
	}
	change()
	g.mu.Unlock()
	w.eventually("overflow", func([]item) bool { return w.Stats().Overflows > before })
}

func TestOverflow(t *testing.T) {
	p := place{t, treetest.TempDir(t)}
	p.mkdir("gone/x", "moved/x", "replaced/x", "kept/x", "a/1", "b/2")
	var g gate
	w := begin(t, p.dir, g.install)
	before := snapshot(t, p.dir)
	g.overflow(w, p, func() {
		p.rm("gone")
		p.mv("moved", "new")
		p.mv("new/x", "kept/y")
		p.rm("replaced")
		p.mkdir("replaced/z", "fresh/deep/er")
		p.exchange("a", "b")
		p.write("kept/x/f", "")
	})
	w.sync()
	items := w.take()
	if missed := uncovered(before, snapshot(t, p.dir), items); missed != nil {
		t.Errorf("not covered: %q by %v", missed, names(items))
	}
	if !slices.Contains(names(items), "tree .") {
		t.Errorf("no rescan of everything: %q", names(items))
	}
	if s := w.Stats(); s.Overflows != 1 || s.Rescans != 1 || s.Pending != 0 {
		t.Errorf("%+v", s)
	}
	w.seesEverything(p.dir)
	w.leavesNothing()
}

// Each overflow during the repair of an earlier one needs another look, and Sync waits for it.
func TestOverflowAgain(t *testing.T) {
	p := place{t, treetest.TempDir(t)}
	for i := range 300 {
		p.mkdir(fmt.Sprintf("d/%d/%d", i%20, i))
	}
	var g gate
	w := begin(t, p.dir, g.install)
	before := snapshot(t, p.dir)
	for i := range 3 {
		g.overflow(w, p, func() {
			p.mkdir(fmt.Sprintf("d/%d/new%d/deep", i, i))
			p.mv(fmt.Sprintf("d/%d", i+3), fmt.Sprintf("moved%d", i))
		})
	}
	w.sync()
	items := w.take()
	if missed := uncovered(before, snapshot(t, p.dir), items); missed != nil {
		t.Errorf("not covered: %q", missed)
	}
	w.seesEverything(p.dir)

	rescans := w.Stats().Rescans
	w.Watcher.mu.Lock()
	for range 3 {
		w.lost()
	}
	w.Watcher.mu.Unlock()
	w.sync()
	if n := w.Stats().Rescans - rescans; n != 2 {
		t.Errorf("%d rescans for three overflows before the first was repaired, want 2", n)
	}
	w.leavesNothing()
}

func TestSyncSurvivesOverflow(t *testing.T) {
	p := place{t, treetest.TempDir(t)}
	var g gate
	w := begin(t, p.dir, g.install)
	done := make(chan error, 1)
	g.overflow(w, p, func() {
		go func() { done <- w.Sync(context.Background()) }() // its cookie finds the queue full
		w.eventually("cookie", func([]item) bool {
			w.Watcher.mu.Lock()
			defer w.Watcher.mu.Unlock()
			return len(w.cookies) > 0
		})
	})
	select {
	case err := <-done:
		ok(t, err)
	case <-time.After(patience):
		t.Fatal("Sync waits for ever")
	}
}

func TestRootGone(t *testing.T) {
	for name, do := range map[string]func(place){
		"moved":        func(p place) { p.mv("up/in", "up/out") },
		"removed":      func(p place) { p.rm("up/in") },
		"parent moved": func(p place) { p.mv("up", "down") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := place{t, t.TempDir()}
			p.mkdir("up/in/d")
			w := begin(t, p.at("up/in"))
			w.Watcher.mu.Lock()
			w.rootDue = time.Now().Add(time.Hour) // not by chance
			w.Watcher.mu.Unlock()
			do(p)
			if name == "parent moved" {
				w.Watcher.mu.Lock()
				w.checkRootBy(0) // the kernel tells nothing: do not wait for the next look
				w.Watcher.mu.Unlock()
			}
			if err := w.fails(); !errors.Is(err, scan.ErrRootChanged) {
				t.Errorf("Run: %v", err)
			}
			if err := w.Sync(context.Background()); err != ErrStopped {
				t.Errorf("Sync: %v", err)
			}
		})
	}
}

func TestRunEndsWithContext(t *testing.T) {
	w := newWatch(t, t.TempDir())
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() { w.ended <- w.Run(ctx, w.emitted) }()
	w.isReady()
	waiting, leave := context.WithCancelCause(context.Background())
	leave(why)
	if err := w.Sync(waiting); err != nil && err != why {
		t.Errorf("Sync with a context that has ended: %v", err)
	}
	cancel(why)
	if err := w.fails(); err != why {
		t.Errorf("Run: %v", err)
	}
	if err := w.Run(context.Background(), w.emitted); err == nil {
		t.Error("a second Run succeeds")
	}
}

func TestNewRefuses(t *testing.T) {
	root, err := scan.OpenRoot(t.TempDir())
	ok(t, err)
	defer root.Close()
	for _, c := range []Config{{}, {Root: root, MaxDelay: -1}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

func TestSkip(t *testing.T) {
	p := place{t, t.TempDir()}
	p.mkdir("a/skipped/x", "a/kept")
	w := begin(t, p.dir, func(w *Watcher) {
		w.config.Skip = func(dir, name string, isDir bool) bool { return name == "skipped" && isDir || name == "file" && !isDir }
	})
	p.write("a/skipped/f", "")
	p.write("a/file", "")
	p.write("a/kept/f", "")
	p.mkdir("b/skipped/x", "b/file")
	w.sync()
	p.write("b/skipped/x/f", "")
	p.write("b/file/f", "")
	w.sync()
	got := withoutNested(names(w.take()))
	if want := []string{"path a/kept/f", "path b/file/f", "tree b"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if n := w.Stats().Watches; n != 5 {
		t.Errorf("%d watches, want 5: ., a, a/kept, b, b/file", n)
	}
}

// inChild runs one test of this binary again as another process.
func inChild(t *testing.T, test string, attr *syscall.SysProcAttr, env ...string) {
	t.Helper()
	// Where the test binary lies, others may not be let in.
	dir, err := os.MkdirTemp("/tmp", "watcher")
	ok(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	ok(t, os.Chmod(dir, 0o777))
	exe, err := os.Open("/proc/self/exe")
	ok(t, err)
	defer exe.Close()
	copied, err := os.OpenFile(dir+"/test", os.O_WRONLY|os.O_CREATE, 0o755)
	ok(t, err)
	_, err = io.Copy(copied, exe)
	ok(t, errors.Join(err, copied.Close()))
	cmd := exec.Command(dir+"/test", "-test.run=^"+test+"$", "-test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), append(env, "TMPDIR="+dir, "WATCHER_CHILD="+test)...)
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS: "+test) {
		t.Errorf("as a child: %v\n%s", err, out)
	}
}

func TestUnreadableDirectory(t *testing.T) {
	if os.Geteuid() == 0 {
		const nobody = 65534
		inChild(t, "TestUnreadableDirectory", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}})
		return
	}
	p := place{t, t.TempDir()}
	p.mkdir("d/closed/x", "d/open", "later/x")
	ok(t, os.Chmod(p.at("d/closed"), 0))
	t.Cleanup(func() { os.Chmod(p.at("d/closed"), 0o755) })
	var log atomicText
	w := begin(t, p.dir, func(w *Watcher) { w.config.Log = log.logger() })
	if got := w.Stats().Unwatched; !slices.Equal(got, []string{"d/closed"}) {
		t.Fatalf("not watched: %q", got)
	}
	p.write("d/open/f", "")
	w.sync()
	w.Watcher.mu.Lock()
	w.retryFailed()
	w.Watcher.mu.Unlock()
	w.sync()
	if got := names(w.take()); !slices.Equal(got, []string{"path d/open/f"}) {
		t.Errorf("%q", got)
	}
	if n := strings.Count(log.String(), "path=d/closed"); n != 1 {
		t.Errorf("%d times in the log: %s", n, log.String())
	}

	ok(t, os.Chmod(p.at("d/closed"), 0o755))
	w.sync()
	if got := names(w.take()); !slices.Equal(got, []string{"path d/closed", "tree d/closed"}) {
		t.Errorf("readable again: %q", got)
	}
	p.write("d/closed/x/f", "")
	w.sync()
	if got := names(w.take()); !slices.Equal(got, []string{"path d/closed/x/f"}) {
		t.Errorf("watched again: %q", got)
	}
	if got := w.Stats().Unwatched; got != nil {
		t.Errorf("not watched: %q", got)
	}
}

func TestWatchLimit(t *testing.T) {
	if os.Getenv("WATCHER_CHILD") == "" {
		id := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		gid := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		inChild(t, "TestWatchLimit", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: id, GidMappings: gid})
		return
	}
	const limit, dirs = 50, 200
	ok(t, os.WriteFile("/proc/sys/user/max_inotify_watches", fmt.Append(nil, limit), 0))
	p := place{t, t.TempDir()}
	for i := range dirs - 1 {
		p.mkdir(fmt.Sprintf("%d", i))
	}
	for name, afterwards := range map[string]bool{"at the start": false, "later": true} {
		t.Run(name, func(t *testing.T) {
			p := place{t, t.TempDir()}
			makeDirs := func() {
				p.mkdir("d")
				for i := range dirs - 2 {
					p.mkdir(fmt.Sprintf("d/%d", i))
				}
			}
			if !afterwards {
				makeDirs()
			}
			w := newWatch(t, p.dir)
			w.start()
			if afterwards {
				w.isReady()
				makeDirs()
			}
			err := w.fails()
			var e *LimitError
			if !errors.As(err, &e) || !errors.Is(err, unix.ENOSPC) {
				t.Fatalf("Run: %v", err)
			}
			if e.Have != limit || e.Limit != limit || e.Sysctl != "user.max_inotify_watches" {
				t.Errorf("%+v", e)
			}
			if !afterwards && e.Needed != dirs {
				t.Errorf("%d needed, want %d", e.Needed, dirs)
			}
			if want := fmt.Sprintf("sysctl -w user.max_inotify_watches=%d", e.Value); !strings.Contains(err.Error(), want) || e.Value < e.Needed {
				t.Errorf("%v: no %q", err, want)
			}
		})
	}
}

func TestInstanceLimit(t *testing.T) {
	err := instanceError(unix.EMFILE)
	if !strings.Contains(err.Error(), "fs.inotify.max_user_instances") || !errors.Is(err, unix.EMFILE) {
		t.Error(err)
	}
}
