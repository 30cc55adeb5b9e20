package rsync

import (
	"net"
	"syscall"

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
