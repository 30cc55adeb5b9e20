package verify

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/delta"
)

// A run is one comparison: rounds of the same work, each over what changed during the one before.
type run struct {
	v      *Verifier
	terms  terms
	opts   rsync.Options
	active atomic.Int32 // sessions
	sums   sync.Pool    // of *delta.FileSum, for a destination on this machine: there is one hash there
	rooms  sync.Pool    // of *room
	scopes

	mu    sync.Mutex // guards the rest, and the sink's methods
	sink  Sink
	sum   Summary
	retry []Item // changed meanwhile
}

// terms are what the first session finds out.
type terms struct {
	protocol int
	sum      delta.Checksum
}

// run compares what feed puts into batches.
func (v *Verifier) run(ctx context.Context, s Sink, feed func(*filler) error) (Summary, error) {
	begin := time.Now()
	r := &run{v: v, sink: s, scopes: scopes{root: v.scope}}
	r.merge = v.scope != nil && v.cfg.Filter.HasMerge()
	err := r.rounds(ctx, feed)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	r.sum.Hash, r.sum.Protocol, r.sum.Elapsed = r.terms.sum.Hash, r.terms.protocol, time.Since(begin)
	if v.local() {
		r.sum.Protocol = 0
	}
	return r.sum, err
}

func (r *run) rounds(ctx context.Context, feed func(*filler) error) error {
	if err := r.prime(ctx); err != nil {
		return err
	}
	wait := r.v.cfg.tuning.againAfter
	for try := 1; ; try++ {
		if err := r.round(ctx, feed); err != nil {
			return err
		}
		again := r.retry
		r.retry = nil
		if len(again) == 0 {
			return nil
		}
		if try == changedTries {
			for _, it := range again {
				r.uncompared(it.Path, ErrChanged)
			}
			return nil
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		wait *= 2
		slices.SortFunc(again, func(a, b Item) int { return strings.Compare(a.Path, b.Path) })
		again = slices.Compact(again)
		feed = func(f *filler) error { return f.items(slices.Values(again)) }
	}
}

// round is a pipeline: one goroutine lists, some read files, some run sessions. While a server reads the files of one
// batch, those of the next are read here.
func (r *run) round(ctx context.Context, feed func(*filler) error) error {
	filled, read := make(chan *batch), make(chan *batch)
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error {
		defer close(filled)
		f := &filler{run: r, ctx: ctx, filled: filled}
		if err := feed(f); err != nil {
			return err
		}
		return f.flush()
	})
	if r.v.local() {
		read = filled // there each file is read once, while it is compared
	} else {
		work.Go(func() error {
			defer close(read)
			return r.readAll(ctx, filled, read)
		})
	}
	for range r.v.cfg.Sessions {
		work.Go(func() error {
			for b := range read {
				if err := r.compare(ctx, b); err != nil {
					return err
				}
				r.leave(b)
			}
			return nil
		})
	}
	return work.Wait()
}

// readAll runs the readers.
func (r *run) readAll(ctx context.Context, filled <-chan *batch, read chan<- *batch) error {
	portions := make(chan portion)
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error {
		defer close(portions)
		return r.hand(ctx, filled, portions, read)
	})
	for range r.v.cfg.Readers {
		work.Go(func() error { return r.read(ctx, portions, read) })
	}
	return work.Wait()
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// again has a path compared once more, in the next round.
func (r *run) again(it Item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retry = append(r.retry, it)
}

func (r *run) equal(path string, p Proof) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.v.progress.entries.Add(1)
	r.sum.Compared++
	r.sum.Equal++
	if p.Digest != nil {
		r.sum.Files++
		r.sum.Bytes += p.Version.Size
	}
	r.sink.Equal(path, p)
}

// known counts a file whose content is known to be equal.
func (r *run) known() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sum.Proven++
}

func (r *run) different(d Difference) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case d.Extra:
		r.sum.Extra++
	case d.Missing():
		r.sum.Missing++
	case d.Flags&(rsync.ItemContent|rsync.ItemSize) != 0:
		r.sum.Content++
	default:
		r.sum.Attributes++
	}
	if !d.Extra {
		r.sum.Compared++
		r.v.progress.entries.Add(1)
	}
	if d.Entry.Sum != nil && d.Flags&(rsync.ItemNew|rsync.ItemSize) == 0 {
		r.sum.Files++
		r.sum.Bytes += d.Entry.Size
	}
	r.sink.Different(d)
}

func (r *run) uncompared(path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.v.progress.entries.Add(1)
	r.sum.Uncompared++
	if err == ErrChanged {
		r.sum.Changed++
	}
	r.sink.Uncompared(path, err)
}

func (r *run) note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sink.Note(text)
}

// session counts one that has ended.
func (r *run) session(report *rsync.Report, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sum.Sessions++
	if err != nil {
		r.sum.Retries++
	}
	r.sum.Sent += report.Stats.Sent
	r.sum.Received += report.Stats.Received
}
