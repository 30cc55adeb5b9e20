package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/syncd/syncd/internal/rsync"
)

// rest returns what of b is still to be done, as a batch that inherits the directories that wait for b.
func (e *Engine) rest(b *batch, pending []bool) *batch {
	if b.content {
		for _, p := range b.parts {
			e.work[p].prune = true
		}
	}
	s := b.subset(func(i int) bool { return pending[i] })
	s.parts = b.parts
	return s
}

// broken handles a session that ended badly.
func (e *Engine) broken(o outcome, pending []bool, got int) error {
	b := o.b
	if over(o.err) {
		return o.err
	}
	if e.following && e.outage.unreached(o.err, time.Now()) {
		e.away(o.err, time.Now())
	}
	e.mayHaveWritten(b, pending)
	e.littered(o, pending)
	e.trouble.is(o.err)
	e.log.Debug("session failed", "err", o.err, "try", b.tries+1)
	e.counters.retries.Add(1)
	if b.deletes || b.kind == prune {
		e.giveSpare(o.err) // no change may come that would use it
	}
	if b.kind == prune {
		return e.pruneAgain(o)
	}
	if b.deletes {
		e.deleteAgain(b, pending)
		return nil
	}
	if got > 0 || e.gotOn(o) {
		e.badRun, b.tries = 0, 0
	} else {
		e.badRun++
		b.tries++
	}
	kind := kindOf(o.err)
	switch {
	case kind == rsync.KindDiskFull:
		if e.fullRun++; got > 0 {
			e.fullRun = 0
		}
		if e.fullRun > fullTries && !e.following {
			return o.err
		}
	case e.giveSpare(o.err):
	case kind == rsync.KindBusy && e.running[0]+e.running[1] > 0:
		e.sessions = e.running[0] + e.running[1] // that many it takes
		e.fewerUntil = time.Now().Add(busyFor)
		b.tries = 0
	case !e.following && b.tries >= sessionTries && e.badRun >= sessionTries:
		return e.giveUp(o.err)
	}
	if pending == nil {
		e.release(b.parts)
		return nil
	}
	rest := e.rest(b, pending)
	rest.acks, rest.resumes = b.acks || e.asks(time.Now()), true
	if kind == rsync.KindDiskFull && rest.primaries() < b.primaries() {
		e.enqueue(rest) // the file that filled it is out
		return nil
	}
	e.postpone(rest, o.err)
	return nil
}

// giveUp makes an error of the whole pass out of the last session's.
func (e *Engine) giveUp(err error) error {
	if kindOf(err) != 0 {
		return err
	}
	return fmt.Errorf("%d sessions in a row failed, the last one: %w", e.badRun, err)
}

// over reports whether a session ended because all is to end.
func over(err error) bool { return errors.Is(err, context.Canceled) || sourceMissing(err) }

func kindOf(err error) rsync.Kind {
	var e *rsync.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

// giveSpare gives the session that waits for changes back to a server that was too full for another one.
func (e *Engine) giveSpare(err error) bool {
	if kindOf(err) != rsync.KindBusy || !e.following || e.spare == nil || !e.spare.held() {
		return false
	}
	e.spare.rest()
	return true
}

// gotOn reports whether a session that broke without acknowledgements got so far that the next one begins further on:
// what arrived is found up to date then, and of a large file the part. So often in a row that is believed, and no more:
// a server may also die of the same file again and again.
func (e *Engine) gotOn(o outcome) bool {
	var files, bytes int64
	for i := range o.report.Results {
		if n := o.report.Results[i].Literal; n > 0 {
			files++
			bytes += n
		}
	}
	if files < 2 && bytes < 1<<20 || e.believed >= believedTries {
		return false
	}
	e.believed++
	return true
}

// postpone lets a batch wait. One that fails again and again while others do not may hold an entry that the server dies
// of: halves find it. A single one is tried as often as a network may need.
func (e *Engine) postpone(b *batch, err error) {
	n := b.primaries()
	switch {
	case b.tries < 3 || e.badRun >= b.tries || n == 1 && b.tries < sessionTries:
		due := time.Now().Add(e.cfg.tuning.sessionBackoff.Delay(max(1, b.tries)))
		e.delayed = append(e.delayed, delayed{due: due, b: b})
		return
	case n == 1:
		e.again(b, slices.IndexFunc(b.about, func(a about) bool { return a.primary }), err, 1, &e.counters.refused)
	default:
		e.halve(b)
	}
	e.release(b.parts)
}

// halve makes two batches of one, which both hold the directories that wait for it.
func (e *Engine) halve(b *batch) {
	half := make([]bool, len(b.about))
	left := b.primaries() / 2
	for i := range half {
		if b.about[i].primary && left > 0 {
			half[i] = true
			left--
		}
	}
	for _, first := range []bool{true, false} {
		s := b.subset(func(i int) bool { return half[i] == first })
		for _, p := range b.parts {
			e.hold(s, p)
		}
		e.enqueue(s)
	}
}

// pruneAgain has the directories of a broken prune batch listed anew: what is deleted must not be here now.
func (e *Engine) pruneAgain(o outcome) error {
	e.unlock(o.b.clears)
	if e.badRun++; e.badRun >= sessionTries && !e.following {
		return e.giveUp(o.err)
	}
	due := time.Now().Add(e.cfg.tuning.sessionBackoff.Delay(e.badRun))
	e.delayed = append(e.delayed, delayed{due: due, prunes: o.b.clears})
	return nil
}
