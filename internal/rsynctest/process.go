package rsynctest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	startLimit = 30 * time.Second // generous: a loaded CI machine is no failure
	stopLimit  = 5 * time.Second  // from the polite signal to SIGKILL
	pollEvery  = 5 * time.Millisecond
)

// process is a server that is started and ended by this package, with all that it forks.
type process struct {
	cmd    *exec.Cmd
	output record
	done   chan struct{} // closed when the process has been waited for
}

// record is what a process has said so far.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func start(name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	// A group of its own, so that one signal reaches the forks too; Pdeathsig, so that a test binary that panics or
	// is killed leaves no server behind.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// A fork may hold the output pipe for longer than its parent lives.
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is of no interest: it is told to end
		close(p.done)
	}()
	return p, nil
}

// waitReady calls ready until it returns true. It fails when the process ends first.
func (p *process) waitReady(ready func() bool) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	for {
		if ready() {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended: %v: %s", p.cmd.Path, p.cmd.ProcessState, strings.TrimSpace(p.output.String()))
		case <-limit.C:
			return fmt.Errorf("%s: not ready after %v", p.cmd.Path, startLimit)
		case <-tick.C:
		}
	}
}

// stop ends the process and everything below it: with SIGTERM first when polite, else and at last with SIGKILL.
// When it returns without an error none of them runs.
func (p *process) stop(polite bool) error {
	pid := p.cmd.Process.Pid
	// Held still, it cannot fork between the look at what runs and the signals. What a fork still under way adds is in
	// its process group.
	_ = unix.Kill(pid, unix.SIGSTOP)
	pids := append(descendants(pid), pid)
	if polite {
		_ = unix.Kill(-pid, unix.SIGTERM)
		_ = unix.Kill(pid, unix.SIGCONT)
		pids = p.signal(pids, unix.SIGTERM, stopLimit)
	}
	_ = unix.Kill(-pid, unix.SIGKILL)
	pids = p.signal(pids, unix.SIGKILL, startLimit)
	<-p.done
	if len(pids) > 0 {
		return fmt.Errorf("%s: processes %v survive SIGKILL", p.cmd.Path, pids)
	}
	return nil
}

// signal sends sig and waits until none of the processes runs, for limit at most. It returns those that still do, with
// what they forked meanwhile.
func (p *process) signal(pids []int, sig unix.Signal, limit time.Duration) []int {
	for _, pid := range pids {
		_ = unix.Kill(pid, sig) // it may have ended by itself
	}
	end := time.Now().Add(limit)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		var alive []int
		for _, pid := range pids {
			if running(pid) {
				alive = append(alive, pid)
				alive = append(alive, descendants(pid)...)
			}
		}
		if len(alive) == 0 || time.Now().After(end) {
			return alive
		}
		pids = alive
		if sig == unix.SIGKILL {
			for _, pid := range pids {
				_ = unix.Kill(pid, sig)
			}
		}
		<-tick.C
	}
}

// stat returns the fields of /proc/PID/stat from the third, the state, on.
func stat(pid int) ([]string, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return nil, err
	}
	// The command's name is in parentheses and may hold anything, spaces and parentheses too.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	const least = 20
	if len(f) < least {
		return nil, fmt.Errorf("/proc/%d/stat has only %d fields", pid, len(f))
	}
	return f, nil
}

// procStat returns the parent and the state letter of a process, 0 when there is none.
func procStat(pid int) (parent int, state byte) {
	f, err := stat(pid)
	if err != nil {
		return 0, 0
	}
	parent, _ = strconv.Atoi(f[1])
	return parent, f[0][0]
}

// childrenCPU is the processor time of the children that a process has waited for, and of theirs.
func childrenCPU(pid int) (time.Duration, error) {
	f, err := stat(pid)
	if err != nil {
		return 0, err
	}
	// cutime and cstime, in ticks of what is 100 Hz on every architecture that Go runs on.
	user, err1 := strconv.ParseInt(f[13], 10, 64)
	system, err2 := strconv.ParseInt(f[14], 10, 64)
	return time.Duration(user+system) * (time.Second / 100), errors.Join(err1, err2)
}

// running tells whether the process exists; a zombie whose parent is slow to wait for it does not count.
func running(pid int) bool {
	_, state := procStat(pid)
	return state != 0 && state != 'Z' && state != 'X'
}

// descendants lists the processes below pid. sshd puts its sessions into process groups of their own, so the group is
// not enough to find them.
func descendants(pid int) []int {
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	children := make(map[int][]int)
	for _, name := range names {
		child, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			continue
		}
		if parent, state := procStat(child); state != 0 {
			children[parent] = append(children[parent], child)
		}
	}
	var all []int
	for next := children[pid]; len(next) > 0; {
		child := next[0]
		all = append(all, child)
		next = append(next[1:], children[child]...)
	}
	return all
}

// port keeps a TCP port of 127.0.0.1 for a server that is told its number. A socket stays bound to it without
// listening: Linux then gives the number to nobody who asks for any free port, yet lets a server that sets SO_REUSEADDR
// (rsync and sshd do) bind and listen. So there is no race, and a restarted server gets its port again.
type port struct {
	fd     int
	number int
}

func reservePort() (*port, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	p := &port{fd: fd}
	if err := p.bind(); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *port) bind() error {
	if err := unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(p.fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	sa, err := unix.Getsockname(p.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	p.number = sa.(*unix.SockaddrInet4).Port
	return nil
}

func (p *port) close() error { return unix.Close(p.fd) }
