package rsync

import (
	"io"
	"strconv"

	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsync/wire"
)

// A Batch is what one session sends. A session reads it until Send returns; nobody may change it meanwhile.
type Batch struct {
	Entries []flist.Entry // in any order; every parent directory must be among them (6.1), "." need not
	// Open opens the regular file at Entries[i]. It is called from one goroutine, in the order in which the server asks;
	// a file may be asked for twice. An error makes the entry NotSent; fs.ErrNotExist counts as vanished.
	Open func(i int) (File, error)
	// Xattr returns the value of an extended attribute of Entries[i], of those in its Attrs that are too long to be there,
	// when the server asks for it. An error makes the entry NotSent, another value than the listed one Changed. It must be
	// set if such attributes are sent; it is called like Open.
	Xattr  func(i int, name string) ([]byte, error)
	Filter []string    // rules as they stand on the wire, sent when the options make the server expect them (5.1)
	Names  flist.Names // nil = none, as with NumericIDs
	Events Events      // may be nil
}

// A File is the content of one entry.
type File interface {
	io.Reader
	Size() int64 // now, not when it was listed
	// Close releases the file. ErrChanged says that what was read is not one unchanged version.
	Close() error
}

// Events hears what happens while it happens. Its methods are called from the session's goroutines, never two at once;
// while one runs the session waits.
type Events interface {
	Item(i int, f ItemFlags)           // what the server reports of Entries[i]; for files to be sent, before they are
	Sending(i int)                     // the content of Entries[i] is about to be sent
	Sent(n int64)                      // n more bytes of content have been worked off, whether sent or matched
	Deleted(path string, dir bool)     // from protocol 29 on
	Message(tag wire.Tag, text string) // the server's words: one line, complete
}

// State says what is known of an entry after a session.
type State uint8

// The states of an entry.
const (
	Pending State = iota // nothing is known
	Acked                // in place at the destination
	Failed               // the server could not do all of it: its words are in Err
	NotSent              // the source could not be read: Err
	Changed              // sent, but it changed while it was read
	Skipped              // the server does not take it: its words are in Err
)

var stateNames = [...]string{"pending", "acked", "failed", "not sent", "changed", "skipped"}

// String returns the state's name.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "State(" + strconv.Itoa(int(s)) + ")"
}

// A Result is what is known of one entry.
type Result struct {
	State            State
	Items            ItemFlags // what the server reported; 0 = nothing, so nothing was to be done
	Err              error     // the reason, for Failed, NotSent, Changed, Skipped
	Link             string    // path of the entry that the server says it made this one a hard link of (9.3); "" = of none
	Literal, Matched int64     // bytes of content that were sent, and that the server had already
}

// A Report is what is known after a session, well ended or not.
type Report struct {
	Results      []Result // parallel to Batch.Entries
	Loose        []string // the server's errors that name no entry
	DeleteErrors []string // what the server says it did not delete
	LimitHit     bool     // Options.MaxDelete stopped deletions
	// SkippedDeletes is how many the server says that it left then. It counts no directory of which something is left.
	SkippedDeletes int
	Stats          Stats
	Complete       bool // the session ran to its end on both sides
	ExitCode       int  // as rsync's (8.3): the server's, or by what happened
}

// Stats counts what a session did.
type Stats struct {
	Sent, Received   int64 // bytes on the connection, handshake included
	ListBytes        int64 // of Sent, the file list
	Files, FileBytes int64 // regular files sent, and their size
	Literal, Matched int64 // of FileBytes, what was sent and what the server had
	Deleted          DeleteStats
}

// DeleteStats counts deletions by type. Before protocol 31 the server does not tell types: Files counts all but Dirs.
type DeleteStats struct {
	Files, Dirs, Symlinks, Devices, Specials int64
}
