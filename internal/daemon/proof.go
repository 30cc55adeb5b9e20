package daemon

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/syncd/syncd/internal/audit"
	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/cutover"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/internal/verify"
	"github.com/syncd/syncd/transfer"
)

// namedProblems are told of each kind; all are counted.
const namedProblems = 20

// Verify compares both sides by checksum: all of it, or what the settling pass did not find proven.
func (w *world) Verify(ctx context.Context, scope cutover.Scope) (cutover.Verified, error) {
	root, err := scan.OpenRoot(w.s.c.Source)
	if err != nil {
		return cutover.Verified{}, err
	}
	defer root.Close()
	c := w.s.now.comparison()
	c.Root = root
	store := w.s.c.Engine.Catalogue
	p := &proof{concern: w.s.writes.concern, store: store}
	earlier := scope == cutover.Changed && w.census != nil
	if earlier {
		c.Proven = p.proven
	}
	v, err := verify.New(c)
	if err != nil {
		return cutover.Verified{}, err
	}
	defer v.Close()
	var sum verify.Summary
	if earlier && !w.census.Many {
		p.Proven, p.oldest = w.census.Files, w.census.Oldest
		sum, err = v.Paths(ctx, rest(w.census), p)
	} else {
		sum, err = v.Tree(ctx, ".", p)
	}
	if err == nil && w.plan.Rehearse {
		err = p.again(ctx, v)
	}
	p.record()
	p.Files, p.Bytes, p.Digest = sum.Files, sum.Bytes, sum.Hash.String()
	p.Entries, p.Complete = sum.Compared, err == nil
	p.Proven += sum.Proven
	if p.oldest != 0 {
		p.Oldest = time.Unix(p.oldest, 0).UTC()
	}
	if earlier && w.s.audit != nil {
		p.Surveyed = w.s.audit.Status().Surveyed.UTC()
	}
	return p.Verified, err
}

// rest is what a pass did not find proven, in order.
func rest(c *transfer.Census) iter.Seq[verify.Item] {
	items := make([]verify.Item, 0, len(c.Unproven)+len(c.Names))
	for _, p := range c.Names {
		items = append(items, verify.Item{Path: p, Names: true})
	}
	for _, p := range c.Unproven {
		items = append(items, verify.Item{Path: p})
	}
	slices.SortFunc(items, func(a, b verify.Item) int { return strings.Compare(a.Path, b.Path) })
	return slices.Values(slices.Compact(items))
}

// While the source is written, so is the destination: the temporary names of what is being sent are seen there. What is
// found different is looked at so often again, so much later, if it is not more than can be the case.
const (
	againTimes = 3
	againAfter = 300 * time.Millisecond
	againMost  = 1000
)

// again leaves of the differences of a rehearsal those that stay.
func (p *proof) again(ctx context.Context, v *verify.Verifier) error {
	for range againTimes {
		if p.Verified.Different == 0 || p.Verified.Different > againMost {
			return nil
		}
		select {
		case <-time.After(againAfter):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		left := &proof{concern: p.concern}
		items := func(yield func(verify.Item) bool) {
			for _, path := range p.paths {
				if !yield(verify.Item{Path: path}) {
					return
				}
			}
		}
		if _, err := v.Paths(ctx, items, left); err != nil {
			return err
		}
		p.Changed += max(0, p.Verified.Different-left.Verified.Different)
		p.Skipped += left.Skipped
		p.Verified.Uncompared = append(p.Verified.Uncompared, left.Verified.Uncompared...)
		p.Verified.Different, p.Differences, p.paths = left.Verified.Different, left.Differences, left.paths
	}
	return nil
}

// A proof gathers what a verification finds (verify.Sink).
type proof struct {
	cutover.Verified
	concern func(path string) bool // whether it has been written meanwhile
	paths   []string               // that differ, the first of them
	store   *catalogue.Store       // nil: nothing is remembered
	oldest  int64                  // proof that was relied on, in seconds since 1970
	changes []catalogue.Change     // for the store
}

// proven reports whether the content of a file need not be compared (verify.Config.Proven).
func (p *proof) proven(path string, now *scan.Stat) bool {
	at, err := transfer.Proven(p.store, path, now)
	if err != nil || at == 0 {
		return false
	}
	if p.oldest == 0 || at < p.oldest {
		p.oldest = at
	}
	return true
}

// mostChanges are handed to the catalogue at once.
const mostChanges = 512

// Equal remembers what was found equal: should the freeze end here, the next one has less to compare.
func (p *proof) Equal(path string, got verify.Proof) {
	if p.store == nil || got.Digest == nil {
		return
	}
	if p.changes = append(p.changes, audit.Verified(path, got)); len(p.changes) >= mostChanges {
		p.record()
	}
}

// record hands that to the catalogue. If that fails the engine finds it out as well, and goes on without it.
func (p *proof) record() {
	if len(p.changes) > 0 {
		_ = p.store.Apply(p.changes...)
		p.changes = p.changes[:0]
	}
}

func (p *proof) Different(d verify.Difference) {
	if p.concern(d.Path) {
		p.Changed++
		return
	}
	p.Verified.Different++
	what := "differs: " + d.Flags.Format(d.Entry.Mode)
	switch {
	case d.Extra:
		what = "is only at the destination"
	case d.Missing():
		what = "is missing at the destination"
	}
	note(&p.Differences, d.Path, what)
	if len(p.paths) < againMost {
		p.paths = append(p.paths, d.Path)
	}
}

func (p *proof) Uncompared(path string, err error) {
	if errors.Is(err, verify.ErrChanged) || p.concern(path) {
		p.Changed++
		return
	}
	p.Skipped++
	note(&p.Verified.Uncompared, path, err.Error())
}

func (p *proof) Note(string) {}

// note keeps the first of some problems.
func note(all *[]cutover.Problem, path, what string) {
	if len(*all) < namedProblems {
		*all = append(*all, cutover.Problem{Path: cutover.NewPath(path), What: what})
	}
}
