package transfer

import (
	"context"
	"sync"
	"time"

	"github.com/syncd/syncd/internal/rsync"
)

// How long no spare session is opened after the server refused one, or was full.
const spareAfter = time.Minute

// A spare is a session opened ahead of need, up to the point where the file list is due: a change then costs one round
// trip and not six. There is one, for the options that live batches have. Its methods are safe for concurrent use.
type spare struct {
	reaper *rsync.Reaper

	mu       sync.Mutex
	session  *rsync.Session
	options  rsync.Options
	opening  bool
	closed   bool
	earliest time.Time // when the next may be opened

	found func(error) // is told how each opening went; may be nil
	tried time.Time   // when one was opened in place of one that had ended

	ctx     context.Context
	stop    context.CancelFunc
	openers sync.WaitGroup
}

func newSpare(r *rsync.Reaper) *spare {
	p := &spare{reaper: r}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

// take returns the spare session if it has these options and is alive, else nil.
func (p *spare) take(o rsync.Options) *rsync.Session {
	p.mu.Lock()
	s := p.session
	if s == nil || p.options != o {
		p.mu.Unlock()
		return nil
	}
	p.session = nil
	p.mu.Unlock()
	select {
	case <-s.Done():
		s.Close()
		return nil
	default:
		return s
	}
}

// fill opens a spare session in the background, unless there is one. One that has other options is of no more use.
func (p *spare) fill(o rsync.Options) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if old := p.session; old != nil && p.options != o {
		p.session = nil
		p.openers.Go(func() { old.Close() })
	}
	if !time.Now().Before(p.earliest) {
		p.open(o)
	}
}

// try opens a spare session even if the server refused one a short time ago.
func (p *spare) try(o rsync.Options) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open(o)
}

func (p *spare) open(o rsync.Options) {
	if p.session != nil || p.opening || p.closed {
		return
	}
	p.opening = true
	p.openers.Go(func() {
		s, err := p.reaper.Connect(p.ctx, o)
		p.mu.Lock()
		p.opening = false
		switch {
		case err != nil:
			p.earliest = time.Now().Add(spareAfter)
		default:
			p.session, p.options, p.earliest = s, o, time.Time{}
			p.openers.Go(func() { p.watch(s, o) })
		}
		p.mu.Unlock()
		if p.found != nil && p.ctx.Err() == nil {
			p.found(err)
		}
	})
}

// watch opens another session when one that waits ends by itself, though nobody needs it now: that way it is known
// whether the server is away. A server that does not let sessions wait is not asked again and again.
func (p *spare) watch(s *rsync.Session, o rsync.Options) {
	select {
	case <-s.Done():
	case <-p.ctx.Done():
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session != s || time.Since(p.tried) < spareAfter {
		return
	}
	p.session, p.tried = nil, time.Now()
	p.openers.Go(func() { s.Close() })
	p.open(o)
}

// held reports whether a connection is kept open, or being opened.
func (p *spare) held() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.session != nil || p.opening
}

// rest gives the connection back to a server that is full.
func (p *spare) rest() {
	p.mu.Lock()
	s := p.session
	p.session, p.earliest = nil, time.Now().Add(spareAfter)
	p.mu.Unlock()
	if s != nil {
		s.Close()
	}
}

// close ends the spare session for good.
func (p *spare) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.stop()
	p.openers.Wait()
	p.rest()
}
