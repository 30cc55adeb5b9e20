package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/syncd/syncd/internal/control"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/verify"
	"github.com/syncd/syncd/ratelimit"
	"github.com/syncd/syncd/transfer"
	"github.com/syncd/syncd/watcher"
)

// How long an asker waits for the engine's goroutine, and how often systemd is told the state.
const (
	askTimeout     = 5 * time.Second
	reportInterval = 2 * time.Second
)

// present is what runs now and in which state the service is. Its methods are safe for concurrent use.
type present struct {
	mu      sync.Mutex
	state   control.State
	reason  string
	since   time.Time
	engine  *transfer.Engine
	watch   *watch
	inSync  inSync
	before  transfer.Progress // of the pass that runs; zero: it is the first one
	compare verify.Config     // how both sides are compared; it has no root
}

func (p *present) set(state control.State, reason string) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if changed = p.state != state; changed {
		p.since = time.Now()
	}
	p.state, p.reason = state, reason
	return changed
}

func (p *present) runs(e *transfer.Engine, w *watch, c verify.Config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.engine != e {
		p.before = transfer.Progress{}
	}
	p.engine, p.watch, p.inSync, p.compare = e, w, inSync{}, c
}

// begins is runs of a watch that is not ready yet, unless something runs already.
func (p *present) begins(e *transfer.Engine, w *watch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.engine == nil {
		p.engine, p.watch = e, w
	}
}

// rewatched puts another watch in the place of one.
func (p *present) rewatched(w *watch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watch, p.inSync = w, inSync{}
}

// comparison is how both sides are compared by what runs now.
func (p *present) comparison() verify.Config {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.compare
	if p.engine != nil {
		c.Kept = p.engine.Kept
	}
	return c
}

// sync returns when everything that changed before it was called has been queued.
func (p *present) sync(ctx context.Context) error {
	if _, w, _ := p.get(); w != nil {
		return w.Sync(ctx)
	}
	return errors.New("nothing is watched")
}

func (p *present) get() (*transfer.Engine, *watch, control.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.engine, p.watch, control.Status{State: p.state, Reason: p.reason, Since: p.since}
}

