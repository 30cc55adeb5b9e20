package cutover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/syncd/syncd/internal/printable"
)

// ErrInterrupted is the cause to cancel Run's ctx with if the operator wants it to
// end: by ^C, or because the connection to the command is gone.
var ErrInterrupted = errors.New("interrupted")

// A Config is one cutover.
type Config struct {
	Plan
	Source, Destination, Version string // for the report
	// Emit is told how it goes, each second at least. It must not block. May be nil.
	Emit func(Event)
}

// Run cuts over, or rehearses it, and reports. It returns when the outcome is final:
// the end of ctx begins the thaw, if there is one to do, and does not end it.
func Run(ctx context.Context, w World, c Config) *Report {
	c.Plan = c.Plan.complete()
	m := &machine{w: w, c: c, state: Live, r: &Report{
		Outcome: Running, Rehearsal: c.Rehearse,
		Source: c.Source, Destination: c.Destination, Version: c.Version,
		Begin: now(), BudgetSeconds: c.Budget.Seconds(), Scope: c.Verify,
	}}
	m.cutOver(ctx)
	return m.r
}

// machine is one Run. All of it belongs to Run's goroutine.
type machine struct {
	w       World
	c       Config
	r       *Report
	state   State
	from    State     // in which it failed
	drained bool      // Drain(true) was called
	held    bool      // Hold(true) was called
	frozen  time.Time // when the freeze began; zero: it has not
	until   time.Time // when the budget is spent; zero outside of the freeze
}

func now() time.Time { return time.Now().UTC() }

// cutOver goes through all of it and brings the world into the state of the outcome.
func (m *machine) cutOver(ctx context.Context) {
	err := m.attempt(ctx)
	switch {
	case err == nil && m.c.Rehearse:
		m.r.Outcome = Fits
		m.release(ctx)
		m.enter(Live, "the rehearsal is over: the freeze would have taken %.1f s without the hooks", m.r.PredictedSeconds)
	case err == nil:
		m.r.Outcome = Succeeded
		m.enter(Done, "the destination is equal; frozen for %.1f s", m.r.FrozenSeconds)
	case errors.Is(err, errStay):
		m.r.Reason = text(err)
		m.leaveFrozen()
	default:
		m.goBack(ctx, err)
	}
	m.leave()
	m.r.End = now()
	if err := m.save(context.WithoutCancel(ctx), cleanupTimeout); err != nil {
		m.warn("the report could not be kept: %v", err)
	}
}

// attempt is the way from live to done, up to the first failure.
func (m *machine) attempt(ctx context.Context) error {
	if err := m.c.Check(); err != nil {
		return err
	}
	// Before anything happens: whoever wants a report must not find out at the end
	// that there is none.
	if err := m.save(ctx, cleanupTimeout); err != nil {
		return fmt.Errorf("the report cannot be written: %w", err)
	}
	if err := m.drain(ctx); err != nil {
		return err
	}
	if m.c.Rehearse {
		return m.rehearse(ctx)
	}
	if err := m.prove(ctx); err != nil {
		return err
	}
	return m.goOver(ctx)
}

// goBack returns to live.
func (m *machine) goBack(ctx context.Context, err error) {
	m.r.Reason, m.r.Outcome, m.from = text(err), Aborted, m.state
	if errors.Is(err, ErrInterrupted) {
		m.r.Outcome = Interrupted
	}
	thawed := m.thaw(ctx)
	m.release(ctx)
	if !thawed {
		return
	}
	what := "aborted"
	if m.c.Rehearse {
		what = "rehearsed; it would have been aborted"
	}
	m.enter(Live, "%s: %s", what, m.r.Reason)
}

// thaw undoes what the freeze hook did or half did, whatever has become of ctx.
func (m *machine) thaw(ctx context.Context) bool {
	if m.frozen.IsZero() {
		return true
	}
	m.until = time.Time{}
	defer func() { m.r.FrozenSeconds = time.Since(m.frozen).Seconds() }()
	if m.c.ThawHook == "" {
		return true
	}
	m.enter(Thawing, "thawing: %s", m.r.Reason)
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), m.c.ThawTimeout,
		fmt.Errorf("it has not ended within %v", m.c.ThawTimeout))
	defer cancel()
	err := m.hook(ctx, ThawHook, m.c.ThawHook)
	if err == nil {
		return true
	}
	m.r.Outcome, m.r.ByHand = LeftFrozen, m.c.ThawHook
	m.r.Reason = fmt.Sprintf("%s; and then %s", m.r.Reason, text(err))
	m.shout("THE SOURCE MAY STILL BE FROZEN: %s. Run by hand: %s", text(err), printable.Text(m.c.ThawHook))
	return false
}

// leaveFrozen is for a go hook that wants it so.
func (m *machine) leaveFrozen() {
	m.r.Outcome, m.r.ByHand = LeftFrozen, m.c.ThawHook
	m.r.FrozenSeconds = time.Since(m.frozen).Seconds()
	m.shout("THE SOURCE STAYS FROZEN and nothing is sent any more: %s. If the destination does not serve, restart syncd "+
		"and thaw the source by hand: %s", m.r.Reason, printable.Text(m.c.ThawHook))
}

// release takes back what concerns syncd alone.
func (m *machine) release(ctx context.Context) {
	undo := func(what string, f func(context.Context, bool) error) {
		ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), cleanupTimeout, errSlow)
		defer cancel()
		if err := m.do(ctx, func(ctx context.Context) error { return f(ctx, false) }); err != nil {
			m.warn("%s: %v", what, err)
		}
	}
	if m.held {
		undo("sending could not be taken up again", m.w.Hold)
	}
	if m.drained {
		undo("the usual order of work could not be restored", m.w.Drain)
	}
}

var errSlow = errors.New("it took too long")

// save keeps the report as it is.
func (m *machine) save(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errSlow)
	defer cancel()
	r := m.r.clone()
	return m.do(ctx, func(ctx context.Context) error { return m.w.Save(ctx, r) })
}

// hook runs one of the hooks and notes what came of it.
func (m *machine) hook(ctx context.Context, hook Hook, command string) error {
	type end struct {
		exit   int
		output string
	}
	env, run := m.r.env(hook, m.state, m.from, m.c.Report), HookRun{Hook: hook, Command: command, Begin: now()}
	m.say("running the %s hook: %s", hook, printable.Text(command))
	e, err := await(m, ctx, HookGrace, end{exit: -1}, func(ctx context.Context) (end, error) {
		exit, output, err := m.w.Hook(ctx, hook, command, env)
		return end{exit, output}, err
	})
	run.Seconds, run.Exit, run.Output = time.Since(run.Begin).Seconds(), e.exit, shownText(e.output)
	if err != nil {
		run.Error = text(err)
		err = &hookError{hook: hook, exit: e.exit, err: err}
	}
	m.r.Hooks = append(m.r.Hooks, run)
	return err
}

// A hookError is a hook that failed.
type hookError struct {
	hook Hook
	exit int
	err  error
}

func (e *hookError) Error() string { return fmt.Sprintf("the %s hook failed: %v", e.hook, e.err) }
func (e *hookError) Unwrap() error { return e.err }
