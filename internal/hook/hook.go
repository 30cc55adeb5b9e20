// Package hook runs an operator's command: by sh -c, in a process group of its own,
// for a limited time, with its output in the log and the end of it in the hands of
// the caller.
package hook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	// killGrace is the time between SIGTERM and SIGKILL for a command that has to end.
	killGrace = time.Second
	// A process that the command leaves behind may keep the output open; this long
	// what it writes is still read.
	drainGrace = 250 * time.Millisecond

	tailSize = 4 << 10 // bytes of output that are kept
	lineSize = 4 << 10 // a longer line is logged in pieces
)

// A Command is what is to be run.
type Command struct {
	Line string
	// Env is added to the environment of this process, without what is meant for this
	// process alone: the variables of systemd's notification socket and watchdog, and
	// RSYNC_PASSWORD.
	Env []string
	// Log is told each line of output as it comes, from one goroutine at a time. May be nil.
	Log func(line string)
}

// A Result is what came of a command. Exit is -1 if there is no exit status: it was
// not started, or a signal ended it.
type Result struct {
	Exit   int
	Output string // the end of both outputs
}

// Run runs a command until it ends, and is nil for exit status 0 alone. Its working
// directory is /, its standard input empty. When ctx ends, the process group gets
// SIGTERM, a second later SIGKILL, and the error is ctx's cause. Processes that it
// leaves behind when it ends by itself go on; those that write to its output are cut
// off from it.
func Run(ctx context.Context, c Command) (Result, error) {
	if ctx.Err() != nil {
		return Result{Exit: -1}, context.Cause(ctx)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return Result{Exit: -1}, err
	}
	defer read.Close()
	cmd := exec.Command("/bin/sh", "-c", c.Line)
	cmd.Dir, cmd.Env = "/", append(environment(os.Environ()), c.Env...)
	// Files and no io.Writer: Wait waits for the command alone.
	cmd.Stdout, cmd.Stderr = write, write
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	write.Close()
	if err != nil {
		return Result{Exit: -1}, err
	}
	out := &output{log: c.Log}
	drained := make(chan struct{})
	go func() { defer close(drained); out.readFrom(read) }()
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()

	err = waitOrKill(ctx, cmd.Process.Pid, exited)
	timer := time.AfterFunc(drainGrace, func() { read.SetReadDeadline(time.Now()) })
	<-drained
	timer.Stop()
	return Result{Exit: cmd.ProcessState.ExitCode(), Output: out.tail()}, described(err)
}

// waitOrKill returns how the command ended, or ctx's cause once its group is gone.
func waitOrKill(ctx context.Context, pgid int, exited <-chan error) error {
	select {
	case err := <-exited:
		return err
	case <-ctx.Done():
	}
	// An error means that there is none left.
	_ = syscall.Kill(-pgid, syscall.SIGTERM)
	timer := time.NewTimer(killGrace)
	defer timer.Stop()
	select {
	case <-exited:
		// The shell may have gone before its children, which have the rest of the grace.
		if gone(pgid, timer.C) {
			return context.Cause(ctx)
		}
		_ = syscall.Kill(-pgid, syscall.SIGKILL)
	case <-timer.C:
		_ = syscall.Kill(-pgid, syscall.SIGKILL)
		<-exited
	}
	return context.Cause(ctx)
}

// gone reports whether a process group has no member by the time that over fires.
func gone(pgid int, over <-chan time.Time) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !errors.Is(syscall.Kill(-pgid, 0), syscall.ESRCH) {
		select {
		case <-over:
			return false
		case <-tick.C:
		}
	}
	return true
}

// described says how a command ended, in words.
func described(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return fmt.Errorf("ended by signal %d (%s)", status.Signal(), status.Signal())
	}
	return fmt.Errorf("exit status %d", exit.ExitCode())
}

// environment is env without what would be misunderstood, or should not spread.
func environment(env []string) []string {
	var rest []string
	for _, v := range env {
		switch name, _, _ := strings.Cut(v, "="); name {
		case "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "RSYNC_PASSWORD":
		default:
			rest = append(rest, v)
		}
	}
	return rest
}
