package rsynctest

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

// Faults are what a Relay does to connections. The zero value passes everything on unchanged.
type Faults struct {
	// CutUp and CutDown break a connection once exactly so many bytes have gone to the server, or come from it: both
	// sides then see a reset. 0 never breaks.
	CutUp, CutDown int64
	HoldUp         int64         // holds a connection back once exactly so many bytes have gone to the server, until Go or Cut
	Delay          time.Duration // later arrival of every byte, in both directions; throughput stays
	Connections    int           // faults apply to the next so many connections only; 0 = to all
}

// Relay is a TCP relay in front of a server. Its methods may be called from any goroutine.
type Relay struct {
	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu          sync.Mutex
	changed     *sync.Cond // stopped or closed have changed
	faults      Faults
	affected    int // connections that had the faults of now
	accepted    int
	up, down    int64
	stopped     bool
	closed      bool
	held        int // connections that were held so far
	connections map[*link]struct{}
}

// Proxy starts a relay to addr on a free port of 127.0.0.1, ended with the test.
func Proxy(t testing.TB, addr string, f Faults) *Relay {
	t.Helper()
	r, err := NewRelay(addr, f)
	if err != nil {
		t.Fatalf("start relay: %v", err)
	}
	t.Cleanup(r.Close)
	return r
}

// NewRelay is Proxy for programs that are no tests. The caller ends it with Close.
func NewRelay(addr string, f Faults) (*Relay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Relay{target: addr, listener: listener, faults: f, connections: make(map[*link]struct{})}
	r.changed = sync.NewCond(&r.mu)
	r.wg.Go(r.accept)
	return r, nil
}

// Addr is the relay's address, "127.0.0.1:port".
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// URL is the address of a module or a path in it, by way of the relay.
func (r *Relay) URL(path string) string { return "rsync://" + r.Addr() + "/" + path }

// Bytes returns how much was passed on to the server and to the clients, over all connections since the start.
func (r *Relay) Bytes() (up, down int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.up, r.down
}

// Accepted is the number of connections so far.
func (r *Relay) Accepted() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accepted
}

// Set replaces the faults for connections to come; those open keep theirs.
func (r *Relay) Set(f Faults) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults, r.affected = f, 0
}

// Stop holds back all bytes from now on, without a word to either side, as a dead network does. New connections are
// accepted and held too.
func (r *Relay) Stop() { r.stop(true) }

// Go ends Stop, and lets go of connections that are held.
func (r *Relay) Go() {
	r.stop(false)
	r.letGo()
}

// Held is how many connections were held so far.
func (r *Relay) Held() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held
}

// hold keeps a connection from now on.
func (r *Relay) hold(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l.held = true
	r.held++
}

func (r *Relay) letGo() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range r.connections {
		l.held = false
	}
	r.changed.Broadcast()
}

func (r *Relay) stop(stopped bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = stopped
	r.changed.Broadcast()
}

// Cut resets all open connections.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range r.connections {
		l.reset()
		l.held = false
	}
	r.changed.Broadcast()
}

// Close ends the relay and resets its connections.
func (r *Relay) Close() {
	r.mu.Lock()
	r.closed = true
	r.changed.Broadcast()
	r.mu.Unlock()
	_ = r.listener.Close() // a second Close is no error
	r.Cut()
	r.wg.Wait()
}

func (r *Relay) accept() {
	for {
		client, err := r.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the client was gone before it was accepted
		}
		r.wg.Go(func() { r.serve(client.(*net.TCPConn)) })
	}
}

// serve relays one connection until it has ended in both directions.
func (r *Relay) serve(client *net.TCPConn) {
	l := &link{relay: r, client: client}
	defer l.client.Close()
	if !r.add(l) {
		return
	}
	defer r.remove(l)
	if !r.wait(l) {
		return
	}
	server, err := net.Dial("tcp", r.target)
	if err != nil {
		_ = client.SetLinger(0) // what a refused connection comes to for one that was accepted too early
		return
	}
	defer server.Close()
	if !l.connect(server.(*net.TCPConn)) {
		return
	}
	var both sync.WaitGroup
	up := direction{link: l, from: client, to: l.server, cut: l.faults.CutUp, hold: l.faults.HoldUp, counter: &r.up}
	down := direction{link: l, from: l.server, to: client, cut: l.faults.CutDown, counter: &r.down}
	both.Go(up.run)
	both.Go(down.run)
	both.Wait()
}

// add enters a new connection and decides whether the faults are for it. It returns false once the relay is closed.
func (r *Relay) add(l *link) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.accepted++
	if r.faults.Connections == 0 || r.affected < r.faults.Connections {
		r.affected++
		l.faults = r.faults
	}
	r.connections[l] = struct{}{}
	return true
}

func (r *Relay) remove(l *link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.connections, l)
}

// wait blocks while the relay is stopped, or l held. It returns false once the relay is closed.
func (r *Relay) wait(l *link) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for (r.stopped || l.held) && !r.closed {
		r.changed.Wait()
	}
	return !r.closed
}

func (r *Relay) count(counter *int64, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*counter += int64(n)
}
