package notify

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// limitEvery is how often a standing error is logged.
	limitEvery = time.Minute
	// limitMost bounds the memory for errors that stand; the one that was not seen
	// for longest is forgotten first, and logged again should it come back.
	limitMost = 1024
)

// Limit passes records on to next, but warnings and errors that stand only once
// a minute. Two records are of one error if they have the same message and the
// same values of the attributes named by keys, in any group, by With or of the
// record itself. Attributes that vary while the cause is the same, such as the
// text of an error with a port number in it, do not belong to the keys.
//
// A record that is passed on after others were not has the attribute
// suppressed, their number. Info and Debug always pass.
func Limit(next slog.Handler, keys ...string) slog.Handler {
	return &limiter{next: next, keys: keys, shared: &standing{errors: map[string]*trouble{}}}
}

// Recovers is an attribute that makes of a record the news that the error with
// this message, and the same values of the key attributes, is over. It passes
// Limit once, with the attributes lasted (since the first) and failures (how
// often it was logged or suppressed), and not at all if there was no such error:
// so it may be logged on each success.
//
//	log.Error("cannot connect", "target", t, "err", err)
//	log.Info("connected", "target", t, notify.Recovers("cannot connect"))
//
// Without Limit it does nothing.
func Recovers(message string) slog.Attr { return slog.Any(recoversKey, recovery(message)) }

const recoversKey = "recovers"

// A recovery is the value of Recovers. To other handlers it is an empty group,
// which they leave out.
type recovery string

func (recovery) LogValue() slog.Value { return slog.GroupValue() }

// A trouble is an error that stands.
type trouble struct {
	first, last time.Time
	passed      time.Time // when it was logged last
	count       int64
	suppressed  int64 // since it was logged last
}

// standing is what all handlers made from one Limit know.
type standing struct {
	mu     sync.Mutex
	errors map[string]*trouble // by identity
}

type limiter struct {
	next   slog.Handler
	keys   []string
	with   []slog.Attr // those of With that are keys
	shared *standing
}

func (h *limiter) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

func (h *limiter) WithAttrs(a []slog.Attr) slog.Handler {
	n := *h
	n.next = h.next.WithAttrs(a)
	n.with = slices.Clip(h.with)
	for _, a := range a {
		if slices.Contains(h.keys, a.Key) {
			n.with = append(n.with, a)
		}
	}
	return &n
}

func (h *limiter) WithGroup(name string) slog.Handler {
	n := *h
	n.next = h.next.WithGroup(name)
	return &n
}

func (h *limiter) Handle(ctx context.Context, r slog.Record) error {
	now := r.Time
	if now.IsZero() {
		now = time.Now()
	}
	if of, ok := recovered(r); ok {
		t := h.shared.end(h.identity(string(of), r))
		if t == nil {
			return nil
		}
		r = r.Clone()
		r.AddAttrs(slog.Duration("lasted", since(now.Sub(t.first))), slog.Int64("failures", t.count))
		return h.next.Handle(ctx, r)
	}
	if r.Level < slog.LevelWarn {
		return h.next.Handle(ctx, r)
	}
	suppressed, pass := h.shared.add(h.identity(r.Message, r), now)
	if !pass {
		return nil
	}
	if suppressed > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int64("suppressed", suppressed))
	}
	return h.next.Handle(ctx, r)
}

// recovered finds the attribute of Recovers.
func recovered(r slog.Record) (of recovery, ok bool) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == recoversKey {
			of, ok = a.Value.Any().(recovery)
		}
		return !ok
	})
	return of, ok
}

// identity tells one error from another.
func (h *limiter) identity(message string, r slog.Record) string {
	var b strings.Builder
	b.WriteString(message)
	for _, key := range h.keys {
		value := ""
		for _, a := range h.with {
			if a.Key == key {
				value = a.Value.Resolve().String()
			}
		}
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == key {
				value = a.Value.Resolve().String()
			}
			return true
		})
		b.WriteByte(0)
		b.WriteString(value)
	}
	return b.String()
}

// add counts an error, and says whether it is to be logged and how many were not.
func (s *standing) add(id string, now time.Time) (suppressed int64, pass bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.errors[id]
	if t == nil {
		if len(s.errors) >= limitMost {
			s.forget()
		}
		s.errors[id] = &trouble{first: now, last: now, passed: now, count: 1}
		return 0, true
	}
	t.count++
	t.last = now
	if now.Sub(t.passed) < limitEvery {
		t.suppressed++
		return 0, false
	}
	suppressed = t.suppressed
	t.passed, t.suppressed = now, 0
	return suppressed, true
}

// forget makes room: of what was not seen for longest, and of a tenth at once,
// as a walk through all for each error would be slow.
func (s *standing) forget() {
	times := make([]time.Time, 0, len(s.errors))
	for _, t := range s.errors {
		times = append(times, t.last)
	}
	slices.SortFunc(times, time.Time.Compare)
	limit := times[len(times)/10]
	for id, t := range s.errors {
		if !t.last.After(limit) {
			delete(s.errors, id)
		}
	}
}

// end forgets an error that is over, and returns what it was.
func (s *standing) end(id string) *trouble {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.errors[id]
	delete(s.errors, id)
	return t
}
