package transfer

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/attr"
	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/scan"
)

// A dir is a directory of the source while something below it is pending.
type dir struct {
	entry   flist.Entry
	version version
	parent  *dir
	scope   *filter.Scope // the rules in force inside it; nil: none
	check   bool          // what is in it is compared by checksum
	recent  time.Time     // what changed in it later is sent, whatever size and time say; zero: nothing is
	counted bool          // it belongs to the pass of the census
	bare    bool          // the root, of which nothing is asked for but what is in it: it is in no list
	owed    bool          // not asked for, but what is below: the first batch that has some of that is about it too

	recalled map[string]catalogue.Record // what the catalogue had of its subdirectories, as far as they are there
}

// A child is an entry of a listed directory that is no directory itself.
type child struct {
	entry   flist.Entry
	version version
	link    link
	nlink   uint64
	trust   trust
	anew    bool // with -H: the destination has, or may have, another inode of this name
}

// A trust says by what a file is taken for equal.
type trust uint8

const (
	byTime trust = iota // size and time are equal
	bySum               // the checksum is, as size and time may hide a change
	never               // it has just changed
	trusts
)

// A listing is a directory's content as it is to be sent, in byte order.
type listing struct {
	dir      *dir
	children []child
	subdirs  []child
	descend  []string // names of the subdirectories to visit
	failed   []failure
	skipped  []string // paths of a type that was not asked for
	err      error    // the directory could not be read completely; what is here of it is true
	only     bool     // what is below its subdirectories is not asked for
	vanished bool     // the directory itself did
	lead     bool     // the directory is not asked for, but what is below it: it goes along with that
	big      int      // children that are large files
	unsure   int      // children of which time and size tell nothing

	// With a catalogue.
	since    time.Time // it was read then, or later
	trusted  bool      // children hold only what the destination may lack
	same     bool      // the directory's own attributes are there
	there    there     // what is left out, because it is there
	linked   []child   // of these, what has several names
	moved    []movedFile
	gone     []string // names that the destination may have and the directory does not
	littered bool     // what is unknown of a name may be what a session that never ended left: see litter
	tally    tally
}

type failure struct {
	path string
	err  error
}

// A scratch is memory that is used for one directory after the other. The zero value is ready.
type scratch struct {
	entries []scan.Entry
	records []catalogue.Record
}

// maxScratch is how many entries of a large directory are kept for the next one.
const maxScratch = 8192

// keep takes back what was used for a directory.
func (s *scratch) keep(entries []scan.Entry, records []catalogue.Record) {
	if cap(entries) <= maxScratch {
		s.entries = entries[:0]
	}
	if cap(records) <= maxScratch {
		s.records = records[:0]
	}
}

// list reads one directory. It runs beside the engine's goroutine and touches nothing that is shared.
func (e *Engine) list(ctx context.Context, job *listJob, s *scratch) *listing {
	p := job.path
	l := &listing{dir: &dir{entry: flist.Entry{Path: p}}, only: job.only, since: time.Now()}
	if job.alone {
		if job.parent, l.err = e.resolve(p); l.err != nil {
			return e.unlisted(l, p, l.err)
		}
	}
	l.dir.parent = job.parent
	l.lead, l.dir.bare = e.leads(p), e.bare(p)
	l.dir.counted = job.count || !job.alone && job.parent != nil && job.parent.counted
	l.dir.check = job.check || !job.alone && job.parent != nil && job.parent.check
	if l.dir.recent = job.recent; !job.alone && job.parent != nil {
		l.dir.recent = job.parent.recent
	}
	l.dir.scope, l.err = e.enter(p, job.parent)
	if l.err != nil {
		// Without its own rules nothing in it can be chosen rightly: neither sent nor deleted.
		if self, err := e.lookUp(p); err == nil {
			l.dir.entry, l.dir.version = EntryOf(p, &self), versionOf(&self.Stat)
		}
		return l
	}
	got, err := e.cfg.Root.ListInto(ctx, p, e.listOptions(l.dir.scope), s.entries)
	if err != nil {
		return e.unlisted(l, p, err)
	}
	if e.only != nil {
		e.only.Sift(got)
	}
	l.err = got.Err
	l.dir.entry = EntryOf(p, &scan.Entry{Stat: got.Self, Attrs: got.Attrs})
	l.dir.version = versionOf(&got.Self)
	l.fail(got.Errors)
	m := e.remember(p, job.parent, s.records)
	s.keep(got.Entries, m.records)
	l.trusted = m.trusted
	all := !m.trusted || job.prune || l.dir.check
	l.same = !all && same(&m.self, l.dir.version)
	if all {
		l.children = make([]child, 0, len(got.Entries))
	}
	for i := range got.Entries {
		e.take(l, &got.Entries[i], m, all)
	}
	l.gone = m.rest()
	l.littered = m.littered
	if len(l.skipped) > 0 {
		l.lead = l.dir.bare // as with rsync, which notices too late what it does not send
	}
	l.dir.owed = l.lead
	return l
}

