package rsync

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/ratelimit"
)

// tcpPair is a connection and its other end.
func tcpPair(t *testing.T, wrap func(io.ReadWriteCloser) io.ReadWriteCloser) (*conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ours, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := newPromptTCP(ours.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	c := newConn(raw, wrap)
	t.Cleanup(func() {
		c.close()
		theirs.Close()
	})
	return c, theirs
}

const (
	waits   = 300 * time.Millisecond
	most    = 256 << 20 // bytes, more than any kernel takes without a wait
	aSecond = 1 << 20   // bytes
)

// writeUntil writes until c has waited, and reports whether it has.
func writeUntil(t *testing.T, c *conn, waited func() time.Duration) bool {
	t.Helper()
	piece := make([]byte, 64<<10)
	for range most / len(piece) {
		if waited() >= waits {
			return true
		}
		if _, err := c.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	return false
}

// TestWaited tells what a session waits for: a slow network, its own limit.
func TestWaited(t *testing.T) {
	limit := ratelimit.New(aSecond)
	for what, slow := range map[string]struct {
		wrap func(io.ReadWriteCloser) io.ReadWriteCloser
		pace int
	}{
		"network": {pace: aSecond},
		"limit":   {wrap: func(rw io.ReadWriteCloser) io.ReadWriteCloser { return limit.Wrap(t.Context(), rw) }},
	} {
		t.Run(what, func(t *testing.T) {
			c, theirs := tcpPair(t, slow.wrap)
			if slow.pace > 0 {
				// The kernel sends no faster, as if the network did not.
				_ = c.raw.(promptTCP).raw.Control(func(fd uintptr) {
					if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, slow.pace); err != nil {
						t.Error(err)
					}
				})
			}
			go io.Copy(io.Discard, theirs)
			if !writeUntil(t, c, c.waited) {
				t.Errorf("of %v spent in writing %v are waiting", time.Duration(c.writing.Load()), c.waited())
			}
		})
	}
}

// TestWaitedForReceiver does not count what the other host takes its time for.
func TestWaitedForReceiver(t *testing.T) {
	c, theirs := tcpPair(t, nil)
	raw := c.raw.(promptTCP)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for raw.receiverLimited() < waits {
			<-tick.C
		}
		io.Copy(io.Discard, theirs)
	}()
	writing := func() time.Duration { return time.Duration(c.writing.Load()) }
	if !writeUntil(t, c, writing) || raw.receiverLimited() < waits {
		t.Fatalf("%v spent in writing, %v of that for the receiver", writing(), raw.receiverLimited())
	}
	if w := c.waited(); w > writing()-waits {
		t.Errorf("of %v spent in writing %v are waiting for the network", writing(), w)
	}
}
