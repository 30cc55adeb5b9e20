package rsynctest

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// link is one connection through a Relay.
type link struct {
	relay  *Relay
	faults Faults
	client *net.TCPConn
	held   bool // guarded by the relay

	mu     sync.Mutex
	server *net.TCPConn // nil before connect
	broken bool
}

// connect gives the link its second half, unless it was reset meanwhile.
func (l *link) connect(server *net.TCPConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.server = server
	return !l.broken
}

// reset breaks the link: both sides see "connection reset by peer".
func (l *link) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return
	}
	l.broken = true
	for _, conn := range []*net.TCPConn{l.client, l.server} {
		if conn != nil {
			_ = conn.SetLinger(0) // Close then resets; it fails only on a connection that is closed already
			_ = conn.Close()
		}
	}
}

// direction is one half of a link: from one side to the other.
type direction struct {
	link     *link
	from, to *net.TCPConn
	cut      int64  // bytes until the link is broken; 0 = never
	hold     int64  // bytes until it is held; 0 = never, or no more
	counter  *int64 // bytes passed on, guarded by the relay
	passed   int64  // by this direction
}

// run moves bytes until the sender ends its side or the link breaks.
func (d *direction) run() {
	if d.link.faults.Delay > 0 {
		d.runDelayed()
		return
	}
	b := make([]byte, 128<<10)
	for {
		n, err := d.from.Read(b)
		if !d.deliver(b[:n]) {
			return
		}
		if err != nil {
			d.end(err)
			return
		}
	}
}

// piece is what one read brought, and when it is due on the other side.
type piece struct {
	data []byte
	err  error // of the read: the last piece
	due  time.Time
}

// piecesUnderWay bounds what a delayed direction holds: with reads of up to 32 KiB, 32 MiB.
const piecesUnderWay = 1024

func (d *direction) runDelayed() {
	under := make(chan piece, piecesUnderWay)
	go func() { // ends with the connection, which the link closes before it is done
		defer close(under)
		for {
			b := make([]byte, 32<<10)
			n, err := d.from.Read(b)
			under <- piece{b[:n], err, time.Now().Add(d.link.faults.Delay)}
			if err != nil {
				return
			}
		}
	}()
	open := true
	for p := range under { // to its end in any case, so that the reader is never stuck
		if !open {
			continue
		}
		time.Sleep(time.Until(p.due))
		if open = d.deliver(p.data); open && p.err != nil {
			d.end(p.err)
		}
	}
}

// deliver writes b, or what the cut leaves of it. It returns false when the link is broken.
func (d *direction) deliver(b []byte) bool {
	if !d.link.relay.wait(d.link) {
		return false
	}
	if left := d.hold - d.passed; d.hold > 0 && int64(len(b)) >= left {
		d.hold = 0
		if !d.deliver(b[:left]) {
			return false
		}
		d.link.relay.hold(d.link)
		return d.deliver(b[left:])
	}
	if d.cut > 0 {
		b = b[:min(int64(len(b)), d.cut-d.passed)]
	}
	n, err := d.to.Write(b)
	d.passed += int64(n)
	d.link.relay.count(d.counter, n)
	if err != nil {
		d.link.reset()
		return false
	}
	if d.cut > 0 && d.passed == d.cut {
		drain(d.to)
		d.link.reset()
		return false
	}
	return true
}

// end passes on how the sender ended: its end of file, or a broken connection.
func (d *direction) end(err error) {
	if !d.link.relay.wait(d.link) {
		return
	}
	if errors.Is(err, io.EOF) && d.to.CloseWrite() == nil {
		return
	}
	d.link.reset()
}

// drain waits until the other side's kernel has what was written, since a reset throws away what it has not. A side
// that takes nothing is given a second.
func drain(conn *net.TCPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		unsent := 0
		err := raw.Control(func(fd uintptr) { unsent, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		if err != nil || unsent == 0 {
			return
		}
		<-tick.C
	}
}
