package transfer

import (
	"path"
	"slices"
	"time"

	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/scan"
)

// A kind of batch decides the options of its session.
type kind uint8

const (
	copySmall kind = iota // entries to make equal
	copyBig               // the same, large files
	prune                 // directories to clear of what is not here; carries no data
	missing               // paths gone here, to be deleted there
	relink                // renamed files, to be linked there to what they were; carries no data
)

// A batch is what one session is given. It is built by the engine's goroutine and not changed once sent.
type batch struct {
	kind      kind
	content   bool          // has content directories: the session deletes
	scope     *filter.Scope // rules in force in its directories
	entries   []flist.Entry
	about     []about          // parallel to entries
	parts     []string         // directories that wait for this batch
	clears    []pruneJob       // prune: the content directories
	unsettled []string         // prune: of these, in which sessions broke at files that are still to come
	began     time.Time        // prune: when the first of them was listed
	dirs      map[string]int32 // path to entry, for directories and what is gone
	links     map[link]int32   // inode to hard-link group
	bytes     int64
	tries     int  // sessions that ended badly with this batch
	acks      bool // every entry must be acknowledged by name
	mute      bool // what is changed is no change of the destination; heard is what was said of it
	heard     []string
	check     bool                // content is compared by checksum
	unclear   bool                // without, it could not be told what became of it
	first     bool                // nothing but the root: the session is to find out what the server takes
	resumes   bool                // what is in it was begun: parts of it may be there
	seeded    []bool              // of entries: an empty part was put there; set by the sender
	group     bool                // paths are names of inodes that have several, all of an inode that are known
	keeps     bool                // nothing is deleted that is in the way
	owes      map[string]struct{} // paths that are to come again

	since  time.Time // what is in it was looked at then, or later
	forget []string  // what the session deletes because it is not listed, as far as the catalogue has it

	// Of Paths of the queue, which a sender looks up before it sends.
	retry   bool
	live    bool               // they changed: times and sizes do not tell whether content did
	paths   []queue.Item       // Path and Self, to be looked up
	answers map[int32][]string // by entry: the paths that it is about
	missing bool               // has entries that are gone here, to be deleted there

	// Renames without data.
	renames []*rename    // of files: to be looked up
	moves   []*movedFile // the same, while nobody looked
	tree    *rename      // of a directory: as many sessions as it takes
	pairs   []pair       // what is in entries

	// With a guard.
	deletes bool            // paths to be deleted, and nothing else
	way     map[string]bool // of these: not gone here, but a directory is in their way there
	free    bool            // an operator let them go: there is no limit
	allowed int             // most entries that the session may delete; negative: no limit
	deleted int             // entries that it did delete; set by the sender
}

// about is what the engine knows of an entry beyond what is sent.
type about struct {
	version version
	primary bool // the batch is about this entry; others ride along because their children need them
}

// A version tells one state of an entry from another: what fstat says before the first byte of a file must still be
// true after the last one, and must be what was listed.
type version = catalogue.Version

type link struct{ dev, ino uint64 }

func versionOf(s *scan.Stat) version {
	return version{
		Size: s.Size, Mtime: nanoseconds(s.Mtime, s.MtimeNsec), Ctime: nanoseconds(s.Ctime, s.CtimeNsec),
		Ino: s.Ino, Mode: s.Mode, UID: s.UID, GID: s.GID,
	}
}

// nanoseconds wraps around for times that a version has to tell apart and not to order.
func nanoseconds(sec int64, nsec int32) int64 { return sec*1e9 + int64(nsec) }

func newBatch(k kind, scope *filter.Scope) *batch {
	return &batch{kind: k, scope: scope, dirs: map[string]int32{}}
}

// ride makes sure that every directory from the root down to d is listed, as the protocol demands of parents.
func (b *batch) ride(d *dir) {
	if _, ok := b.dirs[d.entry.Path]; ok || d.bare {
		return
	}
	if d.parent != nil {
		b.ride(d.parent)
	}
	b.addDir(d.entry, d.version, d.owed)
	d.owed = false
}

func (b *batch) addDir(e flist.Entry, v version, primary bool) int32 {
	at, ok := b.dirs[e.Path]
	if !ok {
		at = int32(len(b.entries))
		b.dirs[e.Path] = at
		b.entries = append(b.entries, e)
		b.about = append(b.about, about{v, primary})
	} else if primary {
		b.entries[at] = e
		b.about[at] = about{v, true}
	}
	return at
}

// add lists an entry that is no directory. hardLinks groups the names of one inode.
func (b *batch) add(c *child, hardLinks bool) {
	e := c.entry
	if hardLinks && c.nlink > 1 {
		if b.links == nil {
			b.links = map[link]int32{}
		}
		group := b.links[c.link]
		if group == 0 {
			group = int32(len(b.links) + 1)
			b.links[c.link] = group
		}
		e.Link = group
	}
	b.entries = append(b.entries, e)
	b.about = append(b.about, about{version: c.version, primary: true})
	if isRegular(e.Mode) {
		b.bytes += e.Size
	}
}

func (e *Engine) full(b *batch) bool {
	if b.kind == copyBig {
		return len(b.entries)-len(b.dirs) >= maxBigFiles || b.bytes >= maxBigBytes
	}
	return len(b.entries) >= e.cfg.tuning.entries || b.bytes >= maxBatchBytes
}

