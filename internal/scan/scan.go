// Package scan reads a live directory tree: listings with metadata, files, counts, and ordered walks.
//
// It is made for trees of tens of millions of small files on a host that has other work to do. A listing costs one
// stat per entry, relative to the directory's descriptor, and a few allocations per directory; nothing goes through the
// runtime's poller, and access times are left alone where the kernel allows it.
//
// Every path is relative to a [Root], slash-separated, without "." or ".." components; "." is the root itself. Names
// are bytes as the kernel has them, not necessarily UTF-8. No symlink below the root is ever followed, whatever
// happens to the tree meanwhile, and paths may be longer than PATH_MAX.
//
// The package is for Linux.
package scan

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/attr"
)

// Reasons that callers branch on; each comes wrapped in a [PathError]. A path that is gone is fs.ErrNotExist, one that
// may not be read is fs.ErrPermission, and one that is no path of this package is fs.ErrInvalid.
var (
	// ErrNotDir means that the path leads to something that is not a directory: a symlink counts as itself.
	ErrNotDir = errors.New("not a directory")
	// ErrNotRegular means that the path leads to something that is not a regular file: list its parent again.
	ErrNotRegular = errors.New("not a regular file")
	// ErrBusy means that another process holds a lease on the file (Samba, NFS server) and has now been asked to give
	// it up: try again in a moment.
	ErrBusy = errors.New("another process holds a lease on the file")
	// ErrIncomplete is wrapped by [Listing.Err] when children of a directory could not be read.
	ErrIncomplete = errors.New("directory not read completely")
	// ErrOtherDevice means that with [Options.OneFileSystem] a directory turned out to be on another file system: its
	// contents are neither listed nor known to be empty.
	ErrOtherDevice = errors.New("directory is on another file system")
	// ErrRootChanged means that the root's path no longer leads to the directory that was opened.
	ErrRootChanged = errors.New("source root is no longer the directory that was opened")
)

// PathError tells what could not be done to which path.
type PathError struct {
	Op   string // "open", "list", "stat", "readlink", "read", "read attribute of"
	Path string // relative to the root; of OpenRoot and Same, as the operator gave it
	Err  error  // the reason
}

// Error is one line whatever bytes the path has.
func (e *PathError) Error() string { return e.Op + " " + printable(e.Path) + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *PathError) Unwrap() error { return e.Err }

func printable(path string) string {
	if path != "" && utf8.ValidString(path) && strings.IndexFunc(path, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return path
	}
	return strconv.Quote(path)
}

// Stat is what the kernel knows of an entry, the symlink itself where it is one. It is comparable.
type Stat struct {
	Mode                 uint32 // st_mode: type and permission bits
	Size                 int64  // bytes
	Mtime, Ctime         int64  // seconds since 1970, may be negative
	MtimeNsec, CtimeNsec int32
	UID, GID             uint32
	Dev, Ino, Nlink      uint64
	Major, Minor         uint32 // of the device that a device node stands for, else 0
}

// IsDir reports whether the entry is a directory.
func (s *Stat) IsDir() bool { return s.Mode&unix.S_IFMT == unix.S_IFDIR }

// IsRegular reports whether the entry is a regular file.
func (s *Stat) IsRegular() bool { return s.Mode&unix.S_IFMT == unix.S_IFREG }

// Entry is one child of a directory.
type Entry struct {
	// Name shares memory with the names of other children: clone it to keep it when the listing goes.
	Name       string
	Stat       Stat
	Target     string // of a symlink
	Atime      int64  // seconds since the epoch; no part of Stat, which tells versions apart
	MountPoint bool   // with OneFileSystem: a directory on another device, not to be descended
	// Attrs has what Options.Attrs asks for, read after Stat: a change since then moves the ctime. Neighbours may share
	// one.
	Attrs *attr.Attrs
}

// Listing is one directory.
type Listing struct {
	Dir     string      // path of the directory
	Self    Stat        // the directory, from before its names were read
	Attrs   *attr.Attrs // of the directory, as Options.Attrs asks for
	Entries []Entry     // in byte order of names, without "." and ".."
	// Errors has, in byte order, the children that exist and could not be read. They are missing from Entries. A child
	// that vanished before it could be read is just absent.
	Errors []*PathError
	// Err is non-nil when Entries may lack names: nothing may be deleted on the word of this listing. It wraps
	// ErrIncomplete when it is due to Errors.
	Err error
}

// Options chooses what is listed. The zero value lists everything.
type Options struct {
	// OneFileSystem keeps to the root's file system. A child directory on another device is listed as a MountPoint.
	OneFileSystem bool
	// Attrs asks for extended attributes and ACLs: two or three more calls for each entry, and one for each attribute. An
	// entry whose attributes cannot be read is an error as one that cannot be read itself.
	Attrs attr.Which
	// Skip, when not nil, leaves out the entries for which it is true. It is called from several goroutines, before
	// the entry is read where the directory tells its type. Dir is the path of the directory.
	Skip func(dir, name string, isDir bool) bool
	// Names, when not nil, is asked for the names of a directory. If it knows them, each is looked up by itself, and the
	// directory, which may hold millions of others, is not read. It is called from several goroutines.
	Names func(dir string) (names []string, known bool)
}

// Join is the path of a child of dir.
func Join(dir, name string) string {
	if dir == "." || dir == "" {
		return name
	}
	return dir + "/" + name
}

// Split is the reverse of Join.
func Split(path string) (dir, name string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return ".", path
}

// clean gives the root its one name and refuses what could lead out of the tree.
func clean(path string) (string, error) {
	if path == "" || path == "." {
		return ".", nil
	}
	if path[0] == '/' || strings.IndexByte(path, 0) >= 0 {
		return "", fs.ErrInvalid
	}
	for rest := path; rest != ""; {
		name, tail, _ := strings.Cut(rest, "/")
		if name == ".." {
			return "", fs.ErrInvalid
		}
		rest = tail
	}
	return path, nil
}
