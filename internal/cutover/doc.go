// Package cutover moves a service from the source to the destination within
// seconds, with proof that both trees are equal, or leaves everything as it was.
//
//	live -> draining -> frozen -> settling -> verifying -> going -> done
//	           ^           | any failure, or the freeze budget is spent
//	           +-----------+ thaw hook, back to live
//
// Run is the state machine (design.md, section 8). It touches no file and no
// network: all it knows and does goes through a World. What it promises, whatever
// the World does, hangs in or fails with:
//
//   - The thaw hook runs once if the freeze hook was started and the cutover did
//     not end in done, and never otherwise; also if the operator has gone.
//   - The one exception is asked for: a go hook that ends with StayFrozen.
//   - Done means: after the freeze hook had returned, all changes were sent, the
//     comparison was complete and found no difference, nothing was written and
//     nobody held a file open for writing up to the start of the go hook.
//   - From the start of the freeze hook to that of the thaw hook no more time
//     passes than the budget and, if a hook has to be killed, HookGrace.
//
// # The go hook
//
// It starts what may not run twice, so it is the point of no return: while it
// runs, neither ^C nor a lost connection end it, only its own time limit does. If
// it fails, the source is thawed and followed again: a frozen source is an outage
// now, and syncd cannot know more than the hook. The hook therefore has to take
// back what it did before it fails, or do last what cannot be taken back. One that
// finds itself half over, with a service that may be writing at the destination,
// ends with status StayFrozen: then nothing is thawed and nothing is sent any more,
// and the report says that people have to decide.
package cutover

import "time"

// StayFrozen is the exit status (EX_TEMPFAIL of sysexits.h) by which a go hook
// says: not done, and the source must not be thawed.
const StayFrozen = 75

// HookGrace is how long a hook that is told to end may take before it is no longer
// waited for. World.Hook must have killed it by then.
const HookGrace = 3 * time.Second

const (
	// How often the backlog is looked at, and the operator told how it goes.
	interval = time.Second

	// A backlog is nearly empty if it is sent within about a second of the freeze:
	// less than what one round of sessions carries.
	fewPaths = 256
	fewBytes = 16 << 20

	// A backlog that has not become smaller for so long is as small as the writers
	// let it be.
	levelTime = 10 * time.Second

	// To take back what concerns syncd alone, after the thaw.
	cleanupTimeout = 10 * time.Second
)

// The limits of a Plan that names none.
const (
	DefaultBudget      = 60 * time.Second
	DefaultGoTimeout   = 10 * time.Second
	DefaultThawTimeout = 60 * time.Second
)
