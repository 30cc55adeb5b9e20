package queue

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

var start = time.Unix(1_000_000, 0)

func after(d time.Duration) time.Time { return start.Add(d) }

// takeAll takes live items until none may be taken.
func takeAll(q *Queue[int], now time.Time) (got []string) {
	for it, ok := q.Take(now); ok; it, ok = q.Take(now) {
		got = append(got, it.Kind.String()+" "+it.Path)
	}
	return got
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func addPaths(q *Queue[int], now time.Time, paths ...string) {
	for _, p := range paths {
		q.Add(Item{Path, p}, now)
	}
}

func TestItemsComeInOrderOfAge(t *testing.T) {
	q := New[int](backoff)
	addPaths(q, start, "b", "a", "d/x") // all at one time: as they came
	addPaths(q, after(1), "c", "b")     // b is older than its latest change
	expect(t, "taken", takeAll(q, after(1)), "Path b", "Path a", "Path d/x", "Path c")
}

func TestWiderItemInheritsTheAgeOfWhatItSwallows(t *testing.T) {
	q := New[int](backoff)
	addPaths(q, start, "d/old")
	addPaths(q, after(1), "between", "d/sub/deep")
	q.Add(Item{Dir, "d"}, after(2))
	addPaths(q, after(3), "d/new", "d")
	expect(t, "taken", takeAll(q, after(3)), "Dir d", "Path between", "Path d/sub/deep")

	q = New[int](backoff)
	addPaths(q, start, "d/sub/deep")
	addPaths(q, after(1), "between")
	q.Add(Item{Tree, "d"}, after(2))
	q.Add(Item{Dir, "d/sub/deeper"}, after(3))
	expect(t, "taken", takeAll(q, after(3)), "Tree d", "Path between")
}

func TestChangedInFlightIsTakenAgain(t *testing.T) {
	for name, end := range map[string]func(q *Queue[int]){
		"acknowledged": func(q *Queue[int]) { q.Done("p") },
		"failed":       func(q *Queue[int]) { q.Retry("p", errors.New("refused"), start) },
		"put off":      func(q *Queue[int]) { q.Defer("p", after(time.Hour)) },
	} {
		q := New[int](backoff)
		addPaths(q, start, "p")
		expect(t, name, takeAll(q, start), "Path p")
		addPaths(q, start, "p")
		expect(t, name+", in flight", takeAll(q, start))
		end(q)
		expect(t, name+", ended", takeAll(q, start), "Path p")
		q.Done("p")
		if !q.Empty() {
			t.Errorf("%s: not empty", name)
		}
	}
}

func TestDelayGathersChanges(t *testing.T) {
	q := New[int](backoff)
	q.Delay = 5 * time.Second
	addPaths(q, start, "p")
	addPaths(q, after(4*time.Second), "p", "q")
	expect(t, "early", takeAll(q, after(5*time.Second-1)))
	if due, ok := q.NextDue(); !ok || !due.Equal(after(5*time.Second)) {
		t.Errorf("next due %v, %v", due, ok)
	}
	expect(t, "in time", takeAll(q, after(5*time.Second)), "Path p")
	expect(t, "later", takeAll(q, after(10*time.Second)), "Path q")
}

// Changes of a directory's content come without end; its own attributes must get their turn, and must not stop what is
// quicker than what they wait for.
func TestDirectoryGetsItsTurn(t *testing.T) {
	q := New[int](backoff)
	addPaths(q, start, "d/1", "big")
	takeAll(q, start)
	q.Slow("big")
	addPaths(q, after(1), "d", "d/2", "e")
	expect(t, "with d/1 in flight", takeAll(q, after(1)), "Path e")
	q.Done("d/1")
	expect(t, "after d/1", takeAll(q, after(2)), "Path d")
	q.Done("d")
	expect(t, "after d", takeAll(q, after(3)), "Path d/2")

	q.Slow("d/2")
	addPaths(q, after(4), "d", "d/3")
	expect(t, "with something slow in flight", takeAll(q, after(4)), "Path d/3")
	if why := q.Why("d"); len(why) != 1 || why[0].State != Blocked || why[0].Behind != "d" {
		t.Errorf("why d: %+v", why)
	}
}

// What a claim makes of a flight deep below a directory may be slower than what the directory knew that it waits for.
func TestClaimLoosensWhatIsHeldBack(t *testing.T) {
	q := New[int](backoff)
	addPaths(q, start, "p/kid", "p/top/deep")
	takeAll(q, start)
	q.Slow("p/top/deep")
	q.Add(Item{Dir, "p"}, start)
	q.Add(Item{Dir, "p/other"}, start)
	expect(t, "with p/kid in flight", takeAll(q, start))
	if !q.Claim("p/top/deep", "p/top") {
		t.Fatal("nothing overlaps p/top")
	}
	expect(t, "with a slow p/top in flight", takeAll(q, start), "Dir p/other")
}

func TestCollapseWidensAsLittleAsItCan(t *testing.T) {
	q := New[int](backoff)
	q.MaxPending = 12
	for i := range 6 {
		addPaths(q, after(time.Duration(i)), fmt.Sprintf("many/%d", i))
	}
	addPaths(q, after(6), "few/1", "few/2", "x/1/f", "x/2/f", "x/3/f", "lone/f")
	if c := q.Counts(); c.Live != 12 || c.Collapsed != 0 {
		t.Fatalf("%+v", c)
	}
	addPaths(q, after(7), "other")
	want := []string{"Dir many", "Path few/1", "Path few/2", "Path x/1/f", "Path x/2/f", "Path x/3/f", "Path lone/f", "Path other"}
	for i := range 5 {
		addPaths(q, after(8), fmt.Sprintf("deep/%d/f", i))
		want = append(want, fmt.Sprintf("Path deep/%d/f", i))
	}
	// The thirteenth: the Dir that frees most is not enough, so the directories that join most become Trees.
	want = []string{"Dir many", "Dir few", "Path x/1/f", "Path x/2/f", "Path x/3/f", "Path lone/f", "Path other", "Tree deep"}
	expect(t, "taken", takeAll(q, after(9)), want...)
	if s := q.Stats(); s.CollapsedDirs != 2 || s.CollapsedTrees != 1 {
		t.Errorf("%+v", s)
	}
}

func TestClaimSettlesWhatWasBelow(t *testing.T) {
	q := New[int](backoff)
	addPaths(q, start, "d/a/1", "d/a/2", "d/b", "d", "e")
	it, _ := q.Take(start)
	addPaths(q, after(1), "d/b") // after the owner may have looked
	if !q.Claim(it.Path, "d") {
		t.Fatal("nothing else is in flight")
	}
	expect(t, "while d is deleted", takeAll(q, after(1)), "Path e")
	q.Done("d")
	expect(t, "after that", takeAll(q, after(1)), "Path d/b")

	q = New[int](backoff)
	addPaths(q, start, "d/1", "d/2")
	takeAll(q, start)
	if q.Claim("d/1", "d") {
		t.Fatal("claimed with d/2 in flight")
	}
	expect(t, "with d/2 in flight", takeAll(q, start))
	q.Done("d/2")
	expect(t, "after d/2", takeAll(q, start), "Path d")
	if !q.Claim("d", "d") {
		t.Fatal("d is alone")
	}
	q.Done("d")
	if !q.Empty() {
		t.Error("d/1 is left")
	}
}

func TestDetachedFileOutlivesItsDir(t *testing.T) {
	q := New[int](backoff)
	q.Add(Item{Dir, "d"}, start)
	takeAll(q, start)
	if !q.Detach("d/big") || q.Detach("d/big") || q.Detach("e/f") {
		t.Fatal("a child of a Dir in flight is to be detached, once")
	}
	q.Slow("d/big")
	addPaths(q, start, "d/small", "d/big")
	expect(t, "with Dir(d) in flight", takeAll(q, start))
	q.Done("d")
	expect(t, "with d/big in flight", takeAll(q, start), "Path d/small")
	q.Done("d/big")
	expect(t, "after d/big", takeAll(q, start), "Path d/big")
}

func TestLockKeepsOutWhatIsBelow(t *testing.T) {
	q := New[int](backoff)
	addPaths(q, start, "d/sub/f")
	takeAll(q, start)
	if q.Lock("d") {
		t.Fatal("locked with d/sub/f in flight")
	}
	q.Done("d/sub/f")
	if !q.Lock("d") || q.Lock("d") || q.Lock("d/sub") || q.Lock(".") {
		t.Fatal("d is to be locked, once, with all below it")
	}
	if !q.Lock("dd") || q.Empty() {
		t.Error("dd is not below d")
	}
	addPaths(q, start, "d/sub/f", "d", "d/x", "e/f", ".")
	q.Add(Item{Dir, "."}, start)
	q.AddTree("d/sub", 0)
	expect(t, "locked", takeAll(q, start), "Path e/f")
	if _, ok := q.TakeTree(); ok {
		t.Error("a Tree taken below the lock")
	}
	q.Unlock("d")
	q.Unlock("dd")
	q.Done("e/f")
	if got := takeAll(q, start); len(got) == 0 {
		t.Error("nothing taken after the lock")
	}
}

func TestWhyNamesWhatCoversAPath(t *testing.T) {
	q := New[int](backoff)
	refused := errors.New("refused")
	q.Add(Item{Dir, "d"}, start)
	takeAll(q, start)
	addPaths(q, after(1), "d/x")
	takeAll(q, after(1))
	q.AddTree("far", 0)
	q.Retry("gone", refused, start)
	q.Lock("locked")
	for p, want := range map[string][]State{
		"d/x":      {InFlight, Blocked},
		"d/x/deep": nil,
		"far/away": {Unvisited},
		"gone":     {Waiting},
		"locked/x": {Locked},
		"settled":  nil,
	} {
		var got []State
		for _, c := range q.Why(p) {
			got = append(got, c.State)
		}
		if !slices.Equal(got, want) {
			t.Errorf("why %s: %v, want %v", p, got, want)
		}
	}
	if c := q.Why("d/x"); !c[0].Since.Equal(start) || !c[1].Since.Equal(after(1)) || c[1].Behind != "d" {
		t.Errorf("why d/x: %+v", c)
	}
	if c := q.Why("gone"); c[0].Failure == nil || c[0].Failure.Reason != refused || !c[0].Due.After(start) {
		t.Errorf("why gone: %+v", c)
	}
}

func TestOldestCountsWhatIsInFlight(t *testing.T) {
	q := New[int](backoff)
	if a, b := q.Oldest(); !a.IsZero() || !b.IsZero() {
		t.Errorf("empty, but oldest %v, %v", a, b)
	}
	addPaths(q, start, "p")
	takeAll(q, start)
	addPaths(q, after(1), "q")
	q.Retry("r", errors.New("refused"), after(2))
	if a, b := q.Oldest(); !a.Equal(start) || !b.Equal(after(2)) {
		t.Errorf("oldest %v, failing %v", a, b)
	}
	q.Done("p")
	if a, _ := q.Oldest(); !a.Equal(after(1)) {
		t.Errorf("oldest %v", a)
	}
}

func TestSelfGoesBesideWhatIsBelow(t *testing.T) {
	q := New[int](backoff)
	addPaths(q, start, "d/1")
	takeAll(q, start)
	q.Add(Item{Self, "d"}, start)
	expect(t, "with d/1 in flight", takeAll(q, start), "Self d")
	addPaths(q, start, "d/2", "d")
	expect(t, "with Self(d) in flight", takeAll(q, start), "Path d/2")
	if q.Claim("d", "d") {
		t.Error("made a Path with d/1 in flight")
	}
	q.Done("d/1")
	q.Done("d/2")
	expect(t, "after what was below", takeAll(q, start), "Path d")
}

// What was swallowed by an older item is not older for that: a claim must not take it along.
func TestClaimLeavesWhatWasSwallowedSince(t *testing.T) {
	q := New[int](backoff)
	q.Add(Item{Tree, "d"}, start)
	takeAll(q, start)
	q.Fail(Item{Tree, "d"}, errors.New("refused"), start)
	addPaths(q, start, "d/1")
	takeAll(q, start)
	addPaths(q, after(1), "d/2")
	q.Delay = 2 * time.Hour
	expect(t, "woken, but not due", takeAll(q, after(time.Hour)))
	if !q.Claim("d/1", "d") {
		t.Fatal("nothing else is in flight")
	}
	if len(q.Why("d/2")) == 0 {
		t.Error("a change made after the claimed item was taken is gone")
	}
}