func (l *listing) fail(errs []*scan.PathError) {
	for _, bad := range errs {
		l.failed = append(l.failed, failure{bad.Path, bad})
	}
}

// unlisted says what is known of a directory that could not be opened.
func (e *Engine) unlisted(l *listing, p string, err error) *listing {
	if e.only != nil {
		nothing := &scan.Listing{Dir: p, Err: err}
		e.only.Sift(nothing)
		l.fail(nothing.Errors)
	}
	self, statErr := e.lookUp(p)
	switch {
	case statErr == nil && isDir(self.Stat.Mode):
		l.dir.entry, l.dir.version = EntryOf(p, &self), versionOf(&self.Stat)
		l.err = err
	case statErr == nil || errors.Is(statErr, fs.ErrNotExist):
		l.vanished = true // or no longer a directory: its path is looked at again
	default:
		l.err = statErr
	}
	return l
}

// enter returns the filter scope inside p.
func (e *Engine) enter(p string, parent *dir) (*filter.Scope, error) {
	switch {
	case parent == nil:
		return e.rootScope.Load(), nil
	case parent.scope == nil:
		return nil, nil
	default:
		return parent.scope.Enter(p)
	}
}

// childOf returns what is to be sent of an entry of the directory being listed; false if nothing is.
func (e *Engine) childOf(l *listing, s *scan.Entry) (child, bool) {
	p := queue.Join(l.dir.entry.Path, s.Name)
	c := child{
		entry: EntryOf(p, s), version: versionOf(&s.Stat), link: link{s.Stat.Dev, s.Stat.Ino}, nlink: s.Stat.Nlink,
	}
	if !e.session.Lists(c.entry.Mode) {
		l.skipped = append(l.skipped, p)
		return c, false
	}
	if err := flist.Validate(&c.entry, e.protocol); err != nil {
		l.failed = append(l.failed, failure{p, err})
		return c, false
	}
	return c, true
}

func (e *Engine) big(entry *flist.Entry) bool {
	return isRegular(entry.Mode) && entry.Size >= e.bigFile
}

// above returns the directories that lead to p, the root first.
func above(p string) []string {
	if p == "." {
		return nil
	}
	dirs := []string{"."}
	for i := range len(p) {
		if p[i] == '/' {
			dirs = append(dirs, p[:i])
		}
	}
	return dirs
}

// attrs says what is read of entries beyond their stat.
func (e *Engine) attrs() attr.Which {
	return attr.Which{Xattrs: e.session.Xattrs, ACLs: e.session.ACLs}
}

// lookUp returns the entry at p as a listing would have it.
func (e *Engine) lookUp(p string) (scan.Entry, error) {
	return e.cfg.Root.Lookup(p, scan.Options{Attrs: e.attrs()})
}

// EntryOf returns what the file list says of the entry found at p.
func EntryOf(p string, found *scan.Entry) flist.Entry {
	s := &found.Stat
	e := flist.Entry{
		Path: p, Mode: s.Mode, Mtime: s.Mtime, Nsec: s.MtimeNsec, Atime: found.Atime,
		UID: s.UID, GID: s.GID,
		Target: found.Target, Attrs: found.Attrs,
	}
	switch s.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFLNK:
		e.Size = s.Size
	case unix.S_IFCHR, unix.S_IFBLK:
		e.Major, e.Minor = s.Major, s.Minor
	}
	return e
}

func isDir(mode uint32) bool     { return mode&unix.S_IFMT == unix.S_IFDIR }
func isRegular(mode uint32) bool { return mode&unix.S_IFMT == unix.S_IFREG }
