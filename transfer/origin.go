package transfer

import (
	"iter"
	"slices"
	"time"

	"github.com/syncd/syncd/internal/queue"
)

// An origin is what work comes from that is not in the queue any more, as its directory is settled but for that: what is
// gone here is to be deleted in it, or names in it wait for others of their inode.
type origin struct {
	since time.Time // of the change; zero: not known
	pass  bool      // it is a part of a pass
}

// originOf is that of what is in flight at p.
func (e *Engine) originOf(p string) origin { return origin{e.queue.Since(p), e.queue.OfPass(p)} }

// merge makes o that of what comes from both; first: there was nothing before.
func (o *origin) merge(from origin, first bool) {
	if first {
		*o = from
		return
	}
	o.pass = o.pass || from.pass
	if from.since.IsZero() || !o.since.IsZero() && from.since.Before(o.since) {
		o.since = from.since
	}
}

// unqueued are those of all such work. What the destination refuses to delete is not among it: nobody waits for that.
func (e *Engine) unqueued() iter.Seq[origin] {
	return func(yield func(origin) bool) {
		for _, p := range e.prunes {
			if !yield(p.origin) {
				return
			}
		}
		for _, p := range e.locked {
			if !yield(p.origin) {
				return
			}
		}
		for _, d := range e.delayed {
			for _, p := range d.prunes {
				if !yield(p.origin) {
					return
				}
			}
		}
		for _, g := range e.gathering.groups {
			if g.waits && !yield(g.origin) {
				return
			}
		}
	}
}

// passing reports whether a pass is under way, or about to begin: a tree of everything that is queued as a change is
// counted by Pass only when it has been listed. What is gone here goes there at its very end. What has no age counts as a
// part of one, so that it is not taken for done.
func (e *Engine) passing() bool {
	if e.queue.Pass() > 0 || e.moves.underWay() {
		return true
	}
	for o := range e.unqueued() {
		if o.pass || o.since.IsZero() {
			return true
		}
	}
	return slices.ContainsFunc(e.queue.Why("."), func(c queue.Cover) bool {
		return c.Kind == queue.Tree && (c.State != queue.Waiting || c.Failure == nil)
	})
}

// oldest is when the oldest change was seen that is not at the destination; zero: there is none.
func (e *Engine) oldest() time.Time {
	first, _ := e.queue.Oldest()
	for o := range e.unqueued() {
		if !o.since.IsZero() && (first.IsZero() || o.since.Before(first)) {
			first = o.since
		}
	}
	return first
}
