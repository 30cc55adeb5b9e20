package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"

	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/transfer"
)

// A filler turns listings and paths into batches. It is used by one goroutine.
type filler struct {
	*run
	ctx     context.Context
	filled  chan<- *batch
	filling [3]*batch       // by attributes, by content, by name
	above   []*dir          // of the walk: the directories that lead to the one at hand
	dirs    map[string]*dir // of single paths: those above them
	linked  linkIndex
	single  bool    // paths come one by one, and may come twice
	spare   []child // memory for those of the next listing
}

// Places in filler.filling.
const (
	byAttributes = iota
	byContent
	byName
)

// maxDirs bounds what is remembered of directories above single paths.
const maxDirs = 10_000

// tree adds the directory start and everything below it.
func (f *filler) tree(start string) error {
	if start != "." {
		parent, err := f.parent(path.Dir(start))
		if err != nil {
			return err
		}
		for d := parent; d != nil; d = d.parent {
			f.above = append([]*dir{d}, f.above...)
		}
	}
	o := scan.WalkOptions{Options: f.options(), Prefetch: prefetch}
	if err := scan.Walk(f.ctx, f.v.cfg.Root, start, o, f.walked); err != nil {
		return err
	}
	return f.links()
}

// prefetch is how many entries may be listed ahead, which is bounded for the memory that they take.
const prefetch = 16384

// options are those of listings.
func (f *filler) options() scan.Options {
	o := scan.Options{OneFileSystem: f.v.cfg.OneFileSystem, Attrs: f.attrs()}
	switch {
	case f.v.only != nil:
		f.v.only.Choose(&o)
	case f.v.scope != nil:
		o.Skip = f.skip
	}
	return o
}

// skip leaves out what the filter excludes.
func (f *filler) skip(dir, name string, isDir bool) bool {
	scope, err := f.scopes.of(dir)
	return err == nil && scope != nil && scope.Skip(dir, name, isDir)
}

// walked adds one directory of the walk.
func (f *filler) walked(l *scan.Listing) error {
	for n := len(f.above); n > 0 && !isAbove(f.above[n-1].entry.Path, l.Dir); n-- {
		f.above = f.above[:n-1]
	}
	var parent *dir
	if n := len(f.above); n > 0 {
		parent = f.above[n-1]
	}
	if f.v.only != nil {
		f.v.only.Sift(l)
	}
	d, err := f.dir(l, parent)
	if d == nil || err != nil {
		for _, bad := range l.Errors {
			f.uncompared(bad.Path, bad)
		}
		return err
	}
	f.above = append(f.above, d)
	if d.broken != nil {
		return f.alone(d)
	}
	return f.listing(d, l, true)
}

// isAbove reports whether p lies below the directory dir.
func isAbove(dir, p string) bool {
	return dir == "." && p != "." || len(p) > len(dir) && p[:len(dir)] == dir && p[len(dir)] == '/'
}

// dir makes a directory of its listing. It returns nil for one that is not there any more, which is looked at again.
func (f *filler) dir(l *scan.Listing, parent *dir) (*dir, error) {
	self := scan.Entry{Stat: l.Self, Attrs: l.Attrs}
	if l.Self.Mode == 0 { // could not be listed
		var err error
		switch self, err = f.lookUp(l.Dir); {
		case err == nil && self.Stat.IsDir():
		case err == nil || errors.Is(err, fs.ErrNotExist):
			if parent == nil {
				return nil, l.Err // what was asked for, and not something that vanished from a listing
			}
			f.again(Item{Path: l.Dir})
			return nil, nil
		default:
			f.uncompared(l.Dir, err)
			return nil, nil
		}
	}
	d := newDir(l.Dir, &self, parent)
	d.scope, d.broken = f.scopes.of(l.Dir)
	switch {
	case d.broken != nil && parent != nil && parent.broken != nil:
		return d, nil // said above
	case d.broken != nil:
		f.uncompared(l.Dir, d.broken)
	case l.Err != nil && !errors.Is(l.Err, scan.ErrIncomplete):
		f.uncompared(l.Dir, l.Err)
	}
	return d, nil
}

// alone adds a directory without what is in it.
func (f *filler) alone(d *dir) error {
	f.found(1)
	b, err := f.batch(byAttributes, d, 0)
	if err != nil {
		return err
	}
	if d.parent != nil {
		b.ride(d.parent)
	}
	b.addDir(d.entry, &d.stat, true)
	return nil
}

// A child is an entry of a listing that takes part.
type child struct {
	entry   flist.Entry
	stat    *scan.Stat
	content bool // is to be compared by content
	mount   bool // a directory that is not descended
}

// listing adds a directory and its entries. contents says that files are compared by content, and that its
// subdirectories are told of elsewhere.
func (f *filler) listing(d *dir, l *scan.Listing, contents bool) error {
	children, hidden := f.children(l, contents)
	var bytes int64
	var read int
	for i := range children {
		if c := &children[i]; c.content {
			bytes += c.entry.Size
			read++
		}
	}
	named := l.Err == nil && !f.v.cfg.NoExtra // every name is known, or here and hidden
	fits := len(children) < f.v.cfg.tuning.entries-len(f.above)-2 && bytes <= f.v.cfg.tuning.bytes
	switch {
	case f.v.only != nil && !f.v.only.Asked(l.Dir):
		if d.lead = l.Dir != "." && len(children) > 0; d.lead {
			f.found(1)
		}
		return f.spread(d, children)
	case !named:
		return errors.Join(f.alone(d), f.spread(d, children))
	case !contents, read == 0:
		return f.whole(byAttributes, d, children, hidden)
	case fits && read == regular(children):
		return f.whole(byContent, d, children, hidden)
	}
	// What is read goes in several lists, or apart from what is not. The names are compared in one of their own.
	if err := errors.Join(f.alone(d), f.spread(d, children)); err != nil {
		return err
	}
	return f.whole(byName, d, children, hidden)
}

