package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/control"
	"github.com/syncd/syncd/internal/treetest"
)

// patience is how long what is waited for may take on a machine with other work, back-off included.
const patience = time.Minute

// pollEvery is how often a condition is looked at.
const pollEvery = 50 * time.Millisecond

// A service is a syncd that follows src, as a process of its own, over all its starts.
type service struct {
	t        *testing.T
	src, dst string // the trees
	options  treetest.Options
	socket   string
	args     []string
	log      *os.File // of all its lives

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

// follow starts syncd for src and dest, whose tree is seen at dst. It ends with the test, which fails unless it then
// ends well.
func follow(t *testing.T, src, dst, dest string, flags ...string) *service {
	t.Helper()
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, src: src, dst: dst, options: plain, socket: filepath.Join(dir, "sock"), log: log}
	s.args = append([]string{"-a", "--delete", "--numeric-ids", "--control=" + s.socket}, flags...)
	s.args = append(s.args, src, dest)
	s.start()
	t.Cleanup(func() {
		s.stop()
		log.Close()
		if t.Failed() {
			s.keep()
		}
	})
	return s
}

func (s *service) start() {
	s.t.Helper()
	cmd := exec.Command(program, s.args...)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		cmd.Wait() // how it ended is in ProcessState
		close(done)
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cmd, s.done = cmd, done
}

func (s *service) process() (*exec.Cmd, chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd, s.done
}

// kill ends it by SIGKILL. A process that had ended before by itself fails the test.
func (s *service) kill() {
	s.t.Helper()
	cmd, done := s.process()
	cmd.Process.Kill()
	<-done
	if w, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || w.Signal() != syscall.SIGKILL {
		s.t.Errorf("syncd ended by itself: %v", cmd.ProcessState)
	}
}

// stop ends it as systemd does. It must end well.
func (s *service) stop() {
	s.t.Helper()
	cmd, done := s.process()
	cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-done:
	case <-time.After(patience):
		s.t.Error("syncd does not end after SIGTERM")
		cmd.Process.Signal(syscall.SIGABRT) // its goroutines go into the log
		<-done
	}
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Errorf("syncd ended with %v", cmd.ProcessState)
	}
}

// status asks it how it stands; an error while it starts, or is dead.
func (s *service) status() (*control.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	a, err := control.Ask(ctx, s.socket, control.Request{Do: control.DoStatus})
	if err != nil {
		return nil, err
	}
	return a.Status, nil
}

// converged waits until it says that nothing waits and the trees are equal.
func (s *service) converged() {
	s.t.Helper()
	s.await("trees are equal", func() error {
		st, err := s.status()
		if err != nil {
			return err
		}
		if paths, _ := st.Backlog.Sum(); st.State != control.Live || paths > 0 || !st.Backlog.Oldest.IsZero() || st.Failing.Total > 0 {
			return fmt.Errorf("%s", st.Line())
		}
		if diff := difference(s.t, s.src, s.dst, s.options); diff != "" {
			return fmt.Errorf("it says %q, but:\n%s", st.Line(), diff)
		}
		return nil
	})
}

// await tries cond until it is met. A test whose service has ended by itself fails at once.
func (s *service) await(what string, cond func() error) {
	s.t.Helper()
	cmd, done := s.process()
	if err := await(cond, done); err != nil {
		cmd.Process.Signal(syscall.SIGQUIT) // its goroutines go into the log
		<-done
		s.t.Fatalf("never: %s: %v", what, err)
	}
}

// await tries cond until it is met, with its last words if it is not, or if ended is closed before.
func await(cond func() error, ended <-chan struct{}) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for begin := time.Now(); ; {
		err := cond()
		if err == nil {
			return nil
		}
		if time.Since(begin) > patience {
			return err
		}
		select {
		case <-tick.C:
		case <-ended:
			return fmt.Errorf("the process has ended; before: %w", err)
		}
	}
}

// lines are those that it has logged so far, without those of debug.
func (s *service) lines() []string {
	s.t.Helper()
	text, err := os.ReadFile(s.log.Name())
	if err != nil {
		s.t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, " DEBUG ") {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines
}

// keep shows the end of the log, and leaves all of it where SYNCD_KEEP says.
func (s *service) keep() {
	lines := s.lines()
	s.t.Logf("%d lines logged, the last:\n%s", len(lines), strings.Join(lines[max(0, len(lines)-40):], "\n"))
	dir := os.Getenv("SYNCD_KEEP")
	if dir == "" {
		return
	}
	dir = filepath.Join(dir, strings.ReplaceAll(s.t.Name(), "/", "_")+"-"+time.Now().Format("150405.000"))
	cp := func(from, to string) error {
		out, err := exec.Command("cp", "-a", from, filepath.Join(dir, to)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
		}
		return nil
	}
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = errors.Join(cp(s.log.Name(), "log"), cp(s.src, "src"), cp(s.dst, "dst"))
	}
	s.t.Logf("kept in %s (%v)", dir, err)
}

// difference is what dst has otherwise than src. What cannot be read, since it still changes, is a difference as well.
func difference(t testing.TB, src, dst string, o treetest.Options) string {
	return attempt(t, func(t testing.TB) string {
		return treetest.Diff(treetest.Snapshot(t, src, o), treetest.Snapshot(t, dst, o))
	})
}

// attempt runs f, whose t.Fatalf ends f alone and becomes its answer.
func attempt(t testing.TB, f func(testing.TB) string) string {
	a := &attempted{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.words = f(a)
	}()
	<-done
	return a.words
}

type attempted struct {
	testing.TB
	words string
}

func (a *attempted) Helper() {}

func (a *attempted) Fatalf(format string, args ...any) {
	a.words = fmt.Sprintf(format, args...)
	runtime.Goexit()
}
