package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/control"
	"github.com/syncd/syncd/internal/cutover"
	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
	"github.com/syncd/syncd/systemd/notify"
	"github.com/syncd/syncd/transfer"
	"github.com/syncd/syncd/watcher"
)

// byPasses has a service find changes by passes, one soon after the other.
func byPasses(c *Config) { c.Watch, c.ScanInterval = watcher.Scan, 50*time.Millisecond }

// isInSync waits until the service says that everything up to now is at the destination.
func isInSync(t *testing.T, socket string) control.Status {
	t.Helper()
	var st control.Status
	now := time.Now()
	waitFor(t, "everything up to now is there", func() bool {
		st = *ask(t, socket, control.Request{Do: control.DoStatus}).Status
		return st.InSyncUpTo.After(now)
	})
	return st
}

// Once the service says that all that changed before a moment has arrived, it has. Nothing but passes tells it. A
// destination that is far away shows each step that would be taken for the last one too early.
func TestPassesFindChanges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ catalogue, far bool }{
		"with a catalogue": {catalogue: true}, "without": {},
		"without, far away": {far: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, state := t.TempDir(), ""
			if c.catalogue {
				state = t.TempDir()
			}
			faults := rsynctest.Faults{}
			if c.far {
				faults.Delay = 25 * time.Millisecond
			}
			for i := range 200 {
				treetest.Write(t, src, treetest.File(fmt.Sprintf("d%d/f%d", i%20, i), "first"))
			}
			s := rsynctest.Daemon(t, rsynctest.Config{})
			dst := filepath.Join(s.Dir("m"), "dest")
			relay := rsynctest.Proxy(t, s.Addr(), faults)
			log := &lines{}
			socket, _ := start(t, src, relay.URL("m/dest"), byPasses, func(c *Config) {
				c.StateDir, c.Log = state, notify.Logger(log, level())
			})
			waitFor(t, "the socket is there", func() bool { return answers(socket) })
			for round := range 4 {
				st := isInSync(t, socket)
				if diff := treetest.Diff(treetest.Snapshot(t, src, plain), treetest.Snapshot(t, dst, plain)); diff != "" {
					t.Fatalf("round %d: %s", round, diff)
				}
				if st.Watch.Mode != "scan" || st.Watch.Reason != "--watch=scan says so" || st.Watch.Interval != 0.05 {
					t.Errorf("status: %+v", st.Watch)
				}
				treetest.Write(t, src, treetest.File(fmt.Sprintf("d3/f%d", round), "other"), treetest.File(fmt.Sprintf("new%d/a", round), "x"))
				for _, gone := range []string{fmt.Sprintf("d4/f%d", 20*round+4), fmt.Sprintf("d%d", 10+round)} {
					if err := os.RemoveAll(filepath.Join(src, gone)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if n := len(log.with("CHANGES ARE NOT WATCHED")); n != 1 {
				t.Errorf("it is logged %d times that nothing is watched", n)
			}
		})
	}
}

// With a catalogue a pass that finds nothing asks the destination for nothing.
func TestPassOfNothingIsCheap(t *testing.T) {
	t.Parallel()
	f := followTree(t, rsynctest.Config{}, func(f *followed) {
		for i := range 300 {
			treetest.Write(t, f.src, treetest.File(fmt.Sprintf("d%d/f%d", i%20, i), "content"))
		}
	}, byPasses, func(c *Config) { c.StateDir = t.TempDir() })
	quiet := func() int64 {
		before, _ := f.relay.Bytes()
		isInSync(t, f.socket)
		isInSync(t, f.socket)
		after, _ := f.relay.Bytes()
		return after - before
	}
	// Until what was just written is old enough to be believed, it is compared again.
	waitFor(t, "two passes send nothing but what keeps connections alive", func() bool { return quiet() < 500 })
}

// Passes are held back while the source is frozen, and the report says that nobody would have noticed a write.
func TestCutoverByPasses(t *testing.T) {
	t.Parallel()
	a, socket, dst, _ := following(t, byPasses)
	p := a.plan()
	p.Verify = cutover.All
	p.GoHook = "false"
	r := cutOver(t, socket, p)
	if r.Outcome != cutover.Aborted || !strings.Contains(r.Reason, "go hook") {
		t.Fatalf("%s: %s", r.Outcome, r.Reason)
	}
	const why = "--watch=scan says so"
	if r.Writes == nil || r.Writes.Unseen != why || r.Writes.Total != 0 || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], why) {
		t.Errorf("writes %+v, warnings %q", r.Writes, r.Warnings)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "written   NOT KNOWN after the freeze: "+why) {
		t.Errorf("%v\n%s", err, &text)
	}
	before := isInSync(t, socket) // passes go on
	p.GoHook = ":"
	if r = cutOver(t, socket, p); r.Outcome != cutover.Succeeded {
		t.Fatalf("%s: %s", r.Outcome, r.Reason)
	}
	if before.Watch.Mode != "scan" {
		t.Errorf("%+v", before.Watch)
	}
	if diff := treetest.Diff(treetest.Snapshot(t, a.dir, plain), treetest.Snapshot(t, dst, plain)); diff != "" {
		t.Error(diff)
	}
}

