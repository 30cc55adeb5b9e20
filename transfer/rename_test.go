package transfer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
	"github.com/syncd/syncd/watcher"
)

// watchedFollower has an engine follow what a watcher of src tells.
func watchedFollower(t *testing.T, src, dest string, edit func(*Config)) (*follower, *watcher.Watcher) {
	t.Helper()
	f := follow(t, src, dest, edit)
	w, err := watcher.New(watcher.Config{Root: f.cfg.Root, Path: src, Renamed: f.Renamed})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.Run(ctx, func(it queue.Item) { f.Changed(it) })
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	select {
	case <-w.Ready():
	case <-time.After(time.Minute):
		t.Fatal("not watching")
	}
	f.rests(t, w)
	return f, w
}

// rests waits until all that has happened is acknowledged.
func (f *follower) rests(t *testing.T, w *watcher.Watcher) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is left to do", func() bool {
		empty := false
		if err := f.ask(ctx, func() {
			f.receive(time.Now())
			empty = f.queue.Empty() && len(f.prunes) == 0 && len(f.delayed) == 0
		}); err != nil {
			t.Fatal(err)
		}
		return empty
	})
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("within a minute it did not happen: %s", what)
		}
	}
}

// sends returns how many bytes go to the destination, and in how many sessions, until what change does has arrived.
func (f *follower) sends(t *testing.T, w *watcher.Watcher, change func()) (bytes, sessions int64) {
	t.Helper()
	bytes, sessions = f.Progress().Sent, f.counters.sessions.Load()
	change()
	f.rests(t, w)
	return f.Progress().Sent - bytes, f.counters.sessions.Load() - sessions
}

// noise writes files that nothing makes smaller.
func noise(t *testing.T, dir string, names []string, size int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, uint64(size)))
	for _, name := range names {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		write(t, filepath.Join(dir, name), string(b))
	}
}

func move(t *testing.T, dir, from, to string) {
	t.Helper()
	if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
		t.Fatal(err)
	}
}

