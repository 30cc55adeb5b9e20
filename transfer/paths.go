package transfer

import (
	"errors"
	"io/fs"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/rsync/flist"
)

// takePaths puts the paths whose back-off has passed into a batch. What they are now is found out by the sender that
// gets it, beside the engine's goroutine.
func (e *Engine) takePaths(now time.Time) {
	var paths []queue.Item
	for len(paths) < e.cfg.tuning.entries {
		p, ok := e.queue.TakePath(now)
		if !ok {
			break
		}
		paths = append(paths, queue.Item{Path: p})
	}
	for !e.following && len(paths) < e.cfg.tuning.entries { // what is gone, by the catalogue
		it, ok := e.queue.Take(now)
		if !ok {
			break
		}
		paths = append(paths, it)
	}
	if paths = e.apart(paths, now); len(paths) > 0 {
		// While following they may be changes, of which times and sizes tell nothing.
		e.enqueue(&batch{kind: copySmall, retry: true, acks: e.asks(now), live: e.following, paths: paths})
	}
}

// A lookup turns paths of the queue into entries as they are now. A sender makes it and hands what it found back to
// the engine with the outcome.
type lookup struct {
	e       *Engine
	dirs    map[string]*dir
	batches map[lookupKey]*batch
	order   []*batch
	sent    *batch // of these, what the sender that made the lookup sends
	live    bool
	given   *batch
	since   time.Time
	doomed  []string  // nothing here, and to be deleted by a session for that
	gone    []string  // nothing here, and nothing to delete there
	pruned  []string  // nothing here, and the server cannot delete by name
	failed  []failure // cannot be read
	below   []claim   // gone with a directory above
	linked  []child   // may have other names
	scope   *filter.Scope
	scoped  bool
	keeps   bool
	unfit   []*rename // not simply a renamed file by now
	unmoved []*movedFile
}

// A claim is a path that is gone because top, above it, is; or the same twice, a directory that no longer is one.
type claim struct{ path, top string }

// A session has one set of filter rules, and large files go apart, as with a guard does what is to be deleted.
type lookupKey struct {
	kind    kind
	scope   *filter.Scope
	deletes bool
}

func (e *Engine) lookUpAll(b *batch) *lookup {
	l := &lookup{
		e: e, dirs: map[string]*dir{}, batches: map[lookupKey]*batch{}, live: b.live, given: b, since: time.Now(),
	}
	for _, it := range b.paths {
		l.add(it)
	}
	l.relink(b.renames)
	l.move(b)
	for _, b := range l.order {
		b.keeps = l.keeps
	}
	return l
}

// batch returns the batch for an entry in directory d.
func (l *lookup) batch(k kind, d *dir, deletes bool) *batch {
	key := lookupKey{kind: k, deletes: deletes, scope: l.scopeOf(d)}
	b := l.batches[key]
	if b == nil {
		b = newBatch(k, key.scope)
		b.retry, b.acks, b.live, b.check, b.since = true, l.given.acks, l.live, l.given.check, l.since
		b.owes = l.given.owes
		if deletes && l.e.guard != nil {
			b.deletes, b.way, b.free, b.allowed = true, l.given.way, l.given.free, l.given.allowed
		}
		l.batches[key] = b
		l.order = append(l.order, b)
	}
	return b
}

func (l *lookup) add(it queue.Item) {
	p := it.Path
	parent, self, err := l.find(p)
	var at *fs.PathError
	switch {
	case it.Kind == queue.Self && errors.Is(err, fs.ErrNotExist), it.Kind == queue.Self && err == nil && !isDir(self.entry.Mode):
		l.below = append(l.below, claim{p, p})
	case errors.As(err, &at) && errors.Is(err, fs.ErrNotExist):
		if !l.e.cfg.Delete || parent == nil {
			l.gone = append(l.gone, p)
			return
		}
		if at.Path != p {
			l.below = append(l.below, claim{p, at.Path})
			return
		}
		l.remove(p, parent)
	case err != nil:
		l.failed = append(l.failed, failure{p, err})
	case l.given.way[p] && !isDir(self.entry.Mode):
		l.remove(p, parent)
	case isDir(self.entry.Mode):
		b := l.batch(copySmall, parent, false)
		if parent != nil {
			b.ride(parent)
		}
		b.answer(b.addDir(self.entry, self.version, true), p)
	default:
		k := copySmall
		if l.e.big(&self.entry) && l.e.unshared() {
			k = copyBig
		}
		if l.e.following || l.e.session.HardLinks {
			l.linked = append(l.linked, *self)
		}
		if !l.given.group && l.e.gathers(self) {
			return // see settleLookup
		}
		b := l.batch(k, parent, false)
		b.ride(parent)
		b.add(self, l.given.group)
		b.answer(int32(len(b.entries)-1), p)
	}
}

