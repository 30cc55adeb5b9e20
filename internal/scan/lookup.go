package scan

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/attr"
)

// Lookup is Stat with what Options.Attrs asks for: the entry at path as a listing of its directory would have it. Its
// Name is that in its directory, "." for the root. Of o only Attrs and OneFileSystem count.
func (r *Root) Lookup(path string, o Options) (Entry, error) {
	l := r.Lookups()
	defer l.Close()
	return l.Lookup(path, o)
}

// Lookups look up entries one after the other, and keep the directory of the last one open: its neighbours cost one call
// and not three. So they are for moments: what a directory's name leads to by now is not seen while it is kept. Not for
// concurrent use. They are to be closed.
type Lookups struct {
	root *Root
	up   string // the directory that is kept
	dir  int    // of it; -1: none
}

// Lookups returns new ones.
func (r *Root) Lookups() *Lookups { return &Lookups{root: r, dir: -1} }

// Close lets go of the directory. The Lookups may be used on.
func (l *Lookups) Close() {
	if l.dir >= 0 {
		unix.Close(l.dir)
		l.dir = -1
	}
}

// Lookup is [Root.Lookup].
func (l *Lookups) Lookup(path string, o Options) (Entry, error) {
	up, name, err := splitPath(path)
	if err == nil && (l.dir < 0 || l.up != up) {
		l.Close()
		l.up = up
		l.dir, err = l.root.open(up, unix.O_PATH|unix.O_DIRECTORY)
	}
	if err != nil {
		return Entry{}, &PathError{"stat", path, absent(err)}
	}
	var e Entry
	var st unix.Stat_t
	name += "\x00"
	if err := e.read(l.dir, name[:len(name)-1], &st); err != nil {
		return Entry{}, &PathError{"stat", path, err}
	}
	e.MountPoint = o.OneFileSystem && e.Stat.Dev != l.root.id.Dev && e.Stat.IsDir()
	if o.Attrs.Any() {
		s := scratches.Get().(*scratch)
		defer s.release()
		if e.Attrs, err = s.read(l.dir, e.Name, e.Stat.Mode, o.Attrs); err != nil {
			return Entry{}, &PathError{"read", path, err}
		}
	}
	return e, nil
}

// Xattr returns the value of one extended attribute of the entry at path now. The error wraps unix.ENODATA when it has
// none of that name.
func (r *Root) Xattr(path, name string) ([]byte, error) {
	dir, base, err := r.openParent(path)
	if err != nil {
		return nil, &PathError{"read attribute of", path, absent(err)}
	}
	defer unix.Close(dir)
	value, err := attr.Get(dir, base, name)
	if err != nil {
		return nil, &PathError{"read attribute of", path, err}
	}
	return value, nil
}

// openParent opens the directory that holds the entry at path, and returns the entry's name in it.
func (r *Root) openParent(path string) (dir int, name string, err error) {
	up, name, err := splitPath(path)
	if err != nil {
		return -1, "", err
	}
	dir, err = r.open(up, unix.O_PATH|unix.O_DIRECTORY)
	return dir, name, err
}

// splitPath returns the directory that holds the entry at path, and the entry's name in it.
func splitPath(path string) (up, name string, err error) {
	if path, err = clean(strings.TrimRight(path, "/")); err != nil {
		return "", "", err
	}
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return strings.TrimRight(path[:i], "/"), path[i+1:], nil
	}
	return ".", path, nil
}
