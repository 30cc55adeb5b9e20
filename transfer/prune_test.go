package transfer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsynctest"
)

// Rounds of pruning grow while nothing changes, and are small at once when something does.
func TestRoundsOfPruningGrowWhileNothingChanges(t *testing.T) {
	c, _ := config(t, t.TempDir(), t.TempDir(), deleting)
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer e.closeConnections()
	e.following = true
	size := func(want int) {
		t.Helper()
		if e.roundSize != want {
			t.Errorf("the next round is of %d directories, want %d", e.roundSize, want)
		}
	}
	now := time.Now()
	round := func(lasted time.Duration) {
		e.resizeRound(now, now.Add(lasted))
		now = now.Add(lasted)
	}
	size(minPruneRound)
	round(10 * time.Millisecond)
	size(2 * minPruneRound)
	round(100 * time.Millisecond)
	size(2 * minPruneRound)
	round(10 * time.Millisecond)
	round(time.Second)
	size(2 * minPruneRound)
	round(time.Second)
	round(time.Second)
	size(minPruneRound)
	for range 20 {
		round(time.Millisecond)
	}
	size(maxPruneRound)

	for i := range maxPruneRound {
		e.prunes = append(e.prunes, pruneJob{path: fmt.Sprint(i)})
	}
	for range 2 * minPruneRound {
		if _, ok := e.nextPrune(); !ok {
			t.Fatal("the round is over too soon")
		}
	}
	e.Changed(queue.Item{Kind: queue.Path, Path: "0/file"})
	e.receive(now.Add(time.Millisecond))
	size(minPruneRound)
	if p, ok := e.nextPrune(); ok {
		t.Errorf("%s is locked while a change waits", p.path)
	}
	round(2 * time.Millisecond)
	size(minPruneRound) // there was a change in it
	round(time.Millisecond)
	size(2 * minPruneRound)
}

// pruned follows a source with the file d/file until nothing is left to do.
func pruned(t *testing.T, dest, dst string, edit func(*Config)) *follower {
	t.Helper()
	src := t.TempDir()
	write(t, filepath.Join(src, "d/file"), "content")
	f := follow(t, src, dest, edit)
	waitFor(t, func() bool { return f.now(t).Idle })
	if !exists(t, filepath.Join(dst, "d/file")) {
		t.Fatal("idle, and nothing was sent")
	}
	return f
}

// prune has d pruned, in which there is more than in the source.
func (f *follower) prune(t *testing.T, extra string) {
	t.Helper()
	write(t, extra, "to be pruned")
	root, err := f.resolve("d")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.ask(context.Background(), func() { f.prunes = append(f.prunes, pruneJob{"d", root, origin{pass: true}}) }); err != nil {
		t.Fatal(err)
	}
}

// pruneNow has directories pruned now that were put off.
func (f *follower) pruneNow(t *testing.T) {
	t.Helper()
	if err := f.ask(context.Background(), func() {
		for p, left := range f.left {
			left.due = time.Now()
			f.left[p] = left
		}
	}); err != nil {
		t.Fatal(err)
	}
}

const nobodyID = 65534

// unprivileged is daemon, with a server that is not root.
func unprivileged(t *testing.T) (url, dst string) {
	t.Helper()
	need.Root(t)
	url, dst, s := daemon(t, rsynctest.Config{Modules: []rsynctest.Module{
		{Name: "m", Options: map[string]string{"uid": "65534", "gid": "65534"}},
	}})
	if err := os.Chmod(s.Dir("m"), 0o777); err != nil {
		t.Fatal(err)
	}
	return url, dst
}

// unprivilegedOptions asks for nothing that only root can give.
func unprivilegedOptions(c *Config) {
	c.Session.Owner, c.Session.Group, c.Session.Devices = false, false, false
}

