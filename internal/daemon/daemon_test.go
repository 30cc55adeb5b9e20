package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/control"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
	"github.com/syncd/syncd/ratelimit"
	"github.com/syncd/syncd/systemd/notify"
	"github.com/syncd/syncd/transfer"
)

// The tests wait for servers and for time to pass more than they compute: several go side by side on any machine.
func TestMain(m *testing.M) {
	flag.Parse()
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "test.parallel" })
	if n := max(6, runtime.GOMAXPROCS(0)); !set {
		flag.Set("test.parallel", strconv.Itoa(n))
	}
	os.Exit(m.Run())
}

var plain = treetest.Options{Ignore: treetest.HardLinks | treetest.Xattrs}

// start runs a service for src until the test ends and returns its socket and what stops it.
func start(t *testing.T, src, dest string, edit ...func(*Config)) (socket string, stop func() error) {
	t.Helper()
	d, err := rsync.ParseDest(dest)
	if err != nil {
		t.Fatal(err)
	}
	root := os.Geteuid() == 0
	socket = filepath.Join(t.TempDir(), "control.sock")
	c := Config{
		Source: src, Destination: dest, Control: socket, StopTimeout: 5 * time.Second, Version: "test",
		Engine: transfer.Config{
			Dialer: rsync.Dialer{Dest: d}, NanosecondsAuto: true, Delete: true, MaxDelete: -1,
			Session: rsync.Options{
				Links: true, Perms: true, Times: true, Owner: root, Group: true, Devices: root, Specials: true,
				NumericIDs: true, MaxDelete: -1,
			},
		},
		Audit: Audit{look: 100 * time.Millisecond},
		Log:   notify.Logger(testWriter{t}, level()),
	}
	for _, f := range edit {
		f(&c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, c) }()
	stop = func() error {
		cancel()
		select {
		case err := <-done:
			done <- err
			return err
		case <-time.After(time.Minute):
			return errors.New("Run does not end")
		}
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return socket, stop
}

// level is what the test's services log: all of it if the environment asks.
func level() slog.Level {
	if os.Getenv("SYNCD_LOG") != "" {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Helper()
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// answers reports whether somebody answers at the socket: it is there a moment earlier.
func answers(socket string) bool {
	_, err := control.Ask(context.Background(), socket, control.Request{Do: control.DoStatus})
	return err == nil
}

func ask(t *testing.T, socket string, r control.Request) control.Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	a, err := control.Ask(ctx, socket, r)
	if err != nil {
		t.Fatalf("%+v: %v", r, err)
	}
	return a
}

func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("within a minute it did not happen: %s", what)
		}
		<-tick.C
	}
}

// settled waits until the service says that nothing is left to do, and compares the trees.
func settled(t *testing.T, socket, src, dst string) {
	t.Helper()
	var diff string
	defer func() {
		if t.Failed() {
			t.Log(diff)
		}
	}()
	waitFor(t, "trees are equal", func() bool {
		st := ask(t, socket, control.Request{Do: control.DoStatus}).Status
		paths, _ := st.Backlog.Sum()
		if st.State != control.Live || paths > 0 || !st.Backlog.Oldest.IsZero() {
			diff = fmt.Sprintf("state %s, %d paths", st.State, paths)
			return false
		}
		diff = treetest.Diff(treetest.Snapshot(t, src, plain), treetest.Snapshot(t, dst, plain))
		return diff == ""
	})
}

func TestFollowsATree(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	rng := rand.New(rand.NewPCG(41, 1))
	treetest.Random(t, rng, src, 150)
	s := rsynctest.Daemon(t, rsynctest.Config{})
	dst := filepath.Join(s.Dir("m"), "dest")
	socket, stop := start(t, src, s.URL("m/dest"))
	waitFor(t, "the socket is there", func() bool { return answers(socket) })
	settled(t, socket, src, dst)
	for range 6 {
		treetest.Mutate(t, rng, src, 50)
		settled(t, socket, src, dst)
	}
	ask(t, socket, control.Request{Do: control.DoPause})
	held := filepath.Join(src, "made while paused")
	if err := os.WriteFile(held, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the change is queued", func() bool {
		return ask(t, socket, control.Request{Do: control.DoWhy, Path: held}).Why.Verdict == control.Queued
	})
	ask(t, socket, control.Request{Do: control.DoResume})
	settled(t, socket, src, dst)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

