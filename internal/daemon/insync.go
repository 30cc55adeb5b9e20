package daemon

import (
	"time"

	"github.com/syncd/syncd/transfer"
)

// mostMarks bounds how many looks are remembered while something old is left to do; from then on every other one is.
const mostMarks = 128

// inSync knows the moment before which every change is at the destination, as far as looks have shown it. The queue knows
// only when it was told of a change, which may be much later than the change: so each look remembers up to when changes
// had been told by then. The zero value knows of no such moment.
type inSync struct {
	upTo  time.Time
	marks []mark // the oldest first
}

// A mark says that every change before told was in the queue at that time, or done.
type mark struct{ at, told time.Time }

// look takes what was told, the state of the engine after that, and the time after both. While ageless is set the engine
// also does what has no age in its queue.
func (s *inSync) look(told time.Time, snap *transfer.Snapshot, ageless bool, now time.Time) {
	if told.IsZero() || ageless || snap.Held != nil || !snap.Undeleted.IsZero() {
		s.marks = nil
		return
	}
	s.marks = append(s.marks, mark{now, told})
	n := 0 // marks of which nothing is left to do
	for n < len(s.marks) && (snap.Oldest.IsZero() || s.marks[n].at.Before(snap.Oldest)) {
		if t := s.marks[n].told; t.After(s.upTo) {
			s.upTo = t
		}
		n++
	}
	s.marks = s.marks[n:]
	if len(s.marks) > mostMarks {
		kept := s.marks[:0]
		for i := 0; i < len(s.marks); i += 2 {
			kept = append(kept, s.marks[i])
		}
		s.marks = kept
	}
}

// inSyncUpTo is the moment before which every change is at the destination. told is Stats.UpTo of before snap.
func (p *present) inSyncUpTo(told time.Time, snap *transfer.Snapshot) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	// What a pass still has to do is of before it was told of, if events told, and else of after the last pass.
	ageless := snap.Passing && p.watch != nil && !p.watch.scans()
	p.inSync.look(told, snap, ageless, time.Now())
	return p.inSync.upTo
}
