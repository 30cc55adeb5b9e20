package transfer

import (
	"context"
	"slices"
	"time"

	"github.com/syncd/syncd/internal/scan"
)

// loop is the engine's own goroutine: it gives out work and takes results until nothing is left.
func (e *Engine) loop(ctx context.Context, lists chan<- listJob, listings <-chan listed,
	batches chan<- *batch, outcomes <-chan outcome) error {
	// The pass begins while nothing is in flight: under changes that never pause there would be no other moment at which
	// nothing below its root is.
	next := e.nextList()
	var live *batch
	for {
		now := time.Now()
		e.alive()
		e.receive(now)
		e.nextGroups(now, next == nil)
		e.nextMoves(now, next == nil)
		e.wake(now)
		if live == nil {
			live = e.nextLive(now)
		}
		if next == nil {
			next = e.nextList()
		}
		e.flush(next == nil)
		e.nextRenames(now)
		e.nextDeletion(now)
		e.nextSearch(now)
		lane, b := 0, live
		if b == nil || e.guard.first() {
			lane, b = e.nextBatch()
		}
		if next == nil && b == nil && !e.following && e.idle() {
			return nil
		}
		listTo, list := lists, listJob{}
		if next == nil {
			listTo = nil
		} else {
			list = *next
		}
		sendTo := batches
		if b == nil {
			sendTo = nil
		}
		alarm := e.alarm(now)
		select {
		case listTo <- list:
			e.listing++
			next = nil
		case sendTo <- b:
			if b == live {
				live = nil
			} else {
				e.ready[lane] = e.ready[lane][1:]
			}
			e.running[lane]++
			e.sending[b] = struct{}{}
			e.guard.given(b)
		case l := <-listings:
			e.listing--
			e.add(l)
		case o := <-outcomes:
			e.running[laneOf(o.given)]--
			delete(e.sending, o.given)
			if err := e.settle(o); err != nil {
				return err
			}
		case <-e.inbox.news:
		case ask := <-e.asked:
			ask()
		case <-alarm:
		case <-ctx.Done():
			return e.drain(ctx, listings, outcomes)
		}
	}
}

// nextList takes the next directory to list, unless enough is listed already: what is listed is held in memory.
func (e *Engine) nextList() *listJob {
	if e.paused || e.listing >= scan.DefaultWorkers() || len(e.ready[0])+len(e.ready[1]) > e.sessions {
		return nil
	}
	if len(e.trees) > 0 {
		job := e.trees[0]
		e.trees = e.trees[1:]
		return &job
	}
	if (e.unshared() || e.quiet()) && !e.holdsBack() {
		if p, ok := e.nextPrune(); ok {
			return &listJob{path: p.path, parent: p.parent, prune: true}
		}
	}
	if t, ok := e.queue.TakeTree(); ok {
		return &listJob{path: t.Path, parent: t.Parent}
	}
	return nil
}

// nextBatch returns the batch to send next. Large files never take the last session: small ones must not wait.
func (e *Engine) nextBatch() (lane int, b *batch) {
	running := e.running[0] + e.running[1]
	switch {
	case running >= e.sessions || e.paused:
		return 0, nil
	case len(e.ready[1]) > 0 && e.running[1] < max(1, e.sessions-1):
		lane = 1
	case len(e.ready[0]) == 0:
		return 0, nil
	}
	b = e.ready[lane][0]
	if running > 0 && !e.unshared() && (b.retry || b.kind == prune) {
		return 0, nil // one limit can't be shared by two sessions
	}
	return lane, b
}

// unshared reports whether no limit of deletions concerns several sessions: there is none, or it is kept by those that
// delete alone.
func (e *Engine) unshared() bool { return e.cfg.MaxDelete < 0 || e.guard != nil }

func laneOf(b *batch) int {
	if b.kind == copyBig {
		return 1
	}
	return 0
}

// quiet reports whether nothing is being copied and no tree is left. A pass under --max-delete prunes directories only
// then, batch by batch: a limit for all can't be kept by sessions that run side by side.
func (e *Engine) quiet() bool {
	return e.listing == 0 && e.running[0]+e.running[1] == 0 && len(e.delayed) == 0 &&
		len(e.ready[0])+len(e.ready[1])+len(e.trees) == 0 && e.queue.Trees() == 0 &&
		e.filling == [fills]*batch{} && len(e.gathering.groups) == 0
}

// idle reports whether the pass is at its end.
func (e *Engine) idle() bool {
	return e.quiet() && e.left.since().IsZero() && !e.moves.underWay() && len(e.prunes) == 0 && e.clearing == nil && e.queue.Empty()
}

// wake moves what was waiting for its time to the ready batches.
func (e *Engine) wake(now time.Time) {
	if now.After(e.fewerUntil) {
		e.sessions = e.most
	}
	e.prunes = append(e.prunes, e.left.take(now)...)
	e.delayed = slices.DeleteFunc(e.delayed, func(d delayed) bool {
		if d.due.After(now) {
			return false
		}
		e.prunes = append(e.prunes, d.prunes...)
		if d.b != nil {
			e.enqueue(d.b)
		}
		return true
	})
	e.wakeHeld(now)
	if e.following && now.Sub(e.pressed) >= passPatience/4 {
		e.pressed = now
		e.queue.Press(now, passPatience)
	}
	e.learn(now)
	e.compareLate(now)
	e.sweepLitter(now)
	if (e.unshared() && e.listing == 0 && e.queue.Trees() == 0 || e.quiet()) && !e.prunesFirst(now) {
		e.takePaths(now)
	}
}

// alarm fires when something that waits becomes due.
func (e *Engine) alarm(now time.Time) <-chan time.Time {
	var due time.Time
	for _, d := range e.delayed {
		if due.IsZero() || d.due.Before(due) {
			due = d.due
		}
	}
	if d := e.guard; d != nil && !d.due.IsZero() && (due.IsZero() || d.due.Before(due)) {
		due = d.due
	}
	if t := e.passedOver.Add(passPatience + drainTime); t.After(now) && (due.IsZero() || t.Before(due)) {
		due = t
	}
	if o := &e.outage; !o.since.IsZero() && (due.IsZero() || o.probe.Before(due)) {
		due = o.probe
	}
	if t := e.left.next(); !t.IsZero() && (due.IsZero() || t.Before(due)) {
		due = t
	}
	if t := e.lost.due; !t.IsZero() && (due.IsZero() || t.Before(due)) {
		due = t
	}
	if t := e.litterDue; len(e.litter) > 0 && !t.IsZero() && (due.IsZero() || t.Before(due)) {
		due = t
	}
	if e.searchable() && (due.IsZero() || e.links.after.Before(due)) {
		due = e.links.after
	}
	if t := e.gathering.next(); t.After(now) && (due.IsZero() || t.Before(due)) {
		due = t
	}
	if t := e.renames.next(); t.After(now) && (due.IsZero() || t.Before(due)) {
		due = t
	}
	if t, ok := e.queue.NextDue(); ok && t.After(now) && (due.IsZero() || t.Before(due)) {
		due = t
	}
	if t := e.pace.ready(); t.After(now) && (due.IsZero() || t.Before(due)) {
		due = t
	}
	if every := e.cfg.AliveEvery; every > 0 && (due.IsZero() || due.Sub(now) > every) {
		due = now.Add(every)
	}
	if due.IsZero() {
		return nil
	}
	return time.After(due.Sub(now))
}

func (e *Engine) enqueue(b *batch) {
	lane := laneOf(b)
	e.ready[lane] = append(e.ready[lane], b)
}
