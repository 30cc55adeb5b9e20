package filesfrom

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/scan"
)

// ErrSymlink is the reason why a name of the list is not there for us: it leads through a symlink, or asks for what is
// in the directory behind one.
var ErrSymlink = errors.New("it leads through a symlink, and none is followed")

// Sift leaves of a listing that was made as Choose has it what is asked for. Its Errors become those of names of the
// list, each by its own: one of nothing that is there is an error, and so is each below a directory that could not be
// listed at all.
func (s *Selection) Sift(l *scan.Listing) {
	p := s.at(l.Dir)
	if p.node == nil || len(p.below) == 0 {
		return
	}
	x := sifter{Selection: s, place: p, l: l, failed: map[string]bool{}, unasked: map[string]bool{}}
	errs := l.Errors
	l.Errors = nil
	for _, e := range errs {
		name := e.Path[strings.LastIndexByte(e.Path, '/')+1:]
		x.failed[name] = true
		n := p.below[name]
		x.fail(e.Path, n, p.all || n.named(), e.Op, e.Err)
	}
	for _, name := range slices.Sorted(maps.Keys(p.below)) {
		if !x.failed[name] {
			x.look(name, p.below[name])
		}
	}
	if len(x.unasked) > 0 {
		l.Entries = slices.DeleteFunc(l.Entries, func(e scan.Entry) bool { return x.unasked[e.Name] })
	}
	slices.SortStableFunc(l.Errors, func(a, b *scan.PathError) int { return strings.Compare(a.Path, b.Path) })
}

// A sifter is at work on one listing.
type sifter struct {
	*Selection
	place
	l       *scan.Listing
	failed  map[string]bool // by name, what could not be read
	unasked map[string]bool
}

// look decides about an entry of which the list has something to say.
func (x *sifter) look(name string, n *node) {
	path := scan.Join(x.l.Dir, name)
	i, found := slices.BinarySearchFunc(x.l.Entries, name, func(e scan.Entry, name string) int {
		return strings.Compare(e.Name, name)
	})
	if !found {
		op, err := reason(x.l)
		x.fail(path, n, x.all || n.named(), op, err)
		return
	}
	e := &x.l.Entries[i]
	isDir, symlink := e.Stat.IsDir(), e.Stat.Mode&unix.S_IFMT == unix.S_IFLNK
	excluded := x.excluded(path, isDir)
	asked := x.all || n.self || n.in && !symlink
	x.unasked[name] = excluded || !asked
	switch {
	case isDir && !e.MountPoint:
		x.unasked[name] = x.unasked[name] && len(n.below) == 0
	case isDir: // and to be entered, or it would not matter
		x.fail(path, n, n.named() && !excluded, "list", scan.ErrOtherDevice)
	case symlink:
		x.fail(path, n, n.in && !excluded, "open", ErrSymlink)
	default:
		x.fail(path, n, false, "open", scan.ErrNotDir)
	}
}

// reason is why a name is not in the listing.
func reason(l *scan.Listing) (op string, err error) {
	var at *scan.PathError
	if l.Err == nil || errors.Is(l.Err, scan.ErrIncomplete) || !errors.As(l.Err, &at) {
		return "stat", unix.ENOENT
	}
	return at.Op, at.Err
}

// fail notes an error of a path, if it counts itself, and of the names of the list below it.
func (x *sifter) fail(path string, n *node, itself bool, op string, err error) {
	if itself {
		x.l.Errors = append(x.l.Errors, &scan.PathError{Op: op, Path: path, Err: err})
	}
	if n == nil {
		return
	}
	for name, below := range n.below {
		x.fail(scan.Join(path, name), below, below.named(), op, err)
	}
}
