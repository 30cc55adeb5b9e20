package daemon

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/syncd/syncd/internal/cutover"
	"github.com/syncd/syncd/internal/cutover/record"
	"github.com/syncd/syncd/internal/hook"
	"github.com/syncd/syncd/internal/openfiles"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/transfer"
)

// How often a state of the engine is looked at that is waited for while the source is frozen.
const lookEvery = 10 * time.Millisecond

// Between two steps of a pass a look may find none: so many in a row mean that there is none.
const calmLooks = 5

// world is a service as a cutover sees it (cutover.World).
type world struct {
	s    *service
	plan cutover.Plan

	ahead  ahead
	census *transfer.Census // of the settling pass; nil: without a catalogue
}

// engine is what runs now.
func (w *world) engine() (*transfer.Engine, error) {
	e, _, st := w.s.now.get()
	if e == nil {
		return nil, fmt.Errorf("nothing is followed now: %s", st.State)
	}
	return e, nil
}

func (w *world) snapshot(ctx context.Context) (transfer.Snapshot, error) {
	e, err := w.engine()
	if err != nil {
		return transfer.Snapshot{}, err
	}
	return e.Snapshot(ctx)
}

// Backlog is what the queue holds. Its size in bytes is not known before it is sent.
func (w *world) Backlog(ctx context.Context) (cutover.Backlog, error) {
	snap, err := w.snapshot(ctx)
	if err != nil {
		return cutover.Backlog{}, err
	}
	q := snap.Queue
	b := cutover.Backlog{Paths: int64(q.Live + q.Waiting + q.Trees + q.InFlight)}
	if b.Paths == 0 && !snap.Idle {
		b.Paths = 1 // directories to prune, names of a file that are searched for
	}
	if !snap.Oldest.IsZero() {
		b.Oldest = time.Since(snap.Oldest)
	}
	block := func(format string, args ...any) { b.Blocked = append(b.Blocked, fmt.Sprintf(format, args...)) }
	if snap.Paused && !w.s.held.Load() {
		block("an operator paused it (syncd --resume)")
	}
	if !snap.Passing {
		w.s.first.Store(false)
	}
	if w.s.first.Load() {
		block("the first pass has not ended")
	}
	if snap.Trouble != nil {
		block("the destination: %v", snap.Trouble)
	}
	if snap.Held != nil {
		block("%s", held(snap.Held))
	}
	for _, p := range failing(snap) {
		block("%s: %s", p.Text, p.What)
	}
	if len(b.Blocked) == 0 {
		w.proveAhead(&b, time.Now())
	}
	return b, nil
}

// failing are the paths that do not get equal by being tried again, as far as they are known by name. One that changed
// while it was sent does, once it rests.
func failing(snap transfer.Snapshot) (all []cutover.Problem) {
	for _, f := range snap.Failing {
		if !errors.Is(f.Reason, rsync.ErrChanged) {
			all = append(all, cutover.Problem{Path: cutover.NewPath(f.Path), What: f.Reason.Error()})
		}
	}
	if more := snap.Queue.Failing - len(snap.Failing); more > 0 {
		all = append(all, cutover.Problem{Path: cutover.NewPath("."), What: fmt.Sprintf("%d more paths fail below it", more)})
	}
	return all
}

// Drain has the audit prove ahead what would have to be compared during the freeze. Changes go before all else anyway.
func (w *world) Drain(ctx context.Context, on bool) error {
	if !on {
		w.s.passes.shut(false)
	}
	a := w.s.audit
	switch {
	case a == nil:
		return nil
	case !on:
		a.Ahead(false)
		return a.Hold(ctx, false)
	case w.plan.Verify == cutover.All:
		return a.Hold(ctx, true) // it will all be compared in any case
	}
	st := a.Status()
	w.ahead = ahead{begun: time.Now(), least: math.MaxInt64, files: st.Files, bytes: st.Bytes}
	a.Ahead(true)
	return nil
}

// Sync reads the watcher's cookie back. Audit and passes rest from here on. Where there is no cookie, the pass of Settle,
// which comes next, finds all that was written before; but what is written after it nobody sees.
func (w *world) Sync(ctx context.Context) error {
	if w.s.audit != nil {
		if err := w.s.audit.Hold(ctx, true); err != nil {
			return err
		}
	}
	w.s.passes.shut(true)
	watch, err := w.cookie(ctx)
	if err != nil {
		return err
	}
	w.s.writes.begin(watch.why)
	return nil
}

// cookie returns when events up to now have been read. Of a scanner nothing is to be read.
func (w *world) cookie(ctx context.Context) (*watch, error) {
	_, watch, st := w.s.now.get()
	if watch == nil {
		return nil, fmt.Errorf("nothing is watched now: %s", st.State)
	}
	if watch.scans() {
		return watch, nil
	}
	return watch, watch.Sync(ctx)
}

