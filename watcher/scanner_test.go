package watcher

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/scan"
)

// passes is a Scanner in a bubble of time, and what it emitted.
type passes struct {
	*Scanner
	takes time.Duration // a pass
	start time.Time
	stop  context.CancelFunc
	err   chan error

	mu    sync.Mutex
	begun []time.Duration // since start
}

func scanning(t *testing.T, takes time.Duration, c ScanConfig) *passes {
	t.Helper()
	root, err := scan.OpenRoot(t.TempDir())
	ok(t, err)
	p := &passes{takes: takes, start: time.Now(), err: make(chan error, 1)}
	c.Root = root
	c.Passed = func(ctx context.Context) error { return sleep(ctx, p.takes) }
	p.Scanner, err = NewScanner(c)
	ok(t, err)
	ctx, stop := context.WithCancel(t.Context())
	p.stop = stop
	go func() {
		defer root.Close()
		p.err <- p.Run(ctx, func(i queue.Item) {
			if (i != queue.Item{Kind: queue.Tree, Path: "."}) {
				t.Errorf("emitted %v", i)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			p.begun = append(p.begun, time.Since(p.start))
		})
	}()
	synctest.Wait()
	return p
}

// after lets time pass, and returns when passes began since the start.
func (p *passes) after(d time.Duration) []time.Duration {
	<-time.After(d)
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.begun)
}

func (p *passes) end(t *testing.T) {
	t.Helper()
	p.stop()
	if err := <-p.err; !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	if err := p.Sync(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("Sync: %v", err)
	}
}

func TestScannerRestsBetweenPasses(t *testing.T) {
	for name, c := range map[string]struct{ takes, next time.Duration }{
		"an interval after the end":  {10 * time.Second, 70 * time.Second},
		"three quarters of the time": {time.Minute, 4 * time.Minute},
		"ten intervals at most":      {time.Hour, 70 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := scanning(t, c.takes, ScanConfig{})
				<-p.Ready()
				if got := p.after(c.next - time.Second); len(got) > 0 {
					t.Errorf("a pass began after %v", got)
				}
				if got := p.after(time.Second); len(got) != 1 {
					t.Errorf("no pass after %v", c.next)
				}
				if got := p.after(c.next); len(got) != 2 || got[1] != 2*c.next {
					t.Errorf("passes after %v", got)
				}
				p.end(t)
			})
		})
	}
}

// Sync waits for a pass that began after it: one that is under way may have gone by what changed a moment ago.
func TestScannerSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := scanning(t, 30*time.Second, ScanConfig{Interval: 100 * time.Second})
		when := func(d time.Duration) time.Duration {
			p.after(d - time.Since(p.start))
			if err := p.Sync(t.Context()); err != nil {
				t.Errorf("Sync: %v", err)
			}
			return time.Since(p.start)
		}
		// Passes are from 0 to 30, 130 to 160, 260 to 290, 390 to 420.
		if got := when(10 * time.Second); got != 160*time.Second {
			t.Errorf("in the first pass: %v", got)
		}
		if up := p.Stats().UpTo.Sub(p.start); up != 130*time.Second {
			t.Errorf("compared up to %v", up)
		}
		if got := when(200 * time.Second); got != 290*time.Second {
			t.Errorf("between passes: %v", got)
		}
		if got := when(390 * time.Second); got != 550*time.Second {
			t.Errorf("at the begin of a pass: %v", got)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, os.ErrDeadlineExceeded)
		defer cancel()
		if err := p.Sync(ctx); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Sync without time: %v", err)
		}
		p.end(t)
	})
}

// The first pass may be far when Run begins: what changed since it was begun for is not told by it.
func TestFirstPassBeginsWithTheScanner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root, err := scan.OpenRoot(t.TempDir())
		ok(t, err)
		defer root.Close()
		made := time.Now()
		over := errors.New("one pass is enough")
		s, err := NewScanner(ScanConfig{
			Root: root, Passed: func(context.Context) error { return nil }, Turn: func(context.Context) error { return over },
		})
		ok(t, err)
		<-time.After(time.Second)
		if err := s.Run(t.Context(), nil); !errors.Is(err, over) {
			t.Errorf("Run: %v", err)
		}
		if up := s.Stats().UpTo; up.After(made) {
			t.Errorf("compared up to %v after the first pass was begun for", up.Sub(made))
		}
	})
}

func TestScannerWaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turn := make(chan struct{})
		p := scanning(t, 0, ScanConfig{Turn: func(ctx context.Context) error {
			select {
			case <-turn:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}})
		if got := p.after(time.Hour); len(got) > 0 {
			t.Errorf("a pass began out of turn: %v", got)
		}
		close(turn)
		if got := p.after(0); len(got) != 1 {
			t.Errorf("no pass: %v", got)
		}
		p.end(t)
	})
}

func TestScannerEndsWithItsRoot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "root")
	ok(t, os.Mkdir(dir, 0o755))
	root, err := scan.OpenRoot(dir)
	ok(t, err)
	defer root.Close()
	s, err := NewScanner(ScanConfig{
		Root: root, Interval: time.Nanosecond, Passed: func(context.Context) error { return os.RemoveAll(dir) },
	})
	ok(t, err)
	err = s.Run(t.Context(), func(queue.Item) { t.Error("a pass began of nothing") })
	if !errors.Is(err, scan.ErrRootChanged) {
		t.Errorf("Run: %v", err)
	}
}

func TestScannerNeedsToKnow(t *testing.T) {
	root, err := scan.OpenRoot(t.TempDir())
	ok(t, err)
	defer root.Close()
	passed := func(context.Context) error { return nil }
	for _, c := range []ScanConfig{{}, {Root: root}, {Passed: passed}, {Root: root, Passed: passed, Interval: -1}} {
		if _, err := NewScanner(c); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
}
