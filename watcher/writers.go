package watcher

import (
	"container/heap"
	"time"
)

const (
	// firstProbe is how long the close of a new or changed file is waited for before it is looked at whether anybody has it
	// open: most writers are done by then, and looking costs a lease that a program opening the file would run into.
	firstProbe  = 5 * time.Millisecond
	secondProbe = 10 * time.Millisecond // doubled with each further one
	maxProbe    = time.Second
	idleProbe   = time.Minute // most, for files that have been reported although somebody has them open

	// quiet is how long a file must not have changed if it cannot be found out whether it is open.
	quiet = 50 * time.Millisecond

	maxWriting = 1 << 16 // files held back; above it changes are reported at once
)

// A fileKey names a file by its directory.
type fileKey struct {
	dir  *node
	name string
}

// A written is a file whose change has not been reported, because it may be open for writing.
type written struct {
	fileKey
	since    time.Time // when the first unreported change was read of
	after    time.Time // that change happened later
	last     time.Time // last change
	wait     time.Duration
	due      time.Time // of the next probe
	created  bool
	reported bool // MaxDelay has passed: only the end is waited for
}

// A verdict is what a probe found out.
type verdict uint8

const (
	idle    verdict = iota // nobody has it open for writing, or it is no regular file
	busy                   // somebody has
	unclear                // it cannot be found out
	gone                   // there is nothing of this name
)

// writers has the files that may be open for writing. One IN_CLOSE_WRITE ends the wait of most. The probes are for what
// never gives one under that name: links, special files, truncate(2), a file linked into the tree while it is open, and
// for writers that do not close. It has no lock.
type writers struct {
	files    map[fileKey]*written
	byDue    dueHeap // with some that are not in files any more
	maxDelay time.Duration
}

// changed notes a change that happened later than after. It returns false when there is no room to hold it back.
func (s *writers) changed(dir *node, name []byte, now, after time.Time, created bool) bool {
	if f := s.files[fileKey{dir, string(name)}]; f != nil {
		if f.reported {
			f.since, f.after, f.reported = now, after, false
			f.wait = 0
			s.schedule(f, now)
		}
		f.last = now
		return true
	}
	if len(s.files) >= maxWriting {
		return false
	}
	f := &written{fileKey: fileKey{dir, string(name)}, since: now, after: after, last: now, created: created}
	s.files[f.fileKey] = f
	s.schedule(f, now)
	return true
}

// schedule sets the time of the next probe. A heap entry that was there before stays and is recognised by its time.
func (s *writers) schedule(f *written, now time.Time) {
	switch limit := maxProbe; {
	case f.wait == 0:
		f.wait = firstProbe
	case f.wait == firstProbe:
		f.wait = secondProbe
	default:
		if f.reported {
			limit = idleProbe
		}
		f.wait = min(f.wait*2, limit)
	}
	s.at(f, now.Add(f.wait))
}

func (s *writers) at(f *written, due time.Time) {
	if end := f.since.Add(s.maxDelay); !f.reported && due.After(end) {
		due = end
	}
	f.due = due
	heap.Push(&s.byDue, dueFile{due, f})
}

// next returns the time of the next probe; the zero time if there is none.
func (s *writers) next() time.Time {
	for len(s.byDue) > 0 {
		if s.current(s.byDue[0]) {
			return s.byDue[0].due
		}
		heap.Pop(&s.byDue)
	}
	return time.Time{}
}

func (s *writers) current(d dueFile) bool { return d.due.Equal(d.f.due) && s.files[d.f.fileKey] == d.f }

// take appends up to limit files whose time has come to fs. Each must be given to probed.
func (s *writers) take(now time.Time, limit int, fs []*written) []*written {
	for len(s.byDue) > 0 && len(fs) < limit && !s.byDue[0].due.After(now) {
		d := heap.Pop(&s.byDue).(dueFile)
		if s.current(d) {
			fs = append(fs, d.f)
		}
	}
	return fs
}

// probed takes in what a probe found. It returns true when the change is to be reported now.
func (s *writers) probed(f *written, v verdict, now time.Time) bool {
	if s.files[f.fileKey] != f || f.due.After(now) {
		return false // reported meanwhile, or changed again
	}
	late := !f.reported && now.Sub(f.since) >= s.maxDelay
	switch {
	case v == idle, v == unclear && (late || now.Sub(f.last) >= quiet), v == gone && (late || f.reported):
		delete(s.files, f.fileKey)
		return true
	case v == unclear:
		s.at(f, f.last.Add(quiet))
		return false
	case late && !f.created:
		// It is open under this name, so the next change and the close will be told.
		delete(s.files, f.fileKey)
		return true
	case late:
		// It may be open under another name only (O_TMPFILE, a hard link), whose events say nothing of this one.
		f.reported = true
	}
	s.schedule(f, now)
	return late
}

type dueFile struct {
	due time.Time
	f   *written
}

type dueHeap []dueFile

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)        { *h = append(*h, x.(dueFile)) }
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = dueFile{}
	*h = (*h)[:last]
	return d
}