func regular(children []child) int {
	n := 0
	for i := range children {
		if isRegular(children[i].entry.Mode) {
			n++
		}
	}
	return n
}

// children turns a listing into entries, which are there until the next call, and says what is wrong with the others. Hidden are the paths of those that are
// here all the same.
func (f *filler) children(l *scan.Listing, contents bool) (children []child, hidden []string) {
	for _, bad := range l.Errors {
		f.uncompared(bad.Path, bad)
		hidden = append(hidden, bad.Path)
	}
	children = slices.Grow(f.spare[:0], len(l.Entries))
	for i := range l.Entries {
		s := &l.Entries[i]
		p := scan.Join(l.Dir, s.Name)
		if !f.v.cfg.Session.Lists(s.Stat.Mode) {
			f.note(fmt.Sprintf("skipping non-regular file %q", p))
			continue
		}
		e := transfer.EntryOf(p, s)
		if err := flist.Validate(&e, f.terms.protocol); err != nil {
			f.uncompared(p, err)
			hidden = append(hidden, p)
			continue
		}
		c := child{entry: e, stat: &s.Stat}
		if contents && isRegular(e.Mode) {
			c.content = !f.proven(p, &s.Stat)
		}
		if !isDir(e.Mode) || s.MountPoint {
			f.found(1)
		}
		if s.MountPoint {
			c.mount = true
		}
		children = append(children, c)
	}
	if cap(children) <= f.v.cfg.tuning.entries {
		f.spare = children
	}
	return children, hidden
}

func (f *filler) proven(p string, s *scan.Stat) bool {
	f.v.progress.totalBytes.Add(s.Size)
	if f.v.cfg.Proven == nil || !f.v.cfg.Proven(p, s) {
		return false
	}
	f.v.progress.bytes.Add(s.Size)
	f.known()
	return true
}

// whole puts a directory with all its entries into one batch, which finds what else is in it there. By name it finds
// nothing but that.
func (f *filler) whole(k int, d *dir, children []child, hidden []string) error {
	b, err := f.batch(k, d, len(children))
	if err != nil {
		return err
	}
	primary := k != byName
	f.content(b, d, primary, hidden)
	for i := range children {
		f.put(b, &children[i], primary)
	}
	return f.closeFull(k)
}

// spread distributes entries over as many batches as they need.
func (f *filler) spread(d *dir, children []child) error {
	for i := range children {
		c := &children[i]
		k := byAttributes
		if c.content {
			k = byContent
		}
		if isDir(c.entry.Mode) && !c.mount {
			continue // has a listing of its own
		}
		b, err := f.batch(k, d, 1)
		if err != nil {
			return err
		}
		b.ride(d)
		f.put(b, c, true)
		if err := f.closeFull(k); err != nil {
			return err
		}
	}
	return nil
}

// content lists d as a directory whose names are compared.
func (f *filler) content(b *batch, d *dir, primary bool, hidden []string) {
	if primary {
		f.found(1)
	}
	if d.parent != nil {
		b.ride(d.parent)
	}
	self := d.entry
	self.Dir = flist.Content
	b.addDir(self, &d.stat, primary)
	for _, p := range hidden {
		b.hide(p)
	}
}

// put lists a child. Subdirectories have a listing of their own, but for mount points.
func (f *filler) put(b *batch, c *child, primary bool) {
	if isDir(c.entry.Mode) {
		b.addDir(c.entry, c.stat, primary && c.mount)
		return
	}
	hardLinks := f.v.cfg.Session.HardLinks
	b.add(c.entry, c.stat, primary, hardLinks)
	if hardLinks && primary && !f.single && c.stat.Nlink > 1 {
		f.seeLink(b, c.entry.Path, c.stat)
	}
}

// batch returns the batch being filled, for n more entries of d. The server has one set of rules for a session, so
// directories of different scopes do not share one.
func (f *filler) batch(k int, d *dir, n int) (*batch, error) {
	if b := f.filling[k]; b != nil && (b.scope != d.scope || len(b.entries)+n > f.v.cfg.tuning.entries) {
		if err := f.close(k); err != nil {
			return nil, err
		}
	}
	if f.filling[k] == nil {
		f.filling[k] = newBatch(k == byContent, d.scope)
		f.filling[k].names = k == byName
		f.filling[k].hash = f.terms.sum.Hash
		switch {
		case f.single:
			f.filling[k].files = map[string]int32{}
		case k == byContent:
			f.enter(f.filling[k], f.v.cfg.tuning.entries)
		}
	}
	return f.filling[k], nil
}

// closeFull passes on a batch that has as much as one may have.
func (f *filler) closeFull(k int) error {
	if b := f.filling[k]; len(b.entries) >= f.v.cfg.tuning.entries || b.bytes >= f.v.cfg.tuning.bytes {
		return f.close(k)
	}
	return nil
}

func (f *filler) close(k int) error {
	b := f.filling[k]
	f.filling[k] = nil
	return pass(f.ctx, f.filled, b)
}

// flush passes on all that is left.
func (f *filler) flush() error {
	for k, b := range f.filling {
		if b == nil {
			continue
		}
		if err := f.close(k); err != nil {
			return err
		}
	}
	return nil
}

func (f *filler) found(n int64) { f.v.progress.totalEntries.Add(n) }

// items adds single paths.
func (f *filler) items(items iter.Seq[Item]) error {
	f.single = true
	for it := range items {
		if err := f.ctx.Err(); err != nil {
			return context.Cause(f.ctx)
		}
		if err := f.item(it); err != nil {
			return err
		}
	}
	return nil
}
