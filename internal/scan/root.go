package scan

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Root is an open directory tree. It is safe for concurrent use; only Close must come last.
type Root struct {
	path    string // absolute where possible: Same must not depend on the working directory
	fd      int
	id      ID
	openat2 bool        // the kernel resolves paths beneath fd for us
	atime   atomic.Bool // this process may not read without updating access times
}

// ID tells one root from another, also when a mount has come or gone. It is comparable.
type ID struct {
	Dev, Ino uint64
	FSID     uint64 // f_fsid of statfs
}

// OpenRoot opens the directory at path, which may be a symlink to it. Errors wrap ErrNotDir, fs.ErrNotExist or
// fs.ErrPermission where that is the reason.
func OpenRoot(path string) (*Root, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		abs = path
	}
	fd, err := openat(unix.AT_FDCWD, abs, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if err != nil {
		if errors.Is(err, unix.ENOTDIR) && isFile(abs) {
			err = ErrNotDir
		}
		return nil, &PathError{"open", path, err}
	}
	id, err := idOf(fd)
	if err != nil {
		unix.Close(fd)
		return nil, &PathError{"stat", path, err}
	}
	r := &Root{path: abs, fd: fd, id: id}
	r.probe()
	return r, nil
}

// isFile tells SRC itself not being a directory from a file in the middle of its path.
func isFile(path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil
}

// probe finds out what kernel (5.6 for openat2), sandbox and privileges allow.
func (r *Root) probe() {
	if fd, err := openat2(r.fd, ".", unix.O_PATH|unix.O_CLOEXEC); err == nil {
		unix.Close(fd)
		r.openat2 = true
	}
}

// Close releases the root's descriptor. Files that were opened stay open.
func (r *Root) Close() error { return unix.Close(r.fd) }

// ID returns the identity of the directory that was opened.
func (r *Root) ID() ID { return r.id }

// Same returns nil when the path given to OpenRoot still leads to the directory that was opened, and otherwise an
// error that wraps ErrRootChanged or says why it cannot be known. Until it returns nil, what is missing from the tree
// must not be taken for deleted.
func (r *Root) Same() error {
	fd, err := openat(unix.AT_FDCWD, r.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return &PathError{"open", r.path, fmt.Errorf("%w: %w", ErrRootChanged, err)}
	}
	if err != nil {
		return &PathError{"open", r.path, err}
	}
	defer unix.Close(fd)
	id, err := idOf(fd)
	if err != nil {
		return &PathError{"stat", r.path, err}
	}
	if id != r.id {
		return &PathError{"open", r.path, ErrRootChanged}
	}
	return nil
}

func idOf(fd int) (ID, error) {
	st, err := fstat(fd)
	if err != nil {
		return ID{}, err
	}
	var fs unix.Statfs_t
	if err := ignoringEINTR(func() error { return unix.Fstatfs(fd, &fs) }); err != nil {
		return ID{}, err
	}
	fsid := uint64(uint32(fs.Fsid.Val[0])) | uint64(uint32(fs.Fsid.Val[1]))<<32
	return ID{Dev: st.Dev, Ino: st.Ino, FSID: fsid}, nil
}

// Stat returns the entry at path, and its target when it is a symlink: both are of the same inode. A path that leads
// through something other than directories does not exist: fs.ErrNotExist.
func (r *Root) Stat(path string) (Stat, string, error) {
	fd, err := r.open(path, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return Stat{}, "", &PathError{"stat", path, absent(err)}
	}
	defer unix.Close(fd)
	st, err := fstat(fd)
	if err != nil {
		return Stat{}, "", &PathError{"stat", path, err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return st, "", nil
	}
	target, err := readlink(fd, "")
	if err != nil {
		return Stat{}, "", &PathError{"readlink", path, err}
	}
	return st, target, nil
}

// absent turns the errors of a path that leads through a file or a symlink into the one that says what it means.
func absent(err error) error {
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return unix.ENOENT
	}
	return err
}

// mismatch says why the entry at path could not be opened as the kind that was wanted: gone, or now something else.
func (r *Root) mismatch(path string, err, other error) error {
	if !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) &&
		!errors.Is(err, unix.ENXIO) && !errors.Is(err, unix.ENODEV) {
		return err
	}
	if _, _, err := r.Stat(path); err != nil {
		return errors.Unwrap(err)
	}
	return other
}