// Settle compares the whole tree with the catalogue, or else with the destination.
func (w *world) Settle(ctx context.Context) (cutover.Settled, error) {
	e, err := w.engine()
	if err != nil {
		return cutover.Settled{}, err
	}
	before, sent := e.Progress(), w.s.changes.Load()
	begun := time.Now()
	if err := e.Recount(ctx); err != nil {
		return cutover.Settled{}, err
	}
	snap, err := w.passed(ctx, begun)
	if err != nil {
		return cutover.Settled{}, err
	}
	c, known, err := e.Census(ctx)
	if err != nil {
		return cutover.Settled{}, err
	}
	w.census = nil
	after := e.Progress()
	s := cutover.Settled{
		Entries: after.Entries - before.Entries, Sent: w.s.changes.Load() - sent, Bytes: after.Sent - before.Sent,
		Failed: failing(snap),
	}
	s.Failing = int64(len(s.Failed))
	if k, tried := e.Kept(); tried {
		s.Lost = k.Losses
	}
	if known {
		w.census = &c
		s.Entries, s.Catalogue = c.Entries, true
	}
	return s, nil
}

// passed waits until a pass that was asked for at begun is over: until the engine is idle, or nothing but failures is
// left. In a rehearsal the engine is never idle: there it is waited for that no pass runs, and that what was queued by
// then is acknowledged.
func (w *world) passed(ctx context.Context, begun time.Time) (snap transfer.Snapshot, err error) {
	var calm int      // looks in a row without a pass
	var end time.Time // of the first of them
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if snap, err = w.snapshot(ctx); err != nil || snap.Idle {
			return snap, err
		}
		changing := w.plan.Rehearse && snap.Queue.Failing > 0 // as old as it likes
		calm++
		switch {
		case snap.Passing || !after(snap.Oldest, begun) && !changing:
			calm = 0
		case calm == 1:
			end = time.Now()
		case calm < calmLooks:
		case w.plan.Rehearse && (changing || after(snap.Oldest, end)), len(failing(snap)) > 0 && snap.Queue.InFlight == 0:
			return snap, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return snap, context.Cause(ctx)
		}
	}
}

// after reports whether the oldest of all changes, if there is one, came after t.
func after(oldest, t time.Time) bool { return oldest.IsZero() || oldest.After(t) }

// Writes are what the watcher has named since Sync.
func (w *world) Writes(ctx context.Context) (cutover.Writes, error) {
	if _, err := w.cookie(ctx); err != nil {
		return cutover.Writes{}, err
	}
	total, first := w.s.writes.list()
	r := cutover.Writes{Total: total, Unseen: w.s.writes.unseen()}
	for _, p := range first {
		r.First = append(r.First, cutover.NewPath(p))
	}
	return r, nil
}

// Writers looks through /proc.
func (w *world) Writers(ctx context.Context) (cutover.Writers, error) {
	found, unseen, err := openfiles.Writers(ctx, openfiles.Options{
		Dir: w.s.c.Source, OneFileSystem: w.s.c.Engine.OneFileSystem,
	})
	r := cutover.Writers{Unseen: unseen}
	for _, p := range found {
		one := cutover.Writer{PID: p.PID, Command: p.Command}
		for _, f := range p.Files {
			one.Files = append(one.Files, cutover.NewPath(f))
		}
		r.Processes = append(r.Processes, one)
	}
	return r, err
}

// Hold pauses the engine, and keeps an operator from resuming it.
func (w *world) Hold(ctx context.Context, on bool) error {
	e, err := w.engine()
	if err != nil {
		return err
	}
	w.s.held.Store(on)
	if err := e.Pause(ctx, on); err != nil || !on {
		return err
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		snap, err := e.Snapshot(ctx)
		if err != nil || snap.Sessions == 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Hook runs a hook, with its output in the log. While one may have frozen the source, a mark says so.
func (w *world) Hook(ctx context.Context, h cutover.Hook, command string, env []string) (int, string, error) {
	frozen := record.NewMark(w.s.c.StateDir, record.Frozen)
	if h != cutover.ThawHook {
		if err := frozen.Set(w.plan.ThawHook); err != nil {
			return -1, "", fmt.Errorf("the mark that the source is frozen: %w", err)
		}
	}
	log := w.s.log.With("hook", string(h))
	log.Info("running", "command", command)
	r, err := hook.Run(ctx, hook.Command{Line: command, Env: env, Log: func(l string) { log.Info(l) }})
	if err != nil {
		log.Warn("failed", "err", err)
	}
	if over := err == nil && h != cutover.FreezeHook || h == cutover.GoHook && r.Exit == cutover.StayFrozen; over {
		err = errors.Join(err, frozen.Clear())
	}
	return r.Exit, r.Output, err
}

// Save writes the report, where one is wanted.
func (w *world) Save(_ context.Context, r *cutover.Report) error {
	if w.plan.Report == "" {
		return nil
	}
	return record.Write(w.plan.Report, r)
}