// Several writers that never wait; afterwards, the trees are equal.
func TestChurn(t *testing.T) {
	t.Parallel()
	n := uint64(2)
	if more, err := strconv.ParseUint(os.Getenv("SYNCD_SEEDS"), 10, 64); err == nil {
		n = more
	}
	for seed := range n {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			src := t.TempDir()
			s := rsynctest.Daemon(t, rsynctest.Config{})
			dst := filepath.Join(s.Dir("m"), "dest")
			for w := range 3 {
				dir := filepath.Join(src, fmt.Sprint("writer", w))
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				treetest.Random(t, rand.New(rand.NewPCG(seed, uint64(w))), dir, 60)
			}
			socket, _ := start(t, src, s.URL("m/dest"))
			waitFor(t, "the socket is there", func() bool { return answers(socket) })
			var writers sync.WaitGroup
			for w := range 3 {
				writers.Go(func() {
					rng := rand.New(rand.NewPCG(seed, 100+uint64(w)))
					for range 15 {
						treetest.Mutate(t, rng, filepath.Join(src, fmt.Sprint("writer", w)), 20)
					}
				})
			}
			writers.Wait()
			settled(t, socket, src, dst)
		})
	}
}

func TestReloadChangesFilterAndLimit(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	treetest.Write(t, src, treetest.File("a.tmp", "1"), treetest.File("d/b.tmp", "2"), treetest.File("d/c.log", "3"))
	s := rsynctest.Daemon(t, rsynctest.Config{})
	dst := filepath.Join(s.Dir("m"), "dest")
	var pattern atomic.Value
	pattern.Store("*.tmp")
	rules := func() *filter.List {
		l := &filter.List{}
		if err := l.Exclude(pattern.Load().(string)); err != nil {
			t.Error(err)
		}
		return l
	}
	hangups := make(chan struct{})
	socket, _ := start(t, src, s.URL("m/dest"), func(c *Config) {
		c.Engine.Filter, c.Hangups = rules(), hangups
		c.Reload = func() (*filter.List, *ratelimit.Timetable, error) {
			if pattern.Load() == "bad" {
				return nil, nil, errors.New("a mistake in a file of patterns")
			}
			table, err := ratelimit.ParseTimetable("100M", time.UTC)
			return rules(), table, err
		}
	})
	there := func(name string) bool { _, err := os.Stat(filepath.Join(dst, name)); return err == nil }
	waitFor(t, "the first pass", func() bool { return there("d/c.log") })
	if there("a.tmp") || there("d/b.tmp") {
		t.Error("the filter leaves nothing out")
	}
	pattern.Store("*.log")
	hangups <- struct{}{}
	waitFor(t, "what the old rules left out", func() bool { return there("a.tmp") && there("d/b.tmp") })
	waitFor(t, "the new limit", func() bool {
		return ask(t, socket, control.Request{Do: control.DoStatus}).Status.Sessions.Limit == 100<<20
	})
	treetest.Write(t, src, treetest.File("d/new.log", "left out"), treetest.File("d/new.tmp", "not left out"))
	waitFor(t, "a change after the reload", func() bool { return there("d/new.tmp") })
	if there("d/new.log") || !there("d/c.log") {
		t.Error("the new filter does not hold, or what it leaves out was deleted")
	}
	pattern.Store("bad")
	hangups <- struct{}{}
	treetest.Write(t, src, treetest.File("d/newer.tmp", "follows on"))
	waitFor(t, "a change after a failed reload", func() bool { return there("d/newer.tmp") })
}

func TestSourceThatGoesAndComesBack(t *testing.T) {
	t.Parallel()
	src := filepath.Join(t.TempDir(), "src")
	treetest.Write(t, src, treetest.File("d/kept", "1"), treetest.File("top", "2"))
	s := rsynctest.Daemon(t, rsynctest.Config{})
	dst := filepath.Join(s.Dir("m"), "dest")
	socket, _ := start(t, src, s.URL("m/dest"))
	waitFor(t, "the socket is there", func() bool { return answers(socket) })
	settled(t, socket, src, dst)
	if err := os.Rename(src, src+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(src, 0o755); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the source is missed", func() bool {
		return ask(t, socket, control.Request{Do: control.DoStatus}).Status.State == control.SourceMissing
	})
	for _, p := range []string{"d/kept", "top"} {
		if _, err := os.Stat(filepath.Join(dst, p)); err != nil {
			t.Errorf("deleted for want of the source: %v", err)
		}
	}
	if err := os.Remove(src); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(src+".away", src); err != nil {
		t.Fatal(err)
	}
	treetest.Write(t, src, treetest.File("d/new", "3"))
	settled(t, socket, src, dst)
}

func TestDestinationThatIsAway(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	treetest.Write(t, src, treetest.File("file", "1"))
	s := rsynctest.Daemon(t, rsynctest.Config{})
	dst := filepath.Join(s.Dir("m"), "dest")
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	socket, _ := start(t, src, s.URL("m/dest"))
	waitFor(t, "it says that it waits", func() bool {
		if !answers(socket) {
			return false
		}
		st := ask(t, socket, control.Request{Do: control.DoStatus}).Status
		return st.State == control.Waiting && strings.Contains(st.Reason, "refused")
	})
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	settled(t, socket, src, dst)
}
