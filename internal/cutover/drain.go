package cutover

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/syncd/syncd/internal/printable"
)

// drain waits until a freeze would be short.
func (m *machine) drain(ctx context.Context) error {
	m.enter(Draining, "draining: changes first, all else rests")
	if limit := m.c.DrainTimeout; limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("the backlog has not become small within %v", limit))
		defer cancel()
	}
	m.drained = true
	if err := m.do(ctx, func(ctx context.Context) error { return m.w.Drain(ctx, true) }); err != nil {
		return m.undrained(err)
	}
	level := level{budget: m.c.Budget - m.c.GoTimeout}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for said := ""; ; {
		b, err := get(m, ctx, m.w.Backlog)
		if err != nil {
			return m.undrained(err)
		}
		m.r.Backlog = b
		if ok, err := level.enough(time.Now(), b); ok || err != nil {
			return err
		}
		news := backlogText(b)
		m.emit(Event{Text: news, Fresh: news != said})
		said = news
		select {
		case <-tick.C:
		case <-ctx.Done():
			return m.undrained(context.Cause(ctx))
		}
	}
}

// undrained says what was in the way.
func (m *machine) undrained(err error) error {
	if b := m.r.Backlog; len(b.Blocked) > 0 {
		return fmt.Errorf("%w; %s", err, strings.Join(b.Blocked, "; "))
	}
	return err
}

func backlogText(b Backlog) string {
	s := fmt.Sprintf("draining: %s, %s", plural(b.Paths, "path"), size(b.Bytes))
	if b.Oldest > 0 {
		s += fmt.Sprintf(", the oldest for %v", b.Oldest.Round(time.Second))
	}
	if b.Freeze > 0 {
		s += fmt.Sprintf("; a freeze would take about %v", b.Freeze.Round(100*time.Millisecond))
	}
	if len(b.Blocked) > 0 {
		s += "; waiting: " + printable.Text(strings.Join(b.Blocked, "; "))
	}
	return s
}

// A level is the backlog over time.
type level struct {
	budget time.Duration // for all but the go hook
	least  int64         // paths
	since  time.Time     // when there were so few for the first time; zero: nothing seen yet
}

// enough reports whether the drain has come to its end. The error is that a freeze
// would not fit the budget, and that waiting will not help.
func (l *level) enough(at time.Time, b Backlog) (bool, error) {
	if l.since.IsZero() || b.Paths < l.least {
		l.least, l.since = b.Paths, at
	}
	fits := b.Freeze == 0 || b.Freeze <= l.budget
	few := b.Paths <= fewPaths && b.Bytes <= fewBytes
	switch {
	case len(b.Blocked) > 0:
		return false, nil
	case few && fits:
		return true, nil
	case at.Sub(l.since) < levelTime:
		return false, nil
	case few:
		return false, fmt.Errorf("the freeze would take about %v, and the budget leaves %v: wait until the audit has "+
			"proven more (syncd --status), or raise --freeze-budget", b.Freeze.Round(time.Second), l.budget)
	}
	// It does not become smaller, so that a shorter freeze cannot be waited for.
	return b.Freeze > 0 && fits, nil
}
