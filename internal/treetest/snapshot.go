package treetest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Field is a set of things that are compared, for Options.Ignore.
type Field uint32

// What can be left out of a comparison.
const (
	Content   Field = 1 << iota // of regular files; their size is compared nevertheless
	Perm                        // permission bits, of everything but symlinks, which have none
	UID                         // owner
	GID                         // group
	FileMtime                   // of everything but directories and symlinks
	DirMtime
	LinkMtime  // of symlinks
	Nanosecond // the part of times below a second
	HardLinks  // which names are one inode
	Xattrs     // extended attributes, ACLs among them; SELinux labels are never compared
	RootDir    // all attributes of the tree's own directory
)

// Options chooses what a snapshot holds. The zero value is everything.
type Options struct {
	Ignore Field
	// Skip, when not nil, leaves out the entries, and all below them, for whose path it is true.
	Skip func(path string) bool
}

// Tree is a snapshot: the entries by their path from the tree's directory, which itself is ".".
type Tree map[string]Node

// Node is what is known of one entry. Fields that do not apply to its type, or are ignored, are zero.
type Node struct {
	Mode         uint32 // type and permission bits
	UID, GID     uint32
	Size         int64 // regular files, bytes
	Mtime        int64 // seconds since 1970
	Nsec         int32
	Sum          [sha256.Size]byte // regular files
	Target       string            // symlinks
	Major, Minor uint32            // devices
	Link         string            // first path, in byte order, of the inode's names, when the tree has several
	Xattrs       string            // one line each, in order
}

// Snapshot reads the tree at dir. It never follows a symlink below dir. As root, modes are no obstacle.
func Snapshot(t testing.TB, dir string, o Options) Tree {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	check(t, pathError("open", dir, err))
	defer unix.Close(fd)
	s := &snapshotter{Options: o, tree: Tree{}, links: map[inode][]string{}, buf: make([]byte, 256<<10)}
	if s.Ignore&RootDir != 0 {
		s.tree["."] = Node{Mode: unix.S_IFDIR}
	} else {
		check(t, s.add(fd, "", "."))
	}
	check(t, s.dir(fd, ""))
	if o.Ignore&HardLinks == 0 {
		s.group()
	}
	return s.tree
}

type inode struct{ dev, ino uint64 }

type snapshotter struct {
	Options
	tree  Tree
	links map[inode][]string
	buf   []byte
}

// dir adds everything below the directory fd, which is at path.
func (s *snapshotter) dir(fd int, path string) error {
	names, err := s.names(fd)
	if err != nil {
		return pathError("readdir", path, err)
	}
	for _, name := range names {
		child := name
		if path != "" {
			child = path + "/" + name
		}
		if s.Skip != nil && s.Skip(child) {
			continue
		}
		if err := s.add(fd, name, child); err != nil {
			return err
		}
		if s.tree[child].Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		sub, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err == nil {
			err = s.dir(sub, child)
			unix.Close(sub)
		}
		if err != nil {
			return pathError("open", child, err)
		}
	}
	return nil
}

func (s *snapshotter) names(fd int) ([]string, error) {
	var names []string
	for {
		n, err := unix.ReadDirent(fd, s.buf)
		if err != nil || n <= 0 {
			slices.Sort(names)
			return names, err
		}
		_, _, names = unix.ParseDirent(s.buf[:n], -1, names)
	}
}

