package queue

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
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

func TestChangeEndsBackoff(t *testing.T) {
	same, other := errors.New("permission denied"), errors.New("no space")
	q := New[int](backoff)
	for range 3 {
		q.Retry("p", same, start)
	}
	q.Retry("q", same, start)
	expect(t, "in back-off", takeAll(q, start))
	addPaths(q, start, "p")
	expect(t, "changed", takeAll(q, start), "Path p")
	if n := q.Retry("p", errors.New("permission denied"), start); n != 4 {
		t.Errorf("failed for the same reason, counted %d, want 4", n)
	}
	addPaths(q, start, "p")
	takeAll(q, start)
	if n := q.Retry("p", other, start); n != 1 {
		t.Errorf("failed for another reason, counted %d, want 1", n)
	}
	if n := q.Retry("q", other, start); n != 2 {
		t.Errorf("never changed, counted %d, want 2", n)
	}
}

func TestDeferredComesInTimeAndKeepsItsAge(t *testing.T) {
	q := New[int](backoff)
	addPaths(q, start, "old")
	takeAll(q, start)
	q.Defer("old", after(time.Minute))
	addPaths(q, after(time.Second), "new")
	if due, _ := q.NextDue(); due.After(after(time.Minute)) {
		t.Errorf("next due %v", due)
	}
	expect(t, "early", takeAll(q, after(time.Minute-1)), "Path new")
	addPaths(q, after(2*time.Second), "newer")
	expect(t, "in time", takeAll(q, after(time.Minute)), "Path old", "Path newer")
	if q.Counts().Failing != 0 {
		t.Error("to be put off is no failure")
	}
}

