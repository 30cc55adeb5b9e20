package embedded

import (
	"fmt"
	"io/fs"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"golang.org/x/sys/unix"
)

// visitDir makes a directory and deletes what is not listed in it. Its attributes are set at the end, when nothing
// changes in it any more.
func (s *send) visitDir(i int, e *flist.Entry, at place) {
	if e.Dir == flist.Implied {
		s.done(i) // as a server without --relative: left alone, and not created
		return
	}
	if !s.wanted(e, at) {
		s.notes[e.Path] = note{skipped: true}
		if at.st != nil {
			s.notes[e.Path] = note{err: fmt.Errorf("%q: %w", e.Path, unix.ENOTDIR)}
		}
		s.skip(i, "")
		return
	}
	fresh := at.st == nil || !isDir(at.st.Mode)
	if at.st != nil && fresh && !s.o.DryRun {
		switch err := unlink(at.dir, at.name, false); err {
		case nil, unix.ENOENT, unix.EISDIR: // the latter two by another Send that was quicker
		default:
			s.failDir(i, e, fmt.Errorf("could not make way for new directory %q: %w", e.Path, err))
			return
		}
	}
	switch {
	case fresh && s.o.DryRun:
		s.notes[e.Path] = note{missing: true}
		s.item(i, rsync.ItemNew|rsync.ItemLocal)
		s.done(i)
		return
	case fresh:
		made, err := s.makeDir(e, &at)
		if err != nil {
			s.failDir(i, e, err)
			return
		}
		fresh = made
	case e.Path == "." && s.newRoot:
		fresh = true
	}
	s.enterDir(i, e, at, fresh)
}

// makeDir creates a directory and looks at it. It reports false when another Send was quicker.
func (s *send) makeDir(e *flist.Entry, at *place) (bool, error) {
	mode := s.attrs.mode(e, nil) & 0o777
	if !s.d.root {
		mode |= 0o700 // to work in it
	}
	err := eintr(func() error { return unix.Mkdirat(at.dir, at.name, mode) })
	if err != nil && err != unix.EEXIST {
		return false, fmt.Errorf("mkdir %q: %w", e.Path, err)
	}
	st, lerr := lstat(at.dir, at.name)
	switch {
	case lerr != nil:
		return false, fmt.Errorf("stat %q: %w", e.Path, lerr)
	case st == nil || !isDir(st.Mode):
		return false, fmt.Errorf("mkdir %q: %w", e.Path, fs.ErrExist)
	}
	at.st = st
	return err == nil, nil
}

func (s *send) enterDir(i int, e *flist.Entry, at place, fresh bool) {
	before := at.st.Mode & permBits
	if !s.o.DryRun {
		var err error
		if before, err = s.d.enter(at.dir, at.name, e.Path, at.st); err != nil {
			s.failDir(i, e, err)
			return
		}
	}
	st := *at.st
	st.Mode = st.Mode&^permBits | before
	if fresh {
		s.item(i, rsync.ItemNew|rsync.ItemLocal)
	} else if f := s.attrs.differ(e, at, &st, 0); f != 0 {
		s.item(i, f)
	}
	v := visitedDir{i: i, before: before, fresh: fresh}
	s.visited = append(s.visited, v)
	if !s.o.DryRun {
		if err := s.openDir(at, v); err != nil {
			s.fail(i, err) // what is below it may succeed all the same
		}
	}
	if s.o.Delete && e.Dir == flist.Content && !fresh {
		s.prune(e.Path)
	}
}

// openDir gives a directory its owner and mode before anything is made in it: setgid is inherited. Its time comes last.
func (s *send) openDir(at place, v visitedDir) error {
	t := target{dir: at.dir, name: at.name, mode: s.dirMode(&s.entries[v.i], v), time: timeLater}
	if !s.d.root {
		t.mode |= 0o700
	}
	return s.attrs.apply(t, v.i)
}

func (s *send) dirMode(e *flist.Entry, v visitedDir) uint32 {
	if v.fresh && !s.attrs.perms {
		return s.attrs.mode(e, nil) | v.before&unix.S_ISGID // inherited, and to be passed on
	}
	return s.attrs.mode(e, &unix.Stat_t{Mode: v.before})
}

// finishDirs gives the directories their attributes, the deepest first: what happens in a directory moves its time.
// It also runs when the Send has failed, so that nothing stays more open than it was.
func (s *send) finishDirs() {
	for k := len(s.visited) - 1; k >= 0; k-- {
		v := s.visited[k]
		if s.o.DryRun {
			s.done(v.i)
			continue
		}
		e := &s.entries[v.i]
		s.d.leave(e.Path, func(add uint32) {
			if err := s.finishDir(e, v, add); err != nil {
				s.fail(v.i, err)
			} else if s.fatal == nil {
				s.done(v.i)
			}
		})
	}
}

