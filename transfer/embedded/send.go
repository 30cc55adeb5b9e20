package embedded

import (
	"context"
	"errors"
	"fmt"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsync/wire"
	"golang.org/x/sys/unix"
)

// sortProtocol is the protocol whose order the entries are worked on in: files of a directory before its
// subdirectories, each followed by its content, as a current rsync does.
const sortProtocol = 32

// Send makes the destination equal to the batch, with the contract of a session with a server: see
// [rsync.Session.Send]. Sends of disjoint batches may run at the same time, with parents in common.
//
// A file that fails does not stop the others. A full or read-only file system ends the Send with an [rsync.Error];
// what it did not come to stays Pending, and the directories touched so far have their times and modes. The same holds
// when ctx ends: no file is left half under its final name, no temporary file at all.
func (d *Dest) Send(ctx context.Context, b *rsync.Batch, o rsync.Options) (*rsync.Report, error) {
	sent := *b
	sent.Entries = o.Sent(b.Entries)
	b = &sent
	rep := &rsync.Report{Results: make([]rsync.Result, len(b.Entries))}
	if err := checkOptions(b, o); err != nil {
		return rep, err
	}
	exists, err := d.ensure(o)
	if err != nil {
		return rep, err
	}
	s := &send{
		d: d, ctx: ctx, b: b, o: o, rep: rep, ev: b.Events,
		entries: b.Entries, attrs: d.attributes(o, b),
		notes: make(map[string]note), links: make(map[int32]*linkGroup),
		deleted: &deletions{limit: o.MaxDelete},
	}
	if s.ev == nil {
		s.ev = silent{}
	}
	defer s.close()
	if exists {
		s.dirs.root, s.others.root = d.fd, d.fd
		s.newRoot = d.takeNew()
	} else {
		s.notes["."] = note{missing: true}
	}
	if o.Delete {
		if s.guard, err = newGuard(b.Filter, d.path, &s.others); err != nil {
			return rep, refused("--filter", err)
		}
	}
	s.run()
	s.sumUp()
	return rep, s.fatal
}

// checkOptions refuses a batch that does not go with its options.
func checkOptions(b *rsync.Batch, o rsync.Options) error {
	for i := range b.Entries {
		if e := &b.Entries[i]; e.Mode == 0 && !o.DeleteMissing {
			return refused("--delete-missing-args", fmt.Errorf("invalid file mode 00 for %q", e.Path))
		}
	}
	return nil
}

func refused(option string, err error) error {
	return &rsync.Error{Kind: rsync.KindRefused, Op: option, Server: "local directory", Err: err}
}

// send is one Send under way. It is worked on by one goroutine.
type send struct {
	d       *Dest
	ctx     context.Context
	b       *rsync.Batch
	o       rsync.Options
	rep     *rsync.Report
	ev      rsync.Events
	entries []flist.Entry
	attrs   attributes
	newRoot bool

	dirs   dirs // where the entry at work is
	others dirs // the other end of a hard link; merge files

	notes   map[string]note
	visited []visitedDir
	files   []pendingFile
	grown   []pendingFile // that turned out to be too large for memory
	links   map[int32]*linkGroup
	toLink  []linkTo
	listed  map[string]struct{} // paths of the batch, for deletions
	guard   *guard
	deleted *deletions
	asked   int    // files asked for so far, in all sessions
	buf     []byte // for copies
	fatal   error  // ends the Send
}

// note is what those below a directory need to know about it when it is not simply there.
type note struct {
	missing bool  // it is not there (dry run): neither is anything below it
	skipped bool  // not to be created: nothing below it is
	err     error // it could not be made: nothing below it can
}

type visitedDir struct {
	i      int
	before uint32 // permission bits
	fresh  bool
}

// place is where an entry belongs.
type place struct {
	dir  int // -1 when st is nil and that is final: the directory is missing (dry run)
	name string
	st   *unix.Stat_t // what is there, nil: nothing
}

// old returns what is there if it is of the entry's kind: it counts as changed then, not as new. As with rsync all
// devices are of one kind, and fifos and sockets of another.
func (at place) old(e *flist.Entry) *unix.Stat_t {
	if at.st == nil {
		return nil
	}
	a, b := at.st.Mode, e.Mode
	if a&unix.S_IFMT == b&unix.S_IFMT || isDevice(a) && isDevice(b) || isSpecial(a) && isSpecial(b) {
		return at.st
	}
	return nil
}

func (s *send) run() {
	order := flist.Order(s.entries, sortProtocol)
	if s.o.HardLinks {
		s.findLinks(order)
	}
	if s.o.Delete {
		s.listed = make(map[string]struct{}, len(s.entries))
		for i := range s.entries {
			s.listed[s.entries[i].Path] = struct{}{}
		}
	}
	for _, i := range order {
		if s.ended() {
			break
		}
		s.visit(int(i))
	}
	s.transfer()
	s.makeLinks()
	s.finishDirs()
}

func (s *send) close() {
	s.dirs.close()
	s.others.close()
}

// ended reports whether the Send is to stop, because of an error or of its context.
func (s *send) ended() bool {
	if s.fatal == nil && s.ctx.Err() != nil {
		s.fatal = context.Cause(s.ctx)
	}
	return s.fatal != nil
}

