package cutover

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/syncd/syncd/internal/printable"
)

// await calls f and returns what it does, or the cause of ctx's end, if that comes
// first: then f has grace to return, for the sake of what it returns, and is left
// alone after that. Meanwhile the operator sees that time passes.
func await[T any](m *machine, ctx context.Context, grace time.Duration, none T,
	f func(context.Context) (T, error)) (T, error) {
	if ctx.Err() != nil {
		return none, context.Cause(ctx)
	}
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f(ctx)
		done <- result{v, err}
	}()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case r := <-done:
			// What came too late is of no use: the budget is spent.
			if ctx.Err() != nil {
				return r.v, context.Cause(ctx)
			}
			return r.v, r.err
		case <-ctx.Done():
			select {
			case r := <-done:
				return r.v, context.Cause(ctx)
			case <-time.After(grace):
				return none, context.Cause(ctx)
			}
		case <-tick.C:
			m.still()
		}
	}
}

// do is await for what returns nothing and needs no grace.
func (m *machine) do(ctx context.Context, f func(context.Context) error) error {
	_, err := get(m, ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
	return err
}

// get is await without grace.
func get[T any](m *machine, ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	var none T
	return await(m, ctx, 0, none, f)
}

// enter begins a phase.
func (m *machine) enter(s State, format string, args ...any) {
	m.leave()
	m.state = s
	if s != Live && s != Done {
		m.r.Phases = append(m.r.Phases, Phase{State: s, Begin: now()})
	}
	m.say(format, args...)
}

// leave ends the phase.
func (m *machine) leave() {
	if n := len(m.r.Phases); n > 0 && m.r.Phases[n-1].End.IsZero() {
		p := &m.r.Phases[n-1]
		p.End = now()
		p.Seconds = p.End.Sub(p.Begin).Seconds()
	}
}

// seconds is how long a phase took in all.
func (m *machine) seconds(states ...State) float64 {
	var sum float64
	for _, p := range m.r.Phases {
		for _, s := range states {
			if p.State == s {
				sum += p.Seconds
			}
		}
	}
	return sum
}

func (m *machine) emit(e Event) {
	if m.c.Emit != nil {
		e.At, e.State = now(), m.state
		m.c.Emit(e)
	}
}

func (m *machine) say(format string, args ...any) {
	m.emit(Event{Text: fmt.Sprintf(format, args...), Fresh: true})
}

// shout says what somebody has to act upon.
func (m *machine) shout(format string, args ...any) {
	m.emit(Event{Text: fmt.Sprintf(format, args...), Fresh: true, Loud: true})
}

// warn notes what does not change the outcome.
func (m *machine) warn(format string, args ...any) {
	w := fmt.Sprintf(format, args...)
	m.r.Warnings = append(m.r.Warnings, w)
	m.say("warning: %s", w)
}

// still says that the same goes on.
func (m *machine) still() {
	e := Event{Text: string(m.state)}
	if n := len(m.r.Phases); n > 0 {
		e.Text += fmt.Sprintf(" for %.0f s", time.Since(m.r.Phases[n-1].Begin).Seconds())
	}
	if !m.until.IsZero() {
		e.Text += fmt.Sprintf("; %.0f s of the freeze budget are left", max(0, time.Until(m.until).Seconds()))
	}
	m.emit(e)
}

// text is an error on one line of printable characters.
func text(err error) string { return printable.Text(strings.Join(strings.Fields(err.Error()), " ")) }

// shownText is like shown, with lines and tabs.
func shownText(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		fields := strings.Split(l, "\t")
		for j, f := range fields {
			fields[j] = printable.Text(f)
		}
		lines[i] = strings.Join(fields, "\t")
	}
	return strings.Join(lines, "\n")
}
