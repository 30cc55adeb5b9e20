package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// stale leaves a socket at path at which nobody answers.
func stale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestModeOfTheSocket(t *testing.T) {
	// No umask helps, and nobody else may be hurt by it: the mode is the socket's
	// before it has a name.
	defer unix.Umask(unix.Umask(0))
	path := socketPath(t)
	s, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fi, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode() != os.ModeSocket|0o600 {
		t.Errorf("mode %v", fi.Mode())
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := socketPath(t)
	stale(t, path)
	s, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func TestNothingElseIsRemoved(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"file":      func(p string) error { return os.WriteFile(p, []byte("precious"), 0o600) },
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"fifo":      func(p string) error { return unix.Mkfifo(p, 0o600) },
		"symlink to a stale socket": func(p string) error {
			stale(t, p+".real")
			return os.Symlink(p+".real", p)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := socketPath(t)
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			before, err := idOf(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = Listen(path); err == nil || !strings.Contains(err.Error(), "is no socket") {
				t.Errorf("got %v", err)
			}
			if after, err := idOf(path); err != nil || after != before {
				t.Errorf("it was touched: %v", err)
			}
		})
	}
}

func TestLivingSocketIsRefused(t *testing.T) {
	path, _ := start(t, steady())
	_, err := Listen(path)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("pid %d (", os.Getpid())) {
		t.Errorf("got %v", err)
	}
	if _, err := Ask(t.Context(), path, Request{Do: DoPause}); err != nil {
		t.Errorf("the first does not answer any more: %v", err)
	}
}

// A living one that is too busy to take connections is living as well.
func TestFullQueueIsLiving(t *testing.T) {
	path := socketPath(t)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := Listen(path); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v", err)
	}
	_, err = Ask(t.Context(), path, Request{Do: DoPause})
	if err == nil || !strings.Contains(err.Error(), "stuck or overloaded") {
		t.Errorf("a client is told %v", err)
	}
}

func TestDatagramSocketIsLiving(t *testing.T) {
	path := socketPath(t)
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Listen(path); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v", err)
	}
}

// Of many that start at once beside a stale socket one wins, and still answers
// when all others have given up.
func TestStartAtOnce(t *testing.T) {
	path := socketPath(t)
	stale(t, path)
	var (
		all     sync.WaitGroup
		mu      sync.Mutex
		winners []*Server
	)
	for range 20 {
		all.Go(func() {
			s, err := Listen(path)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				winners = append(winners, s)
			} else if !errors.Is(err, ErrInUse) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(winners) != 1 {
		t.Fatalf("%d servers", len(winners))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go winners[0].Run(ctx, steady())
	if _, err := Ask(t.Context(), path, Request{Do: DoPause}); err != nil {
		t.Error(err)
	}
}

// The socket of one that came later stays.
func TestCloseLeavesAnothersSocket(t *testing.T) {
	path := socketPath(t)
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if now, err := idOf(path); err != nil || now != second.id {
		t.Errorf("the second's socket: %v", err)
	}
}

func TestListenErrors(t *testing.T) {
	for name, c := range map[string]struct{ path, want string }{
		"no directory": {filepath.Join(t.TempDir(), "none", "s"), "no such file or directory"},
		"long name":    {"/tmp/" + strings.Repeat("x", 108), "113 bytes long, and a socket's name at most 107"},
	} {
		if _, err := Listen(c.path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
