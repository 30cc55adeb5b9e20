package queue

import (
	"math"
	"time"
)

// obstacle returns the node that an item of kind k and age since at n has to wait for; nil if it may go. The answer is n
// itself if it waits for what is in flight at n or below.
func (n *node) obstacle(k Kind, since int64, c class) *node {
	if n.busy != nil {
		return n
	}
	if at := n.up.overlap(true, since, c); at != nil {
		return at
	}
	if !n.quiet(k) {
		return n
	}
	return nil
}

// overlap returns the nearest node, from n upwards, at which something is in flight, or is older and waits, that overlaps
// an item below n: a direct child of n, or deeper.
func (n *node) overlap(child bool, since int64, c class) *node {
	for ; n != nil; n, child = n.up, false {
		if f := n.busy; f != nil && f.kind != Self && (f.kind != Dir || child && c != bulk) {
			return n
		}
		if n.where == unquiet && n.live && n.since < since && (n.kind != Dir || child) && n.restrains(c) {
			return n
		}
	}
	return nil
}

// restrains reports whether the live item at n, which waits for what is in flight below it, holds back what would start
// there: not if that is quicker than what the item has to wait for anyway.
func (n *node) restrains(c class) bool {
	below := n.flying(n.kind)
	switch {
	case below[slow] > 0:
		return false
	case below[bulk] > 0:
		return c == bulk
	}
	return true
}

// park lets the item pending at n, which is in no heap, wait for node at.
func (q *Queue[C]) park(n, at *node) {
	if at == n && n.busy == nil {
		n.where = unquiet
		if n.live && n.restrains(live) {
			return
		}
	} else {
		n.where, n.at = parked, at
		q.behind[at] = append(q.behind[at], n)
	}
	if n.busy == nil {
		q.release(n) // what n held back is free
	}
}

// release lets everything that waits for node n be looked at again.
func (q *Queue[C]) release(n *node) {
	if list, ok := q.behind[n]; ok {
		delete(q.behind, n)
		for _, c := range list {
			if c.where == parked && c.at == n {
				c.at = nil
				q.place(c, c.home())
			}
		}
	}
	q.unblock(n)
}

// home is where an item is that only waits for being taken.
func (n *node) home() where {
	if n.live {
		return ready
	}
	return waiting
}

// depart puts the item pending at n, which is in no heap, in flight. What waited for the item waits for the flight.
func (q *Queue[C]) depart(n *node) Item {
	it := Item{n.kind, n.path}
	since := n.since
	n.where = nowhere
	n.count(-1)
	q.pending--
	if !n.live {
		q.waits--
	}
	if n.hold != nil && n.hold.failures == 0 {
		n.hold = nil
	}
	q.launch(n, &flight{kind: it.Kind, since: since})
	return it
}

// launch makes f the flight at n, where there is none.
func (q *Queue[C]) launch(n *node, f *flight) {
	f.seq, f.began = q.seq, q.now
	n.busy = f
	n.fly(f.class, 1)
	if f.pass {
		q.pass++
	}
	if f.kind == locked {
		q.locks++
	} else {
		q.flights[f.class]++
	}
}

// land ends the flight at n, and lets what waited for it be looked at again.
func (q *Queue[C]) land(n *node) {
	f := n.busy
	n.busy = nil
	n.fly(f.class, -1)
	if f.pass {
		q.pass--
	}
	if f.kind == locked {
		q.locks--
	} else {
		q.flights[f.class]--
	}
	for a := n.up; a != nil; a = a.up {
		if a.where == unquiet && a.quiet(a.kind) {
			q.place(a, a.home())
		}
		if a.quiet(Tree) {
			q.unblock(a)
		}
	}
	q.release(n)
	n.trim()
}

// flying returns the node of the item in flight at p; nil if there is none.
func (q *Queue[C]) flying(p string) *node {
	if n := q.root.lookup(p); n != nil && n.busy != nil && n.busy.kind != locked {
		return n
	}
	return nil
}

// Since returns when the change was first seen that the item in flight at p stands for, or the oldest of those that it
// swallowed, or the Tree that was expanded to it. It is zero for the bulk pass, and if nothing is in flight there.
func (q *Queue[C]) Since(p string) time.Time {
	if n := q.flying(p); n != nil && !n.busy.ageless {
		return q.time(n.busy.since)
	}
	return time.Time{}
}

