// Package audit proves, at a low rate and for as long as a service runs, that the destination still has what the
// catalogue says that it has (design.md 8). It compares by checksum the files that were never compared, then those whose
// comparison is longest ago, and now and then the names and attributes of all directories, which shows what nobody here
// has sent. What is equal is noted in the catalogue. What is not is sent again, and is an alarm: somebody else writes at
// the destination, or its disk loses data.
//
// What is fixed here and nowhere else: an alarm is only what was found different twice, with all changes of the source
// read from the kernel in between and nothing pending for the path, and of a version that the catalogue had the whole
// time. Everything else is a change that has not arrived yet, and no business of an audit.
package audit

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/internal/verify"
)

// A World is what is audited: a source that is followed, its destination, and what runs between them. Its methods are
// called from one goroutine at a time.
type World interface {
	// Calm reports whether an audit may take its part of the disks and the line now. ahead says that a cutover waits
	// for the audit, which then only steps back before what makes its work worthless.
	Calm(ctx context.Context, ahead bool) bool
	// Sync returns when everything that changed at the source before the call is queued.
	Sync(ctx context.Context) error
	// Pending reports whether anything queued or in flight concerns path.
	Pending(ctx context.Context, path string) (bool, error)
	// Again has path sent again, or deleted at the destination if it is not at the source.
	Again(path string)
	// Lookup returns what the source has at path now.
	Lookup(path string) (scan.Stat, error)
	// Compare compares items by checksum: as fast as it can if ahead is set, and else gently.
	Compare(ctx context.Context, items iter.Seq[verify.Item], s verify.Sink, ahead bool) (verify.Summary, error)
}

// Config says how an audit goes about it. Catalogue is required.
type Config struct {
	Catalogue *catalogue.Store
	// Interval is the time in which everything is compared at least once, load permitting; 0: DefaultInterval.
	Interval time.Duration
	// Files is how many files, and Bytes how many bytes in them, are compared in a second at most; 0: no limit.
	Files, Bytes int64
	Look         time.Duration // between two looks whether there is anything to do; 0: 5 s
	Log          *slog.Logger  // nil: none

	tuning tuning
}

// DefaultInterval gives a disk of some terabytes the time to be read gently.
const DefaultInterval = 7 * 24 * time.Hour

// tuning is what tests make small.
type tuning struct {
	files, dirs int           // in one batch
	retry       time.Duration // after a comparison that failed
}

var defaults = tuning{
	// A batch costs a session or two, and for as long as it takes the work ahead of it is not looked at anew.
	files: 2048, dirs: 256,
	retry: time.Minute,
}

const defaultLook = 5 * time.Second

// An Audit goes on through several runs, one after the other. Its methods are safe for concurrent use.
type Audit struct {
	c   Config
	log *slog.Logger

	mu       sync.Mutex
	status   Status
	ahead    bool
	held     bool
	cut      context.CancelFunc // ends the batch that runs; nil: none does
	idle     chan struct{}      // closed while no batch runs
	news     chan struct{}      // has an element after a change of ahead or held
	surveyed time.Time          // when the round over all directories ended that is owed to Ahead; zero: not yet

	// Of the goroutine of Run: rounds over what was never compared, over what is to be compared again, over the names in
	// directories.
	fresh, renewal, survey round
	freshDue, sweepDue     time.Time
}

// New makes an audit that has not begun.
func New(c Config) *Audit {
	a := &Audit{c: c, log: c.Log, news: make(chan struct{}, 1), idle: make(chan struct{})}
	close(a.idle)
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.c.Interval <= 0 {
		a.c.Interval = DefaultInterval
	}
	if a.c.Look <= 0 {
		a.c.Look = defaultLook
	}
	if a.c.tuning == (tuning{}) {
		a.c.tuning = defaults
	}
	return a
}

// Run audits w until ctx ends, whose cause it returns. Another error is of the catalogue, which is of no use any more.
func (a *Audit) Run(ctx context.Context, w World) error {
	for {
		did, err := a.step(ctx, w)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errCatalogue):
			return err
		case did:
			continue
		}
		wait := a.c.Look
		if err != nil {
			a.failed(err)
			wait = a.c.tuning.retry
		}
		if err := a.rest(ctx, wait); err != nil {
			return err
		}
	}
}

// rest waits, unless something is about to change.
func (a *Audit) rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-a.news:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// Ahead has everything proven as fast as it can be, once: what was never compared, and the names and attributes of all
// directories. It is for the time before a cutover. Ahead(false) goes back to the low rate.
func (a *Audit) Ahead(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ahead = on
	a.surveyed = time.Time{}
	if a.cut != nil && on {
		a.cut() // it has taken the low rate
	}
	a.wake()
}

// Hold ends what is being compared, and nothing is compared until Hold(false). It returns when no session of the audit
// runs, or with the cause of ctx's end.
func (a *Audit) Hold(ctx context.Context, on bool) error {
	a.mu.Lock()
	a.held = on
	if a.cut != nil && on {
		a.cut()
	}
	a.wake()
	idle := a.idle
	a.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// wake needs the lock.
func (a *Audit) wake() {
	select {
	case a.news <- struct{}{}:
	default:
	}
}

// begin notes that a batch runs, unless none may.
func (a *Audit) begin(ctx context.Context) (_ context.Context, end func(), ahead, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held {
		return ctx, nil, false, false
	}
	ctx, cut := context.WithCancel(ctx)
	a.cut, a.idle = cut, make(chan struct{})
	return ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		cut()
		a.cut = nil
		close(a.idle)
	}, a.ahead, true
}

func (a *Audit) isAhead() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ahead
}
