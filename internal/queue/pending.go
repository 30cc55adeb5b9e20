package queue

// coveredBy returns the node whose pending item answers for it; nil if none does.
func (q *Queue[C]) coveredBy(it Item) *node {
	n, exact := q.root.find(it.Path)
	if exact {
		if n.active() && n.kind >= it.Kind {
			return n
		}
		if n.up == nil {
			return nil
		}
	}
	parent := n
	if exact {
		parent = n.up
	}
	// If p has no node, the nearest above it that has one is p's parent only if no component is missing between.
	direct := exact || isChild(parent, it.Path)
	for a := parent; a != nil; a = a.up {
		if a.active() && (a.kind == Tree || a.kind == Dir && direct && a == parent && it.Kind <= Path) {
			return a
		}
	}
	return nil
}

// isChild reports whether p, which is below n, is a direct child of it.
func isChild(n *node, p string) bool {
	from := 0
	if n.up != nil {
		from = len(n.path) + 1
	}
	for i := from; i < len(p); i++ {
		if p[i] == '/' {
			return false
		}
	}
	return true
}

// want makes an item of this kind at n pending and live, beside what is pending there already.
func (q *Queue[C]) want(n *node, k Kind, since int64) {
	n.changed = q.seq
	if n.where == nowhere {
		q.enlist(n, k, since)
		n.live = true
		q.place(n, ready)
	} else {
		q.stats.Swallowed++
		moved := q.widen(n, k)
		if !n.live {
			n.live = true
			q.waits--
			moved = moved || n.where == parked // perhaps for what its age does not make it wait for
		}
		if n.where == waiting || n.where == deferred || moved {
			q.leave(n)
			q.place(n, ready)
		}
		q.inherit(n, since)
	}
	if n.hold != nil {
		n.hold.changed = true
	}
	q.swallow(n)
}

// requeue makes an item that was in flight pending and live again, unless a pending one answers for it.
func (q *Queue[C]) requeue(it Item, since int64) {
	n := q.root.reach(it.Path)
	if over := q.coveredBy(it); over != nil && over != n {
		q.inherit(over, since)
		over.changed = q.seq
		q.yield(n)
		return
	}
	q.want(n, it.Kind, since)
}

// postpone makes an item of this kind at n, which has a hold, pending until due.
func (q *Queue[C]) postpone(n *node, k Kind, since, due int64) {
	if n.where == nowhere {
		q.enlist(n, k, since)
	} else {
		q.leave(n)
		q.widen(n, k)
		n.since, n.changed = min(n.since, since), q.seq
		if !n.live {
			q.waits--
		}
	}
	n.hold.due = due
	n.live = n.kind != Path || n.hold.failures == 0
	if n.live {
		q.place(n, deferred)
	} else {
		q.waits++
		q.place(n, waiting)
	}
}

// enlist counts a new pending item.
func (q *Queue[C]) enlist(n *node, k Kind, since int64) {
	n.kind, n.since, n.changed = k, since, q.seq
	n.count(1)
	q.pending++
}

// strike is the reverse of enlist: nothing is pending at n any more.
func (q *Queue[C]) strike(n *node) {
	q.leave(n)
	n.count(-1)
	q.pending--
	if !n.live {
		q.waits--
	}
	if n.hold != nil && n.hold.failures == 0 {
		n.hold = nil
	}
}

// widen makes the item pending at n at least of kind k, and reports whether it was narrower.
func (q *Queue[C]) widen(n *node, k Kind) bool {
	if k <= n.kind {
		return false
	}
	if n.kind <= Path && k > Path && n.up != nil {
		n.up.sub.paths--
	}
	n.kind = k
	return true
}

// inherit makes the item pending at n as old as since.
func (q *Queue[C]) inherit(n *node, since int64) {
	if since >= n.since {
		return
	}
	n.since = since
	switch {
	case n.where == ready:
		q.ready.fix(n)
	case n.where == parked && n.at.busy == nil: // behind an item that may be the younger one now
		q.leave(n)
		q.place(n, n.home())
	}
}

// place puts the pending item of n, which is nowhere, into the heap that goes with w.
func (q *Queue[C]) place(n *node, w where) {
	n.where = w
	if h := q.heapOf(w); h != nil {
		h.push(n)
	}
}

// leave takes the pending item of n out of wherever it is. What it held back is free to be looked at again.
func (q *Queue[C]) leave(n *node) {
	if h := q.heapOf(n.where); h != nil {
		h.remove(n)
	}
	n.where, n.at = nowhere, nil
	if n.busy == nil {
		q.release(n)
	}
}

func (q *Queue[C]) heapOf(w where) *heap {
	switch w {
	case ready:
		return &q.ready
	case waiting:
		return &q.waiting
	case deferred:
		return &q.deferred
	}
	return nil
}

// swallow removes what is pending below n and covered by the item pending there.
func (q *Queue[C]) swallow(n *node) {
	for _, c := range n.covered(n.kind) {
		q.inherit(n, c.since)
		n.changed = max(n.changed, c.changed)
		q.absorb(c)
	}
}

// yield drops the record of n, whose item another one answers for, and with it what waits there if that is covered too.
func (q *Queue[C]) yield(n *node) {
	switch {
	case n.where == nowhere:
		q.dismiss(n)
	case q.coveredAbove(n) != nil:
		q.absorb(n)
	}
}

// absorb removes the item pending at n for good: something else answers for it.
func (q *Queue[C]) absorb(n *node) {
	q.stats.Swallowed++
	q.strike(n)
	q.dismiss(n)
}

// wake makes ready what was put off until now. What would cover it has swallowed it before.
func (q *Queue[C]) wake(now int64) {
	for {
		n := q.deferred.first()
		if n == nil || n.hold.due > now {
			return
		}
		q.deferred.remove(n)
		n.where = nowhere
		q.place(n, ready)
		q.swallow(n)
	}
}

// coveredAbove returns the node above n whose pending item answers for the one at n.
func (q *Queue[C]) coveredAbove(n *node) *node {
	for a := n.up; a != nil; a = a.up {
		if a.active() && (a.kind == Tree || a.kind == Dir && a == n.up && n.kind <= Path) {
			return a
		}
	}
	return nil
}
