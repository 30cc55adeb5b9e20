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

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

func TestGuardCountsInASlidingWindow(t *testing.T) {
	t0 := time.Unix(1_000_000, 0)
	at := func(minutes int) time.Time { return t0.Add(time.Duration(minutes) * time.Minute) }
	g := newGuard(30, time.Hour)
	check := func(minutes, left, next int) {
		t.Helper()
		if got := g.left(at(minutes)); got != left {
			t.Errorf("after %d minutes %d are left, want %d", minutes, got, left)
		}
		if got, ok := g.next(at(minutes)); !ok || !got.Equal(at(next)) {
			t.Errorf("after %d minutes the next go at %v %v, want %v", minutes, got, ok, at(next))
		}
	}
	check(0, 30, 0)
	g.spend(10, at(0))
	check(0, 20, 0)
	g.spend(20, at(20))
	check(20, 0, 60)
	check(59, 0, 60)
	check(60, 10, 60)
	g.spend(4, at(61))
	check(61, 6, 61)
	check(80, 26, 80)
	check(500, 30, 500)
}

func TestGuardThatWasOverrunWaitsUntilThereIsRoom(t *testing.T) {
	t0 := time.Unix(1_000_000, 0)
	g := newGuard(10, time.Hour)
	g.spend(5, t0)
	g.spend(15, t0.Add(time.Minute))
	if next, ok := g.next(t0.Add(2 * time.Minute)); !ok || !next.Equal(t0.Add(61*time.Minute)) {
		t.Errorf("next %v %v", next, ok)
	}
	if n := g.left(t0.Add(60 * time.Minute)); n != 0 {
		t.Errorf("%d left while 15 of 10 are in the window", n)
	}
}

func TestGuardSpendsWhatWasAllowedLast(t *testing.T) {
	t0 := time.Unix(1_000_000, 0)
	g := newGuard(30, time.Hour)
	g.allow(20, t0)
	if n := g.left(t0); n != 50 {
		t.Fatalf("%d left, want 50", n)
	}
	g.spend(35, t0)
	if n := g.left(t0); n != 15 {
		t.Errorf("%d left, want 15 of what was allowed", n)
	}
	if n := g.left(t0.Add(time.Hour)); n != 30 {
		t.Errorf("%d left after a window, want 30: the rest of what was allowed has lapsed", n)
	}
}

func TestGuardOfNothing(t *testing.T) {
	t0 := time.Unix(1_000_000, 0)
	g := newGuard(0, time.Hour)
	if next, ok := g.next(t0); ok {
		t.Errorf("nothing is allowed, and yet at %v", next)
	}
	if due := g.again(t0); due.Sub(t0) < 1000*time.Hour {
		t.Errorf("tried again after %v", due.Sub(t0))
	}
	g.allow(2, t0)
	g.spend(2, t0)
	if n := g.left(t0); n != 0 {
		t.Errorf("%d left", n)
	}
}

// Whatever the history, no window has more than the limit, and what is remembered stays small.
func TestGuardNeverAllowsMoreThanItsLimitInAWindow(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 7))
		limit := 1 + rng.IntN(50)
		g := newGuard(limit, time.Hour)
		now := time.Unix(1_000_000, 0)
		type deletion struct {
			at time.Time
			n  int
		}
		var made []deletion
		for range 3000 {
			now = now.Add(time.Duration(rng.Int64N(int64(2 * time.Minute))))
			left := g.left(now)
			if left == 0 {
				continue
			}
			n := rng.IntN(left + 1)
			g.spend(n, now)
			made = append(made, deletion{now, n})
			sum := 0
			for i := len(made) - 1; i >= 0 && now.Sub(made[i].at) < time.Hour; i-- {
				sum += made[i].n
			}
			if sum > limit {
				t.Fatalf("seed %d: %d in a window, the limit is %d", seed, sum, limit)
			}
			if len(g.spent) > windowGrain+1 {
				t.Fatalf("%d spendings are remembered", len(g.spent))
			}
		}
	}
}

