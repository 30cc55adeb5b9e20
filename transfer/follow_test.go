package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
	"github.com/syncd/syncd/ratelimit"
)

// follower is an engine that follows while the test runs.
type follower struct {
	*Engine
	end func() error
}

// follow starts an engine; it is stopped with the test at the latest.
func follow(t *testing.T, src, dest string, edit func(*Config)) *follower {
	t.Helper()
	c, _ := config(t, src, dest, deleting)
	if edit != nil {
		edit(&c)
	}
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return following(t, e)
}

// following runs an engine.
func following(t testing.TB, e *Engine) *follower {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	over := errors.New("the test is over")
	done := make(chan error, 1)
	go func() { done <- e.Follow(ctx) }()
	f := &follower{Engine: e}
	f.end = func() error {
		cancel(over)
		select {
		case err := <-done:
			done <- err
			return err
		case <-time.After(time.Minute):
			t.Fatal("Follow does not end")
			return nil
		}
	}
	t.Cleanup(func() {
		if err := f.end(); !errors.Is(err, over) {
			t.Errorf("Follow: %v", err)
		}
	})
	return f
}

// A change that a wider item swallowed arrives, though it hides behind size and time.
func TestSwallowedRewriteArrives(t *testing.T) {
	src := t.TempDir()
	p := filepath.Join(src, "d/file")
	write(t, p, "content")
	st, err := os.Stat(p)
	if err != nil {
		t.Fatal(err)
	}
	url, dst, _ := daemon(t, rsynctest.Config{})
	e := follow(t, src, url, nil)
	settles(t, src, dst)
	for i, kind := range []queue.Kind{queue.Tree, queue.Dir} {
		write(t, p, []string{"CONTENT", "Content"}[i])
		if err := os.Chtimes(p, time.Time{}, st.ModTime()); err != nil {
			t.Fatal(err)
		}
		e.Changed(queue.Item{Kind: queue.Path, Path: "d/file"}, queue.Item{Kind: kind, Path: "d"})
		settles(t, src, dst)
	}
}

// settles waits until the destination equals the source.
func settles(t *testing.T, src, dst string) {
	t.Helper()
	var diff string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if !exists(t, dst) {
			continue
		}
		if diff = difference(t, src, dst); diff == "" {
			return
		}
	}
	t.Fatalf("not equal after a minute:\n%.3000s", diff)
}

func difference(t *testing.T, src, dst string) string {
	t.Helper()
	// A tree that changes cannot be snapshot; the destination changes until it is equal.
	quick := func(dir string) (names []string) {
		filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			info, err := d.Info()
			if err != nil {
				return nil
			}
			rel, _ := filepath.Rel(dir, p)
			names = append(names, fmt.Sprint(rel, info.Mode(), info.ModTime().UnixNano()))
			return nil
		})
		return names
	}
	a, b := quick(src), quick(dst)
	if len(a) != len(b) {
		return fmt.Sprintf("%d entries there, %d here", len(b), len(a))
	}
	for i := range a {
		if a[i] != b[i] {
			return a[i] + " here, there " + b[i]
		}
	}
	return treetest.Diff(treetest.Snapshot(t, src, plain), still(t, dst))
}

// still is a snapshot of a tree in which temporary names may come and go.
func still(t *testing.T, dir string) (tree treetest.Tree) {
	t.Helper()
	done := make(chan struct{})
	go func() { // a failed snapshot ends its goroutine
		defer close(done)
		tree = treetest.Snapshot(quiet{t}, dir, plain)
	}()
	<-done
	return tree
}

// quiet lets a helper fail without failing the test.
type quiet struct{ testing.TB }

func (quiet) Fatal(...any)          { runtime.Goexit() }
func (quiet) Fatalf(string, ...any) { runtime.Goexit() }

func TestFollowMakesPassAndChangesEqual(t *testing.T) {
	for seed := range seeds(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			src := t.TempDir()
			rng := rand.New(rand.NewPCG(seed, 31))
			treetest.Random(t, rng, src, 200)
			url, dst, _ := daemon(t, rsynctest.Config{})
			f := follow(t, src, url, nil)
			settles(t, src, dst)
			for range 5 {
				before := treetest.Snapshot(t, src, plain)
				treetest.Mutate(t, rng, src, 30)
				f.Changed(changedItems(t, before, src)...)
				settles(t, src, dst)
			}
		})
	}
}

// seeds is how many random histories a test runs: n, or as many as the environment asks for.
func seeds(n uint64) uint64 {
	if more, err := strconv.ParseUint(os.Getenv("SYNCD_SEEDS"), 10, 64); err == nil {
		return more
	}
	return n
}

// changedItems says what a watcher would.
func changedItems(t *testing.T, before treetest.Tree, dir string) []queue.Item {
	t.Helper()
	after := treetest.Snapshot(t, dir, plain)
	var items []queue.Item
	for p, n := range after {
		switch old, was := before[p]; {
		case !was && n.Mode&0o170000 == 0o040000, was && n.Mode&0o170000 == 0o040000 && old.Mode&0o170000 != 0o040000:
			items = append(items, queue.Item{Kind: queue.Tree, Path: p})
		case !was || treetest.Diff(treetest.Tree{p: old}, treetest.Tree{p: n}) != "":
			items = append(items, queue.Item{Kind: queue.Path, Path: p})
		}
	}
	for p := range before {
		if _, is := after[p]; !is {
			items = append(items, queue.Item{Kind: queue.Path, Path: p})
		}
	}
	return items
}

