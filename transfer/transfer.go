// Package transfer makes a destination equal to a source tree. It takes items from a queue, lists what they cover,
// gathers the entries in bounded batches, gives each batch to one rsync session of several running side by side, and
// lets go of an item only when the destination has acknowledged it.
//
// What is fixed here and nowhere else:
//
//   - A session that breaks costs its batch another try, not the pass: what the destination already has is found up to
//     date.
//   - A path that the server refuses, or that changed while it was sent, goes back into the queue with the reason and
//     is tried again later; the rest goes on.
//   - Deletions happen only below directories that were listed completely, while the source root is the root that it
//     was, and never more than the operator allowed. A root that changed ends the pass: scan.ErrRootChanged.
package transfer

import (
	"context"
	"log/slog"
	"time"

	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/filesfrom"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/ratelimit"
)

// DefaultPartialDir keeps what arrived of a large file whose transfer was cut off, beside the file.
const DefaultPartialDir = ".syncd-partial"

// DefaultBigFile is the size in bytes from which a file is large: it travels in the sessions for large files, where
// nothing small waits behind it and where a transfer cut off resumes.
const DefaultBigFile = 32 << 20

// Config says what to copy, where to, and how. Root and Dialer are required.
type Config struct {
	Root   *scan.Root
	Dialer rsync.Dialer // its Wrap is used by the engine

	// Session holds what the user asked of the protocol. The engine itself sets what belongs to a batch: deletion,
	// acknowledgements, itemizing, the partial directory.
	Session rsync.Options
	// NanosecondsAuto compares times to the nanosecond where the server can, and to the second where it cannot.
	// Otherwise Session.ModifyWindow holds.
	NanosecondsAuto bool

	// IgnoreUnsupported goes on without extended attributes, or without ACLs, where the destination does not have them.
	// Otherwise that is an error before any work.
	IgnoreUnsupported bool

	Delete    bool
	MaxDelete int // most entries that may be deleted: by Run in all, by Follow in DeleteWindow; negative: no limit

	Filter        *filter.List // nil: no rules
	OneFileSystem bool
	// Only is what is copied of the source, the directories that lead there included; nil: everything. It does not go
	// with Delete, a Catalogue, rules in files of the tree, or Follow: all of these are about whole directories.
	Only *filesfrom.Set

	Sessions   int    // most sessions side by side; 0: from the machine
	BigFile    int64  // bytes; 0: DefaultBigFile
	PartialDir string // for files of any size; "": DefaultPartialDir, and only for large ones

	Limiter  *ratelimit.Limiter // of what is written to the destination; nil: none
	Log      *slog.Logger       // nil: none
	Observer Observer           // nil: none

	// Catalogue is what the destination is known to hold: it spares asking for it, and learns what becomes true. It must
	// be of just this source, destination and meaning of options. nil: the destination is asked.
	Catalogue *catalogue.Store
	// Distrusted says that the catalogue lost its word for everything at once, and not for single paths for a reason of
	// their own: then sizes and times are believed where it recalls the same version.
	Distrusted bool

	// The rest is for Follow.

	// DeleteWindow is the time, sliding, in which no more than MaxDelete entries are deleted unless AllowDelete or
	// AllowHeld says so; what would be more is held. 0: DefaultDeleteWindow.
	DeleteWindow time.Duration
	// Sync returns when everything that changed before it was called has been given to Changed; nil: nobody knows when.
	Sync func(ctx context.Context) error
	// DeleteHistory is what engines that follow each other have deleted; nil: this one begins with none.
	DeleteHistory *DeleteHistory
	// StopTimeout is how long sessions that run when its context ends may go on; 0: not at all.
	StopTimeout time.Duration
	// Alive is called by the engine's own goroutine at least every AliveEvery, to prove that it goes round; may be nil.
	Alive      func()
	AliveEvery time.Duration

	tuning tuning // zero: as below
}

// tuning is what tests make small.
type tuning struct {
	entries                     int   // in one batch
	minRenamed                  int64 // bytes
	pathBackoff, sessionBackoff queue.Backoff
}

// An Observer is told what happens. Never two of its methods run at once. They must not block for long: sessions wait
// for them.
type Observer interface {
	// Item is an itemized change, as rsync -i prints it.
	Item(f rsync.ItemFlags, e *flist.Entry)
	// Deleted names an entry that was deleted at the destination, or in a dry run would be.
	Deleted(path string, dir bool)
	// Failed names a path that is, at the end, not equal at the destination, and why in the words of the server or
	// of this kernel.
	Failed(path string, err error)
	// Note is a warning of the run as a whole, one line.
	Note(text string)
}

type nobody struct{}

func (nobody) Item(rsync.ItemFlags, *flist.Entry) {}
func (nobody) Deleted(string, bool)               {}
func (nobody) Failed(string, error)               {}
func (nobody) Note(string)                        {}

const (
	// Entries in one batch. A session's cost is a handshake and a goodbye; beyond a few thousand entries it no longer
	// shows, while what is held in memory and what a broken connection costs to look at again go on growing.
	maxBatchEntries = 8192
	// Bytes of file data in one batch of small files. It bounds how long a batch lasts, for an even load at the end.
	maxBatchBytes = 512 << 20
	// Large files in one batch: enough that finding many up to date is not a session each.
	maxBigFiles = 8
	maxBigBytes = 8 << 30

	// How often one path is tried when the server refuses it, and when it changes while it is read.
	refusedTries = 2
	changedTries = 4

	// How long a file that changed while it was sent waits for its next turn, unless it changes again.
	changedAfter = 100 * time.Millisecond

	// How long the pass waits for a directory in which there is always something under way.
	passPatience = 2 * time.Second

	// How long fewer sessions are run after the server had no room for one more.
	busyFor = time.Minute

	// How long connections that are at their end may take when the engine ends.
	reapGrace = time.Second

	// How often in a row sessions may fail without one entry becoming acknowledged before the pass gives up.
	sessionTries = 7

	// How often in a row a broken session is believed to have got on.
	believedTries = 50

	// How long a server that is asked for acknowledgements may be silent, unless the operator says otherwise. Stock
	// rsync 3.5 can stop for ever when it is, and cannot make the files that it asked for.
	acksSilence = time.Minute

	// The same for one that looks for files of similar names: it can stop for ever, too, though it goes on showing that it
	// lives, so that ten times this is what it takes to be given up.
	fuzzySilence = 30 * time.Second

	// How often in a row a full destination may refuse before the pass gives up.
	fullTries = 20
)

var defaults = tuning{
	entries:        maxBatchEntries,
	minRenamed:     minRenamed,
	pathBackoff:    queue.Backoff{First: time.Second, Max: 8 * time.Second},
	sessionBackoff: queue.Backoff{First: 500 * time.Millisecond, Max: 16 * time.Second},
}
