package cutover

import (
	"context"
	"time"
)

// A World is what is cut over: the source, the destination and what runs between
// them. Methods are called one at a time, but one whose ctx has ended is no longer
// waited for: it must return soon, and may not change anything afterwards.
type World interface {
	// Backlog is what the destination does not have now.
	Backlog(ctx context.Context) (Backlog, error)

	// Drain(true) lets live changes go first and everything rest that the cutover
	// does not need: audit, repeated passes. The first pass goes on. Drain(false)
	// takes it back; also after a Drain(true) that failed.
	Drain(ctx context.Context, on bool) error

	// Sync returns when all that was written at the source before the call has been
	// read from the kernel and queued. What Writes returns begins with its return.
	Sync(ctx context.Context) error

	// Settle compares the metadata of the whole source with what is known to be at
	// the destination, sends what differs, and returns when that and all that was
	// queued by the end of the comparison is acknowledged or has failed.
	Settle(ctx context.Context) (Settled, error)

	// Verify compares both sides by checksum, without changing anything. A path that
	// changed at the source since its comparison began is counted as Changed and is
	// no difference.
	Verify(ctx context.Context, scope Scope) (Verified, error)

	// Writes are the paths written at the source since the last Sync returned, up to
	// the call: it reads the kernel's queue to the end, as Sync does. Where the kernel
	// does not tell, Unseen says so, and Settle alone has found what was written before.
	Writes(ctx context.Context) (Writes, error)

	// Writers are the processes that have a file of the source open for writing.
	Writers(ctx context.Context) (Writers, error)

	// Hold(true) returns when nothing is being sent, and nothing is sent from then on
	// until Hold(false): what the go hook starts owns the destination, and may write
	// back into the source. It holds for ever after a cutover that is done.
	Hold(ctx context.Context, on bool) error

	// Hook runs a command with env (NAME=VALUE) beside the usual environment. It
	// returns the exit status, or -1 if there is none, and the end of the output. The
	// error is nil only for status 0. When ctx ends, the command and its children are
	// gone within HookGrace.
	Hook(ctx context.Context, hook Hook, command string, env []string) (exit int, output string, err error)

	// Save keeps a report for whoever looks at it later, replacing the one before.
	Save(ctx context.Context, r *Report) error
}

// A Hook is one of the operator's three commands.
type Hook string

// The hooks.
const (
	FreezeHook Hook = "freeze" // stops what writes at the source
	GoHook     Hook = "go"     // starts it at the destination
	ThawHook   Hook = "thaw"   // starts it at the source again
)

// A Scope says what is compared by checksum during the freeze.
type Scope string

// The scopes.
const (
	Changed Scope = "changed" // files not proven equal since their last change
	All     Scope = "all"     // all files
)

// A Backlog is what the destination does not have.
type Backlog struct {
	Paths  int64         `json:"paths"`
	Bytes  int64         `json:"bytes"`
	Oldest time.Duration `json:"-"` // age of what waits longest

	// Blocked is why it cannot become empty by itself, one reason a line: the first
	// pass runs, paths fail, deletions are held, an operator paused it.
	Blocked []string `json:"blocked,omitempty"`

	// Freeze is how long a freeze that began now would take by the speeds seen
	// lately: the rest, the settling pass, the verification. 0: not known.
	Freeze time.Duration `json:"-"`
}

// Settled is what the settling pass found.
type Settled struct {
	Entries int64     `json:"entries"` // compared
	Sent    int64     `json:"sent"`    // entries that differed and were sent or deleted
	Bytes   int64     `json:"bytes"`   // of file data sent
	Failed  []Problem `json:"failed,omitempty"`
	Failing int64     `json:"failing"` // all that failed; Failed has the first of them
	// Catalogue says that they were compared with what the destination is known to have, and not with what it said now.
	Catalogue bool `json:"catalogue"`
	// Lost is what the destination does not keep, in words: a report that says "equal" is but for that.
	Lost []string `json:"lost,omitempty"`
}

// Verified is what the verification found. Only Complete says that there is no more.
type Verified struct {
	Complete bool   `json:"complete"`
	Files    int64  `json:"files"`  // compared by checksum now
	Bytes    int64  `json:"bytes"`  // in them
	Digest   string `json:"digest"` // such as xxh128
	Proven   int64  `json:"proven"` // files proven equal earlier and not changed since
	// Oldest is when the proof of these was made that is the oldest; zero: there is none.
	Oldest   time.Time `json:"oldest_proof,omitzero"`
	Surveyed time.Time `json:"surveyed,omitzero"` // when names and attributes of everything were compared last, if earlier
	Entries  int64     `json:"entries"`           // entries of which the metadata was compared

	Different   int64     `json:"different"`
	Differences []Problem `json:"differences,omitempty"` // the first of them
	Skipped     int64     `json:"uncompared"`
	Uncompared  []Problem `json:"uncompared_paths,omitempty"` // the first of them
	Changed     int64     `json:"changed"`                    // at the source, while they were compared
}

// A Problem is a path and what is wrong with it.
type Problem struct {
	Path
	What string `json:"what"`
}

// Writes are paths that were written.
type Writes struct {
	Total int64  `json:"total"`
	First []Path `json:"first,omitempty"`
	// Unseen is why there may be more of which nobody was told; "": there are none.
	Unseen string `json:"unseen,omitempty"`
}

// Writers are processes that may still write.
type Writers struct {
	Processes []Writer `json:"processes,omitempty"`
	Unseen    int      `json:"unseen,omitempty"` // processes that could not be looked at
}

// A Writer is a process with files of the source open for writing.
type Writer struct {
	PID     int    `json:"pid"`
	Command string `json:"command"`
	Files   []Path `json:"files"` // some of them
}
