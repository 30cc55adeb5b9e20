// Package flist writes the file list of a session: what is to be at the destination, entry by entry, in the dialect of
// each protocol from 27 to 32, and computes the order in which the receiver will number it. It writes complete,
// non-incremental lists. The source of every rule is the protocol document, section 6.
package flist

import "github.com/syncd/syncd/internal/attr"

// An Entry is one line of the list: a path and what is to be there. A list of entries is in any order; every entry's
// parent directory must be in it as well, but for the root and for paths that are to be deleted.
type Entry struct {
	Path  string // relative to the transfer root, "/"-separated, no trailing slash; "." is the root itself
	Mode  uint32 // st_mode with type bits; 0 says "delete this path" (protocol 6.11)
	Size  int64  // bytes; of regular files and directories, other types have a size of their own
	Mtime int64  // seconds since 1970
	Nsec  int32  // nanoseconds of the mtime, 0 to 999999999; not sent before protocol 31
	Atime int64  // seconds since 1970; not of directories, and sent with Options.Atimes only
	UID   uint32
	GID   uint32
	Major uint32  // of devices
	Minor uint32  // of devices
	Dir   DirKind // of directories
	// Link numbers the hard-link group within this list that the entry belongs to; 0 is none. The members must be of
	// one type and no directories. From protocol 30 on the others inherit all attributes of the first.
	Link   int32
	Target string // of symlinks
	Sum    []byte // of regular files, if the options say so: Options.SumLen bytes
	// Attrs are extended attributes and ACLs, of which the options say what is sent; nil is none. Symlinks have no ACLs.
	Attrs *attr.Attrs
}

// File types in Entry.Mode, as in st_mode.
const (
	typeMask  = 0o170000
	typeSock  = 0o140000
	typeLink  = 0o120000
	typeReg   = 0o100000
	typeBlock = 0o060000
	typeDir   = 0o040000
	typeChar  = 0o020000
	typeFifo  = 0o010000
)

// IsDir reports whether the entry is a directory. An entry that is to be deleted is none.
func (e *Entry) IsDir() bool { return e.Mode&typeMask == typeDir }

// IsRegular reports whether the entry is a regular file.
func (e *Entry) IsRegular() bool { return e.Mode&typeMask == typeReg }

func (e *Entry) isSymlink() bool { return e.Mode&typeMask == typeLink }

func (e *Entry) isDevice() bool {
	t := e.Mode & typeMask
	return t == typeBlock || t == typeChar
}

func (e *Entry) isSpecial() bool {
	t := e.Mode & typeMask
	return t == typeFifo || t == typeSock
}

// A DirKind says what a directory in the list stands for (protocol 6.6). Before protocol 30 there is only Content and
// the rest; what the rest means depends on Options.Recurse.
type DirKind uint8

const (
	// NoContent is the directory alone: its attributes are set, it is never scanned.
	NoContent DirKind = iota
	// Content directories are scanned for deletions, if the session deletes: what the list does not have goes.
	Content
	// Implied directories are there for the sake of what is below them: their attributes are set only if the session
	// has implied directories on (protocol 9.6).
	Implied
)

// Options says what both sides have agreed on for the list.
type Options struct {
	Protocol    int  // 27 to 32
	VarintFlags bool // compat bit 7
	ID0Names    bool // compat bit 8
	SafeFlist   bool // compat bit 3
	Owner       bool // option o
	Group       bool // option g
	Devices     bool // option D, or its half for devices
	Specials    bool // option D, or its half for fifos and sockets
	Links       bool // option l
	HardLinks   bool // option H; without it Entry.Link is ignored
	NumericIDs  bool // option --numeric-ids: no names of users and groups
	ACLs        bool // option A, from protocol 30 on
	Xattrs      bool // option X, from protocol 30 on
	SumLen      int  // option c: length of Entry.Sum in bytes; 0 is off
	Atimes      bool // option U
	Recurse     bool // option r: before protocol 30 everything below a Content directory is content
}

// Names gives the names of users and groups, which the receiver may map to ids of its own. An empty name is none.
type Names interface {
	User(id uint32) string
	Group(id uint32) string
}
