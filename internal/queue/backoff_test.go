package queue

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

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
