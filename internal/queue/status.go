package queue

import (
	"iter"
	"slices"
	"strings"
	"time"
)

// Stats counts since New.
type Stats struct {
	Added          int64 // calls of Add
	Swallowed      int64 // items that another one answers for
	CollapsedDirs  int64 // Dirs made of what was too much
	CollapsedTrees int64 // Trees made of what was too much
}

// Stats returns the counters.
func (q *Queue[C]) Stats() Stats { return q.stats }

// Counts says how many items there are of each sort.
type Counts struct {
	Live      int // pending for Take, those that wait included
	Waiting   int // failed, pending for TakePath
	Trees     int // directories known and not yet visited
	Failing   int // with a record of failures, pending or in flight
	InFlight  int // all but locks, of which
	Bulk      int // came from TakeTree, and
	Slow      int // are Slow
	Locks     int
	Collapsed int64 // times that items were collapsed into a wider one
}

// Counts counts in constant time.
func (q *Queue[C]) Counts() Counts {
	return Counts{
		Live: q.pending - q.waits, Waiting: q.waits, Trees: q.trees, Failing: len(q.failing),
		InFlight: q.flights[live] + q.flights[bulk] + q.flights[slow], Bulk: q.flights[bulk], Slow: q.flights[slow],
		Locks: q.locks, Collapsed: q.stats.CollapsedDirs + q.stats.CollapsedTrees,
	}
}

// A Failure is why an item is not done yet.
type Failure struct {
	Item     Item
	Reason   error
	Attempts int
	Since    time.Time // of the first failure in a row
	Due      time.Time // of the next attempt; it is over while the item is being tried or waits its turn
}

func (q *Queue[C]) failure(n *node) Failure {
	it := Item{n.kind, n.path}
	if n.where == nowhere && n.busy != nil {
		it.Kind = n.busy.kind
	}
	h := n.hold
	return Failure{it, h.reason, h.failures, q.time(h.since), q.time(h.due)}
}

// Failing returns what failed and is not done yet, in no particular order. The queue must not be used meanwhile.
func (q *Queue[C]) Failing() iter.Seq2[string, Failure] {
	return func(yield func(string, Failure) bool) {
		for _, n := range q.failing {
			if !yield(n.path, q.failure(n)) {
				return
			}
		}
	}
}

// Oldest returns when the oldest change was seen that is not acknowledged yet, pending or in flight, and when what fails
// first failed; zero if there is none. The bulk pass has no age; what a live Tree is expanded to has that of the Tree. It
// looks at all that is pending.
func (q *Queue[C]) Oldest() (unacknowledged, failing time.Time) {
	const none = int64(^uint64(0) >> 1)
	change, failure := none, none
	var visit func(n *node)
	visit = func(n *node) {
		if n.where != nowhere {
			change = min(change, n.since)
		}
		if f := n.busy; f != nil && f.kind != locked && !f.ageless {
			change = min(change, f.since)
		}
		n.children(func(c *node) bool {
			visit(c)
			return true
		})
	}
	visit(q.root)
	for _, f := range q.stacks[0] {
		change = min(change, f.since)
	}
	for _, frames := range q.blocked {
		for _, f := range frames {
			if f.live {
				change = min(change, f.since)
			}
		}
	}
	for _, n := range q.failing {
		failure = min(failure, n.hold.since)
	}
	if change != none {
		unacknowledged = q.time(change)
	}
	if failure != none {
		failing = q.time(failure)
	}
	return unacknowledged, failing
}

// A State says what an item is waiting for.
type State uint8

// The states of items.
const (
	InFlight  State = iota
	Pending         // to be taken
	Blocked         // pending, and held back by what is in flight
	Waiting         // put off: Due says until when, Failure why if it failed
	Unvisited       // a directory that the pass has still to come to
	Locked          // not an item: kept out of flight by Lock
)

// String returns a word for --why.
func (s State) String() string {
	return [...]string{"in flight", "pending", "blocked", "waiting", "unvisited", "locked"}[s]
}

// A Cover is an item that covers a path.
type Cover struct {
	Item
	State   State
	Since   time.Time // when the change was first seen; zero for bulk
	Began   time.Time // InFlight, Locked: when it was taken
	Due     time.Time // Waiting
	Behind  string    // Blocked: path of what it waits for; its own path: what is in flight there or below
	Failure *Failure  // nil: never failed
}

// Why returns what covers p now, the items nearest to the root first: what will bring p to the destination, or is doing
// so. Nothing covers what is settled. It looks at all unvisited directories.
func (q *Queue[C]) Why(p string) []Cover {
	var covers []Cover
	want := Item{Self, p}
	n, _ := q.root.find(p)
	for a := n; a != nil; a = a.up {
		if a.where != nowhere && (Item{a.kind, a.path}).Covers(want) {
			covers = append(covers, q.pendingCover(a))
		}
		if f := a.busy; f != nil {
			if it := (Item{min(f.kind, Tree), a.path}); it.Covers(want) {
				covers = append(covers, q.flightCover(it, a))
			}
		}
	}
	slices.Reverse(covers)
	for i := range q.stacks {
		covers = appendUnvisited(covers, q.stacks[i], want)
	}
	for _, frames := range q.blocked {
		covers = appendUnvisited(covers, frames, want)
	}
	return covers
}

func (q *Queue[C]) pendingCover(n *node) Cover {
	c := Cover{Item: Item{n.kind, n.path}, State: Pending, Since: q.time(n.since)}
	switch n.where {
	case waiting, deferred:
		c.State, c.Due = Waiting, q.time(n.hold.due)
	case parked:
		c.State, c.Behind = Blocked, n.at.path
	case unquiet:
		c.State, c.Behind = Blocked, n.path
	}
	if n.hold != nil && n.hold.failures > 0 {
		f := q.failure(n)
		c.Failure = &f
	}
	return c
}

func (q *Queue[C]) flightCover(it Item, n *node) Cover {
	f := n.busy
	c := Cover{Item: it, State: InFlight, Began: q.time(f.began)}
	if f.kind == locked {
		c.State = Locked
	} else if !f.ageless {
		c.Since = q.time(f.since)
	}
	return c
}

func appendUnvisited[C any](covers []Cover, frames []frame[C], want Item) []Cover {
	for _, f := range frames {
		if !(Item{Tree, f.dir}).Covers(want) {
			continue
		}
		name := want.Path
		if f.dir != "." {
			name = strings.TrimPrefix(strings.TrimPrefix(name, f.dir), "/")
		}
		name, _, _ = strings.Cut(name, "/")
		if slices.Contains(f.names, name) || slices.Contains(f.names, ".") {
			covers = append(covers, Cover{Item: Item{Tree, Join(f.dir, name)}, State: Unvisited})
		}
	}
	return covers
}
