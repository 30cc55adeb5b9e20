package cutover

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// errStay is a go hook that ended with StayFrozen.
var errStay = errors.New("the go hook says that the source must not be thawed")

// prove freezes the source and makes sure that the destination is equal.
func (m *machine) prove(ctx context.Context) error {
	m.lookBefore(ctx)
	// Should this process be killed while the source is frozen, the report says so.
	if err := m.save(ctx, cleanupTimeout); err != nil {
		return fmt.Errorf("the report cannot be written: %w", err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	limit := m.c.Budget - m.c.GoTimeout
	m.frozen = time.Now()
	m.until = m.frozen.Add(limit)
	ctx, cancel := context.WithDeadlineCause(ctx, m.until, errBudget)
	defer cancel()
	m.enter(Frozen, "freezing")
	for _, step := range []func(context.Context) error{
		// The last look is at what was written: whoever opened a file after the look before is seen by it.
		m.freeze, m.noWriters, m.sync, m.settle, m.verify, m.hold, m.keep, m.noWriters, m.untouched,
	} {
		if err := step(ctx); err != nil {
			return m.spent(err)
		}
	}
	m.r.FrozenSeconds = time.Since(m.frozen).Seconds()
	return nil
}

var errBudget = errors.New("the freeze budget is spent")

// spent says what the budget was spent with.
func (m *machine) spent(err error) error {
	if !errors.Is(err, errBudget) {
		return err
	}
	keeps := ""
	if m.c.GoTimeout > 0 {
		keeps = fmt.Sprintf(", of which %v are kept for the go hook,", m.c.GoTimeout)
	}
	return fmt.Errorf("the freeze budget of %v%s was spent while %s", m.c.Budget, keeps, m.state)
}

func (m *machine) freeze(ctx context.Context) error {
	if m.c.FreezeHook == "" {
		return nil
	}
	return m.hook(ctx, FreezeHook, m.c.FreezeHook)
}

// lookBefore names who would be in the way, while there is time to end them.
func (m *machine) lookBefore(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(ctx, cleanupTimeout, errSlow)
	defer cancel()
	w, err := get(m, ctx, m.w.Writers)
	if err != nil {
		m.warn("who has files open for writing is not known: %v", err)
		return
	}
	m.r.WritersBefore = &w
	if len(w.Processes) > 0 {
		m.say("open for writing before the freeze: %s", writersText(w))
	}
}

// noWriters makes sure that nobody can write without opening a file first.
func (m *machine) noWriters(ctx context.Context) error {
	w, err := get(m, ctx, m.w.Writers)
	if err != nil {
		return fmt.Errorf("who has files open for writing: %w", err)
	}
	m.r.Writers = &w
	if len(w.Processes) > 0 {
		return fmt.Errorf("files of the source are still open for writing after the freeze: %s", writersText(w))
	}
	return nil
}

func (m *machine) sync(ctx context.Context) error {
	if err := m.do(ctx, m.w.Sync); err != nil {
		return fmt.Errorf("reading what has changed: %w", err)
	}
	return nil
}

func (m *machine) settle(ctx context.Context) error {
	m.enter(Settling, "settling: the source is compared with what is known to be at the destination")
	s, err := get(m, ctx, m.w.Settle)
	if err != nil {
		return fmt.Errorf("settling: %w", err)
	}
	m.r.Settled = &s
	for _, words := range s.Lost {
		m.warn("%s", words)
	}
	if failing := max(s.Failing, int64(len(s.Failed))); failing > 0 {
		return fmt.Errorf("%s could not be sent%s", plural(failing, "path"), first(s.Failed))
	}
	return nil
}

func (m *machine) verify(ctx context.Context) error {
	m.enter(Verifying, "verifying: both sides are compared by checksum (%s files)", m.c.Verify)
	v, err := get(m, ctx, func(ctx context.Context) (Verified, error) { return m.w.Verify(ctx, m.c.Verify) })
	if err != nil {
		return fmt.Errorf("verifying: %w", err)
	}
	m.r.Verified = &v
	different, skipped := max(v.Different, int64(len(v.Differences))), max(v.Skipped, int64(len(v.Uncompared)))
	switch {
	case different > 0:
		return fmt.Errorf("%s not equal at the destination%s", are(different, "path"), first(v.Differences))
	case skipped > 0:
		return fmt.Errorf("%s not be compared%s", could(skipped, "path"), first(v.Uncompared))
	case !v.Complete:
		return errors.New("the verification is not complete")
	case v.Changed > 0 && !m.c.Rehearse:
		return fmt.Errorf("%s changed at the source while they were compared, though it is frozen", plural(v.Changed, "path"))
	}
	return nil
}

// hold ends what syncd sends: what comes next owns the destination.
func (m *machine) hold(ctx context.Context) error {
	m.held = true
	if err := m.do(ctx, func(ctx context.Context) error { return m.w.Hold(ctx, true) }); err != nil {
		return fmt.Errorf("holding what is sent: %w", err)
	}
	return nil
}

// keep saves the report, for the go hook to read.
func (m *machine) keep(ctx context.Context) error {
	if err := m.save(ctx, cleanupTimeout); err != nil {
		return fmt.Errorf("the report cannot be written: %w", err)
	}
	return nil
}

// untouched makes sure that nothing was written since the freeze. Whatever was read
// from the kernel late, or found by the settling pass alone, is in the backlog.
func (m *machine) untouched(ctx context.Context) error {
	w, err := get(m, ctx, m.w.Writes)
	if err != nil {
		return fmt.Errorf("reading what was written: %w", err)
	}
	m.r.Writes = &w
	m.unseen(w, "after the freeze")
	if total := max(w.Total, int64(len(w.First))); total > 0 {
		return fmt.Errorf("the source was written after the freeze: %s", pathsText(total, w.First))
	}
	b, err := get(m, ctx, m.w.Backlog)
	if err != nil {
		return fmt.Errorf("looking at the backlog: %w", err)
	}
	m.r.Backlog = b
	if b.Paths > 0 || len(b.Blocked) > 0 {
		return fmt.Errorf("not everything is at the destination: %s", strings.TrimPrefix(backlogText(b), "draining: "))
	}
	return nil
}

// unseen warns where nobody would have told of writes.
func (m *machine) unseen(w Writes, when string) {
	if w.Unseen != "" {
		m.warn("whether the source was written %s could not be noticed: %s", when, text(errors.New(w.Unseen)))
	}
}

// goOver runs the go hook, which nothing but its own time limit ends.
func (m *machine) goOver(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if m.c.GoHook == "" {
		return nil
	}
	m.enter(Going, "equal, after %.1f s; going", m.r.FrozenSeconds)
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), m.c.GoTimeout,
		fmt.Errorf("it has not ended within the %v of --go-timeout", m.c.GoTimeout))
	defer cancel()
	err := m.hook(ctx, GoHook, m.c.GoHook)
	m.r.FrozenSeconds = time.Since(m.frozen).Seconds()
	var failed *hookError
	if errors.As(err, &failed) && failed.exit == StayFrozen {
		return fmt.Errorf("%w (exit status %d)", errStay, StayFrozen)
	}
	return err
}

// rehearse measures what a freeze would have to do. The source is written meanwhile.
func (m *machine) rehearse(ctx context.Context) error {
	m.lookBefore(ctx)
	m.enter(Frozen, "rehearsing: no hook is run, the source stays as it is")
	for _, step := range []func(context.Context) error{m.sync, m.settle, m.verify} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	m.leave()
	m.r.PredictedSeconds = m.seconds(Frozen, Settling, Verifying)
	w, err := get(m, ctx, m.w.Writes)
	if err != nil {
		return fmt.Errorf("reading what was written: %w", err)
	}
	m.r.Writes = &w
	m.unseen(w, "meanwhile")
	if limit := m.c.Budget - m.c.GoTimeout; m.r.PredictedSeconds > limit.Seconds() {
		return fmt.Errorf("the freeze would take %.1f s without the hooks, and the budget leaves %v",
			m.r.PredictedSeconds, limit)
	}
	return nil
}
