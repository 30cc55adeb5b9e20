package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// follower is a running program that follows changes.
type follower struct {
	cmd   *exec.Cmd
	log   string        // its output
	ended chan struct{} // closed when it has ended
	err   error         // why; after ended
}

// startFollower starts a program with its output in a file.
func startFollower(command []string, log string) (*follower, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	f := &follower{cmd: exec.Command(command[0], command[1:]...), log: log, ended: make(chan struct{})}
	f.cmd.Stdout, f.cmd.Stderr = out, out
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := f.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		f.err = f.cmd.Wait()
		close(f.ended)
	}()
	return f, nil
}

func (f *follower) pid() int { return f.cmd.Process.Pid }

// alive returns an error with the program's last words when it has ended.
func (f *follower) alive() error {
	select {
	case <-f.ended:
		words, _ := os.ReadFile(f.log)
		return fmt.Errorf("%s has ended: %v: %s", strings.Join(f.cmd.Args, " "), f.err, tail(string(words)))
	default:
		return nil
	}
}

// stop ends the program and all that it has started.
func (f *follower) stop() error {
	if err := f.cmd.Process.Signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-f.ended:
	case <-time.After(5 * time.Second):
	}
	// Its group may have members even when it has ended.
	if err := unix.Kill(-f.pid(), unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	<-f.ended
	return nil
}

// memory is the program's resident memory now and at its most, in bytes.
func (f *follower) memory() (now, most int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", f.pid()))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[2] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return 0, 0, err
		}
		switch fields[0] {
		case "VmRSS:":
			now = n << 10
		case "VmHWM:":
			most = n << 10
		}
	}
	return now, most, nil
}

// watchMemory notes the program's peak memory, in bytes, until it ends. The function that it returns waits for that.
func (f *follower) watchMemory() func(context.Context) (int64, error) {
	var peak int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			if _, most, err := f.memory(); err == nil {
				peak = max(peak, most)
			}
			select {
			case <-tick.C:
			case <-f.ended:
				return
			}
		}
	}()
	return func(ctx context.Context) (int64, error) {
		select {
		case <-done:
			return peak, nil
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

var cpus = float64(runtime.NumCPU())

// processCPU is the processor time of one process, with its threads that have ended, exactly: clock_getcpuclockid(3).
func processCPU(pid int) (time.Duration, error) {
	const scheduler = 2 // CPUCLOCK_SCHED
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduler), &t); err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// treeCPU is the processor time of a process and of those that live below it.
func treeCPU(pid int) (time.Duration, error) {
	sum, err := processCPU(pid)
	if err != nil {
		return 0, err
	}
	below, err := descendants(pid)
	for _, child := range below {
		t, err := processCPU(child)
		if err == nil { // else it has just ended
			sum += t
		}
	}
	return sum, err
}

// familyCPU is treeCPU with all that has ended and been waited for, to 10 ms for each.
func familyCPU(pid int) (time.Duration, error) {
	sum, err := treeCPU(pid)
	if err != nil {
		return 0, err
	}
	members, err := descendants(pid)
	if err != nil {
		return 0, err
	}
	for _, member := range append(members, pid) {
		fields, err := procStat(member)
		if err != nil {
			continue
		}
		for _, ticks := range fields[cutime : cutime+2] {
			n, err := strconv.ParseInt(ticks, 10, 64)
			if err != nil {
				return 0, err
			}
			sum += time.Duration(n) * (time.Second / 100)
		}
	}
	return sum, nil
}

// Fields of /proc/PID/stat after the name.
const (
	parent = 1
	cutime = 13
)

func procStat(pid int) ([]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) <= cutime+1 {
		return nil, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	return fields, nil
}

// descendants are the processes below pid.
func descendants(pid int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		fields, err := procStat(child)
		if err != nil {
			continue // it has ended
		}
		if p, err := strconv.Atoi(fields[parent]); err == nil {
			children[p] = append(children[p], child)
		}
	}
	all := children[pid]
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all, nil
}
