package rsync

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// How many connections may wait for their server to close them. A server in good health takes 20 ms for each.
	maxReaped = 16
	// How long sessions see their connections end after a server was too full for another one.
	reapPatience = time.Minute
)

// A Reaper makes the connections of one destination, and sees to their end: after Session.Settle a session is over, but the
// server needs a moment more to close the connection, and counts it until then. Its methods are safe for concurrent use.
type Reaper struct {
	dialer *Dialer

	mu      sync.Mutex
	dying   map[*Session]struct{}
	changed sync.Cond // dying has lost one
	patient time.Time // until then sessions see their connections end
}

// NewReaper returns one for what d connects to.
func NewReaper(d *Dialer) *Reaper {
	r := &Reaper{dialer: d, dying: map[*Session]struct{}{}}
	r.changed.L = &r.mu
	return r
}

// Connect makes a session. A server without room may only have to get rid of what is over here; then sessions see
// their connections end for a while.
func (r *Reaper) Connect(ctx context.Context, o Options) (*Session, error) {
	s, err := r.dialer.Connect(ctx, o)
	if e, ok := errors.AsType[*Error](err); ok && e.Kind == KindBusy && r.crowded(ctx) {
		return r.dialer.Connect(ctx, o)
	}
	return s, err
}

// crowded waits until what is over now has ended, and reports whether there was anything.
func (r *Reaper) crowded(ctx context.Context) bool {
	stop := context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.changed.Broadcast()
	})
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	any := len(r.dying) > 0
	if any {
		r.patient = time.Now().Add(reapPatience)
	}
	for len(r.dying) > 0 && ctx.Err() == nil {
		r.changed.Wait()
	}
	return any
}

// Reap ends a session that is settled, and does not wait for it if it need not.
func (r *Reaper) Reap(s *Session) {
	r.mu.Lock()
	wait := len(r.dying) >= maxReaped || time.Now().Before(r.patient)
	if !wait {
		r.dying[s] = struct{}{}
		go r.watch(s)
	}
	r.mu.Unlock()
	if wait {
		s.Wait()
	}
}

func (r *Reaper) watch(s *Session) {
	s.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.dying, s)
	r.changed.Broadcast()
}

// Ending returns how many connections have not ended yet.
func (r *Reaper) Ending() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.dying)
}

// Close returns when every connection has ended: after grace by force. No session may be settled any more.
func (r *Reaper) Close(grace time.Duration) {
	timer := time.AfterFunc(grace, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for s := range r.dying {
			go s.Close()
		}
	})
	defer timer.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.dying) > 0 {
		r.changed.Wait()
	}
}
