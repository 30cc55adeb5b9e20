package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/syncd/syncd/internal/audit"
	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/config"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/internal/verify"
	"github.com/syncd/syncd/transfer"
)

// comparisonName is the file in the state directory that says that a comparison has begun, when, and no more.
const comparisonName = "comparison"

// maxProofs are handed to the catalogue at once. What an interrupted comparison has not handed over is compared again.
const maxProofs = 256

// proofs are a verdict that remembers in the catalogue what was found equal, so that a comparison goes on where it was
// interrupted, and a cutover need not compare it again. Without a state directory they are the verdict alone.
type proofs struct {
	verdict
	store   *catalogue.Store // nil: nothing is remembered
	mark    string           // path
	since   int64            // what was proven then or later belongs to this comparison; seconds since 1970
	changes []catalogue.Change
}

// rememberProofs opens the catalogue that c names, if that is about what c is.
func rememberProofs(c *config.Config, root *scan.Root, v verdict) (*proofs, error) {
	p := &proofs{verdict: v}
	if c.StateDir == "" {
		return p, nil
	}
	e := engineConfig(c)
	e.Dialer.Logins.Close() // nothing is asked by it
	e.Root = root
	opened, err := e.Visit(filepath.Join(c.StateDir, transfer.CatalogueName))
	var unfit *catalogue.UnfitError
	if errors.As(err, &unfit) {
		v.Note(oneLine(unfit.Error()) + "; it is left alone, and nothing is remembered of this comparison")
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	p.store, p.mark = e.Catalogue, filepath.Join(c.StateDir, comparisonName)
	if opened.Reason != "" {
		v.Note(oneLine(opened.Reason))
	}
	if err := p.begin(c.Recheck); err != nil {
		return nil, errors.Join(err, p.store.Close())
	}
	return p, nil
}

// begin goes on with the comparison that the mark tells of, or begins one.
func (p *proofs) begin(anew bool) error {
	text, err := os.ReadFile(p.mark)
	if err == nil && !anew {
		if p.since, err = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			p.Note(fmt.Sprintf("going on with the comparison that was interrupted, of %s; --recheck begins anew",
				time.Unix(p.since, 0).Format(time.DateTime)))
			return nil
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, strconv.ErrSyntax) && !errors.Is(err, strconv.ErrRange) {
		return err
	}
	p.since = time.Now().Unix() + 1 // what was proven in this second may have been proven before
	return os.WriteFile(p.mark, fmt.Appendf(nil, "%d\n", p.since), 0o600)
}

// known is verify.Config.Proven.
func (p *proofs) known() func(path string, now *scan.Stat) bool {
	if p.store == nil {
		return nil
	}
	return func(path string, now *scan.Stat) bool {
		at, err := transfer.Proven(p.store, path, now)
		return err == nil && at >= p.since
	}
}

func (p *proofs) Equal(path string, got verify.Proof) {
	if p.store != nil && got.Digest != nil {
		v := transfer.VersionOf(&got.Version)
		if r, ok, err := p.store.Get(path); err == nil && !(ok && r.State == catalogue.Known && r.Version == v) {
			// It was read just now: by what follows it is more than racy, unless it has only just changed.
			p.add(catalogue.Put(path, v, true))
		}
		p.add(audit.Verified(path, got))
	}
	p.verdict.Equal(path, got)
}

// Different has the next pass compare the path with the destination again.
func (p *proofs) Different(d verify.Difference) {
	if p.store != nil {
		p.add(catalogue.MarkDoubt(d.Path))
	}
	p.verdict.Different(d)
}

func (p *proofs) add(c catalogue.Change) {
	if p.changes = append(p.changes, c); len(p.changes) >= maxProofs {
		_ = p.flush() // what the store is unable to take, it says again at the end
	}
}

func (p *proofs) flush() error {
	err := p.store.Apply(p.changes...)
	p.changes = p.changes[:0]
	return err
}

// close closes the catalogue. The comparison is over if it was complete.
func (p *proofs) close(complete bool) error {
	if p.store == nil {
		return nil
	}
	err := errors.Join(p.flush(), p.store.Close())
	if complete {
		err = errors.Join(err, os.Remove(p.mark))
	}
	if err != nil {
		p.Note(oneLine(err.Error()) + "; what was compared is not remembered")
	}
	return nil
}
