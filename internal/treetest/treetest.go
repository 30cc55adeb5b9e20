// Package treetest is for tests of whole directory trees: it writes trees given as literals, makes hostile and random
// ones, changes them, and compares them exactly, with all metadata.
//
// It shares no code with what it tests. Its functions end the test when the file system refuses something; trees must
// not change while a snapshot is taken. It is for Linux.
package treetest

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Entry is one entry of a tree to be written. Make it with File, Dir, Symlink, Fifo, Socket, Device or Link.
type Entry struct {
	path         string
	mode         uint32 // type and permission bits
	content      string
	size         int64  // files: what is past content is a hole
	target       string // of a symlink, or the other name of a hard link
	link         bool
	major, minor uint32
	owner        *[2]uint32
	mtime        *unix.Timespec
	xattrs       map[string]string
}

// Attr sets an attribute of an Entry.
type Attr func(*Entry)

// Mode sets the permission bits, 0 to 07777. Without it, files have 0644 and directories 0755.
func Mode(perm uint32) Attr { return func(e *Entry) { e.mode = e.mode&unix.S_IFMT | perm&0o7777 } }

// Owner sets owner and group.
func Owner(uid, gid uint32) Attr { return func(e *Entry) { e.owner = &[2]uint32{uid, gid} } }

// Mtime sets the time of modification, in seconds since 1970 and nanoseconds.
func Mtime(sec int64, nsec int32) Attr {
	return func(e *Entry) { e.mtime = &unix.Timespec{Sec: sec, Nsec: int64(nsec)} }
}

// Size makes a file this many bytes long, cutting its content off or following it with a hole.
func Size(bytes int64) Attr { return func(e *Entry) { e.size = bytes } }

// Xattr sets an extended attribute.
func Xattr(name, value string) Attr {
	return func(e *Entry) {
		if e.xattrs == nil {
			e.xattrs = map[string]string{}
		}
		e.xattrs[name] = value
	}
}

func entry(path string, mode uint32, attrs []Attr) Entry {
	e := Entry{path: path, mode: mode, size: -1}
	for _, a := range attrs {
		a(&e)
	}
	return e
}

// File is a regular file.
func File(path, content string, attrs ...Attr) Entry {
	e := entry(path, unix.S_IFREG|0o644, attrs)
	e.content = content
	return e
}

// Dir is a directory. The path "." sets the attributes of the whole tree's directory.
func Dir(path string, attrs ...Attr) Entry { return entry(path, unix.S_IFDIR|0o755, attrs) }

// Symlink is a symbolic link with any target.
func Symlink(path, target string, attrs ...Attr) Entry {
	e := entry(path, unix.S_IFLNK|0o777, attrs)
	e.target = target
	return e
}

// Fifo is a named pipe.
func Fifo(path string, attrs ...Attr) Entry { return entry(path, unix.S_IFIFO|0o644, attrs) }

// Socket is a socket that nobody listens at.
func Socket(path string, attrs ...Attr) Entry { return entry(path, unix.S_IFSOCK|0o755, attrs) }

// Device is a device node, made by root only; kind is 'c' or 'b'.
func Device(path string, kind byte, major, minor uint32, attrs ...Attr) Entry {
	mode := uint32(unix.S_IFCHR | 0o600)
	if kind == 'b' {
		mode = unix.S_IFBLK | 0o600
	}
	e := entry(path, mode, attrs)
	e.major, e.minor = major, minor
	return e
}

// Link is one more name for the entry at path other, which must come before.
func Link(path, other string) Entry { return Entry{path: path, target: other, link: true} }

// Write makes the entries below dir, in their order, with the directories they need. What is in the way of an entry is
// removed, but directories of that name stay. Attributes of directories are set last, so that a later entry does not
// touch them.
func Write(t testing.TB, dir string, entries ...Entry) {
	t.Helper()
	var dirs []Entry
	for _, e := range entries {
		path := filepath.Join(dir, e.path)
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		isDir := e.mode&unix.S_IFMT == unix.S_IFDIR
		if st, err := os.Lstat(path); err == nil && !(isDir && st.IsDir()) {
			check(t, os.RemoveAll(path))
		}
		switch {
		case e.link:
			check(t, os.Link(filepath.Join(dir, e.target), path))
		case isDir:
			check(t, os.MkdirAll(path, 0o755))
			dirs = append(dirs, e)
		default:
			e.make(t, path)
			e.setAttrs(t, path)
		}
	}
	for i := len(dirs) - 1; i >= 0; i-- { // parents come before their children, and are closed and dated after them
		dirs[i].setAttrs(t, filepath.Join(dir, dirs[i].path))
	}
}

func (e *Entry) make(t testing.TB, path string) {
	t.Helper()
	switch e.mode & unix.S_IFMT {
	case unix.S_IFREG:
		check(t, os.WriteFile(path, []byte(e.content), 0o600))
		if e.size >= 0 {
			check(t, os.Truncate(path, e.size))
		}
	case unix.S_IFLNK:
		check(t, os.Symlink(e.target, path))
	default:
		check(t, pathError("mknod", path, unix.Mknod(path, e.mode, int(unix.Mkdev(e.major, e.minor)))))
	}
}

// setAttrs sets what changes ctime only, then the times. Owner comes before mode: a change of owner clears set-id bits.
func (e *Entry) setAttrs(t testing.TB, path string) {
	t.Helper()
	if e.owner != nil {
		check(t, os.Lchown(path, int(e.owner[0]), int(e.owner[1])))
	}
	if e.mode&unix.S_IFMT != unix.S_IFLNK {
		check(t, pathError("chmod", path, unix.Chmod(path, e.mode&0o7777)))
	}
	for name, value := range e.xattrs {
		check(t, pathError("setxattr", path, unix.Lsetxattr(path, name, []byte(value), 0)))
	}
	if e.mtime != nil {
		setMtime(t, path, *e.mtime)
	}
}

// TempDir is t.TempDir in memory, where there is a file system for that: many times as fast for large trees.
func TempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "treetest-")
	if err != nil {
		return t.TempDir()
	}
	check(t, os.Chmod(dir, 0o755)) // as t.TempDir does
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("test tree: %v", err)
		}
	})
	return dir
}

func setMtime(t testing.TB, path string, mtime unix.Timespec) {
	t.Helper()
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, mtime}
	check(t, pathError("utimes", path, unix.UtimesNanoAt(unix.AT_FDCWD, path, times, unix.AT_SYMLINK_NOFOLLOW)))
}

func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: path, Err: err}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("test tree: %v", err)
	}
}
