package daemon

import (
	"context"
	"errors"

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
	p.Files, p.Bytes, p.Digest = sum.Files, sum.Bytes, sum.Hash.String()
	p.Proven, p.Entries, p.Complete = sum.Proven, sum.Compared, err == nil
	return p.Verified, err
}

// A proof gathers what a verification finds (verify.Sink).
type proof struct {
	cutover.Verified
	concern func(path string) bool // whether it has been written meanwhile
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
