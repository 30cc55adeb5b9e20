package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// The causes of a context that a signal has ended.
var (
	errInterrupted = errors.New("interrupted")
	errStopped     = errors.New("stopped") // a service, by SIGTERM: that is how it ends
)

// grace is how long a run may take to end after the first signal. Whatever is
// under way may be cut off at any point: the server removes a temporary file or
// keeps it as a part when its connection is gone.
const grace = 900 * time.Millisecond

// busyPause is how often it is looked whether what must not be cut off has ended.
const busyPause = 100 * time.Millisecond

// interruptible ends the context it returns at the first SIGINT, SIGTERM or
// SIGHUP. At a second one, or when grace is over, it calls exit: whoever
// presses ^C waits for a second at most, whatever hangs. After release it does
// nothing any more.
func interruptible(parent context.Context, stderr io.Writer, exit func(int)) (ctx context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(parent)
	release = onSignals(func(signals <-chan os.Signal, done <-chan struct{}) {
		select {
		case <-signals:
		case <-done:
			return
		}
		cancel(errInterrupted)
		select {
		case <-signals:
		case <-time.After(grace):
		case <-done:
			return
		}
		fmt.Fprintln(stderr, "syncd: interrupted; run it again to go on")
		exit(exitInterrupted)
	}, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	return ctx, release
}

// abortable ends the context it returns at the first SIGINT, SIGTERM or SIGHUP (the
// terminal is gone), with errInterrupted. What then has to be done, such as to thaw,
// takes its time; a second one calls exit and leaves it to others.
func abortable(parent context.Context, stderr io.Writer, exit func(int)) (ctx context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(parent)
	release = onSignals(func(signals <-chan os.Signal, done <-chan struct{}) {
		select {
		case <-signals:
		case <-done:
			return
		}
		fmt.Fprintln(stderr, "syncd: giving up; waiting until SRC serves as before (^C does not wait)")
		cancel(errInterrupted)
		select {
		case <-signals:
			fmt.Fprintln(stderr, "syncd: interrupted; the service goes on to thaw SRC: see --report and its log")
			exit(exitInterrupted)
		case <-done:
		}
	}, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	return ctx, release
}

// stoppable ends the context it returns at the first SIGTERM, with errStopped as
// its cause, or SIGINT, with errInterrupted. At a second one, or limit after the
// first and when it is not busy, it calls exit. A service outlives its terminal and whoever reads its
// log: SIGHUP, which comes as an element of hangups, and SIGPIPE do not end it.
// After release it does nothing any more.
func stoppable(parent context.Context, limit time.Duration, busy func() bool, log *slog.Logger,
	exit func(int)) (ctx context.Context, hangups <-chan struct{}, release func()) {
	ctx, cancel := context.WithCancelCause(parent)
	again := make(chan struct{}, 1) // one is enough for any number: all is read then
	release = onSignals(func(signals <-chan os.Signal, done <-chan struct{}) {
		var over <-chan time.Time // set by the first
		for {
			var sig os.Signal
			select {
			case sig = <-signals:
			case <-over:
				if busy() {
					over = time.After(busyPause)
					continue
				}
				log.Error("cut off: it did not end in time after it was told to", "limit", limit)
				exit(exitFailed)
				return
			case <-done:
				return
			}
			switch {
			case sig == syscall.SIGPIPE:
			case sig == syscall.SIGHUP:
				select {
				case again <- struct{}{}:
				default:
				}
			case over != nil:
				log.Warn("cut off by a second signal")
				exit(exitInterrupted)
				return
			default:
				cause := errInterrupted
				if sig == syscall.SIGTERM {
					cause = errStopped
				}
				log.Info("stopping", "signal", sig.String())
				over = time.After(limit)
				cancel(cause)
			}
		}
	}, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	return ctx, again, release
}

// onSignals runs handle beside its caller until the function that it returns is
// called, which closes done and waits.
func onSignals(handle func(signals <-chan os.Signal, done <-chan struct{}), which ...os.Signal) (release func()) {
	signals, done := make(chan os.Signal, 4), make(chan struct{})
	signal.Notify(signals, which...)
	var handler sync.WaitGroup
	handler.Go(func() { handle(signals, done) })
	return func() {
		signal.Stop(signals)
		close(done)
		handler.Wait()
	}
}
