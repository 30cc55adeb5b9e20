package ssh

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// maxWasted is how many masters in a row may die before they were of use to anybody.
const maxWasted = 3

// A Pool shares the logins of one command: the first that it is asked for. A nil Pool shares none. Its methods may be
// called by any number of goroutines.
type Pool struct {
	dirs []string

	// turn is held by who looks for a master or starts one: one after the other, for one may have to ask somebody.
	turn    chan struct{}
	settled bool // what follows is known
	place   place
	options []string // for masters

	mu      sync.Mutex // guards leases and what changes in masters, too
	off     bool       // nothing is shared (any more)
	masters []*master
	limit   int // sessions that one of them may have
	wasted  int
	exits   sync.WaitGroup
}

// NewPool returns a pool that makes its sockets in the first of these directories that will do, or else in one that it
// makes. Nothing is started yet. The caller ends it by Close.
func NewPool(dirs ...string) *Pool {
	return &Pool{dirs: dirs, turn: make(chan struct{}, 1), limit: sessions}
}

// Lease returns the share of a new session in a login of this command, which ends with the host. It starts a master if
// need be and returns when that is logged in. No lease and no error: the session has to log in by itself. Errors are
// *LoginError, or the cause of ctx.
func (p *Pool) Lease(ctx context.Context, command []string) (*Lease, error) {
	if p == nil {
		return nil, nil
	}
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-p.turn }()
	if !p.settled {
		if err := p.settle(ctx, command); err != nil {
			return nil, err
		}
	}
	if p.isOff() {
		return nil, nil
	}
	if l := p.free(); l != nil {
		return l, nil
	}
	if p.isOff() { // by the masters that have died
		return nil, nil
	}
	socket := p.place.path()
	m, err := login(ctx, command, socket, p.options...)
	if failed, ok := errors.AsType[*LoginError](err); ok && strings.Contains(strings.Join(failed.Words, " "), socket) {
		p.turnOff() // it let us in, and could not make its socket
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !m.lives() {
		p.turnOff()
		return nil, nil
	}
	return p.add(m), nil
}

// settle finds out whether logins of a command can be shared.
func (p *Pool) settle(ctx context.Context, command []string) error {
	defer func() { p.settled = ctx.Err() == nil }()
	if !Is(command) || sharing(command) {
		p.turnOff()
		return nil
	}
	s, ok := ask(ctx, command)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !ok || s.shares() {
		p.turnOff()
		return nil
	}
	if !s.keepsAlive() {
		p.options = append(p.options, "-o", "ServerAliveInterval="+strconv.Itoa(alive))
	}
	var err error
	if p.place, err = findPlace(p.dirs); err != nil {
		p.turnOff()
	}
	return nil
}

func (p *Pool) isOff() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.off
}

func (p *Pool) turnOff() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.off = true
}

// add enters a master and returns its first lease.
func (p *Pool) add(m *master) *Lease {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off { // closed meanwhile
		p.exits.Go(m.exit)
		return nil
	}
	p.masters = append(p.masters, m)
	m.open++
	return &Lease{pool: p, m: m}
}

// free returns a lease of a master that has room, if there is one.
func (p *Pool) free() *Lease {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range slices.Clone(p.masters) {
		switch {
		case m.retired || m.open >= p.limit:
		case m.lives():
			m.open++
			return &Lease{pool: p, m: m}
		default:
			p.bury(m)
		}
	}
	return nil
}

// bury forgets a master that has died.
func (p *Pool) bury(m *master) {
	p.masters = slices.DeleteFunc(p.masters, func(o *master) bool { return o == m })
	p.exits.Go(func() { _ = os.Remove(m.socket) }) // of one that was killed
	if m.served {
		p.wasted = 0
	} else if p.wasted++; p.wasted >= maxWasted {
		p.off = true // a server that ends connections without sessions
	}
}

// leave takes note of the end of a lease.
func (p *Pool) leave(m *master) {
	m.open--
	if m.retired && m.open == 0 && slices.Contains(p.masters, m) {
		p.masters = slices.DeleteFunc(p.masters, func(o *master) bool { return o == m })
		p.exits.Go(m.exit)
	}
}

// Close ends all masters, and with them sessions that still run. No lease is given out any more.
func (p *Pool) Close() {
	if p == nil {
		return
	}
	p.mu.Lock()
	p.off = true
	for _, m := range p.masters {
		p.exits.Go(m.exit)
	}
	p.masters = nil
	p.mu.Unlock()
	p.turn <- struct{}{} // who starts a master is done, and has seen that it is not wanted
	defer func() { <-p.turn }()
	p.exits.Wait()
	p.place.remove()
}

// A Lease is the share of one session in a login. A nil Lease is none.
type Lease struct {
	pool *Pool
	m    *master
	over bool // guarded by the pool's lock
}

// Command returns the command of the session: without a lease the one of the login itself.
func (l *Lease) Command(command []string) []string {
	if l == nil {
		return command
	}
	// If the master has just died ssh logs in by itself; but only masters may ask anybody.
	return With(command, "-o", "ControlMaster=no", "-o", "ControlPath="+l.m.socket, "-o", "BatchMode=yes")
}

// Hear is given the lines that the session's ssh says, and reports whether one is about the sharing alone.
func (l *Lease) Hear(line string) bool {
	switch {
	case l == nil:
		return false
	case strings.HasPrefix(line, "Control socket connect("):
		return true // the master has died, and ssh goes on to log in by itself
	case !strings.HasPrefix(line, "mux_client_") || !strings.Contains(line, "session request failed"):
		return false
	}
	// The server takes no more sessions over this connection (MaxSessions), and ssh goes on to log in by itself.
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	if !l.over {
		l.pool.limit = max(1, min(l.pool.limit, l.m.open)-1)
		l.release()
	}
	return true
}

// Served tells that the session has got an answer from the other side.
func (l *Lease) Served() {
	if l == nil {
		return
	}
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	if !l.over {
		l.m.served = true
	}
}

// Suspect tells that the session heard nothing any more: the connection may be dead. It is for no other session then,
// and ends with the last that it has.
func (l *Lease) Suspect() {
	if l == nil {
		return
	}
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	if !l.over {
		l.m.retired = true
	}
}

// Lost reports whether the login is gone: another attempt would get a new one.
func (l *Lease) Lost() bool { return l != nil && !l.m.lives() }

// Release tells that the session has ended. Safe to call more than once.
func (l *Lease) Release() {
	if l == nil {
		return
	}
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	l.release()
}

func (l *Lease) release() {
	if !l.over {
		l.over = true
		l.pool.leave(l.m)
	}
}