func (f *follower) now(t *testing.T) Snapshot {
	t.Helper()
	s, err := f.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What is gone here is at the destination until its directory has been pruned there. Before, the pass has not ended:
// neither while a session prunes nor while the next one is waited for, after one that broke.
func TestPassLastsUntilAllIsPruned(t *testing.T) {
	_, dst, s := daemon(t, rsynctest.Config{})
	relay := rsynctest.Proxy(t, s.Addr(), rsynctest.Faults{})
	f := pruned(t, relay.URL("m/dest"), dst, nil)
	relay.Stop()
	extra := filepath.Join(dst, "d/extra")
	f.prune(t, extra)
	passes := func(until func(Snapshot) bool) {
		t.Helper()
		waitFor(t, func() bool {
			s := f.now(t)
			if !s.Passing {
				t.Fatalf("the pass has ended, and nothing is pruned: %+v", s)
			}
			return until(s)
		})
	}
	passes(func(s Snapshot) bool { return s.Sessions > 0 })
	broken := f.counters.retries.Load()
	passes(func(Snapshot) bool {
		relay.Cut()
		return f.counters.retries.Load() > broken+3
	})
	relay.Go()
	waitFor(t, func() bool { return !f.now(t).Passing })
	if exists(t, extra) {
		t.Error("the pass has ended, and something is left of what is gone here")
	}
}

// A pass does not wait for what the destination refuses to delete, but that is known until it is gone.
func TestRefusedDeletionIsKnown(t *testing.T) {
	url, dst := unprivileged(t)
	f := pruned(t, url, dst, unprivilegedOptions)
	dir := filepath.Join(dst, "d/another's")
	f.prune(t, filepath.Join(dir, "extra"))
	waitFor(t, func() bool { s := f.now(t); return !s.Passing && !s.Undeleted.IsZero() })
	since := f.now(t).Undeleted
	waitFor(t, func() bool { return len(f.now(t).Failing) > 0 })
	if s := f.now(t); len(s.Failing) != 1 || s.Failing[0].Path != "d" || s.Queue.Failing != 1 {
		t.Errorf("failing: %v of %d", s.Failing, s.Queue.Failing)
	}
	sessions := f.counters.sessions.Load()
	f.pruneNow(t)
	waitFor(t, func() bool { return f.counters.sessions.Load() > sessions && !f.now(t).Passing })
	if got := f.now(t).Undeleted; !got.Equal(since) {
		t.Errorf("refused since %v, and a try later since %v", since, got)
	}
	if err := os.Chown(dir, nobodyID, nobodyID); err != nil {
		t.Fatal(err)
	}
	f.pruneNow(t)
	waitFor(t, func() bool { s := f.now(t); return !s.Passing && s.Undeleted.IsZero() })
	if exists(t, dir) {
		t.Error("all is said to be deleted")
	}
}

// A sessionsWatch sees what sessions do side by side.
type sessionsWatch struct {
	destination
	before func(b *rsync.Batch) // of a session that sends something

	mu     sync.Mutex
	making map[string]int // sessions that make entries in a directory
	pruned []string       // directories, while they did
}

func (w *sessionsWatch) Send(ctx context.Context, b *rsync.Batch, o rsync.Options) (*rsync.Report, error) {
	if o.Existing && o.IgnoreExisting {
		w.mu.Lock()
		for i := range b.Entries {
			if p := b.Entries[i].Path; b.Entries[i].Dir == flist.Content && w.making[p] > 0 {
				w.pruned = append(w.pruned, p)
			}
		}
		w.mu.Unlock()
		return w.destination.Send(ctx, b, o)
	}
	w.make(b, 1)
	defer w.make(b, -1)
	w.before(b)
	return w.destination.Send(ctx, b, o)
}

func (w *sessionsWatch) make(b *rsync.Batch, by int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range b.Entries {
		if !isDir(b.Entries[i].Mode) && b.Entries[i].Mode != 0 {
			w.making[path.Dir(b.Entries[i].Path)] += by
		}
	}
}

func (w *sessionsWatch) prunedBeside() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.pruned)
}

