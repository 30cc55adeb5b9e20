// Package queue holds the statements "make the destination equal to the source at X" that are not yet acknowledged.
//
// There are three sorts of them, and one index, a trie of paths, that knows what covers and what overlaps what.
//
//   - Live items come by Add as the source changes and leave by Take in order of age. An item swallows the pending ones
//     that it covers; one that overlaps what is in flight waits, so a path that changes while it is in flight is taken
//     again afterwards. When too many are pending they are collapsed into wider ones: coverage is never lost.
//   - Bulk: a full copy is the single item Tree("."). It is expanded lazily: a Tree that is taken and listed becomes
//     Dir, which stays in flight until everything in it is acknowledged, and one pending Tree for each child directory.
//     Expansion is depth first, so a pass over a hundred million files holds the unvisited siblings along one path, not
//     the tree.
//   - What failed comes back after a time that grows with each attempt, and with the reason of its last failure. A
//     change of the path makes it live at once.
//
// Two items overlap, and are never in flight together, when
//
//   - they are at the same path, or
//   - one is a Path or a Tree and the other is below it: a Path may turn out to be the deletion of all that was there,
//     or a file in a directory's place, or
//   - one is a Dir and the other is at a direct child of it; the exception are the Trees that TakeTree returns, which
//     go on beside the Dir that their parent has become.
//
// So a Self overlaps nothing below it.
//
// A lock counts as a Tree in flight.
//
// A live item that waits for what is in flight below it holds back what would come to be in flight there, or a busy
// directory's own attributes would never be sent. It holds back nothing, however, that is quicker than what it waits
// for itself: neither live items while bulk is in flight there, nor anything at all while something Slow is.
//
// A Queue has no lock: one goroutine owns it. Every operation costs the depth of the path and the logarithm of what is
// pending, but for what is said of it.
package queue

import (
	"path"
	"strings"
	"time"
)

// A Kind says how much below its path an item covers.
type Kind int8

// The kinds of items, from the narrowest to the widest.
const (
	// Self is the attributes of what is known to be a directory. Who takes it and finds that it no longer is one must
	// make it a Path, by Claim.
	Self Kind = iota - 1
	// Path is the entry alone; of a directory its attributes, not its contents. Gone at the source means: to be
	// deleted at the destination.
	Path
	// Dir is a directory and its direct children.
	Dir
	// Tree is a directory and everything below it.
	Tree
)

// String returns the name that design.md uses.
func (k Kind) String() string {
	return [...]string{"Self", "Path", "Dir", "Tree", "Lock"}[k-Self]
}

// An Item is one statement. Its path is relative to the source root, "." being the root.
type Item struct {
	Kind Kind
	Path string
}

// Covers reports whether making i true makes j true as well.
func (i Item) Covers(j Item) bool {
	switch i.Kind {
	case Tree:
		return i.Path == "." || j.Path == i.Path || strings.HasPrefix(j.Path, i.Path+"/")
	case Dir:
		return j.Kind != Tree && j.Path == i.Path || j.Kind <= Path && path.Dir(j.Path) == i.Path && j.Path != "."
	default:
		return j.Path == i.Path && j.Kind <= i.Kind
	}
}

// DefaultMaxPending is how many items are pending before they are collapsed.
const DefaultMaxPending = 100_000

// A Queue is made by New. Its type parameter is what the owner wants to have at hand of a directory when one of the
// directory's children is taken. The exported fields may be set at any time.
type Queue[C any] struct {
	// Delay is how long a live item waits for more to come before it may be taken. Zero: not at all.
	Delay time.Duration
	// MaxPending bounds the items that are pending, failed ones included; bulk is not. Zero: DefaultMaxPending;
	// negative: no bound. What is collapsed comes from Take, even if all of it came from Retry.
	MaxPending int

	backoff  Backoff
	root     *node
	ready    heap // live, by age
	waiting  heap // failed Paths, by due time
	deferred heap // other items that are not to be taken yet, by due time
	behind   map[*node][]*node
	failing  []*node // those whose hold counts failures

	stacks  [2][]frame[C]        // Trees that TakeTree returns, the next one last: of live items, of the bulk pass
	blocked map[*node][]frame[C] // taken off the stacks because of what is in flight

	epoch     time.Time
	now       int64 // when it was last told
	lastSince int64
	seq       uint64
	pending   int
	waits     int // of pending: for TakePath
	flights   [classes]int
	locks     int
	trees     int // names in stacks and blocked
	pass      int // of trees, and of flights
	stats     Stats
}

// New returns an empty queue that spaces failed attempts by b.
func New[C any](b Backoff) *Queue[C] {
	return &Queue[C]{
		backoff:  b,
		root:     &node{path: "."},
		ready:    heap{before: byAge},
		waiting:  heap{before: byDue},
		deferred: heap{before: byDue},
		behind:   map[*node][]*node{},
		blocked:  map[*node][]frame[C]{},

		lastSince: -1,
	}
}

