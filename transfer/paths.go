package transfer

import (
	"errors"
	"io/fs"
	"time"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/rsync/flist"
)

// takePaths puts the paths whose back-off has passed into a batch. What they are now is found out by the sender that
// gets it, beside the engine's goroutine.
func (e *Engine) takePaths(now time.Time) {
	var paths []string
	for len(paths) < e.cfg.tuning.entries {
		p, ok := e.queue.TakePath(now)
		if !ok {
			break
		}
		paths = append(paths, p)
	}
	if len(paths) > 0 {
		e.enqueue(&batch{kind: copySmall, retry: true, acks: true, paths: paths})
	}
}

// A lookup turns paths of the queue into entries as they are now. A sender makes it and hands what it found back to
// the engine with the outcome.
type lookup struct {
	e       *Engine
	dirs    map[string]*dir
	batches map[lookupKey]*batch
	order   []*batch
	live    bool
	gone    []string  // nothing here, and nothing to delete there
	failed  []failure // cannot be read
	below   []claim   // gone with a directory above
}

// A claim is a path that is gone because top, above it, is.
type claim struct{ path, top string }

// A session has one set of filter rules, and large files go apart.
type lookupKey struct {
	kind  kind
	scope *filter.Scope
}

func (e *Engine) lookUpAll(b *batch) *lookup {
	l := &lookup{e: e, dirs: map[string]*dir{}, batches: map[lookupKey]*batch{}, live: b.live}
	for _, p := range b.paths {
		l.add(p)
	}
	return l
}

// batch returns the batch for an entry in directory d.
func (l *lookup) batch(k kind, d *dir) *batch {
	key := lookupKey{kind: k}
	if d != nil {
		key.scope = d.scope
	}
	b := l.batches[key]
	if b == nil {
		b = newBatch(k, key.scope)
		b.retry, b.acks, b.live, b.answers = true, true, l.live, map[int32][]string{}
		l.batches[key] = b
		l.order = append(l.order, b)
	}
	return b
}

func (l *lookup) add(p string) {
	parent, self, err := l.find(p)
	var at *fs.PathError
	switch {
	case errors.As(err, &at) && errors.Is(err, fs.ErrNotExist):
		if !l.e.cfg.Delete || parent == nil {
			l.gone = append(l.gone, p)
			return
		}
		if at.Path != p {
			l.below = append(l.below, claim{p, at.Path})
			return
		}
		b := l.batch(copySmall, parent)
		b.ride(parent)
		b.missing = true
		b.answer(b.addDir(flist.Entry{Path: p}, true), p)
	case err != nil:
		l.failed = append(l.failed, failure{p, err})
	case isDir(self.entry.Mode):
		b := l.batch(copySmall, parent)
		if parent != nil {
			b.ride(parent)
		}
		b.answer(b.addDir(self.entry, true), p)
	default:
		k := copySmall
		if l.e.big(&self.entry) && l.e.cfg.MaxDelete < 0 {
			k = copyBig
		}
		b := l.batch(k, parent)
		b.ride(parent)
		b.add(self, false)
		b.answer(int32(len(b.entries)-1), p)
	}
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
	st, target, err := l.e.cfg.Root.Stat(p)
	if err != nil {
		return parent, nil, &fs.PathError{Op: "lstat", Path: p, Err: err}
	}
	entry := entryOf(p, &st, target)
	if err := flist.Validate(&entry, l.e.protocol); err != nil {
		return parent, nil, err
	}
	return parent, &child{entry, versionOf(&st), link{st.Dev, st.Ino}, st.Nlink}, nil
}

func (l *lookup) directory(p string, parent *dir) (*dir, error) {
	st, _, err := l.e.cfg.Root.Stat(p)
	if err == nil && !isDir(st.Mode) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, &fs.PathError{Op: "lstat", Path: p, Err: err}
	}
	scope, err := l.e.enter(p, parent)
	if err != nil {
		return nil, &fs.PathError{Op: "filter", Path: p, Err: err}
	}
	return &dir{entry: entryOf(p, &st, ""), parent: parent, scope: scope}, nil
}

// answer notes that what becomes of an entry is what becomes of path p of the queue.
func (b *batch) answer(at int32, p string) { b.answers[at] = append(b.answers[at], p) }

// settleLookup takes what a lookup found: what needs no session is done, what does not fit into the first one follows.
func (e *Engine) settleLookup(l *lookup) {
	if l == nil {
		return
	}
	for _, p := range l.gone {
		e.counters.vanished.Add(1)
		e.queue.Done(p)
	}
	for _, f := range l.failed {
		if e.following {
			e.retry(f.path, f.err)
			continue
		}
		e.queue.Done(f.path)
		e.fail(f.path, f.err, &e.counters.unreadable)
	}
	var tops []string
	for _, c := range l.below {
		// To delete top settles all that is below it; so top must be in flight, and nothing else at or below it.
		if e.queue.Claim(c.path, c.top) {
			tops = append(tops, c.top)
		}
	}
	if len(tops) > 0 {
		e.enqueue(&batch{kind: copySmall, retry: true, acks: true, live: l.live, paths: tops})
	}
	for _, b := range l.order[min(1, len(l.order)):] {
		e.enqueue(b)
	}
}

// lookedUp returns what to send for b: itself, or the first batch of what its paths are now, nil if that is nothing.
func (e *Engine) lookedUp(b *batch) (*batch, *lookup) {
	if b.paths == nil {
		return b, nil
	}
	l := e.lookUpAll(b)
	if len(l.order) == 0 {
		return nil, l
	}
	return l.order[0], l
}

var nothing = &rsync.Report{Complete: true}
