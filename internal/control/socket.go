package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/printable"
)

// ErrInUse means that another process answers at the socket: most likely a
// syncd for the same tree.
var ErrInUse = errors.New("another process answers at this socket")

// sunPathMax is the room for a name in sockaddr_un, with its final NUL.
const sunPathMax = 108

// listen makes the socket at path, of mode 0600 from the first moment on. It
// takes the place of a socket at which nobody answers and of nothing else.
func listen(path string) (*net.UnixListener, error) {
	if len(path) >= sunPathMax {
		return nil, fmt.Errorf("control socket %s: the name is %d bytes long, and a socket's name at most %d",
			path, len(path), sunPathMax-1)
	}
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	defer unlock()
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	c := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var err error
		// bind(2) makes the file with the mode of the socket's own inode, less the umask.
		if e := conn.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); e != nil {
			return e
		}
		return err
	}}
	l, err := c.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, bare(err))
	}
	u := l.(*net.UnixListener)
	u.SetUnlinkOnClose(false) // it would remove whatever has the name by then
	return u, nil
}

// lockDir keeps two processes that start at once from removing each other's
// sockets. Nothing is left behind: the lock is on the directory itself.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	// Whoever else holds it does what we do, in a millisecond.
	for try := 0; ; try++ {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) || try == 100 {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// removeStale makes room at path, if what is there is a socket without a listener.
func removeStale(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.Mode().Type() != fs.ModeSocket {
		return errors.New("is there already and is no socket; it is not touched, remove it or choose another name")
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	switch {
	case err == nil:
		if cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil && cred.Pid > 0 {
			return fmt.Errorf("%w: pid %d%s", ErrInUse, cred.Pid, commandOf(int(cred.Pid)))
		}
		return ErrInUse
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EPROTOTYPE):
		// Its queue is full, or it is a socket of another kind that is in use.
		return ErrInUse
	case errors.Is(err, unix.ECONNREFUSED):
		return os.Remove(path)
	case errors.Is(err, unix.ENOENT):
		return nil
	}
	return err
}

// commandOf is the name of a process in parentheses, if it can be known.
func commandOf(pid int) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return ""
	}
	return " (" + printable.Text(strings.TrimSpace(string(name))) + ")"
}

// bare takes off what net wraps around an error: the path, which the caller names.
func bare(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		return fmt.Errorf("%s: %w", call.Syscall, call.Err)
	}
	return err
}

// id tells a socket's file from another of the same name.
type id struct{ dev, ino uint64 }

func idOf(path string) (id, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return id{}, err
	}
	return id{uint64(st.Dev), st.Ino}, nil
}
