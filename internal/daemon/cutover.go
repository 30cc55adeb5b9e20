package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/syncd/syncd/internal/cutover"
	"github.com/syncd/syncd/internal/cutover/record"
	"github.com/syncd/syncd/internal/hook"
)

// A TakenOverError says that a cutover from this source has succeeded: what is at the destination is newer.
type TakenOverError struct {
	Mark   string // the file that says so
	Report string // of the cutover; may be empty
}

func (e *TakenOverError) Error() string {
	report := ""
	if e.Report != "" {
		report = " (" + e.Report + ")"
	}
	return fmt.Sprintf("the destination has taken over by a cutover%s: to follow this source would overwrite it", report)
}

var (
	errTakenOver = errors.New("the destination has taken over")
	errEnding    = fmt.Errorf("%w: the service is being stopped", cutover.ErrInterrupted)
)

// Cutover moves the service to the destination, or rehearses it (control.Cutter). After one that is done the service
// ends by itself.
func (s *service) Cutover(ctx context.Context, plan cutover.Plan, emit func(cutover.Event)) (*cutover.Report, error) {
	if e, _, st := s.now.get(); e == nil {
		return nil, fmt.Errorf("nothing is followed now: %s", st.State)
	}
	if !s.cutover.TryLock() {
		return nil, errors.New("a cutover is under way already")
	}
	defer s.cutover.Unlock()
	s.cutting.Add(1)
	defer s.cutting.Add(-1)
	defer s.writes.end()
	ctx, give := context.WithCancelCause(ctx)
	defer give(nil)
	go func() {
		select {
		case <-s.ending:
			give(errEnding)
		case <-ctx.Done():
		}
	}()
	r := cutover.Run(ctx, &world{s: s, plan: plan}, cutover.Config{
		Plan: plan, Source: s.c.Source, Destination: s.c.Destination, Version: s.c.Version,
		Emit: func(e cutover.Event) { s.logEvent(e); emit(e) },
	})
	s.log.Info("cutover ended", "outcome", string(r.Outcome), "reason", r.Reason, "frozen_seconds", r.FrozenSeconds)
	if r.Outcome == cutover.Succeeded {
		if err := record.NewMark(s.c.StateDir, record.TakenOver).Set(plan.Report); err != nil {
			s.log.Error("not noted that the destination has taken over; do not start this service again", "err", err)
		}
		s.end(errTakenOver)
	}
	return r, nil
}

// logEvent logs what is new.
func (s *service) logEvent(e cutover.Event) {
	switch {
	case e.Loud:
		s.log.Error(e.Text)
	case e.Fresh && e.State != cutover.Draining:
		s.log.Info("cutover", "state", string(e.State), "text", e.Text)
	default:
		s.log.Debug("cutover", "state", string(e.State), "text", e.Text)
	}
}

// recall acts on what the process before this one left undone.
func (s *service) recall(ctx context.Context) error {
	over := record.NewMark(s.c.StateDir, record.TakenOver)
	report, done, err := over.Find()
	if err != nil {
		return err
	}
	if done {
		return &TakenOverError{Mark: over.Path(), Report: report}
	}
	frozen := record.NewMark(s.c.StateDir, record.Frozen)
	thaw, was, err := frozen.Find()
	if err != nil || !was {
		return err
	}
	s.log.Warn("syncd was ended while the source was frozen; thawing it", "command", thaw)
	ctx, cancel := context.WithTimeout(ctx, cutover.DefaultThawTimeout)
	defer cancel()
	// Whether the go hook had begun is not known: thaw as if it had.
	_, err = hook.Run(ctx, hook.Command{Line: thaw, Env: []string{
		"SYNCD_HOOK=thaw", "SYNCD_STATE=" + string(cutover.Thawing), "SYNCD_FROM=" + string(cutover.Going),
		"SYNCD_REASON=syncd was ended", "SYNCD_SOURCE=" + s.c.Source, "SYNCD_DEST=" + s.c.Destination, "SYNCD_REPORT=",
	}, Log: func(l string) { s.log.Info(l, "hook", "thaw") }})
	if err != nil {
		s.log.Error("THE SOURCE MAY STILL BE FROZEN: the thaw hook failed; run it by hand", "command", thaw, "err", err)
		return nil
	}
	return frozen.Clear()
}

// CutOver follows the source, and cuts over as soon as that is possible; or rehearses it. It returns when the source
// serves again or the destination has taken over, whatever becomes of ctx, whose end gives up. The error is that it
// could not begin, and is of the kind of Run's.
func CutOver(ctx context.Context, c Config, plan cutover.Plan, emit func(cutover.Event)) (*cutover.Report, error) {
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var (
		report  *cutover.Report
		refused error
		began   atomic.Bool
	)
	defer context.AfterFunc(ctx, func() {
		if !began.Load() {
			stop()
		}
	})()
	err := run(following, c, func(s *service) {
		began.Store(true)
		defer stop()
		report, refused = s.Cutover(ctx, plan, emit)
	})
	if err = errors.Join(refused, err); err == nil && report == nil {
		err = context.Cause(ctx)
	}
	return report, err
}