// Status says how the service stands.
func (s *service) Status() control.Status {
	e, w, st := s.now.get()
	st.PID, st.Version, st.Started = os.Getpid(), s.c.Version, s.started
	st.Source, st.Destination = s.c.Source, s.c.Destination
	st.Sessions.Limit = s.limiter.Limit()
	if w != nil {
		st.Watch = s.watching(w)
	}
	s.auditStatus(&st)
	if e == nil || st.State == control.Starting {
		return st
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	var told time.Time
	if w != nil {
		told = w.Stats().UpTo
	}
	snap, err := e.Snapshot(ctx)
	if err != nil {
		return st
	}
	s.follow(&st, snap, e)
	st.InSyncUpTo = s.now.inSyncUpTo(told, &snap)
	return st
}

// follow fills in what a following engine says of itself.
func (s *service) follow(st *control.Status, snap transfer.Snapshot, e *transfer.Engine) {
	q := snap.Queue
	state, reason := control.Live, ""
	switch {
	case s.held.Load():
		state, reason = control.Paused, "a cutover holds it"
	case snap.Paused:
		state, reason = control.Paused, "an operator paused it"
	case snap.Trouble != nil:
		state, reason = control.Waiting, snap.Trouble.Error()
	case snap.Held != nil:
		state, reason = control.HeldDeletes, held(snap.Held)
	case snap.Passing:
		state = control.Passing
	}
	if h := snap.Held; h != nil {
		st.Held = &control.Held{Paths: int64(h.Entries), Limit: int64(h.Limit), Since: h.Since}
	}
	if st.State == control.Live && state == control.Passing {
		s.now.passBegins(e.Progress())
	}
	if s.now.set(state, reason) {
		args := []any{"is", string(state)}
		if reason != "" {
			args = append(args, "reason", reason)
		}
		level := slog.LevelInfo
		if reason == "" && s.now.passesGoOn() {
			level = slog.LevelDebug // one begins or ends, as ever
		}
		s.log.Log(context.Background(), level, "state", args...)
		if st.State == control.Passing {
			debug.FreeOSMemory() // what a pass needed, the source host's own service may have for the weeks that follow
		}
	}
	_, _, now := s.now.get()
	st.State, st.Reason, st.Since = now.State, now.Reason, now.Since
	st.Sessions.Running, st.Sessions.Most = snap.Sessions, snap.Most
	st.Backlog.Lanes = []control.Lane{
		{Name: "small", Paths: int64(q.Live + q.Waiting)},
		{Name: "bulk", Paths: int64(q.Trees)},
	}
	st.Backlog.Oldest = snap.Oldest
	st.Failing.Total = int64(q.Failing)
	for _, f := range snap.Failing {
		st.Failing.First = append(st.Failing.First, control.Failure{
			Path: f.Path, Reason: f.Reason.Error(), Attempts: f.Attempts, Since: f.Since, NextTry: f.Due,
		})
	}
	if k, known := e.Kept(); known {
		st.Lost = k.Losses
	}
	p := e.Progress()
	st.Rates.Bytes = s.rate(p.Sent)
	if snap.Passing {
		st.Pass = s.now.pass(p, st.Since)
	}
}

// watching says how changes are noticed.
func (s *service) watching(w *watch) control.Watch {
	if w.scans() {
		return control.Watch{Mode: string(watcher.Scan), Reason: w.why, Interval: s.scanInterval().Seconds()}
	}
	ws := w.Stats()
	return control.Watch{
		Mode: string(watcher.Inotify), Watches: int64(ws.Watches), Overflows: ws.Overflows, Rescans: ws.Rescans,
	}
}

// held says why deletions wait.
func held(h *transfer.Held) string {
	next := "; no more go by themselves"
	if !h.Next.IsZero() {
		next = "; the next ones go by themselves at " + h.Next.Format(time.RFC3339)
	}
	return fmt.Sprintf("%d deletions or more wait for a yes: --max-delete allows %d in %v%s", h.Entries, h.Limit, h.Window, next)
}

// rate meters the bytes that an engine counts.
func (s *service) rate(total int64) float64 {
	s.now.mu.Lock()
	defer s.now.mu.Unlock()
	s.sent.Add(max(0, total-s.counted))
	s.counted = total
	return s.sent.Rate()
}

// report tells systemd, and by that the log, in which state the service is.
func (s *service) report(ctx context.Context) {
	tick := time.NewTicker(reportInterval)
	defer tick.Stop()
	for {
		st := s.Status()
		s.notify.Status(st.Line())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Pause stops handing out work.
func (s *service) Pause() error { return s.pause(true) }

// Resume goes on.
func (s *service) Resume() error { return s.pause(false) }

func (s *service) pause(paused bool) error {
	if s.held.Load() {
		return errors.New("a cutover holds it: the source is frozen")
	}
	e, _, _ := s.now.get()
	if e == nil {
		return fmt.Errorf("nothing runs that could be paused: %s", control.SourceMissing)
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	return e.Pause(ctx, paused)
}

// Set changes a setting of the running service.
func (s *service) Set(key, value string) error {
	switch key {
	case "bwlimit":
		return s.setRate(value)
	case "allow-delete":
		return s.allowDelete(value)
	}
	return fmt.Errorf("no setting %q; there are: bwlimit=RATE, allow-delete=NUM, allow-delete=all", key)
}

func (s *service) setRate(value string) error {
	rate, err := ratelimit.ParseRate(value)
	if err != nil {
		return err
	}
	s.limiter.Set(rate)
	s.log.Info("bandwidth limit set", "bytes_per_second", rate)
	return nil
}

// allowDelete is the operator's yes to deletions beyond --max-delete.
func (s *service) allowDelete(value string) error {
	n, err := strconv.ParseInt(value, 10, 32)
	if value != "all" && (err != nil || n <= 0) {
		return fmt.Errorf("allow-delete=%s: want how many entries more may be deleted now, or all for those that are held", value)
	}
	e, _, _ := s.now.get()
	if e == nil {
		return errors.New("nothing runs that could delete")
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	if value == "all" {
		err = e.AllowHeld(ctx)
	} else {
		err = e.AllowDelete(ctx, int(n))
	}
	if err != nil {
		return fmt.Errorf("allow-delete: %w", err)
	}
	s.log.Info("an operator allowed deletions", "entries", value)
	return nil
}

// Why tells how one path stands.
func (s *service) Why(path string) (control.Why, error) {
	path, err := s.below(path)
	if err != nil {
		return control.Why{}, err
	}
	why := control.Why{Path: path, Verdict: control.Unknown}
	e, _, st := s.now.get()
	if e == nil {
		why.Reason = "the service is " + string(st.State)
		return why, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	covers, err := e.Why(ctx, path)
	if err != nil {
		return why, err
	}
	for _, c := range covers {
		tell(&why, c)
	}
	if held, err := e.HeldDelete(ctx, path); err == nil && held && why.Verdict == control.Queued {
		why.Verdict, why.Reason = control.HeldDelete, "deleted here; --max-delete holds its deletion there"
	}
	return why, nil
}

// below returns a path of the operator's as one from the root of the tree.
func (s *service) below(p string) (string, error) {
	clean := filepath.Clean(p)
	if !filepath.IsAbs(clean) {
		return clean, nil
	}
	rel, err := filepath.Rel(s.c.Source, clean)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", fmt.Errorf("%s is not below %s", p, s.c.Source)
	}
	return rel, nil
}

// tell adds what one item means for the path; the last one is the nearest to it.
func tell(why *control.Why, c queue.Cover) {
	why.Item = fmt.Sprintf("%v(%s)", c.Kind, c.Path)
	why.Queued = c.Since
	switch c.State {
	case queue.InFlight:
		why.Verdict = control.Sending
	case queue.Unvisited:
		why.Verdict, why.Reason = control.Queued, "the pass has not come to it yet"
	case queue.Blocked:
		why.Verdict, why.Reason = control.Queued, "waits for "+c.Behind
	default:
		why.Verdict = control.Queued
	}
	if c.Failure != nil {
		why.Verdict, why.Reason = control.FailingPath, c.Failure.Reason.Error()
		why.Attempts, why.NextTry = c.Failure.Attempts, c.Failure.Due
	}
}
