package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"testing"
	"time"
)

var backoff = Backoff{First: time.Second, Max: 8 * time.Second}

func TestTreesComeDepthFirst(t *testing.T) {
	children := map[string][]string{".": {"a", "b"}, "a": {"x", "y"}, "a/x": {"deep"}, "b": {"z"}}
	q := New[string](backoff)
	q.AddTree(".", "none")
	var got, parents []string
	for {
		task, ok := q.TakeTree()
		if !ok {
			break
		}
		got, parents = append(got, task.Path), append(parents, task.Parent)
		q.Expand(task.Path, "inside "+task.Path, children[task.Path])
		q.Done(task.Path)
	}
	if want := []string{".", "a", "a/x", "a/x/deep", "a/y", "b", "b/z"}; !slices.Equal(got, want) {
		t.Errorf("visited %q, want %q", got, want)
	}
	want := []string{"none", "inside .", "inside a", "inside a/x", "inside a", "inside .", "inside b"}
	if !slices.Equal(parents, want) {
		t.Errorf("parents %q, want %q", parents, want)
	}
	if !q.Empty() {
		t.Error("not empty after everything is done")
	}
}

func TestPassHoldsSiblingsNotTheTree(t *testing.T) {
	const wide, deep = 10, 6
	names := make([]string, wide)
	for i := range names {
		names[i] = fmt.Sprint(i)
	}
	q := New[int](backoff)
	q.AddTree(".", 0)
	visited, most := 0, 0
	for {
		task, ok := q.TakeTree()
		if !ok {
			break
		}
		visited++
		var down []string
		if task.Parent < deep-1 {
			down = names
		}
		q.Expand(task.Path, task.Parent+1, down)
		q.Done(task.Path)
		most = max(most, q.Trees())
	}
	if want := 111111; visited != want {
		t.Fatalf("visited %d directories, want %d", visited, want)
	}
	if limit := wide * deep; most > limit {
		t.Errorf("held %d pending directories, want at most %d", most, limit)
	}
}

func TestFailedPathWaitsLongerEachTime(t *testing.T) {
	q := New[int](backoff)
	now := time.Unix(1000, 0)
	why := errors.New("no space")
	var waits []time.Duration
	for n := 1; n <= 6; n++ {
		if got := q.Retry("p", why, now); got != n {
			t.Fatalf("failure %d counted as %d", n, got)
		}
		due, ok := q.NextDue()
		if !ok {
			t.Fatal("nothing waits")
		}
		if p, ok := q.TakePath(due.Add(-1)); ok {
			t.Fatalf("%s taken before it was due", p)
		}
		waits = append(waits, due.Sub(now))
		now = due
		if p, ok := q.TakePath(now); !ok || p != "p" {
			t.Fatalf("taken %q, %v, want p", p, ok)
		}
		if n, reason := q.Failures("p"); reason != why {
			t.Fatalf("reason %v after %d failures", reason, n)
		}
	}
	for i, full := range []time.Duration{1, 2, 4, 8, 8, 8} {
		if full *= time.Second; waits[i] > full || waits[i] < full*3/4 {
			t.Errorf("wait %d is %v, want at most %v and at least three quarters of it", i+1, waits[i], full)
		}
	}
	q.Done("p")
	if n, _ := q.Failures("p"); n != 0 || !q.Empty() {
		t.Errorf("%d failures remembered after success", n)
	}
}

