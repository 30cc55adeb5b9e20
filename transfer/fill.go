package transfer

import (
	"errors"
	"fmt"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/scan"
)

// A batch of fewer entries goes out only when nothing more is about to come.
const smallBatchEntries = 1024

// add turns a listing into entries of batches.
func (e *Engine) add(l listed) {
	if l.prune {
		e.pruneLists--
		e.addPrune(l)
		return
	}
	e.count(&l)
	if l.vanished {
		e.unread(l.failed)
		e.claim(claim{l.path, l.path}, e.following)
		return
	}
	e.queue.Expand(l.path, l.dir, l.descend)
	w := &work{left: 1, parent: l.parent}
	e.work[l.path] = w
	visited := make(map[string]struct{}, len(l.descend))
	for _, name := range l.descend {
		visited[queue.Join(l.path, name)] = struct{}{}
	}
	e.report(l, visited)
	e.seeLinks(l.children, false, false)
	e.seeLinks(l.linked, false, false)
	held := e.joinListed(&l)
	held = e.moveListed(&l) || held
	if e.cfg.Delete && l.err == nil {
		switch {
		case l.trusted && !l.littered && len(l.gone) <= e.mostGoneNames():
			e.vanished(l)
		case !e.following && !held && e.fits(l):
			e.addContent(l)
			e.release([]string{l.path})
			return
		default:
			w.prune = true
		}
	}
	if l.parent != nil || l.path == "." { // else what leads to it could not be read, either
		e.addPlain(l, visited)
	}
	e.release([]string{l.path})
}

// report counts what a listing found and says what could not be read.
func (e *Engine) report(l listed, visited map[string]struct{}) {
	e.counters.found(l.listing, visited)
	if e.queue.Trees() == 0 && e.listing == 0 {
		e.counters.scanDone.Store(true)
	}
	switch {
	case l.err == nil || errors.Is(l.err, scan.ErrIncomplete) || l.lead:
	case e.following:
		e.work[l.path].failed = l.err
	default:
		e.fail(l.path, l.err, &e.counters.unreadable)
	}
	e.unread(l.failed)
	for _, p := range l.skipped {
		e.tell.note(fmt.Sprintf("skipping non-regular file %q", p))
	}
}

// unread reports paths that a listing could not read.
func (e *Engine) unread(failed []failure) {
	for _, f := range failed {
		e.fail(f.path, f.err, &e.counters.unreadable)
	}
}

// fits reports whether a directory may be copied and cleared of extras in one go: its whole content must be in one
// list, and no other session may count against the same --max-delete.
func (e *Engine) fits(l listed) bool {
	return !l.trusted && l.big == 0 && l.unsure == 0 && e.cfg.MaxDelete < 0 && e.cfg.PartialDir == "" && len(l.failed) == 0 &&
		len(l.children)+len(l.subdirs) < e.cfg.tuning.entries-len(above(l.path))
}

// addContent puts the whole of a directory into one batch, which deletes what else is in it there.
func (e *Engine) addContent(l listed) {
	b := e.filling[fillSmall]
	if b != nil && len(b.entries)+len(l.children)+len(l.subdirs) > e.cfg.tuning.entries {
		e.close(fillSmall)
	}
	b = e.batchFor(fillSmall, l)
	b.content = true
	b.forgets(l)
	e.addSelf(b, l, flist.Content)
	for i := range l.subdirs {
		b.addDir(l.subdirs[i].entry, l.subdirs[i].version, false)
	}
	for i := range l.children {
		b.add(&l.children[i], e.session.HardLinks)
	}
	if e.full(b) {
		e.close(fillSmall)
	}
}

// addPlain spreads a directory's entries over as many batches as they need.
func (e *Engine) addPlain(l listed, visited map[string]struct{}) {
	if !l.same && !l.lead {
		e.addSelf(e.batchFor(fillSmall, l), l, flist.NoContent)
	}
	for i := range l.subdirs {
		// A directory that will be visited brings itself along; one that will not be, a mount point, is sent here.
		if _, ok := visited[l.subdirs[i].entry.Path]; !ok {
			b := e.batchFor(fillSmall, l)
			b.ride(l.dir)
			b.addDir(l.subdirs[i].entry, l.subdirs[i].version, true)
		}
	}
	for i := range l.children {
		if c := &l.children[i]; e.big(&c.entry) {
			e.addBig(c, l)
			continue
		}
		f := fillFor(false, l.children[i].trust)
		b := e.batchFor(f, l)
		b.ride(l.dir)
		b.add(&l.children[i], e.session.HardLinks)
		if e.full(b) {
			e.close(f)
		}
	}
}

// addBig lists a large file. While following its directory need not wait for it, nor the changes in there: the file is
// in flight by itself.
func (e *Engine) addBig(c *child, l listed) {
	f := fillFor(true, c.trust)
	b := e.filled(f, l)
	b.ride(l.dir)
	b.add(c, e.session.HardLinks)
	if p := c.entry.Path; e.following && e.queue.Detach(p) {
		e.queue.Slow(p)
		b.answer(int32(len(b.entries)-1), p)
	} else {
		e.hold(b, l.path)
	}
	if e.full(b) {
		e.close(f)
	}
}

