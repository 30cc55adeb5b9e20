package queue

import (
	"math/rand/v2"
	"time"
)

// A Backoff spaces attempts: First after the first failure, doubling up to Max, each shortened by a random part of
// up to a quarter so that what failed together does not come back together.
type Backoff struct {
	First, Max time.Duration
}

// Delay returns the wait after the n-th failure in a row, n >= 1.
func (b Backoff) Delay(n int) time.Duration {
	d := b.First
	for ; n > 1 && d < b.Max; n-- {
		d *= 2
	}
	d = min(d, b.Max)
	if d >= 4 {
		d -= rand.N(d / 4)
	}
	return d
}

// A hold is the record of an item that may not be taken before its time, and of its failures until it succeeds.
type hold struct {
	due      int64
	since    int64 // of the first failure
	failures int   // zero: only put off
	reason   error
	changed  bool // the path changed since the last failure
	pos      int  // in Queue.failing
}

// Fail is Retry for an item of any kind: it ends the flight at it.Path, if there is one that is not wider, and queues it
// again. A Dir or Tree that failed comes back from Take.
func (q *Queue[C]) Fail(it Item, reason error, now time.Time) int {
	n := q.root.reach(it.Path)
	since, ended := q.tick(now), false
	if f := n.busy; f != nil && f.kind <= it.Kind {
		since, ended = f.since, true
	}
	h := q.blame(n, reason, now)
	count := h.failures
	if ended {
		q.land(n)
	}
	if n.active() {
		h.due, n.changed = q.now, q.seq
		if ended {
			q.inherit(n, since)
		}
		if q.widen(n, it.Kind) {
			q.leave(n)
			q.place(n, ready)
			q.swallow(n)
		}
		return count
	}
	if over := q.coveredBy(it); over != nil {
		q.inherit(over, since)
		over.changed = q.seq
		q.yield(n)
		return count
	}
	q.postpone(n, it.Kind, since, q.clock(now.Add(q.backoff.Delay(count))))
	q.limit()
	return count
}

// dismiss drops the record of n, at which nothing is pending, unless it is that of what is in flight there.
func (q *Queue[C]) dismiss(n *node) {
	if n.where == nowhere && (n.busy == nil || n.busy.kind == locked) {
		q.forget(n)
		n.trim()
	}
}

// blame counts a failure at n.
func (q *Queue[C]) blame(n *node, reason error, now time.Time) *hold {
	h := n.hold
	if h == nil {
		h = &hold{}
		n.hold = h
	}
	if h.changed && h.reason != nil && h.reason.Error() != reason.Error() {
		q.unlist(h)
		h.failures = 0
	}
	h.changed = false
	h.failures++
	if h.failures == 1 {
		h.since = q.clock(now)
		q.enroll(n)
	}
	h.reason = reason
	return h
}

// forget drops the record of n, which no heap needs any more.
func (q *Queue[C]) forget(n *node) {
	if n.hold != nil && n.hold.failures > 0 {
		q.unlist(n.hold)
	}
	n.hold = nil
}

// enroll puts the record of n into the list of failing nodes, if it counts any failure.
func (q *Queue[C]) enroll(n *node) {
	if n.hold.failures > 0 {
		n.hold.pos = len(q.failing)
		q.failing = append(q.failing, n)
	}
}

// unlist takes a record out of the list of failing nodes.
func (q *Queue[C]) unlist(h *hold) {
	last := len(q.failing) - 1
	moved := q.failing[last]
	q.failing[h.pos] = moved
	moved.hold.pos = h.pos
	q.failing[last] = nil
	q.failing = q.failing[:last]
}

// Failures returns how often p failed since it was last done, and why the last time.
func (q *Queue[C]) Failures(p string) (int, error) {
	if n := q.root.lookup(p); n != nil && n.hold != nil {
		return n.hold.failures, n.hold.reason
	}
	return 0, nil
}

// Waiting returns the number of paths that failed and wait for TakePath.
func (q *Queue[C]) Waiting() int { return q.waits }