// visit does all that can be done for one entry before data is transferred.
func (s *send) visit(i int) {
	e := &s.entries[i]
	if err := checkPath(e.Path); err != nil {
		s.fail(i, err)
		return
	}
	at, ok := s.locate(i, e)
	if !ok {
		return
	}
	switch {
	case e.Mode == 0:
		s.visitMissing(i, e, at)
	case isDir(e.Mode):
		s.visitDir(i, e, at)
	case isRegular(e.Mode):
		s.visitRegular(i, e, at)
	default:
		s.visitOther(i, e, at)
	}
}

// locate finds the entry's place. When there is none it settles the entry and returns false.
func (s *send) locate(i int, e *flist.Entry) (place, bool) {
	dir, name := split(e.Path)
	if e.Path == "." {
		name = "."
	}
	switch n := s.notes[dir]; {
	case n.err != nil:
		s.failDir(i, e, fmt.Errorf("%q not transferred: %w", e.Path, n.err))
		return place{}, false
	case n.skipped:
		s.skipDir(i, e)
		return place{}, false
	case n.missing:
		return place{dir: -1, name: name}, true
	}
	fd, err := s.dirs.open(dir)
	if err == nil {
		var st *unix.Stat_t
		if st, err = lstat(fd, name); err == nil {
			return place{dir: fd, name: name, st: st}, true
		}
	}
	switch {
	case !absent(err):
		s.failDir(i, e, fmt.Errorf("stat %q: %w", e.Path, err))
	case e.Mode == 0:
		s.done(i)
	case s.o.Existing:
		s.skipDir(i, e)
	case s.o.DryRun:
		return place{dir: -1, name: name}, true
	default:
		s.failDir(i, e, fmt.Errorf("create %q: %w", e.Path, err))
	}
	return place{}, false
}

// wanted applies --existing and --ignore-existing. A directory that is there is always wanted.
func (s *send) wanted(e *flist.Entry, at place) bool {
	if at.st == nil {
		return !s.o.Existing
	}
	return !s.o.IgnoreExisting || isDir(e.Mode) && isDir(at.st.Mode)
}

func (s *send) visitMissing(i int, e *flist.Entry, at place) {
	if at.st == nil {
		s.done(i)
		return
	}
	recurse := s.o.Force || s.o.Delete
	switch out, err := s.remove(at, e.Path, recurse, true); {
	case err != nil:
		s.fail(i, err)
	case out == removeKept:
		s.fail(i, fmt.Errorf("delete %q: %w", e.Path, unix.ENOTEMPTY))
	case out == removeLimit:
		s.rep.Results[i].State, s.rep.Results[i].Err = rsync.Skipped, errLimit
	default:
		s.done(i)
	}
}

// fail settles an entry with an error. What concerns the whole file system ends the Send.
func (s *send) fail(i int, err error) {
	s.rep.Results[i].State, s.rep.Results[i].Err = rsync.Failed, err
	if errors.Is(err, rsync.ErrChanged) {
		s.rep.Results[i].State = rsync.Changed
	}
	if s.fatal == nil {
		s.fatal = s.d.fatal(err)
	}
}

// fatal returns the error to end a Send with when err says something about the whole file system, else nil.
func (d *Dest) fatal(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return &rsync.Error{Kind: rsync.KindDiskFull, Op: "write", Server: d.path, Code: 11, Err: err,
			Hint: "make room (bytes, inodes or quota) at the destination"}
	case errors.Is(err, unix.EROFS):
		return &rsync.Error{Kind: rsync.KindReadOnly, Op: "write", Server: d.path, Code: 1, Err: err,
			Hint: "mount the destination's file system writable"}
	}
	return nil
}

func (s *send) failDir(i int, e *flist.Entry, err error) {
	if isDir(e.Mode) {
		s.notes[e.Path] = note{err: err}
	}
	s.fail(i, err)
}

func (s *send) skipDir(i int, e *flist.Entry) {
	if isDir(e.Mode) {
		s.notes[e.Path] = note{skipped: true}
	}
	s.skip(i, "")
}

// done settles an entry that is in place.
func (s *send) done(i int) {
	if r := &s.rep.Results[i]; r.State == rsync.Pending {
		r.State = rsync.Acked
	}
}

// skip settles an entry that is not taken. Where the options say so there are no words, and it is as with a server:
// silence, which counts as an acknowledgement only where none was asked for.
func (s *send) skip(i int, words string) {
	if words == "" {
		if !s.o.Acks || s.o.DryRun || isDir(s.entries[i].Mode) {
			s.done(i)
		}
		return
	}
	s.rep.Results[i].State, s.rep.Results[i].Err = rsync.Skipped, errors.New(words)
	s.ev.Message(wire.Info, words)
}

func (s *send) item(i int, f rsync.ItemFlags) {
	if !s.attrs.keepTime(s.entries[i].Mode) {
		f |= rsync.ItemTimeSet
	}
	s.rep.Results[i].Items = f
	s.ev.Item(i, f)
}

// silent is an rsync.Events that no one listens to.
type silent struct{}

func (silent) Item(int, rsync.ItemFlags) {}
func (silent) Sending(int)               {}
func (silent) Sent(int64)                {}
func (silent) Deleted(string, bool)      {}
func (silent) Message(wire.Tag, string)  {}