// remove lists p, which is in directory d, as one to be deleted at the destination.
func (l *lookup) remove(p string, d *dir) {
	if l.e.noMissing.Load() {
		if !l.e.following {
			l.gone = append(l.gone, p) // while the pass ran; the next one prunes its directory
			return
		}
		if l.given.way[p] {
			l.failed = append(l.failed, failure{p, errInTheWay})
		} else {
			l.pruned = append(l.pruned, p)
		}
		return
	}
	if l.e.guard != nil && !l.given.deletes {
		l.doomed = append(l.doomed, p)
		return
	}
	b := l.batch(copySmall, d, l.given.deletes)
	b.ride(d)
	b.missing = true
	b.answer(b.addDir(flist.Entry{Path: p}, version{}, true), p)
}

// find returns the directory above p, with all above it, and p itself. The error's path is the topmost one that is
// missing or cannot be read.
func (l *lookup) find(p string) (parent *dir, self *child, err error) {
	for _, up := range above(p) {
		d := l.dirs[up]
		if d == nil {
			if d, err = l.directory(up, parent); err != nil {
				return parent, nil, err
			}
			l.dirs[up] = d
		}
		parent = d
	}
	found, err := l.e.lookUp(p)
	if err != nil {
		return parent, nil, &fs.PathError{Op: "lstat", Path: p, Err: err}
	}
	entry, st := EntryOf(p, &found), &found.Stat
	if err := flist.Validate(&entry, l.e.protocol); err != nil {
		return parent, nil, err
	}
	return parent, &child{
		entry: entry, version: versionOf(st), link: link{st.Dev, st.Ino}, nlink: st.Nlink,
	}, nil
}

func (l *lookup) directory(p string, parent *dir) (*dir, error) {
	self, err := l.e.lookUp(p)
	if err == nil && !isDir(self.Stat.Mode) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, &fs.PathError{Op: "lstat", Path: p, Err: err}
	}
	scope, err := l.e.enter(p, parent)
	if err != nil {
		return nil, &fs.PathError{Op: "filter", Path: p, Err: err}
	}
	return &dir{
		entry: EntryOf(p, &self), version: versionOf(&self.Stat), parent: parent, scope: scope, bare: l.e.bare(p),
	}, nil
}

// answer notes that what becomes of an entry is what becomes of path p of the queue.
func (b *batch) answer(at int32, p string) {
	if b.answers == nil {
		b.answers = map[int32][]string{}
	}
	b.answers[at] = append(b.answers[at], p)
}

// settleLookup takes what a lookup found: what needs no session is done, what does not fit into the first one follows.
func (e *Engine) settleLookup(l *lookup) {
	if l == nil {
		return
	}
	e.seeLinks(l.linked, l.live, l.given.group)
	if !l.given.group {
		for i := range l.linked {
			if c := &l.linked[i]; e.gathers(c) {
				e.joinLooked(c, l.given)
			}
		}
	}
	for _, r := range l.unfit {
		e.dropRename(r)
	}
	for _, p := range l.gone {
		e.counters.vanished.Add(1)
		e.done(p)
	}
	for _, p := range l.pruned {
		e.pruneAbove(p)
	}
	for _, p := range l.doomed {
		e.doom(p, false)
	}
	for _, f := range l.failed {
		if e.following {
			e.retry(f.path, f.err)
			continue
		}
		e.queue.Done(f.path)
		e.fail(f.path, f.err, &e.counters.unreadable)
	}
	for _, c := range l.below {
		e.claim(c, l.live)
	}
	for _, b := range l.order {
		if b == l.sent {
			continue
		}
		for _, paths := range b.answers {
			for _, p := range paths {
				switch {
				case b.kind == copyBig:
					e.queue.Slow(p)
				case b.deletes: // other filter rules: another session
					e.doom(p, b.way[p])
				}
			}
		}
		if !b.deletes {
			e.enqueue(b)
		}
	}
}

// claim takes the place of what was found gone: to delete top settles all that is below it, so top must be in flight,
// and nothing else at or below it.
func (e *Engine) claim(c claim, live bool) {
	if e.guard != nil {
		e.guard.inherit(c.path, c.top)
	}
	if e.queue.Claim(c.path, c.top) {
		e.enqueue(&batch{
			kind: copySmall, retry: true, acks: e.asks(time.Now()), live: live, paths: []queue.Item{{Path: c.top}},
		})
	}
}

// lookedUp returns what to send for b: itself, or the first batch of what its paths are now, nil if that is nothing.
// Large files and, with a guard, deletions go back to the engine, which knows when their turn is.
func (e *Engine) lookedUp(b *batch) (*batch, *lookup) {
	if b.paths == nil && b.renames == nil && b.moves == nil {
		return b, nil
	}
	l := e.lookUpAll(b)
	for _, found := range l.order {
		if found.kind != copyBig && found.deletes == b.deletes {
			l.sent = found
			break
		}
	}
	return l.sent, l
}

var nothing = &rsync.Report{Complete: true}
