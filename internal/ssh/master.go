package ssh

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

const (
	// alive is how often a master asks the server for a sign of life, in seconds, unless the user has chosen: after
	// three without an answer it ends, with its sessions. Else all sessions would hang on a dead connection.
	alive = 15
	// sessions is how many sessions a master has at most: MaxSessions of sshd by default.
	sessions = 10
	// exitTime is how long a master may take to be told to end.
	exitTime = 2 * time.Second
	// wordsTime is how long we wait for words of an ssh that has ended. With -v a master keeps its stderr open.
	wordsTime = 500 * time.Millisecond
	// maxWords is how much of its words is kept, in bytes.
	maxWords = 16 << 10
)

// persist is how long a master outlives its last session, in seconds. It is what is left of us after a kill -9; and
// sessions further apart than that need a new login.
var persist = 30

// A master is a connection that is logged in. Its fields are guarded by the pool's lock, but for those that never change.
type master struct {
	command []string
	socket  string

	open    int  // leases
	served  bool // one of them was of use
	retired bool // for no more of them
}

// A LoginError says that ssh could not log in.
type LoginError struct {
	Status int      // its exit status; -1: killed
	Words  []string // what it said
	Err    error
}

// Error returns one line: how ssh ended, and the last of its words.
func (e *LoginError) Error() string {
	const most = 3
	s := e.Err.Error()
	if n := len(e.Words); n > 0 {
		s += ": " + strings.Join(e.Words[max(0, n-most):], "; ")
	}
	return s
}

// Unwrap returns the reason.
func (e *LoginError) Unwrap() error { return e.Err }

// login starts a master. It returns when the server has let us in: ssh then goes into the background. Until then it may
// ask on the terminal. Errors are *LoginError, or the context's.
func login(ctx context.Context, command []string, socket string, options ...string) (*master, error) {
	argv := With(command, append([]string{
		"-o", "ControlMaster=yes", "-o", "ControlPath=" + socket, "-o", "ControlPersist=" + strconv.Itoa(persist), "-N", "-f",
	}, options...)...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var words limited
	cmd.Stderr = &words
	cmd.WaitDelay = wordsTime
	err := cmd.Run()
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		e := &LoginError{Status: -1, Words: words.lines(), Err: err}
		if cmd.ProcessState != nil {
			e.Status = cmd.ProcessState.ExitCode()
			e.Err = errors.New(argv[0] + " ended with status " + strconv.Itoa(e.Status))
		}
		return nil, e
	}
	return &master{command: command, socket: socket}, nil
}

// lives reports whether somebody listens at the master's socket.
func (m *master) lives() bool {
	c, err := net.Dial("unix", m.socket)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// exit ends the master, and the sessions that it has.
func (m *master) exit() {
	ctx, cancel := context.WithTimeout(context.Background(), exitTime)
	defer cancel()
	argv := With(m.command, "-o", "ControlPath="+m.socket, "-O", "exit")
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = wordsTime
	_ = cmd.Run()           // it may have ended by itself, and does so soon
	_ = os.Remove(m.socket) // of one that was killed
}

// limited keeps the first words of a process.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if room := maxWords - l.Len(); room > 0 {
		l.Buffer.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

func (l *limited) lines() []string {
	var lines []string
	for line := range strings.Lines(l.String()) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}
