package catalogue

import "fmt"

type op uint8

const (
	opDoubt op = iota
	opPut
	opVerified
	opComplete
	opForget
	opMoved
)

// A Change is one step of Apply. The zero Change is not valid.
type Change struct {
	op       op
	path, to string
	record   Record // put: state and version; verified: version, time and digest
	on       bool   // complete: the mark
	clear    bool   // put: something that is no directory takes the place of one, so what is below goes first
}

// MarkDoubt says that the destination may hold something at path from now on: a record becomes Doubt and keeps its
// version, and a name without one gets one. To be applied before path is sent.
func MarkDoubt(path string) Change { return Change{op: opDoubt, path: path} }

// Put says that the destination acknowledged version v at path. racy says that v was read within a clock tick of its
// times. What was verified before is not any more. Where v is no directory and the record was one, what is below it is
// forgotten.
func Put(path string, v Version, racy bool) Change {
	state := Known
	if racy {
		state = Racy
	}
	return Change{op: opPut, path: path, record: Record{State: state, Version: v}}
}

// Verified says that in a comparison that began at time at (seconds since the epoch), the destination's content was found
// equal to that of v, whose digest is given. It changes nothing unless the record is of just this version and not Doubt.
// A Racy record becomes Known by it if at is at least two seconds past the version's ctime; before that, it changes
// nothing either.
func Verified(path string, v Version, at int64, digest [16]byte, sum Sum) Change {
	return Change{op: opVerified, path: path, record: Record{Version: v, Verified: at, Digest: digest, Sum: sum}}
}

// Forget says that the destination holds nothing at path: its record and everything below go, marks too.
func Forget(path string) Change { return Change{op: opForget, path: path} }

// Complete sets or takes the mark that every name which may exist at the destination in dir has a record.
func Complete(dir string, on bool) Change { return Change{op: opComplete, path: dir, on: on} }

// Moved says that the destination renamed from to to: the records of from and everything below it, and their marks, are
// found at to. What was at to before is forgotten. Where from has no record, to gets Doubt. Neither may be the root
// or below the other.
//
// With some thousands of records below from, it is done in several steps: Apply is not atomic then. After each step, what is
// recorded is true: a kill in between leaves to in Doubt and its directories incomplete.
func Moved(from, to string) Change { return Change{op: opMoved, path: from, to: to} }

// check finds changes that cannot be applied: mistakes of the caller.
func (c *Change) check() error {
	if err := checkPath(c.path); err != nil {
		return err
	}
	if c.op != opMoved {
		return nil
	}
	if err := checkPath(c.to); err != nil {
		return err
	}
	if c.path == "." || c.to == "." || within(c.path, c.to) || within(c.to, c.path) {
		return fmt.Errorf("catalogue: %q cannot be moved to %q", c.path, c.to)
	}
	return nil
}

// within tells whether path is dir or below it.
func within(path, dir string) bool {
	return len(path) >= len(dir) && path[:len(dir)] == dir && (len(path) == len(dir) || path[len(dir)] == '/')
}

// structural tells whether c is about more than one key.
func (c *Change) structural() bool { return c.op == opForget || c.op == opMoved || c.clear }

// appendKey appends the key that c is about, unless it is structural.
func (c *Change) appendKey(dst []byte) []byte {
	if c.op == opComplete {
		return appendMark(dst, c.path)
	}
	return appendKey(dst, c.path)
}

// racyWindow is how long after its ctime a version's numbers may still stand for other content: more than the clock
// tick of any file system.
const racyWindow = 2e9 // ns

// apply makes a change of a single record. exists tells whether there was one, and the result whether there is now.
func (c *Change) apply(r *Record, exists bool) bool {
	switch c.op {
	case opDoubt:
		*r = Record{State: Doubt, Version: r.Version}
		return true
	case opPut:
		*r = c.record
		return true
	case opVerified:
		if !exists || r.State == Doubt || r.Version != c.record.Version {
			return exists
		}
		if r.State == Racy && c.record.Verified*1e9 < r.Version.Ctime+racyWindow {
			return true
		}
		r.State = Known
		r.Verified, r.Digest, r.Sum = c.record.Verified, c.record.Digest, c.record.Sum
	}
	return exists
}
