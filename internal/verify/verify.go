// Package verify compares a source tree with a destination by checksum and changes nothing on either side.
//
// The server does the other half: it is given explicit lists with the digests of the files here, in dry runs with
// --checksum, --delete and itemizing, and says for every entry what is different there (rsync-protocol.md 7.1, 7.9). A
// destination that is a directory of this machine is read directly. See design.md, section 8.
//
// What is fixed here and nowhere else:
//
//   - A difference is reported only of a version that is still the source's after the server has answered, so what
//     changes while it is compared is compared again and in the end reported as changed, never as different.
//   - Equal means: the server read what is there under this name, and it has the digest of exactly the version that
//     comes with the report.
//   - What could not be compared, here or there, is never passed over in silence.
//
// What the protocol cannot tell: names that are links to one inode there and files of their own here. Names of one
// inode here are compared as links only if Session.HardLinks asks for it.
package verify

import (
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syncd/syncd/internal/filesfrom"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/delta"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/ratelimit"
	"github.com/syncd/syncd/transfer"
)

// Reasons why a path was not compared, for Sink.Uncompared.
var (
	// ErrChanged means that the path changed each time it was compared.
	ErrChanged = errors.New("changed each time it was compared")
	// ErrUnreadable means that the destination has a file of this size and could not read it.
	ErrUnreadable = errors.New("cannot be read at the destination")
)

// Config says what to compare, with what, and how. Root and Dialer are required.
type Config struct {
	Root   *scan.Root
	Dialer rsync.Dialer

	// Session holds what is to be compared, as it would be copied: owners, times, links and so on. The verifier itself
	// sets what makes a session one that compares.
	Session rsync.Options
	// NanosecondsAuto compares times to the nanosecond where the server can, and to the second where it cannot.
	// Otherwise Session.ModifyWindow holds.
	NanosecondsAuto bool
	// IgnoreUnsupported goes on without extended attributes, or without ACLs, where the destination does not have them.
	IgnoreUnsupported bool
	// NoExtra leaves out what is at the destination and not here: a path that is gone here counts as equal.
	NoExtra bool

	Filter        *filter.List // what is excluded is neither compared nor extra; nil: no rules
	OneFileSystem bool
	// Only is what is compared of the source, the directories that lead there included; nil: everything. What else is
	// at the destination does not count then, and no rules may come from files of the tree.
	Only       *filesfrom.Set
	PartialDir string // is not extra; "": transfer.DefaultPartialDir

	// Proven reports whether the content of this version of a file is known to be equal: then only its attributes are
	// compared. It is called from one goroutine at a time; nil: no file is. It lets a comparison that was interrupted
	// go on, with what Sink.Equal was told.
	Proven func(path string, version *scan.Stat) bool

	// Kept says what the destination keeps, once that is known: what it loses is no difference. It is called at any time, by
	// any goroutine; nil: nobody knows, and everything is compared as it should be.
	Kept func() (transfer.Kept, bool)

	Sessions int // most sessions side by side; 0: from the machine
	Readers  int // files read here side by side; 0: from the machine

	Writes *ratelimit.Limiter // of what is written to the destination; nil: none
	Reads  *ratelimit.Limiter // of file data read here for checksums; nil: none
	Log    *slog.Logger       // nil: none

	tuning    tuning            // zero: as below
	afterRead func(path string) // for tests: between the last byte and the look whether the file changed
}

// tuning is what tests make small.
type tuning struct {
	entries    int           // in one list
	bytes      int64         // of files that are read for one list
	againAfter time.Duration // until what changed is compared again, longer each time
	retryAfter time.Duration // until a broken session is tried again, longer each time
}

var defaults = tuning{
	// As in transfer: beyond a few thousand entries the cost of a session no longer shows.
	entries: 8192,
	// The server waits until all files of a list have been read here.
	bytes:      128 << 20,
	againAfter: 100 * time.Millisecond,
	retryAfter: 500 * time.Millisecond,
}

const (
	// How often a path is compared that changes meanwhile.
	changedTries = 4
	// How often in a row one list is tried whose sessions fail, and how long one waits at most in between.
	sessionTries  = 7
	retryAfterMax = 16 * time.Second
)

// An Item is what Paths compares.
type Item struct {
	// Path is the entry alone: a file with its content, a directory without what is in it. If it does not exist here,
	// it must not exist there.
	Path string
	// Names adds, for a directory, the names in it and the attributes of the entries that are no directories, without
	// their content.
	Names bool
}

// A Sink is told what a comparison finds. Never two of its methods run at once. Sessions wait for them.
type Sink interface {
	// Equal names an entry of the source, or a path that exists on neither side.
	Equal(path string, p Proof)
	Different(d Difference)
	// Uncompared names a path of which nothing, or not all, is known, and why: in the words of this kernel or of the
	// server, or ErrChanged, or ErrUnreadable.
	Uncompared(path string, err error)
	// Note is a warning of the comparison as a whole, one line.
	Note(text string)
}

// A Proof says what was equal.
type Proof struct {
	Version scan.Stat // zero: the path is gone here, and at the destination too unless that does not count
	// Digest of the content of a regular file, of Hash; nil if only attributes were compared.
	Digest []byte
	Hash   delta.Hash
	// Read is when reading the content began. A version whose mtime or ctime is within a clock tick of it may stand for
	// other content as well.
	Read time.Time
}