// Who asks for something that linking does not give, or has a server that may not know it, has renamed files sent.
func TestRenamesThatAreSent(t *testing.T) {
	const size = 200_000
	for name, edit := range map[string]func(c *Config){
		"without --delete": func(c *Config) { c.Delete = false },
		"--checksum":       func(c *Config) { c.Session.Checksum = true },
		"--ignore-times":   func(c *Config) { c.Session.IgnoreTimes = true },
		"--inplace":        func(c *Config) { c.Session.Inplace = true },
		"--modify-window":  func(c *Config) { c.NanosecondsAuto, c.Session.ModifyWindow = false, 1 },
		"no times":         func(c *Config) { c.Session.Times = false },
		"protocol 30":      func(c *Config) { c.Session.Protocol = 30 },
		"no deletions":     func(c *Config) { c.MaxDelete = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := t.TempDir()
			noise(t, src, []string{"a", "d/b"}, size)
			url, dst, _ := daemon(t, rsynctest.Config{})
			f, _ := watchedFollower(t, src, url, edit)
			move(t, src, "a", "new")
			move(t, src, "d", "e")
			eventually(t, "all is sent", func() bool {
				return exists(t, filepath.Join(dst, "new")) && exists(t, filepath.Join(dst, "e/b")) && f.Progress().Sent > 4*size
			})
			if err := f.ask(context.Background(), func() {
				if len(f.renames.from) > 0 {
					t.Errorf("renames under way: %+v", f.renames)
				}
			}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A small file is sent with its deletion, in one session: it must not wait for more.
func TestSmallRenamedFileIsSent(t *testing.T) {
	src := t.TempDir()
	noise(t, src, []string{"a"}, 1000)
	noise(t, src, []string{"large"}, minRenamed)
	url, dst, _ := daemon(t, rsynctest.Config{})
	f, w := watchedFollower(t, src, url, nil)
	if n, sessions := f.sends(t, w, func() { move(t, src, "a", "b") }); sessions > 2 || n < 1000 {
		t.Errorf("small: %d bytes in %d sessions", n, sessions)
	}
	if n, _ := f.sends(t, w, func() { move(t, src, "large", "larger") }); n > minRenamed/2 {
		t.Errorf("large: %d bytes", n)
	}
	equal(t, src, dst)
}

// With a limit of deletions a rename counts as the deletion that it is, and what the limit would keep is not linked.
func TestRenamesUnderAGuard(t *testing.T) {
	const size = 200_000
	src := t.TempDir()
	noise(t, src, []string{"a", "b", "c", "d/1", "d/2", "d/3"}, size)
	url, dst, _ := daemon(t, rsynctest.Config{})
	f, w := watchedFollower(t, src, url, func(c *Config) { c.MaxDelete = 3 })
	sameInode := func(p, q string) bool {
		a, err := os.Stat(filepath.Join(dst, p))
		if err != nil {
			return false
		}
		b, err := os.Stat(filepath.Join(dst, q))
		return err == nil && os.SameFile(a, b)
	}
	sent := func(change func(), there func() bool) int64 {
		t.Helper()
		before := f.Progress().Sent
		change()
		eventually(t, "it has arrived", there)
		return f.Progress().Sent - before
	}
	gone := func(p string) bool { return !exists(t, filepath.Join(dst, p)) }
	for _, name := range []string{"a", "b"} {
		if n := sent(func() { move(t, src, name, name+"2") }, func() bool { return !gone(name+"2") && gone(name) }); n > size/2 {
			t.Errorf("%s, which the limit allows: %d bytes sent", name, n)
		}
	}
	if n := sent(func() { move(t, src, "d", "e") }, func() bool { return !gone("e/3") && f.heldEntries(t) > 0 }); n < 3*size {
		t.Errorf("a directory whose old name is held: %d bytes sent", n)
	}
	held := func(p string) bool {
		held, err := f.HeldDelete(context.Background(), p)
		return err == nil && held
	}
	if n := sent(func() { move(t, src, "c", "c2") }, func() bool { return !gone("c2") && held("c") }); n < size {
		t.Errorf("a file whose old name is held: %d bytes sent", n)
	}
	for _, names := range [][2]string{{"d/1", "e/1"}, {"d/2", "e/2"}, {"d/3", "e/3"}, {"c", "c2"}} {
		if sameInode(names[0], names[1]) {
			t.Errorf("%s is held, and linked to %s", names[0], names[1])
		}
	}
	if err := f.AllowHeld(context.Background()); err != nil {
		t.Fatal(err)
	}
	f.rests(t, w)
	equal(t, src, dst)
}

func (f *follower) heldEntries(t *testing.T) int {
	t.Helper()
	s, err := f.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if s.Held == nil {
		return 0
	}
	return s.Held.Entries
}

// A file that was shared with another name, by which it may have been written to, is sent.
func TestRenamedFileThatHadAnotherName(t *testing.T) {
	const size = 200_000
	src := t.TempDir()
	noise(t, src, []string{"a", "d/f"}, size)
	url, dst, _ := daemon(t, rsynctest.Config{})
	f, w := watchedFollower(t, src, url, func(c *Config) { c.Session.WholeFile = true })
	for _, name := range []string{"a", "d/f"} {
		st, _, err := f.cfg.Root.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.ask(context.Background(), func() {
			f.links.inodes[link{st.Dev, st.Ino}] = &linked{names: map[string]struct{}{"gone": {}}, searched: true}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if n, _ := f.sends(t, w, func() { move(t, src, "a", "b") }); n < size {
		t.Errorf("a file: %d bytes", n)
	}
	if n, _ := f.sends(t, w, func() { move(t, src, "d", "e") }); n < size {
		t.Errorf("in a directory: %d bytes", n)
	}
	equal(t, src, dst)
}

// A destination that links nothing is not asked for ever.
func TestRelinkingThatNeverSucceeds(t *testing.T) {
	src := t.TempDir()
	names := []string{"a", "b", "c", "d", "e", "f", "g"}
	noise(t, src, names, minRenamed)
	url, dst, _ := daemon(t, rsynctest.Config{})
	f, w := watchedFollower(t, src, url, nil)
	for _, name := range names {
		// What is not as it was acknowledged is asked for.
		write(t, filepath.Join(dst, name), "spoiled")
	}
	for i, name := range names {
		if i == maxUnlinked {
			if err := f.ask(context.Background(), func() {
				if f.renames.notUntil.IsZero() || f.mayRelink(time.Now()) {
					t.Error("it is tried again and again")
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
		f.sends(t, w, func() { move(t, src, name, name+".new") })
	}
	equal(t, src, dst)
}

// Renames of all kinds by several writers that never wait, of files of any size.
func TestRenameChurn(t *testing.T) {
	for seed := range seeds(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			src := filepath.Join(dir, "src")
			for i := range 60 {
				rewrite(rand.New(rand.NewPCG(seed, uint64(i))), filepath.Join(src, fmt.Sprintf("w%d/d%d/f%d", i%3, i%4, i)))
			}
			_, dst, server := daemon(t, rsynctest.Config{})
			relay := rsynctest.Proxy(t, server.Addr(), rsynctest.Faults{})
			f, w := watchedFollower(t, src, relay.URL("m/dest"), func(c *Config) {
				c.tuning.minRenamed = 1
				if seed%3 == 2 {
					c.tuning.entries = 20 // several sessions for a directory
				}
			})
			for round := range 4 {
				var writers sync.WaitGroup
				f.ask(context.Background(), func() { f.renames.notUntil, f.renames.unlinked = time.Time{}, -1000 })
				for who := range 2 {
					rng := rand.New(rand.NewPCG(seed, uint64(1000+10*round+who)))
					c := churner{rng, src, filepath.Join(dir, fmt.Sprint("out", who))}
					writers.Go(func() { c.bursts(t, 12) })
				}
				if seed%3 == 1 {
					relay.Set(rsynctest.Faults{CutUp: 300 + int64(seed*7919)%20_000, Connections: 20})
				}
				writers.Wait()
				f.rests(t, w)
				if diff := treetest.Diff(treetest.Snapshot(t, src, plain), treetest.Snapshot(t, dst, plain)); diff != "" {
					t.Fatalf("round %d:\n%.3000s", round, diff)
				}
			}
		})
	}
}

func rewrite(rng *rand.Rand, p string) {
	b := make([]byte, 1+rng.IntN(100_000))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	if os.MkdirAll(filepath.Dir(p), 0o755) == nil {
		os.WriteFile(p, b, 0o644) // another writer may have been faster
	}
}

// A churner changes a tree in which others are at work: what it means may be gone, or something else.
type churner struct {
	rng      *rand.Rand
	src, out string
}

func (c *churner) bursts(t *testing.T, n int) {
	tick := time.NewTicker(40 * time.Millisecond)
	defer tick.Stop()
	for range n {
		for range 1 + c.rng.IntN(3) {
			if err := c.step(); err != nil && !mayHappen(err) {
				t.Error(err)
			}
		}
		<-tick.C
	}
}

func mayHappen(err error) bool {
	for _, known := range []error{unix.ENOENT, unix.EEXIST, unix.EINVAL, unix.ENOTDIR, unix.EISDIR, unix.ENOTEMPTY} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// any returns an entry of the tree.
func (c *churner) any(dir bool) string {
	var found []string
	filepath.WalkDir(c.src, func(p string, d os.DirEntry, err error) error {
		if err == nil && p != c.src && d.IsDir() == dir {
			found = append(found, p)
		}
		return nil
	})
	if len(found) == 0 {
		return filepath.Join(c.src, "none")
	}
	return found[c.rng.IntN(len(found))]
}

// name returns a path where there may be something.
func (c *churner) name() string {
	base := c.src
	if c.rng.IntN(3) > 0 {
		base = c.any(true)
	}
	return filepath.Join(base, fmt.Sprint("n", c.rng.IntN(12)))
}

func (c *churner) step() error {
	dir := c.rng.IntN(3) == 0
	p, q := c.any(dir), c.name()
	switch c.rng.IntN(10) {
	case 0, 1, 2:
		return os.Rename(p, q)
	case 3:
		return os.Rename(c.any(false), c.any(false))
	case 4: // in a row
		return errors.Join(os.Rename(p, q), os.Rename(q, c.name()))
	case 5: // shifted
		return errors.Join(os.Rename(p, q), os.Rename(c.any(dir), p))
	case 6:
		return unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, c.any(c.rng.IntN(4) == 0), unix.RENAME_EXCHANGE)
	case 7: // out of the tree and in again
		if err := os.Rename(p, c.out); err != nil {
			return err
		}
		if os.Rename(c.out, q) != nil {
			return os.RemoveAll(c.out)
		}
	case 8: // and rewritten at once, or the old name comes back as another file
		if os.Rename(p, q) == nil && !dir {
			rewrite(c.rng, []string{p, q}[c.rng.IntN(2)])
		}
	case 9:
		rewrite(c.rng, q)
	}
	return nil
}
