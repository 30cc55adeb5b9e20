package scan

import (
	"errors"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"
)

// bigFile is the size from which the kernel is told how a file will be read. Below it, the advice costs more than the
// read-ahead it brings.
const bigFile = 4 << 20 // bytes

// File is an open regular file. It is not for concurrent use.
type File struct {
	fd     int
	path   string
	opened Stat
}

// How files are opened.
const fileFlags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY

// Open opens the regular file at path for reading. It never follows a symlink, leaves the tree, or waits, for a fifo's
// writer or for anything else. Errors wrap ErrNotRegular, ErrBusy, fs.ErrNotExist or fs.ErrPermission where that is
// the reason.
func (r *Root) Open(path string) (*File, error) {
	fd, err := r.openForReading(path, fileFlags)
	return r.opened(fd, err, path)
}

// Open opens the regular file at path, which is a child of the directory, as Root.Open does, for less: what leads to the
// directory is not looked at again. If that has been renamed meanwhile, path leads elsewhere by now.
func (d *Dir) Open(path string) (*File, error) {
	up, name := Split(path)
	if up != d.path || name == "" || name == "." || name == ".." {
		return nil, &PathError{"open", path, fs.ErrInvalid}
	}
	fd, err := d.root.leavingAtime(func(more int) (int, error) {
		return openat(d.fd, name, fileFlags|unix.O_CLOEXEC|more)
	})
	return d.root.opened(fd, err, path)
}

// opened makes a File of what was opened at path, or says why it was not.
func (r *Root) opened(fd int, err error, path string) (*File, error) {
	if err != nil {
		if errors.Is(err, unix.EAGAIN) {
			return nil, &PathError{"open", path, ErrBusy}
		}
		return nil, &PathError{"open", path, r.mismatch(path, err, ErrNotRegular)}
	}
	st, err := fstat(fd)
	if err == nil && !st.IsRegular() {
		err = ErrNotRegular
	}
	if err != nil {
		unix.Close(fd)
		return nil, &PathError{"open", path, err}
	}
	if st.Size >= bigFile {
		// Advice only: a file system that does not take it reads as it always does. NOREUSE (effective from Linux 6.3)
		// keeps one pass over a big file from pushing the pages of the host's own service out of memory.
		_ = unix.Fadvise(fd, 0, 0, unix.FADV_SEQUENTIAL)
		_ = unix.Fadvise(fd, 0, 0, unix.FADV_NOREUSE)
	}
	return &File{fd: fd, path: path, opened: st}, nil
}

// Opened returns the state of the file when it was opened.
func (f *File) Opened() Stat { return f.opened }

// Read reads the next bytes, as io.Reader has it. Errors are of type *PathError.
func (f *File) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, err := unix.Read(f.fd, p)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, &PathError{"read", f.path, err}
		}
		if n == 0 {
			return 0, io.EOF
		}
		return n, nil
	}
}

// Stat returns the state of the open file now. Equal results before the first and after the last byte mean that one
// version was read.
func (f *File) Stat() (Stat, error) {
	st, err := fstat(f.fd)
	if err != nil {
		return Stat{}, &PathError{"stat", f.path, err}
	}
	return st, nil
}

// Close releases the file. It may be called again.
func (f *File) Close() error {
	if f.fd < 0 {
		return nil
	}
	fd := f.fd
	f.fd = -1
	if err := unix.Close(fd); err != nil && err != unix.EINTR { // on Linux the descriptor is gone even so
		return &PathError{"close", f.path, err}
	}
	return nil
}
