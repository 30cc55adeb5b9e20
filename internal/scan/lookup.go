package scan

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/attr"
)

// Lookup is Stat with what Options.Attrs asks for: the entry at path as a listing of its directory would have it. Its
// Name is that in its directory, "." for the root. Of o only Attrs and OneFileSystem count.
func (r *Root) Lookup(path string, o Options) (Entry, error) {
	dir, name, err := r.openParent(path)
	if err != nil {
		return Entry{}, &PathError{"stat", path, absent(err)}
	}
	defer unix.Close(dir)
	var e Entry
	var st unix.Stat_t
	name += "\x00"
	if err := e.read(dir, name[:len(name)-1], &st); err != nil {
		return Entry{}, &PathError{"stat", path, err}
	}
	e.MountPoint = o.OneFileSystem && e.Stat.Dev != r.id.Dev && e.Stat.IsDir()
	if o.Attrs.Any() {
		s := scratches.Get().(*scratch)
		defer s.release()
		if e.Attrs, err = s.read(dir, e.Name, e.Stat.Mode, o.Attrs); err != nil {
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
	if path, err = clean(strings.TrimRight(path, "/")); err != nil {
		return -1, "", err
	}
	up, name := ".", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		up, name = strings.TrimRight(path[:i], "/"), path[i+1:]
	}
	dir, err = r.open(up, unix.O_PATH|unix.O_DIRECTORY)
	return dir, name, err
}