// subset returns a batch of the primaries at the given positions and the directories that they need. Content
// directories lose that property: with entries left out they would delete too much.
func (b *batch) subset(keep func(i int) bool) *batch {
	s := newBatch(b.kind, b.scope)
	s.tries, s.acks, s.check, s.unclear = b.tries, b.acks, b.check, b.unclear
	s.retry, s.live, s.missing = b.retry, b.live, b.missing
	s.keeps, s.owes, s.resumes = b.keeps, b.owes, b.resumes
	s.since = b.since
	if b.answers != nil {
		s.answers = make(map[int32][]string, len(b.answers))
	}
	var ride func(p string)
	ride = func(p string) {
		if _, ok := s.dirs[p]; ok {
			return
		}
		if p != "." {
			ride(path.Dir(p))
		}
		if at, ok := b.dirs[p]; ok {
			e := b.entries[at]
			e.Dir = flist.NoContent
			s.addDir(e, b.about[at].version, false)
		}
	}
	groups := b.groups(keep)
	for i := range b.entries {
		kept := b.about[i].primary && keep(i)
		if !kept && !groups[b.entries[i].Link] {
			continue
		}
		e := &b.entries[i]
		if e.Path != "." {
			ride(path.Dir(e.Path))
		}
		if isDir(e.Mode) || e.Mode == 0 {
			d := *e
			if d.Dir == flist.Content && b.kind != prune {
				d.Dir = flist.NoContent
			}
			s.inherit(s.addDir(d, b.about[i].version, true), b, i)
			continue
		}
		s.entries = append(s.entries, *e)
		s.about = append(s.about, about{b.about[i].version, kept})
		if !kept {
			continue
		}
		s.inherit(int32(len(s.entries)-1), b, i)
		s.bytes += e.Size
	}
	return s
}

// groups returns the inodes of which an entry is kept: their other names go along, or it would be no link to them.
func (b *batch) groups(keep func(i int) bool) map[int32]bool {
	groups := map[int32]bool{}
	for i := range b.entries {
		if l := b.entries[i].Link; l != 0 && b.about[i].primary && keep(i) {
			groups[l] = true
		}
	}
	return groups
}

// inherit makes entry at of s answer what entry i of b did.
func (s *batch) inherit(at int32, b *batch, i int) {
	if paths := b.answers[int32(i)]; paths != nil {
		s.answers[at] = paths
	}
}

func (b *batch) primaries() int {
	n := 0
	for i := range b.about {
		if b.about[i].primary {
			n++
		}
	}
	return n
}

// mostDeletes is what --max-delete allows the session for b.
func (e *Engine) mostDeletes(b *batch) int {
	if e.guard != nil {
		return b.allowed
	}
	return e.deletesLeft()
}

// options returns what the session for b is asked for.
func (e *Engine) options(b *batch) rsync.Options {
	o := e.session
	o.MaxDelete = -1
	o.Itemize = true
	if o.Acks = b.acks && !o.DryRun && !e.lacks(acknowledges); o.Acks && o.Timeout+e.cfg.Dialer.Timeout == 0 && !e.following {
		o.Timeout = acksSilence
	}
	if o.Fuzzy && o.Timeout+e.cfg.Dialer.Timeout == 0 {
		o.Timeout = fuzzySilence
	}
	switch {
	case e.cfg.PartialDir != "":
		o.PartialDir = e.cfg.PartialDir
	case e.lacks(keepsParts): // the server refuses it
	case !o.Inplace && !o.AppendVerify || e.local():
		if slices.ContainsFunc(b.entries, func(f flist.Entry) bool { return e.big(&f) }) {
			o.PartialDir = DefaultPartialDir
		}
	}
	if o.PartialDir != "" && b.resumes {
		o.WholeFile = false // or a part is of no use
	}
	switch b.kind {
	case relink:
		o.HardLinks, o.PartialDir = true, ""
		o.Checksum = b.check
	case prune:
		o.Delete, o.Existing, o.IgnoreExisting = true, true, true
		o.Checksum, o.IgnoreTimes, o.PartialDir = false, false, ""
		if e.cfg.MaxDelete >= 0 {
			o.MaxDelete = e.mostDeletes(b)
		}
	default:
		// Delete mode clears content directories, and lets something else take a directory's place, but for what the
		// rules protect. Under --max-delete only retries may do that: they run alone. With a guard they may not either.
		clears := e.cfg.Delete && e.guard == nil && !b.keeps
		o.Delete = b.content || b.deletes || clears && (e.cfg.MaxDelete < 0 || b.retry)
		o.DeleteMissing = (b.missing || b.live && clears) && !e.lacks(deletesNames) // the same for all live batches: a session waits for them
		o.IgnoreTimes = o.IgnoreTimes || b.live
		switch check := b.check || b.live && e.lacks(ignoresTimes); {
		case check && e.lacks(comparesSums):
			o.IgnoreTimes = true
		case check:
			o.Checksum, o.IgnoreTimes = true, false
		}
		if o.Delete && e.cfg.MaxDelete >= 0 {
			o.MaxDelete = e.mostDeletes(b)
		}
	}
	if b.first {
		e.wishes(&o)
	}
	return o
}
