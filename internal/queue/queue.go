// Package queue holds the statements "make the destination equal to the source at X" that are not yet acknowledged.
//
// A full copy is the single item Tree("."). It is expanded lazily: a Tree that is taken and listed becomes Dir, which
// stays in flight until everything in it is acknowledged, and one pending Tree for each child directory. Expansion is
// depth first, so a pass over a hundred million files holds the unvisited siblings along one path, not the tree.
//
// A path that failed comes back as Path with a due time that grows with each attempt, and with the reason of its last
// failure.
//
// A Queue has no lock: one goroutine owns it.
package queue

import (
	"path"
	"strings"
	"time"
)

// A Kind says how much below its path an item covers.
type Kind uint8

// The kinds of items, from the narrowest to the widest.
const (
	// Path is the entry alone; of a directory its attributes, not its contents. Gone at the source means: to be
	// deleted at the destination.
	Path Kind = iota
	// Dir is a directory and its direct children.
	Dir
	// Tree is a directory and everything below it.
	Tree
)

// String returns the name that design.md uses.
func (k Kind) String() string {
	return [...]string{"Path", "Dir", "Tree"}[k]
}

// An Item is one statement. Its path is relative to the source root, "." being the root.
type Item struct {
	Kind Kind
	Path string
}

// Covers reports whether making i true makes j true as well.
func (i Item) Covers(j Item) bool {
	switch i.Kind {
	case Tree:
		return i.Path == "." || j.Path == i.Path || strings.HasPrefix(j.Path, i.Path+"/")
	case Dir:
		return j.Kind != Tree && j.Path == i.Path || j.Kind == Path && path.Dir(j.Path) == i.Path && j.Path != "."
	default:
		return i == j
	}
}

// A Task is an item taken from the queue, with what its owner remembered about the directory it was found in.
type Task[C any] struct {
	Item
	Parent C
}

// A Queue is made by New. Its type parameter is what the owner wants to have at hand of a directory when one of the
// directory's children is taken.
type Queue[C any] struct {
	backoff  Backoff
	stack    []frame[C] // Trees, the next one last
	trees    int        // names in stack
	waiting  waitList
	inFlight map[string]Kind
}

// A frame holds the child directories of one directory that are still to be visited. Keeping names instead of items
// is what makes a directory with a million subdirectories affordable.
type frame[C any] struct {
	parent C
	dir    string
	names  []string
}

// New returns an empty queue that spaces failed attempts by b.
func New[C any](b Backoff) *Queue[C] {
	return &Queue[C]{backoff: b, waiting: waitList{index: map[string]*waiter{}}, inFlight: map[string]Kind{}}
}

// AddTree queues everything at and below p.
func (q *Queue[C]) AddTree(p string, parent C) {
	q.push(frame[C]{parent: parent, dir: path.Dir(p), names: []string{path.Base(p)}})
}

func (q *Queue[C]) push(f frame[C]) {
	if len(f.names) > 0 {
		q.stack = append(q.stack, f)
		q.trees += len(f.names)
	}
}

// TakeTree puts the next Tree, depth first, in flight and returns it; false if none is pending.
func (q *Queue[C]) TakeTree() (Task[C], bool) {
	if len(q.stack) == 0 {
		return Task[C]{}, false
	}
	f := &q.stack[len(q.stack)-1]
	t := Task[C]{Item: Item{Tree, Join(f.dir, f.names[0])}, Parent: f.parent}
	f.names = f.names[1:]
	q.trees--
	if len(f.names) == 0 {
		q.stack[len(q.stack)-1] = frame[C]{}
		q.stack = q.stack[:len(q.stack)-1]
	}
	q.inFlight[t.Path] = Tree
	return t, true
}

// TakePath puts the next path whose back-off has passed, and that nothing in flight covers, in flight and returns it.
func (q *Queue[C]) TakePath(now time.Time) (string, bool) {
	p, ok := q.waiting.due(now, q.free)
	if ok {
		q.inFlight[p] = Path
	}
	return p, ok
}

// free reports whether nothing in flight covers p.
func (q *Queue[C]) free(p string) bool {
	if _, busy := q.inFlight[p]; busy {
		return false
	}
	k, busy := q.inFlight[path.Dir(p)]
	return !busy || k == Path
}

// Expand replaces the Tree at p, which is in flight, by Dir(p), which now is, and a pending Tree for each named child,
// visited in the order given. parent is handed out with each of them.
func (q *Queue[C]) Expand(p string, parent C, children []string) {
	q.inFlight[p] = Dir
	q.push(frame[C]{parent: parent, dir: p, names: children})
}

// Done takes the item at p out of flight: it is acknowledged, or given up. With a Path its record of failures goes;
// that of a Dir's own entry stays, because it is a Path of its own that waits for the Dir to end.
func (q *Queue[C]) Done(p string) {
	if q.inFlight[p] == Path {
		q.waiting.forget(p)
	}
	delete(q.inFlight, p)
}

// Retry queues Path(p) again for a time that its record of failures tells. It returns the number of failures so far,
// this one included. An item in flight at p itself ends; one that covers p stays, and holds the path back.
func (q *Queue[C]) Retry(p string, reason error, now time.Time) int {
	if q.inFlight[p] == Path {
		delete(q.inFlight, p)
	}
	return q.waiting.add(p, reason, now, q.backoff)
}

// Failures returns how often p failed since it was last done, and why the last time.
func (q *Queue[C]) Failures(p string) (int, error) {
	if w := q.waiting.index[p]; w != nil {
		return w.failures, w.reason
	}
	return 0, nil
}

// NextDue returns when the earliest waiting path becomes due; false if none waits.
func (q *Queue[C]) NextDue() (time.Time, bool) { return q.waiting.next() }

// Trees returns the number of directories known and not yet visited.
func (q *Queue[C]) Trees() int { return q.trees }

// Waiting returns the number of paths that wait for another attempt.
func (q *Queue[C]) Waiting() int { return q.waiting.len() }

// Empty reports whether nothing is pending and nothing in flight.
func (q *Queue[C]) Empty() bool { return q.trees == 0 && q.Waiting() == 0 && len(q.inFlight) == 0 }

// Join joins a directory and a name of an item.
func Join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}
