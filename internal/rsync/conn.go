package rsync

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// A conn is the connection of a session. It counts what moves on the wire, gives up when it makes no progress for too
// long (patience), and can be cut at any time from any goroutine, which ends blocked reads and writes.
type conn struct {
	raw io.ReadWriteCloser // the transport
	rw  io.ReadWriteCloser // raw behind the watch and Dialer.Wrap

	start    time.Time
	heard    atomic.Int64 // when something came, nanoseconds since start
	moved    atomic.Int64 // when something came or went
	in, out  atomic.Int64 // bytes
	writing  atomic.Int64 // time spent in Write, nanoseconds
	closed   chan struct{}
	closeOne sync.Once

	mu       sync.Mutex
	cause    error // why it was cut; nil if it was closed in good order
	patience patience
	timer    *time.Timer
}

func newConn(raw io.ReadWriteCloser, wrap func(io.ReadWriteCloser) io.ReadWriteCloser) *conn {
	c := &conn{raw: raw, start: time.Now(), closed: make(chan struct{})}
	// The watch sits below the rate limit: a write that waits for its share of the bandwidth moves in small pieces.
	c.rw = watch{c}
	if wrap != nil {
		c.rw = wrap(c.rw)
	}
	return c
}

// Read reads from the connection. After a cut it returns the cause.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.rw.Read(p)
	if err != nil {
		err = c.because(err)
	}
	return n, err
}

// Write writes to the connection. After a cut it returns the cause.
func (c *conn) Write(p []byte) (int, error) {
	began := time.Now()
	n, err := c.rw.Write(p)
	c.writing.Add(int64(time.Since(began)))
	if err != nil {
		err = c.because(err)
	}
	return n, err
}

// waited returns how long what was written had to wait for the way to the other host, the network and Dialer.Wrap: not
// for the server to take it, as far as the transport can tell.
func (c *conn) waited() time.Duration {
	waited := time.Duration(c.writing.Load())
	if t, ok := c.raw.(interface{ receiverLimited() time.Duration }); ok {
		waited -= t.receiverLimited()
	}
	return max(waited, 0)
}

// because replaces the error of an operation on a connection that was cut on purpose.
func (c *conn) because(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return c.cause
	}
	return err
}

// cut ends the connection at once. The first cause counts.
func (c *conn) cut(cause error) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause = cause
	}
	c.mu.Unlock()
	c.close()
}

// cutBecause returns the cause of a cut, nil if there was none.
func (c *conn) cutBecause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// close ends the connection. Safe to call more than once.
func (c *conn) close() {
	c.closeOne.Do(func() {
		close(c.closed)
		c.setLimit(0)
		c.raw.Close()
		c.rw.Close()
	})
}

// closeWrite tells the peer that nothing more will come, if the transport can.
func (c *conn) closeWrite() {
	if h, ok := c.raw.(interface{ CloseWrite() error }); ok {
		h.CloseWrite()
	}
}

// watch is the transport as the layers above see it: every byte that moves is counted.
type watch struct{ c *conn }

func (w watch) Read(p []byte) (int, error) {
	n, err := w.c.raw.Read(p)
	if n > 0 {
		w.c.in.Add(int64(n))
		w.c.touch(&w.c.heard, &w.c.moved)
	}
	return n, err
}

func (w watch) Write(p []byte) (int, error) {
	n, err := w.c.raw.Write(p)
	if n > 0 {
		w.c.out.Add(int64(n))
		w.c.touch(&w.c.moved)
	}
	return n, err
}

func (w watch) Close() error { return w.c.raw.Close() }