// A pass prunes no directory in which a file that failed at first is being made: its temporary name would be deleted.
func TestPruningWaitsForRetries(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "d/big"), "large enough to part the directory from its pruning")
	write(t, filepath.Join(src, "d/retried"), "1")
	url, dst, _ := daemon(t, rsynctest.Config{})
	write(t, filepath.Join(dst, "d/extra"), "x")
	c, rec := config(t, src, url, func(c *Config) {
		c.Delete, c.BigFile = true, 10
		c.tuning.pathBackoff = queue.Backoff{First: 1, Max: 1} // tried again before the directory is pruned
	})
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	w := &sessionsWatch{destination: e.dest, making: map[string]int{}}
	w.before = func(b *rsync.Batch) {
		if !slices.ContainsFunc(b.Entries, func(e flist.Entry) bool { return e.Path == "d/retried" }) {
			return
		}
		if tried++; tried == 1 {
			write(t, filepath.Join(src, "d/retried"), "changed after it was listed")
			return
		}
		eventually(t, "all but this session and the pruning is over", func() bool {
			waits := false
			err := e.ask(t.Context(), func() {
				waits = len(e.prunes) == 1 && e.listing == 0 && e.running[0]+e.running[1] == 1
			})
			return waits || err != nil || len(w.prunedBeside()) > 0
		})
	}
	e.dest = w
	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.prunedBeside(); len(got) > 0 || tried < 2 {
		t.Errorf("pruned while something is made there: %q, after %d tries", got, tried)
	}
	rec.clean(t)
	equal(t, src, dst)
}

// A directory that the destination could not look into is pruned when it can, and until then that is known.
func TestUnreadableThereIsPrunedLater(t *testing.T) {
	url, dst := unprivileged(t)
	src := t.TempDir()
	write(t, filepath.Join(src, "d/file"), "content")
	d, extra := filepath.Join(dst, "d"), filepath.Join(dst, "d/extra")
	write(t, extra, "to be pruned")
	if err := errors.Join(os.Chown(dst, nobodyID, nobodyID), os.Chmod(d, 0o700)); err != nil {
		t.Fatal(err)
	}
	f := follow(t, src, url, func(c *Config) {
		remembering(t, t.TempDir())(c)
		unprivilegedOptions(c)
	})
	complete := func() bool {
		_, complete, err := f.cfg.Catalogue.Dir("d")
		if err != nil {
			t.Fatal(err)
		}
		return complete
	}
	waitFor(t, func() bool { s := f.now(t); return !s.Passing && s.Queue.Failing > 0 })
	if complete() {
		t.Error("the catalogue knows all that is in it")
	}
	if err := errors.Join(os.Chown(d, nobodyID, nobodyID), os.Chmod(d, 0o755)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { s := f.now(t); return !s.Passing && s.Oldest.IsZero() })
	if f.now(t).Undeleted.IsZero() || !exists(t, extra) {
		t.Error("it is pruned, or that it is not is not known")
	}
	f.pruneNow(t)
	waitFor(t, func() bool { s := f.now(t); return !s.Passing && s.Undeleted.IsZero() })
	if exists(t, extra) || !complete() {
		t.Error("nothing is left to do, and it is not pruned, or not known to be")
	}
}

// Where sessions take their time, changes that never pause keep no directory from being pruned, and arrive all the same.
func TestPassEndsUnderSteadyWritesFarAway(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	const dirs = 5
	for i := range dirs {
		write(t, filepath.Join(src, fmt.Sprintf("d%d/f", i)), "0")
	}
	_, dst, s := daemon(t, rsynctest.Config{})
	relay := rsynctest.Proxy(t, s.Addr(), rsynctest.Faults{Delay: 50 * time.Millisecond})
	f := follow(t, src, relay.URL("m/dest"), nil)
	quit := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := 1; ; n++ {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			p := fmt.Sprintf("d%d/f", n%dirs)
			write(t, filepath.Join(src, p), fmt.Sprint(n))
			f.Changed(queue.Item{Path: p})
		}
	})
	defer writer.Wait()
	defer close(quit)
	arrived := func() string {
		text, _ := os.ReadFile(filepath.Join(dst, "d0/f"))
		return string(text)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	waitFor(t, func() bool { <-tick.C; return !f.now(t).Passing })
	old := arrived()
	waitFor(t, func() bool { <-tick.C; return arrived() != old })
}
