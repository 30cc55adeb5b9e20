package queue

import (
	"maps"
	"math"
	"path"
	"slices"
	"time"
)

// A Task is an item taken from the queue, with what its owner remembered about the directory it was found in.
type Task[C any] struct {
	Item
	Parent C
}

// A frame holds the child directories of one directory that are still to be visited. Keeping names instead of items
// is what makes a directory with a million subdirectories affordable.
type frame[C any] struct {
	parent C
	dir    string
	names  []string
	live   bool  // of a live Tree
	since  int64 // of that
	pass   bool  // of a Tree of everything
	aside  int64 // when it was set aside first; zero: never
}

// AddTree queues everything at and below p for the bulk pass.
func (q *Queue[C]) AddTree(p string, parent C) {
	q.push(frame[C]{parent: parent, dir: path.Dir(p), names: []string{path.Base(p)}, pass: true})
}

func (q *Queue[C]) push(f frame[C]) {
	if len(f.names) > 0 {
		q.unvisited(&f, len(f.names))
		s := q.stackOf(f.live)
		*s = append(*s, f)
	}
}

// unvisited counts n names more of f, or less.
func (q *Queue[C]) unvisited(f *frame[C], n int) {
	q.trees += n
	if f.pass {
		q.pass += n
	}
}

func (q *Queue[C]) stackOf(live bool) *[]frame[C] {
	if live {
		return &q.stacks[0]
	}
	return &q.stacks[1]
}

// TakeTree puts the next Tree that overlaps nothing in flight, depth first, in flight and returns it; false if there is
// none. What a live Tree was expanded to comes before the bulk pass. A Tree that a pending live one covers is dropped:
// the live one will bring it again.
func (q *Queue[C]) TakeTree() (Task[C], bool) {
	for i := range q.stacks {
		for len(q.stacks[i]) > 0 {
			if t, ok := q.takeFrom(&q.stacks[i]); ok {
				return t, true
			}
		}
	}
	return Task[C]{}, false
}

// takeFrom takes the last frame's first Tree, or sets aside, or drops, what of the frame can't be taken.
func (q *Queue[C]) takeFrom(s *[]frame[C]) (Task[C], bool) {
	f := &(*s)[len(*s)-1]
	p := Join(f.dir, f.names[0])
	n, exact := q.root.find(p)
	if over := q.coveredBy(Item{Tree, p}); over != nil {
		if f.live {
			q.inherit(over, f.since)
		}
		if exact && over == n {
			q.shift(s, 1)
		} else {
			q.shift(s, len(f.names))
		}
		return Task[C]{}, false
	}
	var at *node
	if exact {
		at = n.obstacle(Tree, math.MaxInt64, bulk)
	} else {
		at = n.overlap(isChild(n, p), math.MaxInt64, bulk)
	}
	if at != nil {
		count := len(f.names) // whatever is at the directory or above it is in the way of all of them
		if exact && at == n {
			count = 1
		}
		aside := *f
		aside.names = f.names[:count:count]
		if aside.aside == 0 {
			aside.aside = max(q.now, 1)
		}
		q.shift(s, count)
		q.unvisited(&aside, count)
		q.blocked[at] = append(q.blocked[at], aside)
		return Task[C]{}, false
	}
	t := Task[C]{Item: Item{Tree, p}, Parent: f.parent}
	taken := flight{kind: Tree, class: bulk, since: q.now, ageless: !f.live, fromLive: f.live, pass: f.pass}
	if f.live {
		taken.since = f.since
	}
	q.shift(s, 1)
	n = q.root.reach(p)
	q.launch(n, &taken)
	return t, true
}

// Press makes live items of directories that the pass has waited for longer than patience, because something below them
// was in flight all the time: a live item holds back what comes after it. It looks at all that waits.
func (q *Queue[C]) Press(now time.Time, patience time.Duration) {
	late := q.tick(now) - int64(patience)
	since := map[string]int64{}
	for n, frames := range q.blocked {
		frames = slices.DeleteFunc(frames, func(f frame[C]) bool {
			p := Join(f.dir, f.names[0])
			// Several wait for something at the directory that they are in, or above it: that is one flight, and ends.
			if len(f.names) > 1 || p != n.path || f.aside > late {
				return false
			}
			if since[p] = q.now; f.live {
				since[p] = f.since
			}
			q.unvisited(&f, -1)
			return true
		})
		if len(frames) == 0 {
			delete(q.blocked, n)
		} else {
			q.blocked[n] = frames
		}
	}
	for _, p := range slices.Sorted(maps.Keys(since)) {
		it := Item{Tree, p}
		q.Add(it, now)
		if over := q.coveredBy(it); over != nil {
			q.inherit(over, since[p])
		}
	}
}

// shift removes the first count names of the last frame.
func (q *Queue[C]) shift(s *[]frame[C], count int) {
	last := len(*s) - 1
	f := &(*s)[last]
	f.names = f.names[count:]
	q.unvisited(f, -count)
	if len(f.names) == 0 {
		*f = frame[C]{}
		*s = (*s)[:last]
	}
}

// unblock puts back on the stacks what waits for node n, the deepest last.
func (q *Queue[C]) unblock(n *node) {
	frames, ok := q.blocked[n]
	if !ok {
		return
	}
	delete(q.blocked, n)
	for i := len(frames) - 1; i >= 0; i-- {
		q.unvisited(&frames[i], -len(frames[i].names))
		q.push(frames[i])
	}
}

// Expand replaces the Tree at p, which is in flight, by Dir(p), which now is, and a pending Tree for each named child,
// visited in the order given. parent is handed out with each of them.
func (q *Queue[C]) Expand(p string, parent C, children []string) {
	n := q.flying(p)
	if n == nil {
		return
	}
	f := n.busy
	if p == "." && f.kind == Tree && !f.pass {
		f.pass = true
		q.pass++
	}
	f.kind = Dir
	q.release(n)
	q.push(frame[C]{
		parent: parent, dir: p, names: children, live: f.class == live || f.fromLive, since: f.since, pass: f.pass,
	})
}

// Trees returns the number of directories known and not yet visited.
func (q *Queue[C]) Trees() int { return q.trees }

// Pass returns how much of passes is left: directories known and not yet visited, and what is in flight of them. A pass
// is the bulk pass, or what a live Tree of everything is expanded to.
func (q *Queue[C]) Pass() int { return q.pass }

// OfPass reports whether what is in flight at p is a part of a pass.
func (q *Queue[C]) OfPass(p string) bool {
	n := q.flying(p)
	return n != nil && n.busy.pass
}
