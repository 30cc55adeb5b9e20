package rsync

import (
	"slices"
	"sync"
	"time"

	"github.com/syncd/syncd/internal/chmod"
	"github.com/syncd/syncd/internal/rsync/compress"
	"github.com/syncd/syncd/internal/rsync/flist"
)

// Options is what a session asks of the server. The zero value copies names and data and sets nothing else; a caller
// sets at least MaxDelete to -1 when it sets Delete or DeleteMissing.
type Options struct {
	Protocol int // highest version to offer, 27 to 32; 0 = 32

	Links, Perms, Times, Owner, Group, Devices, Specials, HardLinks bool // what of an entry is sent and set
	// ACLs and Xattrs are what of Entry.Attrs is sent and set, from protocol 30 on; ACLs need Perms.
	ACLs, Xattrs bool
	Atimes       bool // times of last access, but of directories; server 3.2.0 and later
	OpenNoatime  bool // the server's own reading leaves them as they are; server 3.2.0 and later
	NumericIDs   bool // no names of users and groups
	OmitDirTimes bool

	WholeFile, Checksum, IgnoreTimes, SizeOnly bool // what makes a file differ, and how it is sent

	// What is left as it is, although it differs. Of that the server says nothing and acknowledges nothing.
	Existing, IgnoreExisting bool  // what is not there; files that are
	Update                   bool  // files that are newer there
	MinSize, MaxSize         int64 // files of fewer bytes, of more; 0 = no limit

	DryRun       bool // the server says what it would do, and does nothing (7.9)
	Inplace      bool
	AppendVerify bool // files that are shorter there are added to, in place; those that are not are left as they are
	ModifyWindow int  // seconds that times may differ by; -1 = compare nanoseconds too

	Delete        bool // what is in a content directory there and not in the list goes (9.6)
	DeleteMissing bool // entries of mode 0 are deleted (9.2); server 3.1.0 and later
	MaxDelete     int  // most deletions; -1 = no limit
	IgnoreErrors  bool // with Delete: go on with it after an error; for dry runs, which only name
	KeepDirlinks  bool // a symlink to a directory there serves as one
	Force         bool // a directory that stands in the way of something else is deleted with its content

	Acks       bool          // ask for a message per entry that is in place (9.1)
	Itemize    bool          // --log-format=%i: the server also announces what it redoes
	PartialDir string        // keep what of a file has arrived when a session breaks, in this directory beside it
	Timeout    time.Duration // --timeout of the server, in whole seconds; 0 = that of the Dialer
	Mkpath     bool          // make missing parents of the destination; server 3.2.3 and later

	// How the server writes the files that it gets.
	Sparse      bool   // zeros as holes
	Preallocate bool   // room for all of a file before the first byte; server 3.1.0 and later
	Fsync       bool   // each file on the disk before it is in place; server 3.2.4 and later
	Fuzzy       bool   // a file of a similar name serves as the old one where there is none; from protocol 29 on
	TempDir     string // new files are made there, and not beside the old ones; "" = beside

	// Backup keeps what is replaced or deleted: with Suffix at the end of its name, in BackupDir if that is not "". An
	// empty Suffix is "~" without BackupDir.
	Backup            bool
	BackupDir, Suffix string

	// UserMap and GroupMap say which owners become which, as rsync's --usermap and --groupmap; "" = none. Server 3.1.0
	// and later.
	UserMap, GroupMap string

	// Chmod changes the modes of what is sent, here; nil = nothing.
	Chmod *chmod.Changes

	// Compress makes data travel compressed, by the best algorithm that both sides have, or by CompressChoice. It
	// changes nothing at the destination.
	Compress       bool
	CompressChoice string // zstd, lz4, zlibx or zlib; "" = negotiate. Without effect unless Compress is set
	// CompressLevel counts as rsync's: zlib and zlibx 1 to 9, zstd -131072 to 22, lz4 has none; 0 = the algorithm's
	// default, which for zstd follows the connection. What is beyond is taken for the nearest.
	CompressLevel int
	// Incompressible holds the suffixes of files that go as they are; nil = [compress.DefaultSuffixes].
	Incompressible *compress.Suffixes

	BlockSize      int    // bytes; 0 = the server chooses
	ChecksumChoice string // name of the checksum instead of a negotiated one; "" = negotiate
	ChecksumSeed   int32  // 0 = the server chooses
}

// Selective reports whether the server is to leave some differences as they are.
func (o *Options) Selective() bool {
	return o.AppendVerify || o.Existing || o.IgnoreExisting || o.Update || o.MinSize > 0 || o.MaxSize > 0
}

// Lists reports whether entries of the type in mode are sent at all.
func (o *Options) Lists(mode uint32) bool {
	switch mode & modeType {
	case modeRegular, modeDir:
		return true
	case modeSymlink:
		return o.Links
	case modeChar, modeBlock:
		return o.Devices
	case modeFIFO, modeSocket:
		return o.Specials
	}
	return false
}

// Sent returns entries as the server is to see them: with their modes changed. The entries stay as they are.
func (o *Options) Sent(entries []flist.Entry) []flist.Entry {
	if o.Chmod == nil {
		return entries
	}
	entries = slices.Clone(entries)
	for i := range entries {
		entries[i].Mode = o.Chmod.Apply(entries[i].Mode)
	}
	return entries
}

// deletes reports whether the server is in delete mode, and so expects filter rules (5.1).
func (o *Options) deletes() bool { return o.Delete }

// acks reports whether the server acknowledges: in a dry run it does not.
func (o *Options) acks() bool { return o.Acks && !o.DryRun }

// announced returns the protocol version to offer.
func (o *Options) announced() int {
	if o.Protocol == 0 {
		return maxProtocol
	}
	return o.Protocol
}

// negotiates reports whether the cluster asks for compression. A named algorithm is asked for in this way too, because
// then the server tells what it has; but zlibx has an option of its own, which servers know that do not negotiate yet.
func (o *Options) negotiates() bool { return o.Compress && o.CompressChoice != zlibx }

var zlibx = compress.Zlibx.String()

var defaultSuffixes = sync.OnceValue(func() *compress.Suffixes {
	s, err := compress.ParseSuffixes(compress.DefaultSuffixes)
	if err != nil {
		panic(err) // a constant
	}
	return &s
})

// incompressible returns the suffixes of files that go as they are.
func (o *Options) incompressible() *compress.Suffixes {
	if o.Incompressible != nil {
		return o.Incompressible
	}
	return defaultSuffixes()
}
