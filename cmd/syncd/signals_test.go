package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/syncd/syncd/systemd/notify"
)

// buffer is a strings.Builder for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// The first signal ends the context, the second one the process, at once.
func TestSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		codes := make(chan int, 1)
		ctx, release := interruptible(context.Background(), new(buffer), func(code int) { codes <- code })
		raise(t, sig)
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), errInterrupted) {
			t.Errorf("%v: cause %v", sig, context.Cause(ctx))
		}
		raise(t, sig)
		if code := <-codes; code != exitInterrupted {
			t.Errorf("%v: exit %d", sig, code)
		}
		release()
	}
}

// A run that does not end by itself is ended.
func TestSignalGrace(t *testing.T) {
	if grace >= time.Second {
		t.Errorf("grace of %v: ^C is to end within a second", grace)
	}
	codes := make(chan int, 1)
	ctx, release := interruptible(context.Background(), new(buffer), func(code int) { codes <- code })
	defer release()
	raise(t, syscall.SIGINT)
	<-ctx.Done()
	if code := <-codes; code != exitInterrupted {
		t.Errorf("exit %d", code)
	}
}

// service is a stoppable context, its log and its exit status.
func service(t *testing.T, limit time.Duration) (context.Context, *buffer, <-chan int) {
	t.Helper()
	ctx, log, codes, _ := serviceThatReads(t, limit)
	return ctx, log, codes
}

// serviceThatReads is a service, and where its SIGHUPs arrive.
func serviceThatReads(t *testing.T, limit time.Duration) (context.Context, *buffer, <-chan int, <-chan struct{}) {
	t.Helper()
	log, codes := new(buffer), make(chan int, 1)
	idle := func() bool { return false }
	ctx, hangups, release := stoppable(context.Background(), limit, idle, notify.Logger(log, slog.LevelInfo),
		func(code int) { codes <- code })
	t.Cleanup(release)
	return ctx, log, codes, hangups
}

// late takes, until the process ends, what arrives when the handler that a test was for has gone: a signal needs a moment.
var late = make(chan os.Signal, 1)

func raise(t *testing.T, sig syscall.Signal) {
	t.Helper()
	signal.Notify(late, sig)
	if err := syscall.Kill(os.Getpid(), sig); err != nil {
		t.Fatal(err)
	}
}

// The first signal ends a service in its own time, the second one at once.
func TestServiceSignals(t *testing.T) {
	for sig, cause := range map[syscall.Signal]error{syscall.SIGINT: errInterrupted, syscall.SIGTERM: errStopped} {
		t.Run(sig.String(), func(t *testing.T) {
			ctx, log, codes := service(t, time.Hour)
			raise(t, sig)
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), cause) {
				t.Errorf("cause %v, want %v", context.Cause(ctx), cause)
			}
			raise(t, syscall.SIGTERM)
			if code := <-codes; code != exitInterrupted {
				t.Errorf("exit %d", code)
			}
			if !strings.Contains(log.String(), "stopping") || !strings.Contains(log.String(), "second signal") {
				t.Errorf("log %q", log)
			}
		})
	}
}

// A service that hangs is ended all the same.
func TestServiceStopLimit(t *testing.T) {
	ctx, log, codes := service(t, time.Nanosecond)
	raise(t, syscall.SIGTERM)
	<-ctx.Done()
	if code := <-codes; code != exitFailed || !strings.Contains(log.String(), "did not end in time") {
		t.Errorf("exit %d, log %q", code, log)
	}
}

// But not while it has something to do that must not be cut off.
func TestServiceIsBusy(t *testing.T) {
	codes, asked := make(chan int, 1), 0
	busy := func() bool { asked++; return asked < 3 }
	ctx, _, release := stoppable(context.Background(), time.Nanosecond, busy, notify.Logger(new(buffer), slog.LevelInfo),
		func(code int) { codes <- code })
	raise(t, syscall.SIGTERM)
	<-ctx.Done()
	code := <-codes
	release()
	if code != exitFailed || asked != 3 {
		t.Errorf("exit %d, asked %d times", code, asked)
	}
}

// Neither a terminal that is closed nor a pipe without a reader ends a service.
func TestServiceOutlivesItsTerminal(t *testing.T) {
	ctx, log, codes, hangups := serviceThatReads(t, time.Hour)
	raise(t, syscall.SIGPIPE)
	for range 2 {
		raise(t, syscall.SIGHUP)
	}
	<-hangups
	if ctx.Err() != nil || len(codes) > 0 || strings.Contains(log.String(), "stopping") {
		t.Errorf("ended by %v, log %q", context.Cause(ctx), log)
	}
}

// A server that says nothing does not keep an interrupted run.
func TestInterruptWhileServerIsSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		cancel(errInterrupted)
		io.Copy(io.Discard, c)
	}()
	var out, stderr buffer
	noEnv := func(string) string { return "" }
	args := []string{"--full", "-a", t.TempDir(), "rsync://" + l.Addr().String() + "/m"}
	code := run(ctx, args, streams{strings.NewReader(""), &out, &stderr}, noEnv)
	if code != exitInterrupted || stderr.String() != "syncd: interrupted; run it again to go on\n" || out.String() != "" {
		t.Errorf("exit %d, stdout %q, stderr %q", code, out.String(), stderr.String())
	}
}
