package queue

import "time"

// A Rename says that the entry at From is now at To, both in the tree. It stands for Path(From) and, unless it is a
// directory, for Path(To); whoever gets it may do with it more cheaply than with the two, and need not. Tree(To) of a
// directory comes as an item of its own.
//
// All that was changed at or below From before the rename has been told by items that came before it.
type Rename struct {
	From, To string
	Dir      bool
	Since    time.Time // what was changed in the tree before, by the kernel's clock, has been told by earlier items
	Seen     time.Time // it was renamed before
}

// Items returns what the rename stands for.
func (r *Rename) Items() []Item {
	if r.Dir {
		return []Item{{Path, r.From}}
	}
	return []Item{{Path, r.From}, {Path, r.To}}
}

// Then returns the rename of a file that r and, with nothing between them, next come to; false if that is none, because
// next is of another entry or leads back.
func (r *Rename) Then(next *Rename) (both Rename, ok bool) {
	if next.From != r.To || next.To == r.From || next.Dir || r.Dir {
		return both, false
	}
	return Rename{From: r.From, To: next.To, Since: r.Since, Seen: next.Seen}, true
}

// Seize puts Path(p) in flight as if it had been added and taken, if nothing is known to be left to do at or below p: no
// item there, or above it that overlaps, is pending or in flight, nothing is locked, and no directory is unvisited.
// Otherwise it does nothing, and reports false.
func (q *Queue[C]) Seize(p string, now time.Time) bool {
	if n := q.root.lookup(p); q.trees > 0 || n != nil && n.where != nowhere {
		return false
	}
	return q.pick(p, live, now)
}

// Pick is Seize for an owner who looks at p anew: a live Path pending there, due or not, is taken. Unvisited directories
// do not matter, nor a Dir in flight above p unless something is pending: its owner has listed p and sends it by no other
// way.
func (q *Queue[C]) Pick(p string, now time.Time) bool {
	if n := q.root.lookup(p); n != nil && n.where != nowhere {
		return n.live && n.kind == Path && (n.where == ready || n.where == deferred) && q.pick(p, live, now)
	}
	return q.pick(p, bulk, now)
}

func (q *Queue[C]) pick(p string, c class, now time.Time) bool {
	n := q.root.reach(p)
	if n.busy != nil || n.pendingBelow() > 0 || !n.quiet(Tree) || n.up.awaits(true) || n.up.overlap(true, 0, c) != nil {
		n.trim()
		return false
	}
	if n.where != nowhere {
		q.tick(now)
		q.leave(n)
		q.depart(n)
		return true
	}
	q.seq++
	q.stats.Added++
	since := q.stamp(now)
	q.launch(n, &flight{kind: Path, class: c, since: since})
	return true
}

// Overtaken reports whether an item above p is pending that overlaps Path(p): more has happened than at p itself.
func (q *Queue[C]) Overtaken(p string) bool {
	n, exact := q.root.find(p)
	if exact {
		return n.up.awaits(true)
	}
	return n.awaits(isChild(n, p))
}

// TakeOver has the flight at p answer for the Tree that is pending there, and become one: what is added below p from now
// on is an item of its own, and comes afterwards. It reports false, and does nothing, if there is no such Tree.
func (q *Queue[C]) TakeOver(p string) bool {
	n := q.flying(p)
	if n == nil || n.where == nowhere || n.kind != Tree || !n.quiet(Tree) {
		return false
	}
	n.busy.kind = Tree
	n.busy.since = min(n.busy.since, n.since)
	q.absorb(n)
	return true
}

// Pending reports whether an item at p itself is pending.
func (q *Queue[C]) Pending(p string) bool {
	n := q.root.lookup(p)
	return n != nil && n.where != nowhere
}

// awaits reports whether an item is pending, at n or above, that overlaps one below n: a direct child of n, or deeper.
func (n *node) awaits(child bool) bool {
	for ; n != nil; n, child = n.up, false {
		if n.where != nowhere && n.kind != Self && (n.kind != Dir || child) {
			return true
		}
	}
	return false
}