// Backdate makes what is pending or in flight for p as old as since, if that is not zero: it stands for work that was
// found to be left of an older item.
func (q *Queue[C]) Backdate(p string, since time.Time) {
	if since.IsZero() {
		return
	}
	at := q.clock(since)
	if n := q.flying(p); n != nil {
		n.busy.since = min(n.busy.since, at)
	}
	if n := q.coveredBy(Item{Path, p}); n != nil {
		q.inherit(n, at)
	}
}

// Lock keeps every item at or below p out of flight until Unlock, for pruning. It fails, and does nothing, while
// something at or below p is in flight or locked, or a Path or Tree above it. It does not wait: an owner that needs the
// lock tries again when a flight has ended.
func (q *Queue[C]) Lock(p string) bool {
	n := q.root.reach(p)
	free := n.busy == nil && n.quiet(Tree)
	for a := n.up; a != nil && free; a = a.up {
		free = a.busy == nil || a.busy.kind == Dir || a.busy.kind == Self
	}
	if !free {
		n.trim()
		return false
	}
	q.launch(n, &flight{kind: locked, since: q.now})
	return true
}

// Unlock ends a Lock.
func (q *Queue[C]) Unlock(p string) {
	if n := q.root.lookup(p); n != nil && n.busy != nil && n.busy.kind == locked {
		q.land(n)
	}
}

// Slow tells that the item in flight at p will take its time, as a large file does: what waits for it will not hold back
// anything else meanwhile.
func (q *Queue[C]) Slow(p string) {
	n := q.flying(p)
	if n == nil || n.busy.class == slow {
		return
	}
	q.flights[n.busy.class]--
	n.fly(n.busy.class, -1)
	n.busy.class = slow
	n.fly(slow, 1)
	q.flights[slow]++
	q.loosen(n)
}

// loosen looks again at what is held back by items that wait for the flight at n, which lasts longer than they knew.
func (q *Queue[C]) loosen(n *node) {
	for a := n.up; a != nil; a = a.up {
		if a.where == unquiet {
			q.release(a)
		}
	}
}

// Detach gives p, a direct child of the Dir in flight above it, a flight of its own, a Path that is to be ended like
// any other: the Dir can be done before a large file in it is. It reports false, and does nothing, if there is no such
// Dir.
func (q *Queue[C]) Detach(p string) bool {
	n := q.root.reach(p)
	if n.up == nil || n.busy != nil || n.up.busy == nil || n.up.busy.kind != Dir || !n.quiet(Tree) {
		n.trim()
		return false
	}
	from := n.up.busy
	q.launch(n, &flight{kind: Path, class: from.class, since: from.since, ageless: from.ageless, pass: from.pass})
	n.busy.seq, n.busy.began = from.seq, from.began
	return true
}

// Claim turns the item in flight at p into Path(top), for an owner who looked, after he took the item, and found that
// top, p itself or a directory above it, is gone or no directory: making that so at the destination settles all that
// was pending at or below top when the item was taken, and this is swallowed. If something that overlaps is in flight,
// Claim reports false: the item is pending again, and so is Path(top).
//
// The cost is that of having added what is swallowed.
func (q *Queue[C]) Claim(p, top string) bool {
	n := q.flying(p)
	if n == nil || !(Item{Tree, top}).Covers(Item{Path, p}) {
		return false
	}
	f := n.busy
	q.land(n)
	t := q.root.reach(top)
	if t.obstacle(Path, math.MinInt64, live) != nil {
		q.requeue(Item{f.kind, p}, f.since)
		q.requeue(Item{Path, top}, f.since-1) // before what it may settle
		q.limit()
		return false
	}
	seq, began := f.seq, f.began
	f.kind = Path
	q.launch(t, f)
	f.seq, f.began = seq, began
	q.loosen(t)
	q.settle(t)
	if n := q.root.lookup(p); n != nil && n != t {
		q.dismiss(n)
	}
	return true
}

// settle swallows what was pending at or below t before the flight at t began.
func (q *Queue[C]) settle(t *node) {
	var old []*node
	add := func(c *node) {
		if c.changed <= t.busy.seq {
			old = append(old, c)
		}
	}
	if t.where != nowhere {
		add(t)
	}
	t.walk(add)
	for _, c := range old {
		t.busy.since = min(t.busy.since, c.since)
		q.absorb(c)
	}
}
