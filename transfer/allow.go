package transfer

import (
	"context"
	"errors"
	"path"
	"time"

	"github.com/syncd/syncd/internal/queue"
)

// Held says which deletions wait for an operator, or for the time to pass.
type Held struct {
	Entries int           // what the server said that it would have deleted: at least as many would be
	Limit   int           // Config.MaxDelete
	Window  time.Duration // Config.DeleteWindow
	Since   time.Time     // when something was held first, and ever since
	Next    time.Time     // when the limit lets more of them go; zero: never
}

// heldNow is what is held; nil: nothing.
func (e *Engine) heldNow() *Held {
	d := e.guard
	if d == nil {
		return nil
	}
	e.sweep()
	if d.since.IsZero() {
		return nil
	}
	if d.stale {
		d.stale = false
		d.entries = d.count()
	}
	h := &Held{Entries: d.entries, Limit: d.limit, Window: d.window, Since: d.since}
	h.Next, _ = d.next(time.Now())
	return h
}

// count adds up holds. What is below a directory that is to go itself, or in one to be pruned, is in its number.
func (d *deletions) count() int {
	n := 0
	for p, h := range d.held {
		if in := d.dirs[path.Dir(p)]; (in == nil || in.n == 0) && !d.below(p) {
			n += h.n
		}
	}
	for p, h := range d.dirs {
		if !d.below(p) {
			n += h.n
		}
	}
	return n
}

func (d *deletions) below(p string) bool {
	for p != "." {
		p = path.Dir(p)
		if h := d.held[p]; h != nil && h.n > 0 {
			return true
		}
	}
	return false
}

// ErrNoLimit is returned to who allows deletions of an engine that has no limit of them.
var ErrNoLimit = errors.New("there is no limit of deletions")

// ErrNothingHeld is returned to who lets held deletions go when there are none.
var ErrNothingHeld = errors.New("no deletion is held")

// AllowDelete lets n more entries be deleted within Config.DeleteWindow from now, beyond what Config.MaxDelete allows.
func (e *Engine) AllowDelete(ctx context.Context, n int) error {
	return e.askDeletions(ctx, func(d *deletions) error {
		now := time.Now()
		d.allow(n, now)
		e.retryHeld(now)
		return nil
	})
}

// AllowHeld lets all deletions go that are held now, without a limit. Those that come later have theirs.
func (e *Engine) AllowHeld(ctx context.Context) error {
	return e.askDeletions(ctx, func(d *deletions) error {
		if e.heldNow() == nil {
			return ErrNothingHeld
		}
		for _, h := range d.held {
			h.free = true
		}
		for _, h := range d.dirs {
			h.free = true
		}
		e.retryHeld(time.Now())
		return nil
	})
}

func (e *Engine) askDeletions(ctx context.Context, f func(d *deletions) error) error {
	result := ErrNoLimit
	err := e.ask(ctx, func() {
		if e.guard != nil {
			result = f(e.guard)
		}
	})
	if err != nil {
		return err
	}
	return result
}

// retryHeld has all that is held tried now.
func (e *Engine) retryHeld(now time.Time) {
	e.sweep()
	for p := range e.guard.held {
		e.queue.Add(queue.Item{Kind: queue.Path, Path: p}, now)
	}
	for _, h := range e.guard.dirs {
		h.due = now
	}
	e.guard.due = now
}

// HeldDelete reports whether the deletion of p at the destination is held.
func (e *Engine) HeldDelete(ctx context.Context, p string) (held bool, err error) {
	err = e.ask(ctx, func() {
		if e.guard == nil {
			return
		}
		e.sweep()
		held = e.guard.held[p] != nil || e.guard.below(p)
	})
	return held, err
}