// Add queues a live item for what changed at now. A pending item that covers it answers for it; pending ones that it
// covers it swallows, and takes over the age of the oldest. What is in flight answers for nothing that is added: the
// item waits for it to end. An item of the same path that waits for another attempt, or was put off, need not wait any
// longer; the record of its failures stays until it succeeds, or fails for another reason.
//
// The cost of swallowing is that of having added what is swallowed.
func (q *Queue[C]) Add(it Item, now time.Time) {
	q.seq++
	q.stats.Added++
	if n := q.coveredBy(it); n != nil {
		n.changed = q.seq
		q.stats.Swallowed++
		if n.hold != nil && n.path == it.Path {
			n.hold.changed = true
		}
		return
	}
	q.want(q.root.reach(it.Path), it.Kind, q.stamp(now))
	q.limit()
}

// Take puts the oldest live item that is due, and that overlaps nothing in flight, in flight and returns it.
func (q *Queue[C]) Take(now time.Time) (Item, bool) {
	clock := q.tick(now)
	q.wake(clock)
	for {
		n := q.ready.first()
		if n == nil || q.Delay > 0 && n.since+int64(q.Delay) > clock {
			return Item{}, false
		}
		q.ready.remove(n)
		n.where = nowhere
		if at := n.obstacle(n.kind, n.since, live); at != nil {
			q.park(n, at)
			continue
		}
		return q.depart(n), true
	}
}

// TakePath puts the next path that failed, whose back-off has passed, and that overlaps nothing in flight, in flight
// and returns it.
func (q *Queue[C]) TakePath(now time.Time) (string, bool) {
	clock := q.tick(now)
	for {
		n := q.waiting.first()
		if n == nil || n.hold.due > clock {
			return "", false
		}
		q.waiting.remove(n)
		n.where = nowhere
		// By its age it would go before all that waits for what is in flight below it. Many that fail again and again
		// would then never leave a gap for a change of the directory that they are in.
		if at := n.obstacle(n.kind, max(n.since, n.hold.due), live); at != nil {
			q.park(n, at)
			continue
		}
		return q.depart(n).Path, true
	}
}

// Done takes the item at p out of flight: it is acknowledged, or given up. Its record of failures goes, unless a
// Path(p) that failed waits for the Dir or Tree at p to end.
func (q *Queue[C]) Done(p string) {
	n := q.flying(p)
	if n == nil {
		return
	}
	if n.where == nowhere || n.busy.kind <= Path && n.active() {
		q.forget(n)
	}
	q.land(n)
}

// Retry queues Path(p) again for a time that its record of failures tells. It returns the number of failures so far,
// this one included. A Path in flight at p ends; a Dir or Tree at p or above it stays, and holds the path back. If p
// changed while it was in flight, it does not wait.
func (q *Queue[C]) Retry(p string, reason error, now time.Time) int {
	return q.Fail(Item{Path, p}, reason, now)
}

// Defer puts the item in flight at p back among the live ones, to be taken no sooner than at due. It keeps its age and
// counts no failure. A change of p makes it due at once.
func (q *Queue[C]) Defer(p string, due time.Time) {
	n := q.flying(p)
	if n == nil {
		return
	}
	it, since := Item{n.busy.kind, p}, n.busy.since
	q.land(n)
	n = q.root.reach(p)
	if n.active() || q.coveredBy(it) != nil {
		q.requeue(it, since)
		return
	}
	if n.hold == nil {
		n.hold = &hold{}
	}
	q.postpone(n, it.Kind, since, q.clock(due))
	q.limit()
}

// NextDue returns when the next item becomes due that only has to wait for its time; false if there is none. It is in
// the past while one is due and not yet taken.
func (q *Queue[C]) NextDue() (time.Time, bool) {
	due, ok := int64(0), false
	earlier := func(t int64) {
		if !ok || t < due {
			due, ok = t, true
		}
	}
	if n := q.ready.first(); n != nil {
		earlier(n.since + int64(q.Delay))
	}
	for _, h := range []*heap{&q.waiting, &q.deferred} {
		if n := h.first(); n != nil {
			earlier(n.hold.due)
		}
	}
	return q.time(due), ok
}

// Empty reports whether nothing is pending, in flight or locked.
func (q *Queue[C]) Empty() bool {
	return q.trees == 0 && q.pending == 0 && q.flights == [classes]int{} && q.locks == 0
}

// Join joins a directory and a name of an item.
func Join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// clock returns t as the queue counts time.
func (q *Queue[C]) clock(t time.Time) int64 {
	if q.epoch.IsZero() {
		q.epoch = t
	}
	return int64(t.Sub(q.epoch))
}

// tick returns now as the queue counts time, and remembers it for those who do not tell the time.
func (q *Queue[C]) tick(now time.Time) int64 {
	q.now = q.clock(now)
	return q.now
}

// stamp returns a first-seen time that no other item has: items seen at the same time keep their order.
func (q *Queue[C]) stamp(now time.Time) int64 {
	q.lastSince = max(q.tick(now), q.lastSince+1)
	return q.lastSince
}

func (q *Queue[C]) time(t int64) time.Time { return q.epoch.Add(time.Duration(t)) }

// Has reports whether an item at p itself is pending or in flight.
func (q *Queue[C]) Has(p string) bool {
	n := q.root.lookup(p)
	return n != nil && (n.where != nowhere || n.busy != nil && n.busy.kind != locked)
}
