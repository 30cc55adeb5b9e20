package transfer

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
)

// A pair is both names of a renamed file in a batch.
type pair struct {
	*rename
	to, from int32 // entries
	inode    link
}

// linked reports whether the server said that it found the old name up to date and linked the new one to it.
func (p *pair) linked(b *batch, r *rsync.Report) bool {
	was, is := result(r, int(p.from)), result(r, int(p.to))
	return r.Complete && len(r.Loose) == 0 &&
		was.State == rsync.Acked && was.Items&(rsync.ItemLocal|rsync.ItemTransfer|rsync.ItemNew) == 0 &&
		is.State == rsync.Acked && is.Items&rsync.ItemTransfer == 0 && is.Link == b.entries[p.from].Path
}

// pair lists both names of a renamed file as names of one inode. It returns the entry of the new one.
func (b *batch) pair(r *rename, c *child, was string) int32 {
	entry := c.entry
	entry.Link = int32(len(b.pairs) + 1)
	old := entry
	old.Path = was
	at := int32(len(b.entries))
	b.entries = append(b.entries, entry, old)
	b.about = append(b.about, about{version: c.version, primary: true}, about{})
	b.pairs = append(b.pairs, pair{r, at, at + 1, c.link})
	return at
}

// relink looks up both names of renamed files. What is not simply one goes item by item.
func (l *lookup) relink(renames []*rename) {
	var b *batch
	for _, r := range renames {
		to, self, err := l.find(r.To)
		from, ok := l.dirOf(r.From)
		if err != nil || !ok || !r.is(self.entry.Mode, self.nlink, &self.version) {
			l.unfit = append(l.unfit, r)
			l.add(queue.Item{Kind: queue.Path, Path: r.From})
			l.add(queue.Item{Kind: queue.Path, Path: r.To})
			continue
		}
		if b == nil {
			b = newBatch(relink, nil)
			b.answers, b.since = map[int32][]string{}, l.since
			l.order = append(l.order, b)
		}
		b.ride(from)
		b.ride(to)
		b.answer(b.pair(r, self, r.From), r.To)
	}
}

// dirOf returns the directory that p is in, whether p is there or not.
func (l *lookup) dirOf(p string) (*dir, bool) {
	parent, _, err := l.find(p)
	var at *fs.PathError
	return parent, parent != nil && (err == nil || errors.As(err, &at) && at.Path == p && errors.Is(err, fs.ErrNotExist))
}

// A movedTree is a renamed directory while it is walked through. Its files are linked, as far as that goes, to what they
// were. Nothing of it is acknowledged: the directory is listed afterwards as any other, and they are found up to date.
type movedTree struct {
	*rename
	e      *Engine
	parent *dir // of the old name
	since  time.Time
	b      *batch
	known  []bool // by pair of b: the destination was known to have this
	bytes  int64  // of the files in b
	seen   int    // entries
	stale  []queue.Item
}

// errTooMuch ends the walk through a tree of which nothing is linked, because its old name is not sure to be deleted.
var errTooMuch = errors.New("too many to be deleted")

// relinkTree returns what is no longer what was sent of it. Nobody else does anything at or below both names meanwhile.
func (e *Engine) relinkTree(ctx context.Context, r *rename) ([]queue.Item, error) {
	l := &lookup{e: e, dirs: map[string]*dir{}}
	parent, ok := l.dirOf(r.From)
	if !ok {
		return nil, nil
	}
	t := &movedTree{rename: r, e: e, parent: parent, since: time.Now()}
	err := t.visit(ctx, r.To, nil)
	if err == nil && (r.tried > 0 || t.bytes >= t.least) {
		err = t.send(ctx)
	}
	if errors.Is(err, errTooMuch) {
		err = nil
	}
	return t.stale, err
}

// wasKnown reports whether the destination is known to have just this file by its old name.
func (t *movedTree) wasKnown(c *child) bool {
	known := false
	t.e.ledger.ask(func(s *catalogue.Store) error {
		r, _, err := s.Get(t.was(c.entry.Path))
		known = same(&r, c.version)
		return err
	})
	return known
}

