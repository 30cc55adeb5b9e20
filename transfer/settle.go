package transfer

import (
	"errors"
	"io/fs"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
)

// settle takes the result of a session: what is acknowledged leaves the queue, what is not goes back. It returns an
// error when the pass must end.
func (e *Engine) settle(o outcome) error {
	if o.given.moves != nil {
		return e.settleMoves(o)
	}
	e.settleLookup(o.found)
	b := o.b
	if e.guard != nil {
		e.guard.spendOn(o)
	}
	if b == nil {
		return nil
	}
	for _, it := range o.stale {
		e.queue.Add(it, time.Now())
	}
	if o.err != nil {
		e.lose(o)
	}
	if b.kind == relink {
		return e.settleRelink(o)
	}
	if b.seeded != nil {
		e.unused(o)
	}
	e.counters.session(o.report)
	e.plainly.learn(o)
	var pending []bool
	var limited []string
	var unseen map[string]bool // directories
	var news known
	waiting, got := 0, 0
	for i := range b.about {
		r := result(o.report, i)
		if r.State == rsync.Acked && o.changed[i] {
			r.State = rsync.Changed
		}
		if e.session.HardLinks && b.kind != prune {
			e.links.settled(b, i, r.State == rsync.Acked)
		}
		if !b.about[i].primary {
			e.rode(b, i, o.report, &news)
			continue
		}
		if b.deletes && e.settleDeletion(b, i, r, o.report.LimitHit, &limited) {
			if r.State == rsync.Acked && !b.way[b.entries[i].Path] {
				e.inPlace(&news, b, i)
			}
			got++
			continue
		}
		if r.State != rsync.Acked && isDir(b.entries[i].Mode) {
			if unseen == nil {
				unseen = map[string]bool{}
			}
			unseen[b.entries[i].Path] = true
		}
		switch r.State {
		case rsync.Acked:
			got++
			e.inPlace(&news, b, i)
			e.acknowledged(b, i, r)
		case rsync.Changed:
			e.again(b, i, rsync.ErrChanged, changedTries, &e.counters.changed)
		case rsync.NotSent:
			e.notSent(b, i, r.Err)
		case rsync.Failed, rsync.Skipped:
			e.again(b, i, r.Err, refusedTries, &e.counters.refused)
		default:
			if pending == nil {
				pending = make([]bool, len(b.about))
			}
			pending[i] = true
			waiting++
		}
	}
	if o.err == nil && waiting == 0 {
		news.pruned(b, o.report, unseen)
	}
	e.record(&news)
	e.settleDeletes(b, o.report, limited, unseen)
	if b.kind == prune && o.err == nil && e.following {
		e.resizeRound(b.began, time.Now())
	}
	switch {
	case kindOf(o.err) == rsync.KindStuck && !b.deletes:
		e.stuck(b, pending)
	case e.following && b.missing && refusesMissing(o.err):
		e.byDirectories(b, pending)
	case o.err != nil:
		return e.broken(o, pending, got)
	case waiting > 0:
		e.wentWell()
		e.unclear(b, o.report, pending)
	default:
		e.wentWell()
		e.unlock(b.clears)
		e.release(b.parts)
	}
	return nil
}

// rode takes what became of a directory that came along for what is in it. One that a broken session brought has the time
// at which the session wrote there, and nothing that is left of the batch may be in it.
func (e *Engine) rode(b *batch, i int, r *rsync.Report, news *known) {
	switch began := len(r.Results) > 0; {
	case !isDir(b.entries[i].Mode):
	case result(r, i).State == rsync.Acked:
		e.inPlace(news, b, i)
	case began && !e.session.DryRun:
		e.queue.Add(queue.Item{Kind: queue.Self, Path: b.entries[i].Path}, time.Now())
	}
}

// settleDeletes takes what a session did not delete, or could not look for, in directories unseen.
func (e *Engine) settleDeletes(b *batch, r *rsync.Report, limited []string, unseen map[string]bool) {
	refused := false
	for _, words := range r.DeleteErrors {
		if !keptDirectory(words) {
			refused = true
			e.counters.refused.Add(1)
			e.counters.failed.Add(1)
		} else if e.guard != nil && (r.LimitHit || b.kind != prune && !b.deletes) {
			continue // the limit keeps what is in it, or its turn will come
		} // else a filter protects what is in it
		e.tell.note(words)
	}
	if r.LimitHit {
		e.counters.limitHit.Store(true)
	}
	e.holdPaths(limited, r.SkippedDeletes)
	switch {
	case b.kind != prune || !e.following:
	case e.guard != nil && r.LimitHit:
		e.holdPrunes(b.clears, r.SkippedDeletes)
	default:
		e.settlePrune(b, r, refused, unseen)
	}
}