// clocked is an Observer that notes when something was deleted.
type clocked struct {
	nobody
	mu sync.Mutex
	at []time.Time
}

func (c *clocked) Deleted(string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = append(c.at, time.Now())
}

// within returns the most deletions that lie less than d apart.
func (c *clocked) within(d time.Duration) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	most, from := 0, 0
	for i := range c.at {
		for c.at[i].Sub(c.at[from]) >= d {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// storm is a source of which a hundred files go while it is followed under a limit of 30.
type storm struct {
	*follower
	src, dst, url string
	seen          *clocked
}

func newStorm(t *testing.T, window time.Duration, edit func(*Config)) *storm {
	t.Helper()
	s := &storm{src: t.TempDir(), seen: &clocked{}}
	for i := range 100 {
		write(t, filepath.Join(s.src, fmt.Sprintf("d/f%02d", i)), "x")
	}
	write(t, filepath.Join(s.src, "kept/file"), "1")
	url, dst, _ := daemon(t, rsynctest.Config{})
	s.dst, s.url = dst, url
	s.follower = follow(t, s.src, url, func(c *Config) {
		c.MaxDelete, c.DeleteWindow, c.Observer = 30, window, s.seen
		if edit != nil {
			edit(c)
		}
	})
	settles(t, s.src, s.dst)
	waitFor(t, func() bool { // else the pass finds what is gone, too
		snap := s.snapshot(t)
		return !snap.Passing && snap.Sessions == 0 && snap.Queue.Live == 0
	})
	return s
}

// remove takes the files away, all but the directory.
func (s *storm) remove(t *testing.T) {
	t.Helper()
	var items []queue.Item
	for i := range 100 {
		name := fmt.Sprintf("d/f%02d", i)
		if err := os.Remove(filepath.Join(s.src, name)); err != nil {
			t.Fatal(err)
		}
		items = append(items, queue.Item{Path: name})
	}
	s.Changed(append(items, queue.Item{Path: "d"})...)
}

func (s *storm) snapshot(t *testing.T) Snapshot {
	t.Helper()
	snap, err := s.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// holds waits until nothing moves and left files are held, and checks that as many are there.
func (s *storm) holds(t *testing.T, left int) {
	t.Helper()
	var held *Held
	waitFor(t, func() bool {
		snap := s.snapshot(t)
		held = snap.Held
		return held != nil && held.Entries == left && snap.Sessions == 0 && snap.Queue.InFlight == 0
	})
	if n := entries(t, filepath.Join(s.dst, "d")); n != left {
		t.Fatalf("%d files are left, want %d", n, left)
	}
	if held.Limit != 30 || held.Since.IsZero() || held.Next.IsZero() {
		t.Errorf("held: %+v", held)
	}
}

// arrives changes something else and waits for it.
func (s *storm) arrives(t *testing.T, content string) {
	t.Helper()
	write(t, filepath.Join(s.src, "kept/file"), content)
	write(t, filepath.Join(s.src, "kept", content), content)
	s.Changed(queue.Item{Path: "kept/file"}, queue.Item{Path: "kept/" + content}, queue.Item{Path: "kept"})
	waitFor(t, func() bool {
		got, _ := os.ReadFile(filepath.Join(s.dst, "kept/file"))
		return string(got) == content && exists(t, filepath.Join(s.dst, "kept", content))
	})
}

func entries(t *testing.T, dir string) int {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func (s *storm) let(t *testing.T, n int) {
	t.Helper()
	var err error
	if n < 0 {
		err = s.AllowHeld(context.Background())
	} else {
		err = s.AllowDelete(context.Background(), n)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// over waits until all is equal and nothing held.
func (s *storm) over(t *testing.T) {
	t.Helper()
	settles(t, s.src, s.dst)
	var held *Held
	defer func() {
		if t.Failed() {
			t.Logf("held: %+v", held)
		}
	}()
	waitFor(t, func() bool { held = s.snapshot(t).Held; return held == nil })
}

func TestStormOfDeletionsIsHeld(t *testing.T) {
	s := newStorm(t, time.Hour, nil)
	if err := s.AllowHeld(context.Background()); !errors.Is(err, ErrNothingHeld) {
		t.Errorf("AllowHeld of nothing: %v", err)
	}
	s.remove(t)
	s.holds(t, 70)
	s.arrives(t, "while held")
	if held, err := s.HeldDelete(context.Background(), "kept/file"); held || err != nil {
		t.Errorf("HeldDelete of what is there: %v %v", held, err)
	}
	s.let(t, 20)
	s.holds(t, 50)
	s.arrives(t, "while held again")
	s.let(t, -1)
	s.over(t)
	// What was let go was let go once.
	write(t, filepath.Join(s.src, "d/late"), "x")
	s.Changed(queue.Item{Path: "d/late"}, queue.Item{Path: "d"})
	settles(t, s.src, s.dst)
	if err := os.Remove(filepath.Join(s.src, "d/late")); err != nil {
		t.Fatal(err)
	}
	s.Changed(queue.Item{Path: "d/late"}, queue.Item{Path: "d"})
	waitFor(t, func() bool { return s.snapshot(t).Held != nil })
	s.arrives(t, "at the end")
	if !exists(t, filepath.Join(s.dst, "d/late")) {
		t.Error("a deletion that came after the yes went with it")
	}
}

func TestWindowMovesOn(t *testing.T) {
	const window = time.Second
	s := newStorm(t, window, nil)
	s.remove(t)
	s.over(t)
	if n := s.seen.within(window); n > 30 {
		t.Errorf("%d deletions in one window, want 30 at most", n)
	}
}

func TestRemovedTreeIsHeld(t *testing.T) {
	s := newStorm(t, time.Hour, nil)
	if err := os.RemoveAll(filepath.Join(s.src, "d")); err != nil {
		t.Fatal(err)
	}
	s.Changed(queue.Item{Path: "d"})
	s.holds(t, 70)
	if held, err := s.HeldDelete(context.Background(), "d/f01"); !held || err != nil {
		t.Errorf("HeldDelete below what is held: %v %v", held, err)
	}
	s.arrives(t, "while held")
	s.let(t, -1)
	s.over(t)
}

func TestReturnOfWhatIsHeldEndsTheHold(t *testing.T) {
	s := newStorm(t, time.Hour, nil)
	s.remove(t)
	s.holds(t, 70)
	var items []queue.Item
	for i := range 100 {
		name := fmt.Sprintf("d/f%02d", i)
		write(t, filepath.Join(s.src, name), "back")
		items = append(items, queue.Item{Path: name})
	}
	s.Changed(append(items, queue.Item{Path: "d"})...)
	s.over(t)
}

// What the destination has and the source has not is found by the pass.
func TestPruningIsHeld(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "d/kept"), "1")
	write(t, filepath.Join(src, "kept/file"), "1")
	url, dst, _ := daemon(t, rsynctest.Config{})
	pass(t, src, url, nil)
	for i := range 100 {
		write(t, filepath.Join(dst, fmt.Sprintf("d/f%02d", i)), "x")
	}
	s := &storm{src: src, dst: dst, seen: &clocked{}}
	s.follower = follow(t, src, url, func(c *Config) {
		c.MaxDelete, c.DeleteWindow, c.Observer = 30, time.Hour, s.seen
	})
	left := func() int { return entries(t, filepath.Join(dst, "d")) - 1 }
	held := func(n int) {
		t.Helper()
		waitFor(t, func() bool {
			snap := s.snapshot(t)
			return snap.Held != nil && snap.Held.Entries == n && snap.Sessions == 0 && !snap.Passing
		})
		if left() != n {
			t.Fatalf("%d files are left, want %d", left(), n)
		}
	}
	held(70)
	s.arrives(t, "while held")
	s.let(t, 20)
	held(50)
	s.let(t, -1)
	s.over(t)
}

func TestDirectoryInTheWayIsHeld(t *testing.T) {
	for _, size := range []int{10, 1 << 20} { // the larger one is a large file
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := newStorm(t, time.Hour, func(c *Config) { c.BigFile = 100_000 })
			if err := os.RemoveAll(filepath.Join(s.src, "d")); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(s.src, "d"), string(make([]byte, size)))
			s.Changed(queue.Item{Path: "d"})
			s.holds(t, 70)
			s.arrives(t, "while held")
			s.let(t, 20)
			s.holds(t, 50)
			s.let(t, -1)
			s.over(t)
		})
	}
}

func TestDeletionsUnderTheLimitAreNotHeld(t *testing.T) {
	s := newStorm(t, time.Hour, func(c *Config) { c.MaxDelete = 101 })
	if err := os.RemoveAll(filepath.Join(s.src, "d")); err != nil {
		t.Fatal(err)
	}
	s.Changed(queue.Item{Path: "d"})
	s.over(t)
	waitFor(t, func() bool { return s.seen.within(time.Hour) == 101 })
}

func TestSessionThatBreaksHasSpentWhatItWasAllowed(t *testing.T) {
	d := newDeletions(newGuard(30, time.Hour))
	d.busy = true
	b := &batch{deletes: true, allowed: 30, deleted: 4}
	d.spendOn(outcome{given: b, b: b, report: nothing, err: errors.New("refused")})
	if n := d.left(time.Now()); n != 26 || d.busy {
		t.Errorf("%d left after a session that did not begin, want 26; busy %v", n, d.busy)
	}
	b.deleted = 2
	d.spendOn(outcome{given: b, b: b, report: begun, err: errors.New("connection lost")})
	if n := d.left(time.Now()); n != 0 {
		t.Errorf("%d left after a session that broke, want 0", n)
	}
}

var begun = &rsync.Report{Results: make([]rsync.Result, 1)}

// An engine that takes the place of another one has no fresh limit.
func TestNextEngineHasTheSameWindow(t *testing.T) {
	history := &DeleteHistory{}
	s := newStorm(t, time.Hour, func(c *Config) { c.DeleteHistory = history })
	s.remove(t)
	s.holds(t, 70)
	s.end()
	again := follow(t, s.src, s.url, func(c *Config) {
		c.MaxDelete, c.DeleteWindow, c.DeleteHistory = 30, time.Hour, history
	})
	waitFor(t, func() bool {
		snap, err := again.Snapshot(context.Background())
		return err == nil && snap.Held != nil && snap.Held.Entries == 70 && !snap.Passing
	})
	if n := entries(t, filepath.Join(s.dst, "d")); n != 70 {
		t.Errorf("%d files are left, want 70", n)
	}
}

// Whatever happens in the tree, a limit makes it later and not different, and no window has more deletions than that.
func TestFollowUnderALimitMakesAllEqual(t *testing.T) {
	const limit, window = 15, 200 * time.Millisecond
	for seed := range seeds(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			src, seen := t.TempDir(), &clocked{}
			rng := rand.New(rand.NewPCG(seed, 33))
			treetest.Random(t, rng, src, 150)
			url, dst, _ := daemon(t, rsynctest.Config{})
			f := follow(t, src, url, func(c *Config) {
				c.MaxDelete, c.DeleteWindow, c.Observer = limit, window, seen
			})
			settles(t, src, dst)
			for range 4 {
				before := treetest.Snapshot(t, src, plain)
				treetest.Mutate(t, rng, src, 40)
				f.Changed(changedItems(t, before, src)...)
				settles(t, src, dst)
			}
			if n := seen.within(window); n > limit {
				t.Errorf("%d deletions in one window, the limit is %d", n, limit)
			}
		})
	}
}