func TestGate(t *testing.T) {
	t.Parallel()
	var g gate
	passes := func() bool {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		return g.wait(ctx) == nil
	}
	if !passes() {
		t.Error("a new gate is shut")
	}
	g.shut(true)
	g.shut(true)
	if passes() {
		t.Error("one passes a shut gate")
	}
	done := make(chan error)
	go func() { done <- g.wait(t.Context()) }()
	g.shut(false)
	if err := <-done; err != nil || !passes() {
		t.Error("the gate stays shut", err)
	}
	g.shut(false)
}

// The limit of watches is one's own in a user namespace.
func TestTooFewWatches(t *testing.T) {
	t.Parallel()
	if os.Getenv("DAEMON_CHILD") == "" {
		inUserNamespace(t, "TestTooFewWatches")
		return
	}
	const limit, dirs = 20, 60
	setLimit := func(n int) {
		t.Helper()
		if err := os.WriteFile("/proc/sys/user/max_inotify_watches", fmt.Append(nil, n), 0); err != nil {
			t.Fatal(err)
		}
	}
	mkdirs := func(dir string) {
		t.Helper()
		for i := range dirs {
			if err := os.MkdirAll(filepath.Join(dir, fmt.Sprint(i)), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	mode := func(socket, want string) (st control.Status) {
		t.Helper()
		waitFor(t, "it goes on by "+want, func() bool {
			st = *ask(t, socket, control.Request{Do: control.DoStatus}).Status
			return st.Watch.Mode == want && st.State == control.Live && !st.InSyncUpTo.IsZero()
		})
		return st
	}
	for name, raise := range map[string]bool{"until an operator raises it": false, "raised": true} {
		t.Run(name, func(t *testing.T) {
			setLimit(limit)
			src, dst := t.TempDir(), filepath.Join(t.TempDir(), "dest")
			mkdirs(filepath.Join(src, "old"))
			log := &lines{}
			socket, _ := start(t, src, dst, func(c *Config) {
				c.RaiseWatchLimit, c.ScanInterval, c.Log = raise, 50*time.Millisecond, notify.Logger(log, level())
			})
			waitFor(t, "the socket is there", func() bool { return answers(socket) })
			if !raise {
				st := mode(socket, "scan")
				if want := fmt.Sprintf("the tree has %d directories", dirs+2); !strings.Contains(st.Watch.Reason, want) ||
					!strings.Contains(st.Watch.Reason, "sysctl -w user.max_inotify_watches=") {
					t.Errorf("reason %q", st.Watch.Reason)
				}
				treetest.Write(t, src, treetest.File("new/file", "found by a pass"))
				isInSync(t, socket)
				settled(t, socket, src, dst)
				setLimit(2 * dirs)
			}
			mode(socket, "inotify")
			mkdirs(filepath.Join(src, "more")) // too many again
			if !raise {
				mode(socket, "scan")
				setLimit(1000)
			}
			waitFor(t, "all is watched", func() bool { return mode(socket, "inotify").Watch.Watches >= 2*dirs })
			treetest.Write(t, src, treetest.File("more/1/file", "told by an event"))
			settled(t, socket, src, dst)
			if n := len(log.with("raised the limit of watches")); raise != (n > 0) {
				t.Errorf("the limit was raised %d times", n)
			}
			if n := len(log.with("CHANGES ARE NOT WATCHED")); raise != (n == 0) {
				t.Errorf("changes were not watched, %d times", n)
			}
		})
	}
}

// inUserNamespace runs a test in a process of its own, as root of a user namespace.
func inUserNamespace(t *testing.T, name string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+name+"$", "-test.v")
	cmd.Env = append(os.Environ(), "DAEMON_CHILD=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.ENOSPC) {
		need.Lacking(t, "no user namespaces: ", err)
	}
	if err != nil || !strings.Contains(string(out), "PASS: "+name) {
		t.Errorf("%v\n%s", err, out)
	}
}

// How far a pass is does not count what others before it did.
func TestPassIsCountedByItself(t *testing.T) {
	t.Parallel()
	var p present
	first := transfer.Progress{Files: 10, TotalFiles: 20, Bytes: 100, TotalBytes: 200, Current: "a"}
	if got := p.pass(first, time.Time{}); got.Files != 10 || got.FilesTotal != 20 || got.Bytes != 100 || got.BytesTotal != 200 || got.At != "a" {
		t.Errorf("the first: %+v", got)
	}
	p.passBegins(first)
	now := transfer.Progress{Files: 11, TotalFiles: 25, Bytes: 107, TotalBytes: 211}
	if got := p.pass(now, time.Time{}); got.Files != 1 || got.FilesTotal != 5 || got.Bytes != 7 || got.BytesTotal != 11 {
		t.Errorf("the next: %+v", got)
	}
}