// was returns the old name of what is below the directory.
func (t *movedTree) was(p string) string { return t.From + p[len(t.To):] }

func (t *movedTree) visit(ctx context.Context, p string, parent *dir) error {
	if t.excluded(t.was(p), true) {
		return nil
	}
	l := t.e.list(ctx, &listJob{path: p, parent: parent, alone: parent == nil}, new(scratch))
	if t.seen += 1 + len(l.children); t.room >= 0 && t.seen > t.room {
		return errTooMuch
	}
	// Seen after the listing: it was of what is there now, unless the time of that is newer.
	if st, _, err := t.e.cfg.Root.Stat(p); err != nil || l.vanished || l.err != nil || !t.same(p, st.Mode, versionOf(&st)) {
		return nil
	}
	files, err := t.unchanged(ctx, l.children)
	if err != nil {
		return err
	}
	for _, c := range files {
		if err := t.add(ctx, c, l.dir); err != nil {
			return err
		}
	}
	for _, name := range l.descend {
		if err := t.visit(ctx, queue.Join(p, name), l.dir); err != nil {
			return err
		}
	}
	return nil
}

// same reports whether the directory at p is what was renamed, or was below it and has not changed since.
func (t *movedTree) same(p string, mode uint32, v version) bool {
	if p == t.To {
		return t.is(mode, 0, &v)
	}
	return isDir(mode) && unchangedSince(&v, t.Since)
}

// unchanged returns the files that are as they were before the rename, and that the destination has.
func (t *movedTree) unchanged(ctx context.Context, children []child) (files []*child, err error) {
	for i := range children {
		c := &children[i]
		if isRegular(c.entry.Mode) && c.nlink == 1 && c.entry.Size > 0 && unchangedSince(&c.version, t.Since) &&
			!t.excluded(t.was(c.entry.Path), false) {
			files = append(files, c)
		}
	}
	if len(files) == 0 {
		return nil, nil
	}
	// An inode that had other names may have been written to by one of them.
	err = t.e.ask(ctx, func() {
		files = slices.DeleteFunc(files, func(c *child) bool { return t.e.links.knows(c.link) })
	})
	return files, err
}

func (t *movedTree) excluded(p string, dir bool) bool {
	scope := t.e.rootScope.Load()
	return scope != nil && scope.Excluded(p, dir)
}

func (t *movedTree) add(ctx context.Context, c *child, d *dir) error {
	if t.b == nil {
		t.b = newBatch(relink, nil)
		t.b.since, t.known = t.since, nil
	}
	t.rideOld(d)
	t.b.ride(d)
	t.b.pair(t.rename, c, t.was(c.entry.Path))
	t.known = append(t.known, t.wasKnown(c))
	t.bytes += c.entry.Size
	switch {
	case len(t.b.entries) < t.e.cfg.tuning.entries:
		return nil
	case t.room >= 0:
		return errTooMuch
	}
	return t.send(ctx)
}

// rideOld lists the directory that d was, and those above it.
func (t *movedTree) rideOld(d *dir) {
	old := d.entry
	old.Path = t.was(old.Path)
	if _, ok := t.b.dirs[old.Path]; ok {
		return
	}
	if d.entry.Path == t.To {
		t.b.ride(t.parent)
	} else {
		t.rideOld(d.parent)
	}
	t.b.addDir(old, version{}, false)
}

func (t *movedTree) send(ctx context.Context) error {
	b := t.b
	t.b = nil
	if b == nil {
		return nil
	}
	report, err := t.e.send(ctx, b)
	t.e.counters.session(report)
	t.stale = append(t.stale, t.e.stale(b)...)
	t.tried += len(b.pairs)
	for i := range b.pairs {
		if err == nil && b.pairs[i].linked(b, report) {
			t.linked++
			if t.known[i] {
				t.news.acknowledged(t.e, b, int(b.pairs[i].to))
			}
		}
	}
	return err
}
