package scan

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Dir is an open directory, for those who need the directory itself: to watch it before it is listed, or to open many files
// in it. It is not for concurrent use.
type Dir struct {
	root *Root
	fd   int
	path string
}

// OpenDir opens the directory at path, with List's errors.
func (r *Root) OpenDir(path string) (*Dir, error) {
	fd, err := r.openDir(path)
	if err != nil {
		return nil, err
	}
	return &Dir{root: r, fd: fd, path: path}, nil
}

// Fd returns the directory's descriptor, valid until Close.
func (d *Dir) Fd() int { return d.fd }

// Close releases the directory.
func (d *Dir) Close() error { return unix.Close(d.fd) }

// OtherDevice reports whether the directory is on another file system than the root.
func (d *Dir) OtherDevice() (bool, error) {
	st, err := fstat(d.fd)
	if err != nil {
		return false, &PathError{"stat", d.path, err}
	}
	return st.Dev != d.root.id.Dev, nil
}

// Subdirs calls fn with the names of all child directories, some at a time, in no order. The slice is valid during the
// call; a name shares memory with its neighbours: clone it to keep it. A child of a type that cannot be found out
// counts as a directory. The error wraps fs.ErrNotExist when the directory has been removed.
func (d *Dir) Subdirs(skip func(dir, name string, isDir bool) bool, fn func(names []string)) error {
	s := scratches.Get().(*scratch)
	defer s.release()
	var names []string
	for {
		refs, n, err := readNames(d.fd, s.buf[:], d.path, skip, s.refs[:0])
		s.refs = refs
		names = names[:0]
		for i := range refs {
			if d.isSubdir(&refs[i], skip) {
				names = append(names, refs[i].name)
			}
		}
		if len(names) > 0 {
			fn(names)
		}
		if err != nil {
			return &PathError{"list", d.path, err}
		}
		if n == 0 {
			return nil
		}
	}
}

func (d *Dir) isSubdir(ref *ref, skip skipFunc) bool {
	if ref.typ != unix.DT_UNKNOWN {
		return ref.typ == unix.DT_DIR
	}
	var st unix.Stat_t
	if err := lstatat(d.fd, ref.name, &st); err != nil {
		return err != unix.ENOENT
	}
	return st.Mode&unix.S_IFMT == unix.S_IFDIR && (skip == nil || !skip(d.path, ref.name, true))
}

// ErrNoLeases means that it cannot be found out whether a file is being written: the file is not ours and we have no
// CAP_LEASE, or its file system has no leases.
var ErrNoLeases = errors.New("no lease can be had on the file")

// Written reports whether somebody has the file open for writing, a shared mapping included. The kernel grants a read
// lease only if nobody has, so one is taken and given back at once. The error wraps ErrNoLeases when that tells
// nothing.
func (f *File) Written() (bool, error) {
	_, err := unix.FcntlInt(uintptr(f.fd), unix.F_SETLEASE, unix.F_RDLCK)
	switch {
	case err == nil:
		_, err = unix.FcntlInt(uintptr(f.fd), unix.F_SETLEASE, unix.F_UNLCK)
		if err != nil {
			return false, &PathError{"lease", f.path, err}
		}
		return false, nil
	case errors.Is(err, unix.EAGAIN):
		return true, nil
	}
	return false, &PathError{"lease", f.path, errors.Join(ErrNoLeases, err)}
}
