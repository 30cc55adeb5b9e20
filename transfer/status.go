package transfer

import (
	"context"
	"errors"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/scan"
)

// A Snapshot is how a following engine stands.
type Snapshot struct {
	Passing   bool // a pass is not at its end
	Idle      bool // nothing waits or runs, of all that Changed was told before
	Paused    bool
	Trouble   error     // why the last session failed; nil if the last one did not
	Since     time.Time // when Trouble began
	Queue     queue.Counts
	Oldest    time.Time // change that is not acknowledged; zero if there is none
	Failing   []Failing // some, those that fail the longest first
	Sessions  int       // running
	Most      int       // that may run
	BytesLive int64     // of file data of running sessions
	Held      *Held     // nil: no deletion is held
	// Undeleted is since when something that is gone here may be left there: the destination refuses to delete it, or a
	// directory could not be read, there or here. Zero: nothing is.
	Undeleted time.Time
}

// Failing is a path that is tried again and again.
type Failing struct {
	Path string
	queue.Failure
}

// trouble is what the destination refuses to all sessions.
type trouble struct {
	err   error
	since time.Time
}

func (t *trouble) is(err error) {
	if t.err == nil {
		t.since = time.Now()
	}
	t.err = err
}

func (t *trouble) over() { *t = trouble{} }

// ErrNotRunning is returned to those who ask an engine that does not run.
var ErrNotRunning = errors.New("the engine does not run")

// ask has f run by the engine's goroutine.
func (e *Engine) ask(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case e.asked <- func() { f(); close(done) }:
		<-done
		return nil
	case <-ctx.Done():
		return ErrNotRunning
	}
}

// maxFailing bounds what a Snapshot names.
const maxFailing = 20

// Snapshot asks a following engine how it stands. The error is ErrNotRunning if ctx ends first.
func (e *Engine) Snapshot(ctx context.Context) (s Snapshot, err error) {
	err = e.ask(ctx, func() {
		e.receive(time.Now())
		s = Snapshot{
			Idle: e.idle(), Passing: e.passing(),
			Paused: e.paused, Trouble: e.trouble.err, Since: e.trouble.since,
			Queue: e.queue.Counts(), Sessions: e.running[0] + e.running[1], Most: e.sessions,
			BytesLive: e.counters.live.Load(), Held: e.heldNow(), Undeleted: e.left.since(),
		}
		s.Oldest = e.oldest()
		for p, f := range e.queue.Failing() {
			if len(s.Failing) < maxFailing {
				s.Failing = append(s.Failing, Failing{p, f})
			}
		}
		left := e.left.failing()
		s.Queue.Failing += len(left)
		for _, f := range left {
			if len(s.Failing) < maxFailing {
				s.Failing = append(s.Failing, f)
			}
		}
	})
	return s, err
}

// Pause stops handing out work, or begins again. Sessions that run go on to their end, and changes are still gathered.
func (e *Engine) Pause(ctx context.Context, paused bool) error {
	return e.ask(ctx, func() { e.paused = paused })
}

// Why tells what will bring p to the destination, or is doing so; nothing if it is settled.
func (e *Engine) Why(ctx context.Context, p string) (covers []queue.Cover, err error) {
	err = e.ask(ctx, func() {
		e.receive(time.Now())
		covers = e.queue.Why(p)
		if f, ok := e.left.above(p); ok {
			covers = append(covers, queue.Cover{
				Item: queue.Item{Kind: queue.Dir, Path: f.job.path}, State: queue.Waiting, Since: f.since, Due: f.due,
			})
		}
	})
	return covers, err
}

// sourceMissing reports whether err says that the source is not what it was.
func sourceMissing(err error) bool { return errors.Is(err, scan.ErrRootChanged) }

// Left counts what is not acknowledged. It may be called when Follow has returned, and not before.
func (e *Engine) Left() queue.Counts { return e.queue.Counts() }
