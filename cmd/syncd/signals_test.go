package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
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
		ctx := interruptible(context.Background(), new(buffer), func(code int) { codes <- code })
		kill := func() {
			if err := syscall.Kill(os.Getpid(), sig); err != nil {
				t.Fatal(err)
			}
		}
		kill()
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), errInterrupted) {
			t.Errorf("%v: cause %v", sig, context.Cause(ctx))
		}
		kill()
		if code := <-codes; code != exitInterrupted {
			t.Errorf("%v: exit %d", sig, code)
		}
	}
}

// A run that does not end by itself is ended.
func TestSignalGrace(t *testing.T) {
	if grace >= time.Second {
		t.Errorf("grace of %v: ^C is to end within a second", grace)
	}
	codes := make(chan int, 1)
	ctx := interruptible(context.Background(), new(buffer), func(code int) { codes <- code })
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if code := <-codes; code != exitInterrupted {
		t.Errorf("exit %d", code)
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
