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
	reaper *reaper

	mu       sync.Mutex
	session  *rsync.Session
	options  rsync.Options
	opening  bool
	closed   bool
	earliest time.Time // when the next may be opened

	ctx     context.Context
	stop    context.CancelFunc
	openers sync.WaitGroup
}

func newSpare(r *reaper) *spare {
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
	if p.session != nil || p.opening || p.closed || time.Now().Before(p.earliest) {
		return
	}
	p.opening = true
	p.openers.Go(func() {
		s, err := p.reaper.connect(p.ctx, o)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.opening = false
		switch {
		case err != nil:
			p.earliest = time.Now().Add(spareAfter)
		default:
			p.session, p.options = s, o
		}
	})
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
