package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"

	"github.com/syncd/syncd/internal/attr"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/transfer"
)

// lookUp returns the entry at p as a listing would have it.
func (r *run) lookUp(p string) (scan.Entry, error) {
	return r.v.cfg.Root.Lookup(p, scan.Options{Attrs: r.attrs()})
}

// attrs says what is read of entries beyond their stat.
func (r *run) attrs() attr.Which { return attr.Which{Xattrs: r.opts.Xattrs, ACLs: r.opts.ACLs} }

// item adds a single path as it is now.
func (f *filler) item(it Item) error {
	p := it.Path
	if p == "." {
		d, err := f.parent(p)
		if err != nil {
			return err
		}
		return f.itemDir(it, d)
	}
	parent, err := f.parent(path.Dir(p))
	var at *missingError
	switch {
	case errors.As(err, &at):
		return f.itemGone(p, at.path, at.parent)
	case err != nil:
		f.uncompared(p, err)
		return nil
	}
	found, err := f.lookUp(p)
	st := &found.Stat
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f.itemGone(p, p, parent)
	case err != nil:
		f.uncompared(p, err)
		return nil
	case f.leftOut(parent, p, st.IsDir()):
		return nil
	case st.IsDir():
		return f.itemDir(it, newDir(p, &found, parent))
	}
	e := transfer.EntryOf(p, &found)
	if err := flist.Validate(&e, f.terms.protocol); err != nil {
		f.uncompared(p, err)
		return nil
	}
	if !f.v.cfg.Session.Lists(st.Mode) {
		f.uncompared(p, errUnwanted)
		return nil
	}
	k := byAttributes
	if isRegular(st.Mode) && !f.proven(p, st) {
		k = byContent
	}
	b, err := f.batch(k, parent, 1)
	if err != nil {
		return err
	}
	b.ride(parent)
	b.add(e, st, true, f.v.cfg.Session.HardLinks)
	return f.closeFull(k)
}

var errUnwanted = errors.New("is of a type that is not compared without -l, --devices or --specials")

var errTooOld = errors.New("is gone here, and a server before rsync 3.1 cannot be asked whether it is gone there")

// itemDir adds a directory, with the names in it if that is asked for.
func (f *filler) itemDir(it Item, d *dir) error {
	if d.scope, d.broken = f.scopes.of(it.Path); d.broken != nil {
		f.uncompared(it.Path, d.broken)
		return nil
	}
	if !it.Names {
		return f.alone(d)
	}
	l, err := f.v.cfg.Root.List(f.ctx, it.Path, f.options())
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, scan.ErrNotDir):
		f.again(it)
		return nil
	case err != nil:
		f.uncompared(it.Path, err)
		return f.alone(d)
	}
	d.stat = l.Self
	d.entry = transfer.EntryOf(it.Path, &scan.Entry{Stat: l.Self, Attrs: l.Attrs})
	return f.listing(d, l, false)
}

// itemGone adds a path that does not exist here: top, which it is or is below of, must not exist there.
func (f *filler) itemGone(p, top string, parent *dir) error {
	if f.leftOut(parent, top, false) || f.leftOut(parent, top, true) {
		return nil
	}
	if f.v.cfg.NoExtra {
		f.equal(p, Proof{})
		return nil
	}
	const deleteMissing = 31 // the first protocol whose servers can be asked for a path that is gone
	if f.terms.protocol < deleteMissing {
		f.uncompared(p, errTooOld)
		return nil
	}
	f.found(1)
	b, err := f.batch(byAttributes, parent, 1)
	if err != nil {
		return err
	}
	b.ride(parent)
	b.gone = true
	at := b.addDir(flist.Entry{Path: top}, &scan.Stat{}, true)
	if p != top {
		b.answer(at, p)
	}
	return f.closeFull(byAttributes)
}

// leftOut reports whether the filter excludes p, in directory d, or a directory above it.
func (f *filler) leftOut(d *dir, p string, isDir bool) bool {
	for ; d != nil; d = d.parent {
		if d.scope != nil && d.scope.Excluded(p, isDir) {
			return true
		}
		p, isDir = d.entry.Path, true
	}
	return false
}

// A missingError says that path, in directory parent, does not exist or is no directory.
type missingError struct {
	path   string
	parent *dir
}

func (e *missingError) Error() string { return fmt.Sprintf("%s: %v", e.path, fs.ErrNotExist) }

// parent returns the directory p, with all above it.
func (f *filler) parent(p string) (*dir, error) {
	if d := f.dirs[p]; d != nil {
		return d, nil
	}
	var above *dir
	if p != "." {
		var err error
		if above, err = f.parent(path.Dir(p)); err != nil {
			return nil, err
		}
	}
	found, err := f.lookUp(p)
	switch {
	case p != "." && (errors.Is(err, fs.ErrNotExist) || err == nil && !found.Stat.IsDir()):
		return nil, &missingError{p, above}
	case err != nil:
		return nil, err
	}
	d := newDir(p, &found, above)
	if d.scope, d.broken = f.scopes.of(p); d.broken != nil {
		return nil, d.broken
	}
	if f.dirs == nil || len(f.dirs) >= maxDirs {
		f.dirs = map[string]*dir{}
	}
	f.dirs[p] = d
	return d, nil
}

// scopes finds the filter rules in force inside a directory. Those that are not in one of the tree's own files are the
// same everywhere. Safe for concurrent use.
type scopes struct {
	root  *filter.Scope
	merge bool // there are rules in the tree's own files

	mu    sync.Mutex
	known map[string]scopeOrError
}

type scopeOrError struct {
	scope *filter.Scope
	err   error
}

func (s *scopes) of(dir string) (*filter.Scope, error) {
	if !s.merge || dir == "." {
		return s.root, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.find(dir)
	return got.scope, got.err
}

// find needs the lock.
func (s *scopes) find(dir string) scopeOrError {
	if dir == "." {
		return scopeOrError{scope: s.root}
	}
	if got, ok := s.known[dir]; ok {
		return got
	}
	got := s.find(path.Dir(dir))
	if got.err == nil {
		got.scope, got.err = got.scope.Enter(dir)
	}
	if s.known == nil || len(s.known) >= maxDirs {
		s.known = map[string]scopeOrError{}
	}
	s.known[dir] = got
	return got
}