// add takes in the entry called name of the directory at, or at itself when name is empty.
func (s *snapshotter) add(at int, name, path string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH); err != nil {
		return pathError("stat", path, err)
	}
	n := Node{Mode: st.Mode, UID: st.Uid, GID: st.Gid, Mtime: st.Mtim.Sec, Nsec: int32(st.Mtim.Nsec)}
	var err error
	ignoreTime := FileMtime
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		n.Size = st.Size
		if s.Ignore&Content == 0 {
			n.Sum, err = s.sum(at, name, st.Size)
		}
	case unix.S_IFDIR:
		ignoreTime = DirMtime
	case unix.S_IFLNK:
		ignoreTime = LinkMtime
		n.Target, err = s.readlink(at, name)
	case unix.S_IFCHR, unix.S_IFBLK:
		n.Major, n.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
	}
	if err == nil && s.Ignore&Xattrs == 0 {
		n.Xattrs, err = xattrs(at, name)
	}
	if err != nil {
		return pathError("read", path, err)
	}
	if n.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1 {
		id := inode{st.Dev, st.Ino}
		s.links[id] = append(s.links[id], path)
	}
	s.tree[path] = n.without(s.Ignore, ignoreTime)
	return nil
}

// without forgets what is ignored.
func (n Node) without(ignore, ignoreTime Field) Node {
	if ignore&Perm != 0 {
		n.Mode &= unix.S_IFMT
	}
	if ignore&UID != 0 {
		n.UID = 0
	}
	if ignore&GID != 0 {
		n.GID = 0
	}
	if ignore&ignoreTime != 0 {
		n.Mtime, n.Nsec = 0, 0
	}
	if ignore&Nanosecond != 0 {
		n.Nsec = 0
	}
	return n
}

func (s *snapshotter) sum(at int, name string, size int64) (sum [sha256.Size]byte, err error) {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return sum, err
	}
	defer unix.Close(fd)
	h := sha256.New()
	for read := int64(0); ; {
		n, err := unix.Read(fd, s.buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return sum, err
		}
		if n <= 0 {
			if read != size {
				err = io.ErrUnexpectedEOF
			}
			h.Sum(sum[:0])
			return sum, err
		}
		read += int64(n)
		h.Write(s.buf[:n])
	}
}

func (s *snapshotter) readlink(at int, name string) (string, error) {
	n, err := unix.Readlinkat(at, name, s.buf)
	return string(s.buf[:max(n, 0)]), err
}

// group marks the names that are one inode.
func (s *snapshotter) group() {
	for _, paths := range s.links {
		if len(paths) < 2 {
			continue
		}
		first := slices.Min(paths)
		for _, path := range paths {
			n := s.tree[path]
			n.Link = first
			s.tree[path] = n
		}
	}
}

// xattrs returns the extended attributes of an entry as quoted lines.
func xattrs(at int, name string) (string, error) {
	path := "/proc/self/fd/" + strconv.Itoa(at) // the calls that take a directory are too new
	if name != "" {
		path += "/" + name
	}
	list, err := grow(func(buf []byte) (int, error) {
		if name == "" {
			return unix.Flistxattr(at, buf)
		}
		return unix.Llistxattr(path, buf)
	})
	if errors.Is(err, unix.ENOTSUP) || len(list) == 0 {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var lines []string
	for attr := range bytes.SplitSeq(bytes.TrimSuffix(list, []byte{0}), []byte{0}) {
		if string(attr) == "security.selinux" {
			continue
		}
		value, err := grow(func(buf []byte) (int, error) {
			if name == "" {
				return unix.Fgetxattr(at, string(attr), buf)
			}
			return unix.Lgetxattr(path, string(attr), buf)
		})
		if err != nil {
			return "", err
		}
		lines = append(lines, quote(string(attr))+"="+quote(string(value)))
	}
	slices.Sort(lines)
	return strings.Join(lines, " "), nil
}

// grow calls f with a buffer that is large enough.
func grow(f func([]byte) (int, error)) ([]byte, error) {
	for size := 1 << 10; ; size *= 8 {
		buf := make([]byte, size)
		n, err := f(buf)
		if err != unix.ERANGE || size > 1<<20 {
			return buf[:max(n, 0)], err
		}
	}
}

// Equal fails the test, with a readable difference, unless the trees at both directories are equal.
func Equal(t testing.TB, want, got string, o Options) {
	t.Helper()
	if d := Diff(Snapshot(t, want, o), Snapshot(t, got, o)); d != "" {
		t.Errorf("%s differs from %s:\n%s", got, want, d)
	}
}
