package queue

import (
	"cmp"
	"math"
	"slices"
)

// limit collapses pending items into wider ones when there are too many. It frees a quarter of the room at least, so
// that its cost, which is that of looking at all that is pending, is shared by many additions.
func (q *Queue[C]) limit() {
	most := q.MaxPending
	if most == 0 {
		most = DefaultMaxPending
	}
	if most < 0 || q.pending <= most {
		return
	}
	target := most - most/4
	q.collapse(target, Dir)
	for q.pending > target {
		q.collapse(target, Tree)
	}
}

// A merger is a node at which one item of a wider kind would replace several. Its gain is how many fewer that makes.
type merger struct {
	n    *node
	gain int
}

// collapse makes items of kind k of what is pending, where this frees most first, until no more than target are left.
// Dirs are made wherever two items become one. Trees are made only as low as possible, since they widen what is to be
// looked at: where what is pending comes together for the first time. Another round finds the next such places above.
func (q *Queue[C]) collapse(target int, k Kind) {
	var found []merger
	if k == Dir {
		q.root.crowded(&found)
	} else {
		q.root.joints(&found)
	}
	slices.SortFunc(found, func(a, b merger) int {
		return cmp.Or(cmp.Compare(b.gain, a.gain), cmp.Compare(a.n.path, b.n.path))
	})
	for _, m := range found {
		if q.pending <= target {
			return
		}
		q.merge(m.n, k)
		if k == Dir {
			q.stats.CollapsedDirs++
		} else {
			q.stats.CollapsedTrees++
		}
	}
}

// crowded finds the directories at and below n with Paths to merge.
func (n *node) crowded(found *[]merger) {
	if n.pendingBelow() == 0 {
		return
	}
	gain := int(n.sub.paths)
	if n.where == nowhere {
		gain--
	}
	if gain > 0 {
		*found = append(*found, merger{n, gain})
	}
	n.children(func(c *node) bool {
		c.crowded(found)
		return true
	})
}

// joints finds the lowest directories at and below n that join several pending items. It returns how many n has.
func (n *node) joints(found *[]merger) int {
	total := int(n.pendingBelow())
	if n.where != nowhere {
		total++
	}
	if total < 2 {
		return total
	}
	lowest := true
	n.children(func(c *node) bool {
		if c.joints(found) > 1 {
			lowest = false
		}
		return true
	})
	if lowest {
		*found = append(*found, merger{n, total - 1})
	}
	return total
}

// merge replaces what an item of kind k at n covers by that item. It waits for its time only if all that it replaces
// does, and then no longer than the first of them.
func (q *Queue[C]) merge(n *node, k Kind) {
	parts := n.covered(k)
	if n.where != nowhere {
		parts = append(parts, n)
	}
	since, due := parts[0].since, int64(math.MaxInt64)
	var worst hold
	for _, c := range parts {
		since = min(since, c.since)
		if c.active() || c.hold == nil {
			q.requeue(Item{k, n.path}, since)
			return
		}
		due = min(due, c.hold.due)
		if c.hold.failures > worst.failures {
			worst = *c.hold
		}
	}
	if n.hold == nil {
		n.hold = &hold{since: worst.since, failures: worst.failures, reason: worst.reason}
		q.enroll(n)
	}
	q.postpone(n, k, since, due)
	q.swallow(n)
}
