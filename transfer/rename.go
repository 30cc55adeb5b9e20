package transfer

import (
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
)

// Renames carry no data: old and new name are listed as names of one inode, in a session in which size and time tell
// whether a file is up to date, and in which no data is given. The server finds the old one so and links the new one to
// it (rsync-protocol.md 9.3); then the old one is deleted as what is gone always is.
//
// It is an addition to what the rename stands for in the queue, never in place of it:
//
//   - It is begun only if nothing was left to do at the old name: what the destination has there is what was renamed.
//   - Both names are in flight meanwhile, so nothing else touches them at the destination, and what happens to them here
//     comes afterwards, in full.
//   - Only the words of the server that it made the new name a link to the old one, which it found up to date,
//     acknowledge the new name. Whatever else happens, both names go the way that they would have gone without.
//
// Without -H two names at the destination must not remain one inode, so there is none of this without --delete, nor when
// a limit of deletions may keep the old name.

const (
	// minRenamed is the size, in bytes, from which a session of its own is cheaper than sending.
	minRenamed = 64 << 10

	maxRenames = 4096 // under way

	// treeWithin is how long it is waited for that all of a renamed directory is watched.
	treeWithin = 10 * time.Second

	// gatherRenames is how long a rename waits for the next of the same entry.
	gatherRenames = 5 * time.Millisecond

	// A file system sets the time of status change of what it renames, by a clock that may be clockLag late. What is not
	// of that time is not what was renamed, or has changed since. A rename is read at most renameLag after it was made.
	clockLag  = 20 * time.Millisecond
	renameLag = 2 * time.Second

	// When so many sessions in a row come to nothing, none is tried for a while.
	maxUnlinked = 5
	unlinkedFor = 10 * time.Minute
)

var errNotLinked = errors.New("a renamed file is linked or nothing")

// A rename is one under way: its names are in flight.
type rename struct {
	queue.Rename
	least int64   // bytes
	room  int     // of a directory: most entries that its old name may have, to be deleted; negative: no limit
	next  *rename // of another file, to this one's old name: its turn comes with the end of this

	tried, linked int        // of a directory, files; set by the sender
	news          known      // the same: what the server linked of what it was known to have
	moved         *movedFile // it was while nobody looked
}

// renames are all that are under way. Their owner is the engine's goroutine.
type renames struct {
	ready    []*rename // to be given to a session, at
	due      time.Time
	waiting  []*rename          // of directories, until Tree at the new name comes: what changes before may not be told
	from     map[string]*rename // by old name
	unlinked int                // sessions in a row that came to nothing
	notUntil time.Time
}

// renamed takes what a rename stands for: as a whole if that is worth it, or item by item.
func (e *Engine) renamed(r *queue.Rename, now time.Time) {
	if e.extendRename(r, now) || e.beginRename(r, now) {
		return
	}
	for _, it := range r.Items() {
		e.queue.Add(it, now)
	}
}

// extendRename makes one rename of two in a row: the name between them is none. One that leads back, or the other half of
// an exchange, ends both.
func (e *Engine) extendRename(q *queue.Rename, now time.Time) bool {
	x := &e.renames
	i := slices.IndexFunc(x.ready, func(r *rename) bool { return r.To == q.From })
	if i < 0 {
		return false
	}
	r := x.ready[i]
	both, ok := r.Then(q)
	switch {
	case !ok:
		x.ready = slices.Delete(x.ready, i, i+1)
		e.queue.Defer(r.From, now)
		e.queue.Defer(r.To, now)
		e.dropRename(r)
		return false
	case e.queue.Pending(r.To) || !e.queue.Seize(q.To, now):
		return false
	}
	e.queue.Defer(r.To, now)
	r.Rename = both
	return true
}

// beginRename takes both names into flight. A name that is gone already may be that of a next rename.
func (e *Engine) beginRename(q *queue.Rename, now time.Time) bool {
	x := &e.renames
	if !e.mayRelink(now) || !e.queue.Seize(q.From, now) {
		return false
	}
	r := &rename{Rename: *q, least: e.cfg.tuning.minRenamed}
	before := x.from[r.To]
	switch {
	case !e.worthRelinking(r) || before != nil && (before.next != nil || before.Dir || r.Dir):
		e.queue.Done(r.From)
		return false
	case before != nil:
		before.next = r
	case !e.queue.Seize(r.To, now):
		e.queue.Done(r.From)
		return false
	case r.Dir:
		x.waiting = append(x.waiting, r)
	default:
		if len(x.ready) == 0 {
			x.due = now.Add(gatherRenames)
		}
		x.ready = append(x.ready, r)
	}
	x.from[r.From] = r
	return true
}

// mayRelink reports whether there is any use in it now. While directories are unvisited the destination may not even
// have been reached.
func (e *Engine) mayRelink(now time.Time) bool {
	x := &e.renames
	if e.queue.Trees() > 0 || len(e.lost.held) > 0 || e.paused || len(x.from) >= maxRenames || now.Before(x.notUntil) {
		return false
	}
	return e.mayEverRelink() && e.roomToRelink(now) != 0
}

// mayEverRelink reports whether what the user asked for and the server knows allow it.
func (e *Engine) mayEverRelink() bool {
	o := &e.session
	if e.spare == nil || e.protocol < 31 || !o.Times || o.ModifyWindow >= 0 || o.Checksum || o.IgnoreTimes || o.SizeOnly ||
		o.Existing || o.IgnoreExisting || o.Inplace || o.DryRun || !o.HardLinks && e.lacks(linksRenamed) {
		return false
	}
	return e.cfg.Delete
}