func (s *send) finishDir(e *flist.Entry, v visitedDir, add uint32) error {
	fd, name, err := s.dirs.parent(e.Path)
	if err != nil {
		return fmt.Errorf("open %q: %w", e.Path, err)
	}
	if e.Path == "." {
		name = "."
		s.d.rootTime.Lock()
		defer s.d.rootTime.Unlock()
	}
	return s.attrs.apply(target{dir: fd, name: name, mode: s.dirMode(e, v) | add, time: timeExact}, v.i)
}

// visitOther makes a symlink, device, fifo or socket equal to the entry.
func (s *send) visitOther(i int, e *flist.Entry, at place) {
	if !s.supported(e) {
		s.skip(i, fmt.Sprintf("skipping non-regular file %q", e.Path))
		return
	}
	if !s.wanted(e, at) {
		s.skip(i, "")
		return
	}
	if g := s.group(e); g != nil {
		if g.leader >= 0 {
			s.follow(i, e, at, g)
			return
		}
		was := at
		defer func() { s.lead(i, was, g) }()
	}
	same, err := s.sameNode(e, at)
	if err != nil {
		s.fail(i, err)
		return
	}
	var f rsync.ItemFlags
	switch {
	case same:
		f = s.attrs.differ(e, at, at.st, 0)
	case at.old(e) != nil:
		f = s.attrs.differ(e, at, at.st, rsync.ItemLocal|rsync.ItemContent)
	default:
		f = rsync.ItemNew | rsync.ItemLocal
	}
	mode := s.attrs.mode(e, at.old(e))
	if !same {
		if err := s.makeWay(e, &at); err != nil {
			s.fail(i, err)
			return
		}
	}
	if err := s.makeNode(i, at, mode, same); err != nil {
		s.fail(i, err)
		return
	}
	if f != 0 {
		s.item(i, f)
	}
	s.done(i)
}

// supported says which kinds are made here: as rsync, devices only by a privileged process.
func (s *send) supported(e *flist.Entry) bool {
	switch {
	case isSymlink(e.Mode):
		return s.o.Links
	case isDevice(e.Mode):
		return s.o.Devices && s.d.root
	}
	return isSpecial(e.Mode) && s.o.Specials
}

// sameNode reports whether what is there needs no more than other attributes.
func (s *send) sameNode(e *flist.Entry, at place) (bool, error) {
	if at.st == nil || at.st.Mode&unix.S_IFMT != e.Mode&unix.S_IFMT {
		return false, nil
	}
	switch {
	case isDevice(e.Mode):
		return uint64(at.st.Rdev) == unix.Mkdev(e.Major, e.Minor), nil
	case isSymlink(e.Mode):
		have, err := readlink(at.dir, at.name, len(e.Target))
		if err != nil {
			return false, fmt.Errorf("readlink %q: %w", e.Path, err)
		}
		return have == e.Target, nil
	}
	return true, nil
}

// readlink returns the target of a symlink, or as much of it as is needed to tell it from one of n bytes.
func readlink(dir int, name string, n int) (string, error) {
	buf := make([]byte, n+1)
	err := eintr(func() (err error) {
		n, err = unix.Readlinkat(dir, name, buf)
		return err
	})
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// makeNode creates the entry at its place, or, when it is there already, corrects its attributes.
func (s *send) makeNode(i int, at place, mode uint32, same bool) error {
	if s.o.DryRun {
		return nil
	}
	e := &s.entries[i]
	if same {
		return s.attrs.apply(target{dir: at.dir, name: at.name, mode: s.attrs.mode(e, at.st)}, i)
	}
	t := target{dir: at.dir, mode: mode, time: timeExact}
	return s.replace(e.Path, at, func(tmp string) error {
		if err := mknode(e, at.dir, tmp); err != nil {
			return fmt.Errorf("create %q: %w", e.Path, err)
		}
		t.name = tmp
		return s.attrs.apply(t, i)
	})
}

func mknode(e *flist.Entry, dir int, name string) error {
	return eintr(func() error {
		if isSymlink(e.Mode) {
			return unix.Symlinkat(e.Target, dir, name)
		}
		dev := 0
		if isDevice(e.Mode) {
			dev = int(unix.Mkdev(e.Major, e.Minor))
		}
		return unix.Mknodat(dir, name, e.Mode&unix.S_IFMT|0o600, dev)
	})
}

// makeWay removes a directory that stands where something else is to be. Anything else is replaced by renaming over it.
func (s *send) makeWay(e *flist.Entry, at *place) error {
	if at.st == nil || !isDir(at.st.Mode) {
		return nil
	}
	out, err := s.remove(*at, e.Path, s.o.Delete || s.o.Force, false)
	if err != nil {
		return err
	}
	if out != removeGone {
		return fmt.Errorf("could not make way for %q: %w", e.Path, unix.ENOTEMPTY)
	}
	at.st = nil
	return nil
}