func TestPathWaitsForWhatCoversIt(t *testing.T) {
	later := time.Unix(1e6, 0)
	q := New[int](backoff)
	q.AddTree(".", 0)
	q.TakeTree()
	q.Expand(".", 0, []string{"a"})
	q.TakeTree()
	q.Expand("a", 0, nil)
	for _, p := range []string{"top", "a/in", "a", "b/free"} {
		q.Retry(p, errors.New("refused"), time.Unix(0, 0))
	}
	take := func() (got []string) {
		for {
			p, ok := q.TakePath(later)
			if !ok {
				slices.Sort(got)
				return got
			}
			got = append(got, p)
		}
	}
	if got := take(); !slices.Equal(got, []string{"b/free"}) {
		t.Errorf("with Dir(.) and Dir(a) in flight: took %q", got)
	}
	q.Done("a")
	if got := take(); !slices.Equal(got, []string{"a/in"}) {
		t.Errorf("with Dir(.) in flight: took %q", got)
	}
	q.Done(".")
	if got := take(); !slices.Equal(got, []string{"top"}) {
		t.Errorf("with a/in in flight: took %q", got)
	}
	q.Done("a/in")
	if got := take(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("with nothing at or below a in flight: took %q", got)
	}
	if q.Empty() {
		t.Error("empty while paths are in flight")
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		i, j Item
		want bool
	}{
		{Item{Tree, "."}, Item{Tree, "a/b"}, true},
		{Item{Tree, "a"}, Item{Path, "a/b/c"}, true},
		{Item{Tree, "a"}, Item{Path, "ab"}, false},
		{Item{Dir, "a"}, Item{Path, "a"}, true},
		{Item{Dir, "a"}, Item{Path, "a/b"}, true},
		{Item{Dir, "a"}, Item{Path, "a/b/c"}, false},
		{Item{Dir, "a"}, Item{Dir, "a/b"}, false},
		{Item{Dir, "a"}, Item{Tree, "a"}, false},
		{Item{Dir, "."}, Item{Path, "a"}, true},
		{Item{Dir, "."}, Item{Path, "."}, true},
		{Item{Path, "a"}, Item{Path, "a"}, true},
		{Item{Path, "a"}, Item{Path, "a/b"}, false},
		{Item{Path, "a"}, Item{Self, "a"}, true},
		{Item{Self, "a"}, Item{Path, "a"}, false},
		{Item{Dir, "a"}, Item{Self, "a/b"}, true},
	} {
		if got := c.i.Covers(c.j); got != c.want {
			t.Errorf("%v covers %v: %v", c.i, c.j, got)
		}
	}
}

// Whatever happens in whatever order, every path that failed is handed out again until it is done, never twice at once
// and never while its directory is in flight.
func TestNothingIsLost(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		q := New[int](backoff)
		now := time.Unix(0, 0)
		open := map[string]bool{}   // Dirs in flight
		trying := map[string]bool{} // Paths in flight
		owed := map[string]bool{}   // Paths that failed and are not done
		expanded := 0
		q.AddTree(".", 0)
		for step := 0; !q.Empty(); step++ {
			if step > 20000 {
				t.Fatalf("seed %d: does not end: %d trees, %d waiting", seed, q.Trees(), q.Waiting())
			}
			switch r.IntN(4) {
			case 0:
				if task, ok := q.TakeTree(); ok {
					var down []string
					if expanded++; expanded < 30 {
						down = []string{"a", "b", "c"}[:r.IntN(4)]
					}
					q.Expand(task.Path, 0, down)
					open[task.Path] = true
				}
			case 1:
				for p := range open {
					child := Join(p, "file")
					if r.IntN(2) == 0 {
						q.Retry(child, errors.New("failed"), now)
						owed[child] = true
					}
					delete(open, p)
					q.Done(p)
					break
				}
			case 2:
				now = now.Add(time.Duration(r.IntN(4)) * time.Second)
				if p, ok := q.TakePath(now); ok {
					if !owed[p] || trying[p] || open[path.Dir(p)] {
						t.Fatalf("seed %d: %s taken: owed %v, in flight %v, directory in flight %v",
							seed, p, owed[p], trying[p], open[path.Dir(p)])
					}
					trying[p] = true
				}
			case 3:
				for p := range trying {
					delete(trying, p)
					if r.IntN(3) == 0 {
						q.Retry(p, errors.New("again"), now)
					} else {
						q.Done(p)
						delete(owed, p)
					}
					break
				}
			}
		}
		if len(owed)+len(trying)+len(open) > 0 {
			t.Fatalf("seed %d: empty, but %v is owed", seed, owed)
		}
	}
}