// roomToRelink is how many more old names may be deleted at once; negative: no limit.
func (e *Engine) roomToRelink(now time.Time) int {
	d := e.guard
	switch {
	case d == nil:
		return -1
	case !d.since.IsZero():
		return 0
	}
	return max(0, d.left(now)-len(d.paths)-len(e.renames.from))
}

func (e *Engine) worthRelinking(r *rename) bool {
	st, _, err := e.cfg.Root.Stat(r.To)
	v := versionOf(&st)
	return errors.Is(err, fs.ErrNotExist) || err == nil && r.is(st.Mode, st.Nlink, &v)
}

// is reports whether what is at the new name is what was renamed, unchanged since, and not too small to care.
func (r *rename) is(mode uint32, nlink uint64, v *version) bool {
	if changed := changedAt(v); changed.Before(r.Seen.Add(-renameLag)) || changed.After(r.Seen) {
		return false
	}
	return r.Dir && isDir(mode) || !r.Dir && isRegular(mode) && nlink == 1 && v.Size >= r.least
}

func changedAt(v *version) time.Time { return time.Unix(0, v.Ctime) }

// unchangedSince reports whether the status is older than t, whatever part of a second the file system keeps.
func unchangedSince(v *version, t time.Time) bool {
	t = t.Add(-clockLag)
	if v.Ctime%1e9 == 0 {
		t = t.Add(-renameLag)
	}
	return changedAt(v).Before(t)
}

// watchedRenames goes on with directories of which everything is watched at the new name, and gives up those of which that
// will not be told.
func (e *Engine) watchedRenames(now time.Time) {
	x := &e.renames
	x.waiting = slices.DeleteFunc(x.waiting, func(r *rename) bool {
		switch {
		case e.queue.TakeOver(r.To):
			x.ready = append(x.ready, r)
		case e.queue.Pending(r.To) || e.queue.Overtaken(r.To) || e.queue.Overtaken(r.From) || !now.Before(r.Seen.Add(treeWithin)):
			e.queue.Done(r.To)
			e.endRename(r)
		default:
			return false
		}
		return true
	})
}

// next is when something of it becomes due; the zero time if nothing does.
func (x *renames) next() time.Time {
	switch {
	case len(x.ready) > 0:
		return x.due
	case len(x.waiting) > 0:
		return x.waiting[0].Seen.Add(treeWithin)
	}
	return time.Time{}
}

// nextRenames gives renames to sessions once one is free.
func (e *Engine) nextRenames(now time.Time) {
	e.watchedRenames(now)
	x := &e.renames
	if len(x.ready) == 0 || now.Before(x.due) || e.paused || e.running[0]+e.running[1] >= e.sessions {
		return
	}
	files := &batch{kind: relink, live: true}
	for _, r := range x.ready {
		if r.Dir {
			r.room = e.roomToRelink(now)
			e.enqueue(&batch{kind: relink, tree: r})
			continue
		}
		files.renames = append(files.renames, r)
	}
	if files.renames != nil {
		e.enqueue(files)
	}
	x.ready = nil
}

// settleRelink acknowledges what was linked. All else goes back to the queue.
func (e *Engine) settleRelink(o outcome) error {
	if over(o.err) {
		return o.err
	}
	if r := o.b.tree; r != nil {
		e.judgeRelink(o.err, r.tried, r.linked)
		e.record(&r.news)
		// What changed below since has items of its own: they bring even what a comparison by size and time would not.
		it := queue.Item{Kind: queue.Tree, Path: r.To}
		check := e.outage.checked(it)
		e.outage.settled(it)
		e.trees = append(e.trees, listJob{
			path: r.To, alone: true, check: check, recent: e.recent(r.To),
		})
		e.endRename(r)
		return nil
	}
	e.counters.session(o.report)
	var news known
	done := 0
	for i := range o.b.pairs {
		p := &o.b.pairs[i]
		// Of an inode that had other names, one may have been written to by another than this.
		if o.err == nil && p.linked(o.b, o.report) && !e.links.knows(p.inode) && !e.queue.Overtaken(p.To) {
			done++
			e.inPlace(&news, o.b, int(p.to))
			e.acknowledged(o.b, int(p.to), result(o.report, int(p.to)))
		} else {
			e.queue.Defer(p.To, time.Now())
		}
		e.endRename(p.rename)
	}
	e.record(&news)
	e.judgeRelink(o.err, len(o.b.pairs), done)
	return nil
}

// endRename lets go of the old name: to be deleted, or to become the new name of what waits for it.
func (e *Engine) endRename(r *rename) {
	x := &e.renames
	delete(x.from, r.From)
	if r.next != nil {
		x.ready = append(x.ready, r.next)
		return
	}
	e.queue.Defer(r.From, time.Now())
}

// dropRename forgets a rename whose names are in flight item by item.
func (e *Engine) dropRename(r *rename) {
	delete(e.renames.from, r.From)
	for n := r.next; n != nil; n = n.next {
		delete(e.renames.from, n.From)
		e.queue.Add(queue.Item{Kind: queue.Path, Path: n.To}, time.Now())
		e.queue.Defer(n.From, time.Now())
	}
}

// judgeRelink gives up for a while when nothing comes of it.
func (e *Engine) judgeRelink(err error, tried, linked int) {
	x := &e.renames
	e.log.Debug("renamed without data", "tried", tried, "linked", linked, "err", err)
	switch {
	case linked > 0:
		x.unlinked = 0
		return
	case kindOf(err) == rsync.KindRefused:
		x.unlinked = maxUnlinked
	case err == nil && tried > 0:
		x.unlinked++
	}
	if x.unlinked >= maxUnlinked {
		x.unlinked, x.notUntil = 0, time.Now().Add(unlinkedFor)
	}
}
