package embedded

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/wire"
	"golang.org/x/sys/unix"
)

// removal is what became of something that was to be deleted.
type removal uint8

const (
	removeGone      removal = iota
	removeProtected         // by a filter rule
	removeKept              // a directory with something in it that stays
	removeLimit             // --max-delete
)

// deletions counts what a Send deletes. As with rsync an obstacle itself is no deletion, what is in it is.
type deletions struct {
	limit   int // negative: none
	done    int
	skipped int
	stats   rsync.DeleteStats
}

func (d *deletions) add(mode uint32) {
	d.done++
	switch {
	case isDir(mode):
		d.stats.Dirs++
	case isSymlink(mode):
		d.stats.Symlinks++
	case isDevice(mode):
		d.stats.Devices++
	case isSpecial(mode):
		d.stats.Specials++
	default:
		d.stats.Files++
	}
}

// victim is something to be deleted.
type victim struct {
	dir  int
	name string
	path string // in the destination
	mode uint32
	keep keeper // in the directory that holds it
}

// prune deletes what stands in a directory and not in the batch.
func (s *send) prune(dir string) {
	fd, err := s.dirs.open(dir)
	if err != nil {
		s.deleteError(fmt.Errorf("open %q: %w", dir, err))
		return
	}
	extra, err := s.contents(fd, ".", dir, true)
	if err != nil {
		s.deleteError(err)
		return
	}
	if len(extra) == 0 {
		return
	}
	keep, err := s.guard.in(dir)
	if err != nil {
		s.deleteError(err) // nothing is deleted by rules that are not all known
		return
	}
	for _, v := range extra {
		if s.ended() {
			return
		}
		if keep.protects(v.path, isDir(v.mode), false) {
			continue
		}
		v.dir, v.keep = fd, keep
		if _, err := s.removeVictim(v, true, true); err != nil {
			s.deleteError(err)
		}
	}
}

func (s *send) deleteError(err error) {
	s.rep.DeleteErrors = append(s.rep.DeleteErrors, err.Error())
	if s.fatal == nil {
		s.fatal = s.d.fatal(err)
	}
}

// contents lists the directory name in dir, whose path is given, in the order in which rsync deletes. With extraOnly
// it leaves out what the batch holds. What vanishes meanwhile is left out.
func (s *send) contents(dir int, name, path string, extraOnly bool) ([]victim, error) {
	fd, err := openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open directory %q: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("read directory %q: %w", path, err)
	}
	var list []victim
	for _, name := range names {
		p := join(path, name)
		if _, ok := s.listed[p]; ok && extraOnly || s.d.isStage(p) {
			continue
		}
		st, err := lstat(fd, name)
		if err != nil {
			return nil, fmt.Errorf("stat %q: %w", p, err)
		}
		if st != nil {
			list = append(list, victim{name: name, path: p, mode: st.Mode})
		}
	}
	slices.SortFunc(list, func(a, b victim) int { // directories first, names from the last to the first
		if isDir(a.mode) != isDir(b.mode) {
			if isDir(a.mode) {
				return -1
			}
			return 1
		}
		if isDir(a.mode) {
			return compareDirs(b.name, a.name)
		}
		return cmp.Compare(b.name, a.name)
	})
	return list, nil
}

// compareDirs compares as if the names ended in a slash.
func compareDirs(a, b string) int {
	n := min(len(a), len(b))
	if c := cmp.Compare(a[:n], b[:n]); c != 0 {
		return c
	}
	return strings.Compare(a[n:]+"/", b[n:]+"/")
}

// remove deletes what stands at an entry's place: with what is in it if recurse says so. count is false for an
// obstacle, which is neither counted nor reported itself.
func (s *send) remove(at place, path string, recurse, count bool) (removal, error) {
	dir, _ := split(path)
	keep, err := s.guard.in(dir)
	if err != nil {
		return removeKept, err
	}
	if count && keep.protects(path, isDir(at.st.Mode), false) {
		return removeProtected, nil
	}
	v := victim{dir: at.dir, name: at.name, path: path, mode: at.st.Mode, keep: keep}
	return s.removeVictim(v, recurse, count)
}

func (s *send) removeVictim(v victim, recurse, count bool) (removal, error) {
	if isDir(v.mode) {
		s.dirs.forget(v.path)
		s.others.forget(v.path)
		if out, err := s.empty(v, recurse); err != nil || out != removeGone {
			return out, err
		}
	}
	if count {
		if s.deleted.limit >= 0 && s.deleted.done >= s.deleted.limit {
			s.deleted.skipped++
			return removeLimit, nil
		}
	}
	if !s.o.DryRun {
		switch err := unlink(v.dir, v.name, isDir(v.mode)); err {
		case nil, unix.ENOENT:
		case unix.ENOTEMPTY, unix.EEXIST:
			return s.kept(v), nil
		default:
			return removeKept, fmt.Errorf("delete %q: %w", v.path, err)
		}
	}
	if count {
		s.deleted.add(v.mode)
		s.ev.Deleted(v.path, isDir(v.mode))
	}
	return removeGone, nil
}

func (s *send) kept(v victim) removal {
	text := "cannot delete non-empty directory: " + v.path
	s.rep.DeleteErrors = append(s.rep.DeleteErrors, text)
	s.ev.Message(wire.Info, text)
	return removeKept
}

// empty deletes what is in a directory that is itself to be deleted. Without recurse it only looks, and that only
// where the attempt to delete the directory would not tell.
func (s *send) empty(v victim, recurse bool) (removal, error) {
	if !recurse && !s.o.DryRun {
		return removeGone, nil
	}
	if recurse && !s.d.root && !s.o.DryRun {
		s.unlock(v)
	}
	list, err := s.contents(v.dir, v.name, v.path, false)
	if err != nil || len(list) == 0 {
		return removeGone, err
	}
	if !recurse {
		return s.kept(v), nil
	}
	keep, err := v.keep.enter(v.path)
	if err != nil {
		return removeKept, err
	}
	fd, err := openat(v.dir, v.name, dirFlags, 0)
	if err != nil {
		return removeKept, fmt.Errorf("open directory %q: %w", v.path, err)
	}
	defer unix.Close(fd)
	left, first := removeGone, error(nil)
	for _, c := range list {
		if s.ended() {
			return removeKept, s.fatal
		}
		out := removeProtected
		if !keep.protects(c.path, isDir(c.mode), true) {
			c.dir, c.keep = fd, keep
			if out, err = s.removeVictim(c, true, true); err != nil && first == nil {
				first = err
			}
		}
		left = max(left, out)
	}
	if left != removeGone && first == nil {
		left = max(left, s.kept(v))
	}
	return left, first
}

// unlock gives an unprivileged owner the rights to empty a directory of his own. That they may be missing shows later.
func (s *send) unlock(v victim) {
	st, err := lstat(v.dir, v.name)
	if err == nil && st != nil && st.Mode&0o700 != 0o700 && st.Uid == uint32(os.Geteuid()) {
		_ = chmod(v.dir, v.name, st.Mode&permBits|0o700)
	}
}
