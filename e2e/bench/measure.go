package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// measureArgument makes this program the small parent of a command that is measured.
//
// The kernel lets a process begin its peak memory with that of the one that forked it, and this one has held trees and
// buffers. Started afresh it is smaller than any program measured here.
const measureArgument = "measure-child"

// usage is what one run of a command took, with all processes that it started and waited for.
type usage struct {
	Wall   time.Duration
	CPU    time.Duration // user and system
	MaxRSS int64         // bytes, of the largest process
}

// measure runs a command and returns what it took. A command that fails is an error with its last words.
func measure(ctx context.Context, command []string) (usage, error) {
	var u usage
	self, err := os.Executable()
	if err != nil {
		return u, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return u, err
	}
	defer r.Close()
	cmd := exec.CommandContext(ctx, self, append([]string{measureArgument}, command...)...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.ExtraFiles = []*os.File{w}
	// A group of its own: an interrupt ends the command with its parent and children.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Start()
	w.Close()
	if err != nil {
		return u, err
	}
	decodeErr := json.NewDecoder(r).Decode(&u)
	if err := cmd.Wait(); err != nil {
		return u, errors.Join(ctx.Err(), fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, tail(output.String())))
	}
	return u, decodeErr
}

// tail is the last lines of a program's output.
func tail(s string) string {
	const most = 2000
	s = strings.TrimSpace(s)
	return s[max(0, len(s)-most):]
}

// measureMain runs the command and writes its usage to descriptor 3. It returns the command's exit status.
func measureMain(command []string) int {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	begin := time.Now()
	err := cmd.Run()
	wall := time.Since(begin)
	if cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		return 127
	}
	u := usage{Wall: wall, CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.MaxRSS = r.Maxrss << 10
	}
	if err := json.NewEncoder(os.NewFile(3, "usage")).Encode(u); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 126
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(1, cmd.ProcessState.ExitCode())
	}
	return 0
}

// machineCPU is the processor time that all processes and the kernel have taken since the machine was started.
func machineCPU() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	fields := strings.Fields(line)
	const idle, wait, last = 4, 5, 7 // "cpu", user, nice, system, idle, iowait, irq, softirq
	if len(fields) <= last {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	var ticks int64
	for i := 1; i <= last; i++ {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		if i != idle && i != wait {
			ticks += n
		}
	}
	return time.Duration(ticks) * (time.Second / 100), nil
}