func (e *Engine) wentWell() {
	e.badRun, e.fullRun, e.believed = 0, 0, 0
	now := time.Now()
	e.reached(now)
	e.lost.ended(now)
	e.trouble.over()
}

func result(r *rsync.Report, i int) rsync.Result {
	if r == nil || i >= len(r.Results) {
		return rsync.Result{}
	}
	return r.Results[i]
}

func (e *Engine) acknowledged(b *batch, i int, r rsync.Result) {
	switch {
	case b.kind == prune:
	case b.entries[i].Mode == 0:
		e.wrote(b.entries[i].Path)
		e.counters.vanished.Add(1)
	default:
		if r.Items != 0 { // else nothing was to be done
			e.wrote(b.entries[i].Path)
		}
		e.counters.acknowledged(&b.entries[i], r)
		e.guard.seen(b.entries[i].Path)
	}
	e.drop(b, i)
}

// notSent handles an entry that could not be opened here. One that vanished is looked at again: it may have to go at
// the destination too.
func (e *Engine) notSent(b *batch, i int, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		e.again(b, i, err, changedTries, &e.counters.unreadable)
		return
	}
	e.again(b, i, err, 1, &e.counters.unreadable)
}

// again puts an entry back into the queue as a path of its own, unless that was tried often enough.
func (e *Engine) again(b *batch, i int, reason error, tries int, counter *count) {
	paths := b.answers[int32(i)]
	flying := paths != nil // by themselves
	if !flying {
		paths = []string{b.entries[i].Path}
	}
	for _, p := range paths {
		if e.guard != nil && !b.deletes && b.kind != prune && inTheWay(reason) {
			e.clearWay(p, flying)
			continue
		}
		if n, _ := e.queue.Failures(p); !e.following && (n+1 >= tries || b.kind == prune || e.session.DryRun) {
			if b.retry {
				e.queue.Done(p)
			}
			e.fail(p, reason, counter)
			continue
		}
		if e.following && flying && errors.Is(reason, rsync.ErrChanged) {
			e.queue.Defer(p, time.Now().Add(changedAfter)) // no failure: it is just not the end of its changes
			continue
		}
		e.log.Debug("will be tried again", "path", p, "err", reason)
		e.retry(p, reason)
	}
}

// clearWay has the directory deleted that is in the way of p at the destination.
func (e *Engine) clearWay(p string, flying bool) {
	if flying {
		e.doom(p, true)
		return
	}
	e.queue.Add(queue.Item{Kind: queue.Path, Path: p}, time.Now()) // to be found out again, in flight by itself
}

func (e *Engine) retry(p string, reason error) {
	if e.guard != nil {
		e.guard.let(p)
	}
	e.queue.Retry(p, reason, time.Now())
}

// drop takes what an entry answers out of the queue for good.
func (e *Engine) drop(b *batch, i int) {
	for _, p := range b.answers[int32(i)] {
		if _, owed := b.owes[p]; owed {
			e.queue.Defer(p, time.Now().Add(gatherAgain))
			continue
		}
		e.done(p)
	}
}

// unclear handles a session that ended well but left entries unacknowledged: the server complained of something that
// it did not name, or kept silent of an entry that it was to acknowledge. Asked entry by entry, it must say.
func (e *Engine) unclear(b *batch, r *rsync.Report, pending []bool) {
	if !b.acks && b.kind != prune && !e.session.DryRun && !e.session.Selective() {
		rest := e.rest(b, pending)
		rest.acks, rest.unclear = true, true
		if e.plainly.now.Load() {
			e.portion(rest)
		} else {
			e.enqueue(rest)
		}
		return
	}
	reason := errUnacknowledged
	if len(r.Loose) > 0 {
		reason = errors.New(r.Loose[0])
	}
	for i := range pending {
		if pending[i] {
			e.again(b, i, reason, refusedTries, &e.counters.refused)
		}
	}
	e.unlock(b.clears)
	e.release(b.parts)
}

var errUnacknowledged = errors.New("the server did not acknowledge it")

// fail reports a path that will not be equal.
func (e *Engine) fail(p string, err error, counter *count) {
	if e.following {
		e.retry(p, err)
		return
	}
	counter.Add(1)
	e.counters.failed.Add(1)
	e.log.Debug("not copied", "path", p, "err", err)
	e.tell.failed(p, err)
}
