package scan

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// pathMax is the longest path that the kernel takes in one call, without its NUL.
const pathMax = unix.PathMax - 1

// open opens the entry at path with flags, never through a symlink and never outside of the tree.
func (r *Root) open(path string, flags int) (int, error) {
	path, err := clean(path)
	if err != nil {
		return -1, err
	}
	dir := r.fd
	for len(path) > pathMax {
		// Whatever is renamed meanwhile, each step starts at a directory that was reached without symlinks.
		cut := strings.LastIndexByte(path[:pathMax+1], '/')
		if cut < 0 {
			err = unix.ENAMETOOLONG
			break
		}
		next, err := r.openBeneath(dir, path[:cut], unix.O_PATH|unix.O_DIRECTORY)
		closeUnless(dir, r.fd)
		if err != nil {
			return -1, err
		}
		dir, path = next, strings.TrimLeft(path[cut:], "/")
	}
	fd := -1
	if err == nil {
		fd, err = r.openBeneath(dir, path, flags)
	}
	closeUnless(dir, r.fd)
	return fd, err
}

// openForReading is open for what will be read. The source's access times are left alone where the kernel lets us:
// with relatime, a pass would otherwise write every inode of the tree back to its disk.
func (r *Root) openForReading(path string, flags int) (int, error) {
	return r.leavingAtime(func(more int) (int, error) { return r.open(path, flags|more) })
}

// leavingAtime calls open with the flag that leaves access times alone, where it is allowed.
func (r *Root) leavingAtime(open func(more int) (int, error)) (int, error) {
	if !r.atime.Load() {
		fd, err := open(unix.O_NOATIME)
		if !errors.Is(err, unix.EPERM) {
			return fd, err
		}
		// Neither owner nor privileged. Other files may be ours, but asking twice for each costs more than it gives.
		r.atime.Store(true)
	}
	return open(0)
}

func (r *Root) openBeneath(dir int, path string, flags int) (int, error) {
	flags |= unix.O_CLOEXEC
	if r.openat2 {
		return openat2(dir, path, flags)
	}
	return openSteps(dir, path, flags)
}

// openat2 has the kernel refuse symlinks and ways out.
func openat2(dir int, path string, flags int) (int, error) {
	const tries = 64
	how := unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	for range tries {
		fd, err := unix.Openat2(dir, path, &how)
		// EXDEV: a directory of the path has been moved out of the tree while the kernel was in it. Look what is there
		// now.
		if err != unix.EINTR && err != unix.EXDEV {
			return fd, err
		}
	}
	return -1, unix.ENOENT
}

// openSteps goes one component at a time, for kernels and sandboxes without openat2.
func openSteps(dir int, path string, flags int) (int, error) {
	at := dir
	for {
		name, rest, more := strings.Cut(path, "/")
		if name == ".." { // clean has refused these; a wall of its own costs nothing
			closeUnless(at, dir)
			return -1, unix.EXDEV
		}
		if name == "" {
			name = "."
		}
		if !more {
			// A symlink opened with O_NOFOLLOW fails with ELOOP, as with openat2.
			fd, err := openat(at, name, flags|unix.O_NOFOLLOW)
			closeUnless(at, dir)
			return fd, err
		}
		next, err := openat(at, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC)
		closeUnless(at, dir)
		if err != nil {
			return -1, err
		}
		at, path = next, rest
	}
}

func openat(dir int, path string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, path, flags, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func closeUnless(fd, keep int) {
	if fd != keep {
		unix.Close(fd)
	}
}

func ignoringEINTR(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
