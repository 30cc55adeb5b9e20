package watcher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/scan"
)

// DefaultInterval is ScanConfig.Interval when it is 0.
const DefaultInterval = time.Minute

// After a pass that took longer than a third of the interval the next one waits three times as long as it took, so that
// no more than a quarter of the time goes into passes. But not longer than ten intervals: a pass that sent much says
// little of what the next one costs.
const (
	restFactor = 3
	mostRest   = 10 // intervals
)

// A Mode says how changes are noticed.
type Mode string

// The modes.
const (
	Auto    Mode = ""        // by events where these tell of all changes, else by passes
	Inotify Mode = "inotify" // by events, also where these do not tell of all changes
	Scan    Mode = "scan"    // by passes
)

// A Source tells what changes in a tree: a [Watcher] by events of the kernel, a [Scanner] by having the tree compared.
type Source interface {
	Run(ctx context.Context, emit func(queue.Item)) error
	Ready() <-chan struct{}
	Sync(ctx context.Context) error
	Stats() Stats
}

// ScanConfig says what to have compared, and how often. Root and Passed must be set.
type ScanConfig struct {
	Root     *scan.Root
	Interval time.Duration // from the end of a pass to the begin of the next one; 0 = DefaultInterval

	// Passed returns when all that was emitted before the call has been compared. While it cannot be known, it waits.
	Passed func(ctx context.Context) error
	// Turn returns when a pass may begin; nil: at any time.
	Turn func(ctx context.Context) error
}

// A Scanner stands in for a Watcher where the kernel does not tell what changes: on network file systems, and without
// watches. At intervals it emits Tree("."), so that what has changed is found by comparing the whole tree. A pass that
// began no earlier than NewScanner is under way when Run is called: the first item comes an interval after its end.
//
// A Scanner is made by NewScanner and used for one Run. Its methods may be called from any goroutine.
type Scanner struct {
	c       ScanConfig
	ready   chan struct{}
	ended   chan struct{} // closed when Run is about to return
	running sync.Once

	mu     sync.Mutex
	begun  int64         // passes
	done   int64         // of these: ended
	since  time.Time     // when the pass began that is under way, or that ended last
	upTo   time.Time     // when the pass began that ended last
	passed chan struct{} // closed when the next one ends
}

// NewScanner checks the configuration.
func NewScanner(c ScanConfig) (*Scanner, error) {
	if c.Root == nil || c.Passed == nil {
		return nil, errors.New("scanner: no root, or nobody who knows the end of a pass")
	}
	if c.Interval < 0 {
		return nil, fmt.Errorf("scanner: negative interval %v", c.Interval)
	}
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	if c.Turn == nil {
		c.Turn = func(context.Context) error { return nil }
	}
	return &Scanner{
		c: c, ready: make(chan struct{}), ended: make(chan struct{}), passed: make(chan struct{}),
		begun: 1, since: time.Now(),
	}, nil
}

// Run has the tree compared until ctx ends and returns its cause. It fails with an error that wraps scan.ErrRootChanged
// when the root is moved, removed or unmounted, which is looked at before each pass. emit is as in [Watcher.Run].
func (s *Scanner) Run(ctx context.Context, emit func(queue.Item)) error {
	err := errors.New("scanner: Run called again")
	s.running.Do(func() {
		defer close(s.ended)
		err = s.run(ctx, emit)
	})
	return err
}

func (s *Scanner) run(ctx context.Context, emit func(queue.Item)) error {
	close(s.ready)
	for {
		if err := s.c.Passed(ctx); err != nil {
			return because(ctx, err)
		}
		if err := sleep(ctx, s.end()); err != nil {
			return err
		}
		if err := s.c.Turn(ctx); err != nil {
			return because(ctx, err)
		}
		// Not to be able to tell is no reason: the pass will find out.
		if err := s.c.Root.Same(); errors.Is(err, scan.ErrRootChanged) {
			return err
		}
		s.begin()
		emit(queue.Item{Kind: queue.Tree, Path: "."})
	}
}

// because is the cause of ctx's end, if that is the reason for err.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

func (s *Scanner) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun++
	s.since = time.Now()
}

// end notes that the pass is over, and returns how long to wait before the next one.
func (s *Scanner) end() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done, s.upTo = s.begun, s.since
	close(s.passed)
	s.passed = make(chan struct{})
	return max(s.c.Interval, min(restFactor*time.Since(s.since), mostRest*s.c.Interval))
}

// Ready is closed when Run has begun.
func (s *Scanner) Ready() <-chan struct{} { return s.ready }

// Sync returns when a pass that began after the call has ended: nobody knows of a change before. It does not make the
// pass begin earlier. It returns the cause of ctx when that ends first, and ErrStopped when Run does.
func (s *Scanner) Sync(ctx context.Context) error {
	s.mu.Lock()
	want := s.begun + 1
	s.mu.Unlock()
	for {
		s.mu.Lock()
		done, passed := s.done >= want, s.passed
		s.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-passed:
		case <-s.ended:
			return ErrStopped
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Stats returns the state now: UpTo alone.
func (s *Scanner) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{UpTo: s.upTo}
}
