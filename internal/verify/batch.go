package verify

import (
	"path"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/rsync/delta"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/transfer"
)

// A batch is what one session is asked about. The filler builds it; the readers add digests, each to entries of its
// own; then it belongs to one sender.
type batch struct {
	contents bool          // files are compared by content, not by size and time
	names    bool          // nothing but what is extra is looked for
	scope    *filter.Scope // rules in force in its content directories
	entries  []flist.Entry
	about    []about          // parallel to entries
	dirs     map[string]int32 // path to entry, for directories and what is gone
	files    map[string]int32 // the same for all else, where a path may be added twice; nil: it may not
	links    map[link]int32   // inode to hard-link group
	answers  map[int32][]string
	hidden   map[string]struct{} // paths that are here and not in the list
	gone     bool                // has entries that are gone here
	extra    map[string]bool     // with gone: the paths that are there
	bytes    int64               // of files to be read

	hash   delta.Hash   // of the digests
	unread atomic.Int32 // portions that are still to be read
	told   int          // extra paths that a broken session has already reported
	room   *room        // of entries and about; nil: they are its own
}

// about is what is known of an entry beyond what is sent.
type about struct {
	stat    scan.Stat
	links   bool      // only its hard links are of interest
	primary bool      // the batch is about this entry; others ride along because the list needs them
	read    time.Time // when reading its content began; zero: was not read
	failed  error     // why its content is not known
}

type link struct{ dev, ino uint64 }

// A dir is a directory of the source while something in it is added to batches.
type dir struct {
	entry  flist.Entry
	stat   scan.Stat
	parent *dir
	scope  *filter.Scope // the rules in force inside it; nil: none
	broken error         // why there is no scope
	lead   bool          // to be compared with the first thing that it leads to, and not for itself
}

func newDir(p string, found *scan.Entry, parent *dir) *dir {
	return &dir{entry: transfer.EntryOf(p, found), stat: found.Stat, parent: parent}
}

func newBatch(contents bool, scope *filter.Scope) *batch {
	return &batch{contents: contents, scope: scope, dirs: map[string]int32{}}
}

// room is the memory of a large batch, which another one has used before: letting slices grow for each costs more than all
// else that is done with what is in them.
type room struct {
	entries []flist.Entry
	about   []about
}

// enter gives a batch room for n entries.
func (r *run) enter(b *batch, n int) {
	m, ok := r.rooms.Get().(*room)
	if !ok {
		m = &room{make([]flist.Entry, 0, n), make([]about, 0, n)}
	}
	b.entries, b.about, b.room = m.entries, m.about, m
}

// leave takes the room back. Nobody has the batch any more.
func (r *run) leave(b *batch) {
	m := b.room
	if m == nil {
		return
	}
	clear(b.entries)
	clear(b.about)
	m.entries, m.about = b.entries[:0], b.about[:0]
	b.entries, b.about, b.room = nil, nil, nil
	r.rooms.Put(m)
}

// ride lists every directory from the root down to d, as the protocol demands of parents.
func (b *batch) ride(d *dir) {
	if _, ok := b.dirs[d.entry.Path]; ok {
		return
	}
	if d.parent != nil {
		b.ride(d.parent)
	}
	b.addDir(d.entry, &d.stat, d.lead)
	d.lead = false
}

// addDir lists a directory, or something gone, once.
func (b *batch) addDir(e flist.Entry, st *scan.Stat, primary bool) int32 {
	at, ok := b.dirs[e.Path]
	if ok && e.Dir == flist.Content {
		b.entries[at].Dir = flist.Content
	}
	switch {
	case !ok:
		at = int32(len(b.entries))
		b.dirs[e.Path] = at
		b.entries = append(b.entries, e)
		b.about = append(b.about, about{stat: *st, primary: primary})
	case primary:
		if b.entries[at].Dir == flist.Content {
			e.Dir = flist.Content
		}
		b.entries[at] = e
		b.about[at] = about{stat: *st, primary: true}
	}
	return at
}

// add lists an entry that is no directory. hardLinks groups the names of one inode.
func (b *batch) add(e flist.Entry, st *scan.Stat, primary, hardLinks bool) int32 {
	if at, ok := b.files[e.Path]; ok {
		b.about[at].primary = b.about[at].primary || primary
		return at
	}
	if hardLinks && st.Nlink > 1 {
		if b.links == nil {
			b.links = map[link]int32{}
		}
		key := link{st.Dev, st.Ino}
		if b.links[key] == 0 {
			b.links[key] = int32(len(b.links) + 1)
		}
		e.Link = b.links[key]
	}
	if b.files != nil {
		b.files[e.Path] = int32(len(b.entries))
	}
	b.entries = append(b.entries, e)
	b.about = append(b.about, about{stat: *st, primary: primary})
	if b.contents && isRegular(e.Mode) {
		b.bytes += e.Size
	}
	return int32(len(b.entries) - 1)
}

// answer makes the report on entry at answer for a path below it.
func (b *batch) answer(at int32, path string) {
	if b.answers == nil {
		b.answers = map[int32][]string{}
	}
	b.answers[at] = append(b.answers[at], path)
}

// hide notes a path that is here and cannot be listed.
func (b *batch) hide(path string) {
	if b.hidden == nil {
		b.hidden = map[string]struct{}{}
	}
	b.hidden[path] = struct{}{}
}

// isExtra notes a path that is there and not here.
func (b *batch) isExtra(path string) {
	if b.extra == nil {
		b.extra = map[string]bool{}
	}
	b.extra[path] = true
}

// isHidden reports whether p is, or lies below, something that could not be listed.
func (b *batch) isHidden(p string) bool {
	for len(b.hidden) > 0 && p != "." {
		if _, ok := b.hidden[p]; ok {
			return true
		}
		p = path.Dir(p)
	}
	return false
}

// subset lists the files at the given places once more, with another digest and the directories that they need. at are
// their places in the new list.
func (b *batch) subset(places []int32, sum []byte) (s *batch, at []int32) {
	s = newBatch(b.contents, b.scope)
	s.hash = b.hash
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
			s.addDir(e, &b.about[at].stat, false)
		}
	}
	for _, i := range places {
		e := b.entries[i]
		ride(path.Dir(e.Path))
		e.Sum = sum
		at = append(at, int32(len(s.entries)))
		s.entries = append(s.entries, e)
		s.about = append(s.about, b.about[i])
	}
	return s, at
}

func isDir(mode uint32) bool     { return mode&unix.S_IFMT == unix.S_IFDIR }
func isRegular(mode uint32) bool { return mode&unix.S_IFMT == unix.S_IFREG }