// A Difference is one path that is not the same on both sides.
type Difference struct {
	Path  string
	Extra bool // at the destination, and not here: Flags and Entry are zero
	Dir   bool // Extra: a directory
	// Flags say what differs, as rsync -i. ItemNew: there is nothing of this kind under this name there.
	Flags rsync.ItemFlags
	Entry flist.Entry // as it is here
}

// Missing reports whether the destination has nothing of this kind under this name.
func (d *Difference) Missing() bool { return d.Flags&rsync.ItemNew != 0 }

// Summary counts what a comparison did.
type Summary struct {
	Compared   int64 // entries of the source of which everything is known
	Files      int64 // regular files of these whose content was read on both sides
	Bytes      int64 // in them
	Proven     int64 // regular files whose content was known to be equal
	Equal      int64 // of Compared
	Missing    int64 // different: nothing of the kind there
	Content    int64 // different: content, or a symlink's target, or a device's number
	Attributes int64 // different: nothing but attributes or links
	Extra      int64
	Uncompared int64 // reports of Sink.Uncompared
	Changed    int64 // of these: ErrChanged

	Hash           delta.Hash
	Protocol       int // 0: a local directory
	Sessions       int64
	Retries        int64 // of these: ended badly
	Sent, Received int64 // bytes on the wire
	Elapsed        time.Duration
}

// Different is the number of paths that differ.
func (s *Summary) Different() int64 { return s.Missing + s.Content + s.Attributes + s.Extra }

// Progress is what can be said while a comparison runs. Totals grow until ScanDone.
type Progress struct {
	Entries, TotalEntries int64 // answered, and found so far
	Bytes, TotalBytes     int64 // of file data: read here, and found so far
	ScanDone              bool
}

// A Verifier compares one source with one destination. Its methods may be called from any goroutine; each comparison
// has sessions and readers of its own.
type Verifier struct {
	cfg   Config
	log   *slog.Logger
	names flist.Names
	scope *filter.Scope        // of the root; nil: no rules
	only  *filesfrom.Selection // nil: everything
	dest  destination

	mu      sync.Mutex // held while the destination is asked what it can do
	session *rsync.Options
	terms   terms

	progress struct {
		entries, totalEntries, bytes, totalBytes atomic.Int64
		scanDone                                 atomic.Bool
	}
}

// New checks c and returns a verifier for it. The destination is not contacted yet.
func New(c Config) (*Verifier, error) {
	v := &Verifier{cfg: c, log: c.Log, names: flist.SystemNames()}
	if v.log == nil {
		v.log = slog.New(slog.DiscardHandler)
	}
	if v.cfg.Sessions <= 0 {
		v.cfg.Sessions = max(2, min(8, 2*runtime.NumCPU()))
	}
	if v.cfg.Readers <= 0 {
		v.cfg.Readers = max(2, min(16, runtime.NumCPU()))
	}
	if v.cfg.PartialDir == "" {
		v.cfg.PartialDir = transfer.DefaultPartialDir
	}
	if v.cfg.tuning == (tuning{}) {
		v.cfg.tuning = defaults
	}
	if c.Filter != nil && !c.Filter.Empty() {
		var err error
		if v.scope, err = c.Filter.Root(v.openMergeFile); err != nil {
			return nil, err
		}
	}
	if c.Only != nil {
		v.cfg.NoExtra = true
		v.only = c.Only.Select(v.scope)
	}
	var err error
	v.dest, err = v.newDestination()
	return v, err
}

// Close lets go of a destination on this machine, and of connections that the server has not closed yet. Comparisons must
// have returned.
func (v *Verifier) Close() error { return v.dest.Close() }

// Tree compares the directory start, "." for all, and everything below it. An error means that the comparison did not
// come to its end; the Summary holds what was found until then. When it returns, every session is over and every goroutine
// gone, but for those that wait until servers close connections: Close ends them.
func (v *Verifier) Tree(ctx context.Context, start string, s Sink) (Summary, error) {
	v.progress.entries.Store(0)
	v.progress.totalEntries.Store(0)
	v.progress.bytes.Store(0)
	v.progress.totalBytes.Store(0)
	v.progress.scanDone.Store(false)
	return v.run(ctx, s, func(f *filler) error {
		err := f.tree(start)
		v.progress.scanDone.Store(true)
		return err
	})
}

// Paths compares what items yields, until it ends, with Tree's errors. Sorted paths cost the least. Each path is
// answered once by Equal, Different or Uncompared, but for those that the filter leaves out, which nobody hears of;
// Different may name other paths in and below the given ones as well, and those of an Item that is given twice twice.
func (v *Verifier) Paths(ctx context.Context, items iter.Seq[Item], s Sink) (Summary, error) {
	return v.run(ctx, s, func(f *filler) error { return f.items(items) })
}

// openMergeFile reads a per-directory filter file of the source.
func (v *Verifier) openMergeFile(dir, name string) (io.ReadCloser, error) {
	return v.cfg.Root.Open(scan.Join(dir, name))
}

// Progress is that of Tree. It may be called at any time.
func (v *Verifier) Progress() Progress {
	p := &v.progress
	return Progress{
		ScanDone: p.scanDone.Load(), // first: totals are final then
		Entries:  p.entries.Load(), TotalEntries: p.totalEntries.Load(),
		Bytes: p.bytes.Load(), TotalBytes: p.totalBytes.Load(),
	}
}
