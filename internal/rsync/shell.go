package rsync

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/syncd/syncd/internal/ssh"
)

const (
	// shellGrace is how long a remote shell may take to end by itself after the conversation has ended well.
	shellGrace = 5 * time.Second
	// failedShellGrace is how long one may take that has not brought up a server.
	failedShellGrace = time.Second
	// stderrGrace is how long we wait for more of its words after it has ended: a process that it left behind (a
	// connection master of ssh) may hold its stderr open for ever.
	stderrGrace = time.Second
	// maxStderr is how much of its words is kept before a session takes them, in bytes.
	maxStderr = 64 << 10
)

// A shell is a running remote shell: a transport over its standard input and output. It is not put into a process group
// of its own, because it may have to ask for a password on the terminal.
type shell struct {
	cmd   *exec.Cmd
	login *ssh.Lease // nil: it logs in by itself
	in    *os.File   // to its stdin
	out   *os.File   // from its stdout
	done  chan struct{}
	said  chan struct{} // closed when nothing more will come from its stderr

	endIn sync.Once
	err   error // how it ended; valid after done

	mu   sync.Mutex
	line []byte            // begun and not complete
	kept []string          // lines that nobody has taken yet
	size int               // bytes in kept
	take func(line string) // nil until a session takes the lines
	last string            // the last line said
}

// startShell runs a command with its words captured. It ends the lease that the command has, if it has one.
func startShell(argv []string, login *ssh.Lease) (*shell, error) {
	s := &shell{cmd: exec.Command(argv[0], argv[1:]...), login: login, done: make(chan struct{}), said: make(chan struct{})}
	started := false
	defer func() {
		if !started {
			login.Release()
		}
	}()
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	var ours []*os.File
	pipe := func() (r, w *os.File, err error) {
		if r, w, err = os.Pipe(); err != nil {
			for _, f := range ours {
				f.Close()
			}
		}
		return r, w, err
	}
	inR, inW, err := pipe()
	if err != nil {
		return nil, err
	}
	theirs, ours = append(theirs, inR), append(ours, inW)
	outR, outW, err := pipe()
	if err != nil {
		return nil, err
	}
	theirs, ours = append(theirs, outW), append(ours, outR)
	errR, errW, err := pipe()
	if err != nil {
		return nil, err
	}
	theirs, ours = append(theirs, errW), append(ours, errR)

	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = inR, outW, errW
	if err := s.cmd.Start(); err != nil {
		for _, f := range ours {
			f.Close()
		}
		return nil, err
	}
	s.in, s.out, started = inW, outR, true
	go s.listen(errR)
	go func() {
		s.err = s.cmd.Wait()
		login.Release()
		errR.SetReadDeadline(time.Now().Add(stderrGrace))
		close(s.done)
	}()
	return s, nil
}

func (s *shell) Read(p []byte) (int, error)  { return s.out.Read(p) }
func (s *shell) Write(p []byte) (int, error) { return s.in.Write(p) }

// CloseWrite ends the remote side's input.
func (s *shell) CloseWrite() error {
	err := os.ErrClosed
	s.endIn.Do(func() { err = s.in.Close() })
	return err
}

// Close ends the transport. The process is left to end by itself, for it may still have to say why: see wait.
func (s *shell) Close() error {
	s.CloseWrite()
	return s.out.Close()
}

// wait gives the process time to end by itself, kills it if it does not, and waits for its last words. It returns how
// the process ended.
func (s *shell) wait(grace time.Duration) error {
	timer := time.AfterFunc(grace, func() { s.cmd.Process.Kill() })
	defer timer.Stop()
	<-s.done
	<-s.said
	return s.err
}

// listen splits what the process says on its stderr into lines.
func (s *shell) listen(r *os.File) {
	defer close(s.said)
	defer r.Close()
	buf := make([]byte, 4<<10)
	for {
		n, err := r.Read(buf)
		s.hear(buf[:n], err != nil)
		if err != nil {
			return
		}
	}
}

func (s *shell) hear(p []byte, end bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range p {
		if c != '\n' && len(s.line) < maxLine {
			s.line = append(s.line, c)
			continue
		}
		s.say()
	}
	if end && len(s.line) > 0 {
		s.say()
	}
}

// say passes on the line that is complete.
func (s *shell) say() {
	line := strings.TrimRight(string(s.line), "\r")
	s.line = s.line[:0]
	if line == "" || s.login.Hear(line) {
		return
	}
	s.last = line
	switch {
	case s.take != nil:
		s.take(line)
	case s.size < maxStderr:
		s.kept = append(s.kept, line)
		s.size += len(line)
	}
}

// setListener passes all lines, those said before included, to take. take runs under a lock, one line at a time.
func (s *shell) setListener(take func(line string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.take = take
	for _, line := range s.kept {
		take(line)
	}
	s.kept = nil
}

// words returns the lines that tell why the shell failed: the last few.
func (s *shell) words() string {
	words := s.lines()
	const most = 3
	return strings.Join(words[max(0, len(words)-most):], "; ")
}

// lines returns what the shell has said and nobody has taken, or else the last line.
func (s *shell) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) == 0 && s.last != "" {
		return []string{s.last}
	}
	return slices.Clone(s.kept)
}

// quoteArg quotes for the shell at the other end. A leading ~ or ~user of a path is left for it to expand.
func quoteArg(s string) string {
	tilde := ""
	if strings.HasPrefix(s, "~") {
		end := strings.IndexByte(s, '/')
		if end < 0 {
			end = len(s)
		}
		if allSafe(s[1:end]) {
			end = min(end+1, len(s)) // a quoted slash would hide the user's name
			tilde, s = s[:end], s[end:]
			if s == "" {
				return tilde
			}
		}
	}
	if s != "" && allSafe(s) {
		return tilde + s
	}
	return tilde + "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// allSafe reports whether no shell gives any byte of s a meaning.
func allSafe(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("%+,-./:=@_", c) >= 0:
		default:
			return false
		}
	}
	return true
}
