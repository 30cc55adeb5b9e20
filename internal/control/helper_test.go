package control

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// fake answers as its functions say.
type fake struct {
	status func() Status
	pause  func() error
	resume func() error
	set    func(key, value string) error
	why    func(path string) (Why, error)
}

func (f fake) Status() Status               { return f.status() }
func (f fake) Pause() error                 { return f.pause() }
func (f fake) Resume() error                { return f.resume() }
func (f fake) Set(key, value string) error  { return f.set(key, value) }
func (f fake) Why(path string) (Why, error) { return f.why(path) }

// steady answers everything at once.
func steady() fake {
	return fake{
		status: busy,
		pause:  func() error { return nil },
		resume: func() error { return errors.New("not while the source is missing") },
		set: func(key, value string) error {
			if key != "bwlimit" || value != "8M\n" {
				return errors.New("got " + key + "=" + value)
			}
			return nil
		},
		why: func(path string) (Why, error) { return Why{Path: path, Verdict: Synced, Acked: noon}, nil },
	}
}

// socketPath is short: a test's own directory may not fit into a socket's name.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, SocketName)
}

// start runs a server until the test ends or stop is called, which returns Run's error.
func start(t *testing.T, h Handler) (path string, stop func() error) {
	t.Helper()
	return startWithGrace(t, h, shutdownGrace)
}

func startWithGrace(t *testing.T, h Handler, grace time.Duration) (path string, stop func() error) {
	t.Helper()
	path = socketPath(t)
	s, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	s.grace = grace
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, h) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return path, stop
}
