package queue

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"
)

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

func TestPassCountsWhatIsLeftOfIt(t *testing.T) {
	q := New[int](backoff)
	want := func(n int) {
		t.Helper()
		if got := q.Pass(); got != n {
			t.Errorf("%d of the pass are left, want %d", got, n)
		}
	}
	addPaths(q, start, "e")
	takeAll(q, start)
	want(0)
	q.AddTree("d", 0)
	want(1)
	q.TakeTree()
	want(1)
	q.Expand("d", 0, []string{"x", "y"})
	q.Detach("d/big")
	want(4)
	q.Done("d")
	want(3)
	q.Retry("d/big", errors.New("refused"), start)
	want(2)
	q.TakeTree()
	want(2)
	if !q.OfPass("d/x") || q.OfPass("d/y") || q.OfPass("e") {
		t.Error("not just d/x is in flight of the pass")
	}
	q.Add(Item{Tree, "new"}, start)
	expect(t, "taken", takeAll(q, start), "Tree new")
	q.Expand("new", 0, []string{"z"})
	want(2)
	q.Done("new")
	q.Done("d/x")
	q.Done("e")
	q.Add(Item{Tree, "new"}, start) // also for z
	for _, ok := q.TakeTree(); ok; _, ok = q.TakeTree() {
	}
	want(1)
	q.Done("d/y")
	want(0)
}

func TestLiveTreeOfEverythingIsAPass(t *testing.T) {
	q := New[int](backoff)
	q.Add(Item{Tree, "."}, start)
	expect(t, "taken", takeAll(q, start), "Tree .")
	q.Expand(".", 0, []string{"x"})
	if got := q.Pass(); got != 2 {
		t.Errorf("%d of the pass are left", got)
	}
	q.Done(".")
	q.TakeTree()
	q.Expand("x", 0, []string{"y"})
	q.Done("x")
	if got := q.Pass(); got != 1 {
		t.Errorf("%d of the pass are left", got)
	}
}

// What a live Tree is expanded to is as old as the Tree until it is done, whatever becomes of it.
func TestExpansionKeepsTheAgeOfItsTree(t *testing.T) {
	q := New[int](Backoff{})
	want := func(what string, at int) {
		t.Helper()
		if got, _ := q.Oldest(); !got.Equal(after(time.Duration(at))) {
			t.Errorf("%s: the oldest change is of %v", what, got)
		}
	}
	q.AddTree("bulk", 0)
	q.Add(Item{Tree, "d"}, after(1))
	expect(t, "taken", takeAll(q, after(2)), "Tree d")
	addPaths(q, after(3), "d/busy/f", "later")
	expect(t, "taken", takeAll(q, after(3)), "Path later")
	q.Expand("d", 0, []string{"a", "b", "busy", "c"})
	expect(t, "taken", takeAll(q, after(3)), "Path d/busy/f")
	q.Done("d")
	want("unvisited", 1)
	task, _ := q.TakeTree()
	q.Expand(task.Path, 0, []string{"x"})
	q.Done(task.Path)
	task, _ = q.TakeTree()
	if task.Path != "d/a/x" || !q.Since(task.Path).Equal(after(1)) {
		t.Errorf("took %v of %v", task, q.Since(task.Path))
	}
	q.Fail(task.Item, errors.New("refused"), after(4))
	want("failed", 1)
	expect(t, "taken", takeAll(q, after(10)), "Tree d/a/x")
	q.Done(task.Path)
	task, _ = q.TakeTree() // d/b
	q.Done(task.Path)
	want("unvisited and set aside", 1)
	task, _ = q.TakeTree() // d/c, busy being busy
	q.Done(task.Path)
	want("set aside", 1)
	q.Press(after(20), 5)
	want("pressed", 1)
	q.Done("d/busy/f")
	expect(t, "taken", takeAll(q, after(20)), "Tree d/busy")
	q.Expand("d/busy", 0, []string{"y"})
	q.Done("d/busy")
	q.Add(Item{Tree, "d"}, after(21))
	want("unvisited", 1)
	for task, ok := q.TakeTree(); ok; task, ok = q.TakeTree() {
		q.Done(task.Path) // of the bulk pass
	}
	want("left to a wider one", 1)
	takeAll(q, after(22))
	q.Done("d")
	want("all done but one", 4)
	q.Backdate("later", after(2))
	q.Backdate("later", after(3))
	want("left of an older one", 2)
	q.Done("later")
	addPaths(q, after(30), "later")
	q.Backdate("later", after(29))
	want("the same, pending", 29)
	takeAll(q, after(30))
	q.Done("later")
	if got, _ := q.Oldest(); !got.IsZero() {
		t.Errorf("all done, and the oldest change is of %v", got)
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
