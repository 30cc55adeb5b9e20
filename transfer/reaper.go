package transfer

import (
	"context"
	"sync"
	"time"

	"github.com/syncd/syncd/internal/rsync"
)

const (
	// How many connections may wait for their server to close them. A server in good health takes 20 ms for each.
	maxReaped = 16
	// How long connections that are at their end may take when the engine ends.
	reapGrace = time.Second
)

// A reaper makes the connections of one destination, and sees to their end: a session is over when the server has said
// goodbye, but the server needs a moment more to close the connection, and counts it until then. Its methods are safe
// for concurrent use.
type reaper struct {
	dialer *rsync.Dialer

	mu      sync.Mutex
	dying   map[*rsync.Session]struct{}
	changed sync.Cond // dying has lost one
	patient time.Time // until then sessions see their connections end
}

func newReaper(d *rsync.Dialer) *reaper {
	r := &reaper{dialer: d, dying: map[*rsync.Session]struct{}{}}
	r.changed.L = &r.mu
	return r
}

// connect makes a session. A server without room may only have to get rid of what is over here; then sessions see
// their connections end for a while.
func (r *reaper) connect(ctx context.Context, o rsync.Options) (*rsync.Session, error) {
	s, err := r.dialer.Connect(ctx, o)
	if kindOf(err) == rsync.KindBusy && r.crowded(ctx) {
		return r.dialer.Connect(ctx, o)
	}
	return s, err
}

// crowded waits until what is over now has ended, and reports whether there was anything.
func (r *reaper) crowded(ctx context.Context) bool {
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
		r.patient = time.Now().Add(busyFor)
	}
	for len(r.dying) > 0 && ctx.Err() == nil {
		r.changed.Wait()
	}
	return any
}

// reap ends a session that is settled, and does not wait for it if it need not.
func (r *reaper) reap(s *rsync.Session) {
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

func (r *reaper) watch(s *rsync.Session) {
	s.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.dying, s)
	r.changed.Broadcast()
}

// close returns when every connection has ended, after a moment by force. No session may be settled any more.
func (r *reaper) close() {
	timer := time.AfterFunc(reapGrace, func() {
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
