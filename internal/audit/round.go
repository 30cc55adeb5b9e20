package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/verify"
)

var errCatalogue = errors.New("audit: the catalogue is of no use")

// A round goes over the catalogue once.
type round struct {
	on      bool
	names   bool          // of directories
	ahead   bool          // is owed to Ahead
	after   string        // where it goes on
	least   int64         // of files: those compared before this time are compared again; 0: those that never were
	scanned time.Duration // spent with the catalogue
}

// freshRest is how long no round over what was never compared begins after one, as a multiple of the time that it took
// to go over the catalogue: there will always be some files that have just changed.
const freshRest = 50

// step compares one batch of what is to be compared next. It returns false if that is nothing, or not now.
func (a *Audit) step(ctx context.Context, w World) (did bool, err error) {
	a.schedule(time.Now(), a.isAhead())
	r := a.next()
	if r == nil || !w.Calm(ctx, a.isAhead()) {
		return false, nil
	}
	ctx, end, ahead, ok := a.begin(ctx)
	if !ok {
		return false, nil
	}
	defer end()
	items, next, err := a.choose(ctx, r)
	if err == nil {
		err = a.batch(ctx, w, r, items, next, ahead)
	}
	if ctx.Err() != nil {
		return true, nil // cut off: the round goes on where it was
	}
	return err == nil, err
}

// next is the round to go on with; nil: there is none.
func (a *Audit) next() *round {
	switch {
	case a.survey.on && a.survey.ahead: // before the other, which under changes has no end
		return &a.survey
	case a.fresh.on:
		return &a.fresh
	case a.survey.on:
		return &a.survey
	case a.renewal.on:
		return &a.renewal
	}
	return nil
}

// schedule begins the rounds that are due.
func (a *Audit) schedule(now time.Time, ahead bool) {
	n := a.c.Catalogue.Counts()
	if ahead && a.surveyWanted() && !a.survey.ahead {
		a.survey = round{on: true, ahead: true, names: true}
	}
	if !a.fresh.on && n.Files > n.ProvenFiles && !now.Before(a.freshDue) {
		a.fresh = round{on: true}
	}
	if !ahead && n.Files > 0 && !now.Before(a.sweepDue) && !a.survey.on && !a.renewal.on {
		// Two sweeps in an interval, each of what is older than half of it: then nothing gets older than all of it.
		half := a.c.Interval / 2
		a.survey = round{on: true, names: true}
		a.renewal = round{on: true, least: now.Add(-half).Unix()}
		a.sweepDue = now.Add(half)
	}
}

// surveyWanted reports whether a round over the directories is still owed to Ahead.
func (a *Audit) surveyWanted() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ahead && a.surveyed.IsZero()
}

// choose takes what a round has next from the catalogue.
func (a *Audit) choose(ctx context.Context, r *round) (items []verify.Item, next string, err error) {
	begin := time.Now()
	var paths []string
	if r.names {
		paths, next, err = a.c.Catalogue.Dirs(ctx, r.after, a.c.tuning.dirs)
	} else {
		paths, next, err = a.c.Catalogue.Unproven(ctx, r.after, r.least, a.c.tuning.files)
	}
	r.scanned += time.Since(begin)
	if err != nil {
		return nil, "", a.broken(ctx, err)
	}
	for _, p := range paths {
		items = append(items, verify.Item{Path: p, Names: r.names})
	}
	return items, next, nil
}

// ended notes the end of a round.
func (a *Audit) ended(r *round) {
	now := time.Now()
	if r == &a.fresh {
		a.freshDue = now.Add(max(a.c.Look, freshRest*r.scanned))
		if a.isAhead() {
			a.freshDue = now.Add(r.scanned)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status.Rounds++
	if !r.names {
		return
	}
	a.status.Surveyed = now
	if r.ahead && a.ahead {
		a.surveyed = now
	}
	r.ahead = false
}

func (a *Audit) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, catalogue.ErrClosed) {
		return errCatalogue
	}
	return fmt.Errorf("%w: %w", errCatalogue, err)
}

// batch compares items, and moves the round on to next. If it has to step back before their end, the round goes on
// after the last one that was compared.
func (a *Audit) batch(ctx context.Context, w World, r *round, items []verify.Item, next string, ahead bool) error {
	begin := time.Now()
	done, c, err := a.compare(ctx, w, items, ahead)
	switch {
	case err != nil:
		return err
	case done == len(items):
		r.after = next
		if r.on = next != ""; !r.on {
			a.ended(r)
		}
	case done > 0:
		r.after = items[done-1].Path
	}
	if ahead {
		return nil
	}
	return a.pace(ctx, c, time.Since(begin))
}

// pace waits until what was compared in so much time is within the limits.
func (a *Audit) pace(ctx context.Context, c counted, took time.Duration) error {
	var want time.Duration
	for _, l := range []struct{ n, limit int64 }{{c.files, a.c.Files}, {c.bytes, a.c.Bytes}} {
		if l.limit > 0 {
			want = max(want, time.Duration(float64(l.n)/float64(l.limit)*float64(time.Second)))
		}
	}
	if rest := want - took; rest > 0 {
		return a.rest(ctx, rest)
	}
	return nil
}
