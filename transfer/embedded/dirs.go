package embedded

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// dirFlags opens a directory as a place to work in. O_PATH needs no right to read it, which a directory of mode 0300
// does not give; O_NOFOLLOW makes a symlink an error (ENOTDIR), whoever put it there and when.
const dirFlags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// dirs hands out descriptors of directories below a root. Every component is opened by itself, relative to its parent,
// so nothing leads out of the tree and no path is too long. It keeps the directories of the last path open: asked in
// the order of a file list it opens each directory once. Not for concurrent use.
type dirs struct {
	root  int // not owned
	stack []level
}

type level struct {
	name string
	fd   int
}

// open returns a descriptor of dir ("." is the root), valid until the next call of any method.
func (d *dirs) open(dir string) (int, error) {
	if dir == "." {
		return d.root, nil
	}
	fd, depth := d.root, 0
	for rest := dir; rest != ""; depth++ {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if depth < len(d.stack) {
			if d.stack[depth].name == name {
				fd = d.stack[depth].fd
				continue
			}
			d.truncate(depth)
		}
		next, err := openat(fd, name, dirFlags, 0)
		if err != nil {
			return -1, err
		}
		d.stack = append(d.stack, level{name, next})
		fd = next
	}
	return fd, nil
}

// parent returns a descriptor of the directory that holds p, and p's name in it. The root is "." in itself.
func (d *dirs) parent(p string) (int, string, error) {
	dir, name := split(p)
	fd, err := d.open(dir)
	return fd, name, err
}

// forget closes what was kept below and at dir, which is being removed or replaced.
func (d *dirs) forget(dir string) {
	depth := 0
	for rest := dir; rest != ""; depth++ {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if depth >= len(d.stack) || d.stack[depth].name != name {
			return
		}
	}
	d.truncate(depth - 1)
}

func (d *dirs) truncate(n int) {
	for _, l := range d.stack[n:] {
		_ = unix.Close(l.fd) // O_PATH: there is nothing that could fail
	}
	d.stack = d.stack[:n]
}

func (d *dirs) close() { d.truncate(0) }

// split is path.Split without the slash: the parent of a top-level path is ".".
func split(p string) (dir, name string) {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i], p[i+1:]
	}
	return ".", p
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// checkPath refuses what could lead out of the tree or is no single spelling of one path.
func checkPath(p string) error {
	if p == "." {
		return nil
	}
	if p == "" || p[0] == '/' || p == ".." || strings.HasPrefix(p, "../") || path.Clean(p) != p ||
		strings.IndexByte(p, 0) >= 0 {
		return fmt.Errorf("invalid path %q", p)
	}
	return nil
}

// eintr repeats f while a signal interrupts it, which network file systems let happen.
func eintr(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

func openat(dir int, name string, flags int, mode uint32) (fd int, err error) {
	err = eintr(func() error {
		fd, err = unix.Openat(dir, name, flags, mode)
		return err
	})
	if err != nil {
		return -1, err
	}
	return fd, nil
}

// lstat returns nil, nil when nothing stands at name.
func lstat(dir int, name string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	err := eintr(func() error { return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err == unix.ENOENT {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &st, nil
}

// chmod changes the mode of what name itself is. Kernels before 6.6 cannot do that without following a symlink except
// by way of a descriptor's name in /proc.
func chmod(dir int, name string, mode uint32) error {
	err := eintr(func() error { return unix.Fchmodat(dir, name, mode, unix.AT_SYMLINK_NOFOLLOW) })
	if err != unix.EOPNOTSUPP {
		return err
	}
	fd, err := openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return unix.EOPNOTSUPP
	}
	return eintr(func() error { return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), mode) })
}

func chown(dir int, name string, uid, gid int) error {
	return eintr(func() error { return unix.Fchownat(dir, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW) })
}

// mtime returns seconds and nanoseconds: the fields are of different types on different machines.
func mtime(st *unix.Stat_t) (sec int64, nsec int32) { return int64(st.Mtim.Sec), int32(st.Mtim.Nsec) }

func setMtime(dir int, name string, sec int64, nsec int32) error {
	m, err := unix.TimeToTimespec(time.Unix(sec, int64(nsec)))
	if err != nil {
		return err // a time that a 32-bit kernel cannot be told
	}
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, m}
	return eintr(func() error { return unix.UtimesNanoAt(dir, name, ts, unix.AT_SYMLINK_NOFOLLOW) })
}

func unlink(dir int, name string, isDir bool) error {
	flags := 0
	if isDir {
		flags = unix.AT_REMOVEDIR
	}
	return eintr(func() error { return unix.Unlinkat(dir, name, flags) })
}

// absent reports whether err says that there is no such directory: nothing there, or something else in its place.
func absent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}