// From the moment that a tree is to be compared until it has been, a pass is under way.
func TestPassIsUnderWayFromTheStart(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "d/f"), "content")
	url, _, _ := daemon(t, rsynctest.Config{})
	f := follow(t, src, url, func(*Config) {})
	passing := func() bool {
		s, err := f.Snapshot(t.Context())
		if err != nil {
			t.Error(err)
		}
		return s.Passing
	}
	waitFor(t, func() bool { // between two steps of a pass it may look over
		s, err := f.Snapshot(t.Context())
		return err == nil && s.Idle
	})
	if err := f.Pause(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	f.Changed(queue.Item{Path: "d/f"})
	if passing() {
		t.Error("a change is no pass")
	}
	f.Changed(queue.Item{Kind: queue.Tree, Path: "."})
	if !passing() {
		t.Error("no pass is under way, and a tree is to be compared")
	}
	if err := f.Pause(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return !passing() })
}

// A large file in a directory does not hold back what changes beside it.
func TestChangeBesideALargeFileDoesNotWaitForIt(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "d/large"), strings.Repeat("x", 4<<20))
	write(t, filepath.Join(src, "d/small"), "old")
	url, dst, _ := daemon(t, rsynctest.Config{})
	limiter := ratelimit.New(64 << 10)
	f := follow(t, src, url, func(c *Config) {
		c.BigFile, c.Limiter = 1<<20, limiter
	})
	waitFor(t, func() bool { return exists(t, filepath.Join(dst, "d/small")) && f.counters.live.Load() > 0 })
	write(t, filepath.Join(src, "d/small"), "newer content")
	write(t, filepath.Join(src, "d/new"), "new")
	f.Changed(queue.Item{Path: "d/small"}, queue.Item{Path: "d/new"})
	waitFor(t, func() bool {
		got, _ := os.ReadFile(filepath.Join(dst, "d/small"))
		return string(got) == "newer content" && exists(t, filepath.Join(dst, "d/new"))
	})
	if s, err := f.Snapshot(t.Context()); err != nil || !s.Passing {
		t.Errorf("passing: %v, %v", s.Passing, err)
	}
	if exists(t, filepath.Join(dst, "d/large")) {
		t.Error("it came only after the large file")
	}
	limiter.Set(0)
	settles(t, src, dst)
	waitFor(t, func() bool { s, err := f.Snapshot(t.Context()); return err == nil && !s.Passing })
}

func TestChangeDuringThePassDoesNotWaitForIt(t *testing.T) {
	src := t.TempDir()
	for i := range 40 {
		write(t, filepath.Join(src, fmt.Sprintf("z%02d", i), "file"), strings.Repeat("x", 100_000))
	}
	write(t, filepath.Join(src, "a/changed"), "old")
	_, dst, s := daemon(t, rsynctest.Config{})
	relay := rsynctest.Proxy(t, s.Addr(), rsynctest.Faults{})
	f := follow(t, src, relay.URL("m/dest"), func(c *Config) {
		c.tuning.entries = 5
		c.Sessions = 2
	})
	changed := filepath.Join(src, "a/changed")
	waitFor(t, func() bool { return exists(t, filepath.Join(dst, "a/changed")) })
	write(t, changed, "newer content")
	f.Changed(queue.Item{Path: "a/changed"})
	waitFor(t, func() bool {
		got, _ := os.ReadFile(filepath.Join(dst, "a/changed"))
		return string(got) == "newer content"
	})
	settles(t, src, dst)
}

func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); {
		if time.Now().After(deadline) {
			t.Fatal("did not happen within a minute")
		}
	}
}

func TestFollowOutlivesTheDestination(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "d/file"), "1")
	url, dst, s := daemon(t, rsynctest.Config{})
	f := follow(t, src, url, nil)
	settles(t, src, dst)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(src, "d/file"), "changed while the destination was away")
	write(t, filepath.Join(src, "d/new"), "made meanwhile")
	f.Changed(queue.Item{Path: "d/file"}, queue.Item{Path: "d/new"}, queue.Item{Path: "d"})
	waitFor(t, func() bool { return f.counters.retries.Load() > 3 })
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	settles(t, src, dst)
}

func TestFollowKeepsWhatIsRefusedAndGoesOn(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "d/fine"), "1")
	url, dst, _ := daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Options: map[string]string{"exclude": "*.bad"}}}})
	f := follow(t, src, url, nil)
	settles(t, src, dst)
	write(t, filepath.Join(src, "d/x.bad"), "refused")
	f.Changed(queue.Item{Path: "d/x.bad"}, queue.Item{Path: "d"})
	waitFor(t, func() bool { return f.counters.sessions.Load() > 6 })
	write(t, filepath.Join(src, "d/fine"), "2, and it arrives")
	f.Changed(queue.Item{Path: "d/fine"})
	waitFor(t, func() bool {
		got, _ := os.ReadFile(filepath.Join(dst, "d/fine"))
		return string(got) == "2, and it arrives"
	})
	if err := os.Remove(filepath.Join(src, "d/x.bad")); err != nil {
		t.Fatal(err)
	}
	f.Changed(queue.Item{Path: "d/x.bad"}, queue.Item{Path: "d"})
	settles(t, src, dst)
}
