package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// errInterrupted is the cause of a context that a signal has ended.
var errInterrupted = errors.New("interrupted")

// grace is how long a run may take to end after the first signal. Whatever is
// under way may be cut off at any point: the server removes a temporary file or
// keeps it as a part when its connection is gone.
const grace = 900 * time.Millisecond

// interruptible ends the context it returns at the first SIGINT, SIGTERM or
// SIGHUP. At a second one, or when grace is over, it calls exit: whoever
// presses ^C waits for a second at most, whatever hangs.
func interruptible(parent context.Context, stderr io.Writer, exit func(int)) context.Context {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-signals
		cancel(errInterrupted)
		select {
		case <-signals:
		case <-time.After(grace):
		}
		fmt.Fprintln(stderr, "syncd: interrupted; run it again to go on")
		exit(exitInterrupted)
	}()
	return ctx
}