func TestFailedDirComesBackFromTake(t *testing.T) {
	q := New[int](backoff)
	q.Add(Item{Tree, "d"}, start)
	takeAll(q, start)
	q.Fail(Item{Tree, "d"}, errors.New("input/output error"), start)
	addPaths(q, start, "d/x") // must not wait with it
	expect(t, "in back-off", takeAll(q, start), "Path d/x")
	q.Done("d/x")
	addPaths(q, start, "d/y")
	if p, ok := q.TakePath(after(time.Hour)); ok {
		t.Errorf("TakePath gave %s", p)
	}
	expect(t, "due", takeAll(q, after(time.Hour)), "Tree d")
	if n, _ := q.Failures("d"); n != 1 {
		t.Errorf("%d failures, want 1", n)
	}
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

func TestBulkYieldsToWhatWaitsForIt(t *testing.T) {
	q := New[int](backoff)
	q.AddTree(".", 0)
	q.TakeTree()
	q.Expand(".", 0, []string{"a", "b"})
	q.TakeTree()
	q.Expand("a", 0, []string{"x", "y"})
	if task, _ := q.TakeTree(); task.Path != "a/x" {
		t.Fatalf("got %q", task.Path)
	}
	q.Expand("a/x", 0, nil)
	q.Done("a")
	q.Done(".")
	addPaths(q, start, "a")
	expect(t, "the pass is in a", takeAll(q, start))
	addPaths(q, after(1), "a/z")
	expect(t, "live items go on meanwhile", takeAll(q, after(1)), "Path a/z")
	q.Done("a/z")
	if task, ok := q.TakeTree(); !ok || task.Path != "b" {
		t.Errorf("the pass goes on with %q, not with b", task.Path)
	}
	q.Done("a/x")
	expect(t, "the pass has left a", takeAll(q, after(2)), "Path a")
	if task, ok := q.TakeTree(); ok {
		t.Errorf("%q taken below a", task.Path)
	}
	q.Done("a")
	if task, ok := q.TakeTree(); !ok || task.Path != "a/y" {
		t.Errorf("the pass goes on with %q, not with a/y", task.Path)
	}
}

func TestLiveTreeGoesBeforeThePassAndInsteadOfIt(t *testing.T) {
	q := New[int](backoff)
	q.AddTree("pass", 1)
	q.AddTree("moved/old", 2)
	q.Add(Item{Tree, "moved"}, start)
	if n := q.Trees(); n != 2 {
		t.Fatalf("%d trees", n)
	}
	if task, _ := q.TakeTree(); task.Path != "pass" {
		t.Errorf("%q taken: a pending Tree covers it", task.Path)
	}
	q.Expand("pass", 1, []string{"a"})
	expect(t, "taken", takeAll(q, start), "Tree moved")
	q.Expand("moved", 7, []string{"x", "z"})
	if task, _ := q.TakeTree(); task.Path != "moved/x" || task.Parent != 7 {
		t.Errorf("got %+v", task)
	}
	q.Expand("moved/x", 8, []string{"y"})
	if task, _ := q.TakeTree(); task.Path != "moved/x/y" {
		t.Errorf("got %+v, want what the live Tree has led to", task)
	}
	if task, _ := q.TakeTree(); task.Path != "moved/z" {
		t.Errorf("got %+v", task)
	}
	if task, _ := q.TakeTree(); task.Path != "pass/a" {
		t.Errorf("got %+v", task)
	}
	q.Expand("moved/z", 9, []string{"y"})
	q.Expand("pass/a", 1, []string{"b"})
	if task, _ := q.TakeTree(); task.Path != "moved/z/y" {
		t.Errorf("got %+v, want what the live Tree has led to", task)
	}
	if task, _ := q.TakeTree(); task.Path != "pass/a/b" {
		t.Errorf("got %+v", task)
	}
	for _, p := range []string{"pass", "pass/a", "pass/a/b", "moved", "moved/x", "moved/x/y", "moved/z", "moved/z/y"} {
		q.Done(p)
	}
	if !q.Empty() {
		t.Errorf("left: %+v", q.Counts())
	}
}

func TestWideDirectoryIsSetAsideAsAWhole(t *testing.T) {
	names := make([]string, 100_000)
	for i := range names {
		names[i] = fmt.Sprint(i)
	}
	q := New[int](backoff)
	q.AddTree("a", 0)
	q.TakeTree()
	q.Expand("a", 0, names)
	q.Done("a")
	addPaths(q, start, "a", "a/7")
	expect(t, "taken", takeAll(q, start), "Path a")
	if task, ok := q.TakeTree(); ok {
		t.Fatalf("%s taken below a Path in flight", task.Path)
	}
	if n := len(q.blocked[q.root.lookup("a")]); n != 1 || q.Trees() != len(names) {
		t.Errorf("%d names set aside in %d pieces", q.Trees(), n)
	}
	q.Done("a")
	if task, ok := q.TakeTree(); !ok || task.Path != "a/0" {
		t.Errorf("got %q", task.Path)
	}
}

func TestOnlyTheTreeInTheWayIsSetAside(t *testing.T) {
	q := New[int](backoff)
	q.AddTree("a", 0)
	q.TakeTree()
	q.Expand("a", 0, []string{"x", "y"})
	q.Done("a")
	addPaths(q, start, "a/x/f")
	takeAll(q, start)
	if task, _ := q.TakeTree(); task.Path != "a/y" {
		t.Errorf("got %+v, want the one that nothing is in flight below", task)
	}
	q.Done("a/x/f")
	if task, _ := q.TakeTree(); task.Path != "a/x" {
		t.Errorf("got %+v", task)
	}
}

func TestSuccessEndsTheRecord(t *testing.T) {
	q := New[int](backoff)
	q.Retry("p", errors.New("refused"), start)
	if p, _ := q.TakePath(after(time.Second)); p != "p" {
		t.Fatal("p is due")
	}
	addPaths(q, after(time.Second), "p")
	q.Done("p")
	if n, _ := q.Failures("p"); n != 0 || q.Counts().Failing != 0 {
		t.Errorf("%d failures remembered", n)
	}
	expect(t, "changed meanwhile", takeAll(q, after(time.Second)), "Path p")
}

func TestSecondFailureMovesTheDueTime(t *testing.T) {
	q := New[int](backoff)
	q.Retry("p", errors.New("refused"), start)
	q.Retry("q", errors.New("refused"), after(time.Millisecond))
	for range 4 {
		q.Retry("p", errors.New("refused"), start)
	}
	if p, _ := q.TakePath(after(2 * time.Second)); p != "q" {
		t.Errorf("got %q, want q", p)
	}
	if p, ok := q.TakePath(after(2 * time.Second)); ok {
		t.Errorf("%s taken before its time", p)
	}
}

// A Tree that waits in back-off must not be dropped when its directory's own entry fails and something covers that.
func TestCoveredEntryDoesNotTakeItsTreeAlong(t *testing.T) {
	q := New[int](backoff)
	refused := errors.New("refused")
	q.Add(Item{Tree, "b"}, start)
	takeAll(q, start)
	q.Fail(Item{Tree, "b"}, refused, start)
	q.Add(Item{Dir, "."}, start)
	takeAll(q, start)
	q.Add(Item{Dir, "."}, start)
	q.Retry("b", refused, start)
	q.Done(".")
	expect(t, "at once", takeAll(q, start), "Dir .")
	q.Done(".")
	expect(t, "due", takeAll(q, after(time.Hour)), "Tree b")
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

func TestCollapsedFailuresStillWait(t *testing.T) {
	q := New[int](backoff)
	q.MaxPending = 4
	full := errors.New("no space")
	for i := range 5 {
		q.Retry(fmt.Sprintf("d/%d", i), full, start)
	}
	expect(t, "in back-off", takeAll(q, start))
	for p, f := range q.Failing() {
		if p != "d" || f.Reason != full || f.Attempts != 1 || f.Item.Kind != Dir || !f.Due.After(start) {
			t.Errorf("failing: %s %+v", p, f)
		}
	}
	if c := q.Counts(); c.Failing != 1 || c.Live != 1 || c.Waiting != 0 {
		t.Errorf("%+v", c)
	}
	expect(t, "due", takeAll(q, after(time.Second)), "Dir d")
	q.Done("d")

	for range 4 { // this one is due last
		q.Retry("e/0", full, start)
	}
	q.Retry("e/1", full, start)
	for i := range 3 {
		q.Retry(fmt.Sprintf("e/%d", i+2), full, after(500*time.Millisecond))
	}
	expect(t, "due with the first of them", takeAll(q, after(time.Second)), "Dir e")
	if n, _ := q.Failures("e"); n != 4 {
		t.Errorf("%d failures, want those of the worst", n)
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

func TestBulkCountsWhatIsInFlightOfThePass(t *testing.T) {
	q := New[int](backoff)
	q.AddTree("d", 0)
	want := func(n int) {
		t.Helper()
		if got := q.Bulk(); got != n {
			t.Errorf("%d of the pass are in flight, want %d", got, n)
		}
	}
	want(0)
	addPaths(q, start, "e")
	takeAll(q, start)
	want(0)
	q.TakeTree()
	want(1)
	q.Expand("d", 0, nil)
	q.Detach("d/big")
	want(2)
	q.Done("d")
	want(1)
	q.Retry("d/big", errors.New("refused"), start)
	want(0)
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

func TestFailuresLeaveAGapForTheirDirectory(t *testing.T) {
	q := New[int](Backoff{First: 1 << 20, Max: 1 << 20})
	addPaths(q, start, "d/a", "d/b")
	expect(t, "taken first", takeAll(q, start), "Path d/a", "Path d/b")
	q.Retry("d/a", errors.New("no"), start)
	q.Retry("d/b", errors.New("no"), after(1<<20)) // due when the other one is being tried
	if p, ok := q.TakePath(after(1 << 20)); p != "d/a" || !ok {
		t.Fatalf("took %q, %v", p, ok)
	}
	addPaths(q, after(1<<20), "d")
	expect(t, "taken while one is tried", takeAll(q, after(1<<20)))
	if p, ok := q.TakePath(after(1 << 22)); ok {
		t.Errorf("%q goes before the directory, which waits for it to end", p)
	}
	q.Retry("d/a", errors.New("no"), after(1<<22))
	expect(t, "taken then", takeAll(q, after(1<<22)), "Path d")
	q.Done("d")
	if p, ok := q.TakePath(after(1 << 22)); p != "d/b" || !ok {
		t.Errorf("took %q, %v", p, ok)
	}
}

// Changes that never cease below a directory do not keep the pass from it.
func TestPassComesToBusyDirectory(t *testing.T) {
	q := New[int](Backoff{})
	now := time.Unix(1000, 0)
	take := func(want string) {
		t.Helper()
		if it, ok := q.Take(now); !ok || it.Path != want {
			t.Fatalf("took %v, %v, want %s", it, ok, want)
		}
	}
	q.Add(Item{Path, "d/0"}, now)
	take("d/0")
	q.AddTree("d", 0)
	for i := range 5 { // the next begins before the last ends
		if task, ok := q.TakeTree(); ok {
			t.Fatalf("took %v beside what is in flight below it", task)
		}
		now = now.Add(time.Second)
		q.Press(now, 10*time.Second)
		next := "d/" + strconv.Itoa(i+1)
		q.Add(Item{Path, next}, now)
		take(next)
		q.Done("d/" + strconv.Itoa(i))
	}
	now = now.Add(10 * time.Second)
	q.Press(now, 10*time.Second)
	if q.Trees() != 0 {
		t.Errorf("%d trees wait for the pass", q.Trees())
	}
	q.Add(Item{Path, "d/6"}, now.Add(time.Second))
	if it, ok := q.Take(now); ok {
		t.Fatalf("took %v before the directory", it)
	}
	q.Done("d/5")
	if it, ok := q.Take(now); !ok || it != (Item{Tree, "d"}) {
		t.Fatalf("took %v, %v, want the directory", it, ok)
	}
}