// addSelf lists the directory itself.
func (e *Engine) addSelf(b *batch, l listed, as flist.DirKind) {
	if l.parent != nil {
		b.ride(l.parent)
	}
	self := l.dir.entry
	self.Dir = as
	b.addDir(self, l.dir.version, true)
}

// addPrune puts a directory, listed anew, into the batch that clears directories of what is not here.
func (e *Engine) addPrune(l listed) {
	if l.vanished || l.err != nil || len(l.failed) > 0 {
		job := e.locked[l.path]
		e.unlock([]pruneJob{job})
		e.guard.letPrune(l.path)
		e.left.note(job, e.following && !l.vanished, false, time.Now())
		// No longer known completely, so nothing is deleted. Why was reported, or will be by its parent.
		return
	}
	b, free := e.clearing, e.guard.freePrune(l.path)
	if b != nil && (b.scope != l.dir.scope || b.free != free) {
		e.closePrune()
		b = nil
	}
	if b == nil {
		b = newBatch(prune, l.dir.scope)
		b.content, b.free, b.began, b.since = true, free, time.Now(), l.since
		e.clearing = b
	}
	b.clears = append(b.clears, e.locked[l.path])
	if e.unsettled(l.path) {
		b.unsettled = append(b.unsettled, l.path)
	}
	b.forgets(l)
	e.addSelf(b, l, flist.Content)
	for i := range l.subdirs {
		b.addDir(l.subdirs[i].entry, l.subdirs[i].version, false)
	}
	for i := range l.children {
		b.entries = append(b.entries, l.children[i].entry)
		b.about = append(b.about, about{})
	}
	if e.full(b) {
		e.closePrune()
	}
}

// batchFor returns the batch being filled, for a part of a directory, which then waits for it.
func (e *Engine) batchFor(f fill, l listed) *batch {
	b := e.filled(f, l)
	e.hold(b, l.path)
	return b
}

// filled returns the batch being filled. The server has one set of rules for a session, so directories of different
// scopes do not share one that deletes.
func (e *Engine) filled(f fill, l listed) *batch {
	if b := e.filling[f]; b != nil && b.scope != l.dir.scope && e.cfg.Delete {
		e.close(f)
	}
	if e.filling[f] == nil {
		b := newBatch(f.kind(), l.dir.scope)
		b.check, b.live, b.since = f.trust() == bySum, f.trust() == never, l.since
		e.filling[f] = b
	}
	b := e.filling[f]
	if l.since.Before(b.since) {
		b.since = l.since
	}
	return b
}

// A fill is a batch being filled.
type fill uint8

const (
	fillSmall fill = iota // files that are not big, by trust
	fillBig        = fillSmall + fill(trusts)
	fills          = fillBig + fill(trusts)
)

func fillFor(big bool, t trust) fill {
	if big {
		return fillBig + fill(t)
	}
	return fillSmall + fill(t)
}

func (f fill) trust() trust { return trust((f - fillSmall) % fill(trusts)) }

func (f fill) kind() kind {
	if f >= fillBig {
		return copyBig
	}
	return copySmall
}

// forgets notes what else a session will delete that has l's directory with its content.
func (b *batch) forgets(l listed) {
	for _, name := range l.gone {
		b.forget = append(b.forget, queue.Join(l.path, name))
	}
}

// hold makes directory p wait for b.
func (e *Engine) hold(b *batch, p string) {
	if n := len(b.parts); n > 0 && b.parts[n-1] == p {
		return
	}
	b.parts = append(b.parts, p)
	e.work[p].left++
}

// release lets go of directories that a batch held; one that nothing holds any more is done.
func (e *Engine) release(parts []string) {
	for _, p := range parts {
		w := e.work[p]
		if w.left--; w.left > 0 {
			continue
		}
		delete(e.work, p)
		e.tell.forget(p)
		if w.failed != nil {
			e.queue.Fail(queue.Item{Kind: queue.Tree, Path: p}, w.failed, time.Now())
			continue
		}
		if w.prune {
			e.prunes = append(e.prunes, pruneJob{p, w.parent, e.originOf(p)})
		}
		e.queue.Done(p)
	}
}

// flush closes batches that are not full but should not wait: for small files when a session is free, for large ones
// when none is under way, for all of them when nothing more is being listed.
func (e *Engine) flush(noList bool) {
	last := noList && e.listing == 0 // trees that are left wait for what is in these batches
	for f, b := range e.filling {
		switch f := fill(f); {
		case b == nil:
		case f.kind() == copyBig:
			if last || e.running[1]+len(e.ready[1]) == 0 {
				e.close(f)
			}
		case len(e.ready[0]) == 0 && e.running[0]+e.running[1] < e.sessions && (last || len(b.entries) >= smallBatchEntries):
			e.close(f)
		}
	}
	e.endRound()
}

func (e *Engine) close(f fill) {
	e.enqueue(e.filling[f])
	e.filling[f] = nil
}

func (e *Engine) closePrune() {
	if e.guard != nil {
		e.guard.clears = append(e.guard.clears, e.clearing)
	} else {
		e.enqueue(e.clearing)
	}
	e.clearing = nil
}
