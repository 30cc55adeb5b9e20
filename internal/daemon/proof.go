package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/syncd/syncd/internal/cutover"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/internal/verify"
)

// namedProblems are told of each kind; all are counted.
const namedProblems = 20

// Verify compares both sides by checksum.
func (w world) Verify(ctx context.Context, scope cutover.Scope) (cutover.Verified, error) {
	root, err := scan.OpenRoot(w.s.c.Source)
	if err != nil {
		return cutover.Verified{}, err
	}
	defer root.Close()
	c := w.s.c.Engine
	v, err := verify.New(verify.Config{
		Root: root, Dialer: c.Dialer, Session: c.Session, NanosecondsAuto: c.NanosecondsAuto, NoExtra: !c.Delete,
		Filter: c.Filter, OneFileSystem: c.OneFileSystem, PartialDir: c.PartialDir, Sessions: c.Sessions,
		Writes: w.s.limiter, Log: w.s.log,
	})
	if err != nil {
		return cutover.Verified{}, err
	}
	defer v.Close()
	p := &proof{concern: w.s.writes.concern}
	sum, err := v.Tree(ctx, ".", p)
	if err == nil && w.plan.Rehearse {
		err = p.again(ctx, v)
	}
	p.Files, p.Bytes, p.Digest = sum.Files, sum.Bytes, sum.Hash.String()
	p.Proven, p.Entries, p.Complete = sum.Proven, sum.Compared, err == nil
	return p.Verified, err
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
}

func (p *proof) Equal(string, verify.Proof) {}

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
