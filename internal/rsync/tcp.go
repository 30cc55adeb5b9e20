package rsync

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// promptTCP acknowledges what arrives at once. An rsync server leaves Nagle's algorithm on and speaks in small pieces:
// the second waits for the acknowledgement of the first, which the kernel delays by 40 ms while the client has nothing
// to say. Measured on loopback: 65 ms for an empty session, 22 ms with this.
//
// The kernel forgets the wish now and then, so each read renews it: a cheap call beside the read itself.
type promptTCP struct {
	*net.TCPConn
	raw syscall.RawConn
}

func newPromptTCP(c *net.TCPConn) (promptTCP, error) {
	raw, err := c.SyscallConn()
	return promptTCP{c, raw}, err
}

func (c promptTCP) Read(p []byte) (int, error) {
	// A kernel that does not know the option is merely slow.
	_ = c.raw.Control(quickAck)
	return c.TCPConn.Read(p)
}

func quickAck(fd uintptr) {
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
}

// unacknowledged returns how many segments the other host has not acknowledged, how many bytes it has, and when it last
// acknowledged anything.
func (c promptTCP) unacknowledged() (missing int, acked uint64, since time.Duration) {
	_ = c.raw.Control(func(fd uintptr) { // a connection that is closed misses nothing
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			missing, acked = int(info.Unacked), info.Bytes_acked
			since = time.Duration(info.Last_ack_recv) * time.Millisecond
		}
	})
	return missing, acked, since
}

// receiverLimited returns for how long data waited for the other host to take it: its window was full.
func (c promptTCP) receiverLimited() (limited time.Duration) {
	_ = c.raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			limited = time.Duration(info.Rwnd_limited) * time.Microsecond
		}
	})
	return limited
}
