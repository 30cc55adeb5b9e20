package queue

import "strings"

// A node stands for a path that is pending, in flight, locked, or on the way to one that is. The tree of nodes is the
// one index: what covers or overlaps an item is found on the way from it to the root, and what is below a node is
// counted in it, so that no question looks at more than one node for each directory in a path.
type node struct {
	up      *node
	path    string
	sub     *subtree // nil: nothing below
	busy    *flight  // nil: not in flight
	hold    *hold    // nil: never failed, not put off
	at      *node    // where is parked: the node that it waits for
	since   int64    // of the pending item: when it was first seen, unique
	changed uint64   // of the pending item: number of the last Add that it answers for
	pos     int32    // in its heap
	kind    Kind     // of the pending item
	where   where
	live    bool // the pending item is taken by Take; otherwise by TakePath
}

// where says what a node's pending item waits for.
type where uint8

const (
	nowhere  where = iota // nothing is pending at the node
	ready                 // to be taken
	waiting               // failed: for its time, in back-off
	deferred              // the same, to be taken by Take
	parked                // for what is in flight at another node, or at its own, to end
	unquiet               // for all that is in flight below it to end
)

// A flight is what is in flight at a node.
type flight struct {
	kind     Kind
	class    class
	since    int64  // of the item
	began    int64  // time of being taken
	seq      uint64 // number of the last Add before it was taken
	ageless  bool   // of the bulk pass
	fromLive bool   // of a live Tree: what it expands to goes before the bulk pass
	pass     bool   // of a Tree of everything
}

// locked is the kind of a flight that is no item: an exclusive lock.
const locked Kind = Tree + 1

// A class says how long a flight lasts and who should not be kept waiting for it, the quickest first.
type class uint8

const (
	live class = iota
	bulk
	slow
	classes
)

// A subtree is what a node knows of the nodes below it.
type subtree struct {
	few   []*node          // children while they are few
	many  map[string]*node // by name, once they are many
	busy  [classes]int32   // flights at any depth below
	kids  [classes]int32   // flights of direct children
	pend  int32            // pending items at any depth below
	paths int32            // pending Paths and Selfs of direct children
}

// A directory with more children than this gets a map.
const fewChildren = 8

func (n *node) name() string {
	if n.up.up == nil {
		return n.path
	}
	return n.path[len(n.up.path)+1:]
}

func (n *node) child(name string) *node {
	if n.sub == nil {
		return nil
	}
	if n.sub.many != nil {
		return n.sub.many[name]
	}
	for _, c := range n.sub.few {
		if c.name() == name {
			return c
		}
	}
	return nil
}

func (n *node) adopt(c *node) {
	if n.sub == nil {
		n.sub = &subtree{}
	}
	s := n.sub
	switch {
	case s.many != nil:
		s.many[c.name()] = c
	case len(s.few) < fewChildren:
		s.few = append(s.few, c)
	default:
		s.many = make(map[string]*node, 2*fewChildren)
		for _, old := range s.few {
			s.many[old.name()] = old
		}
		s.many[c.name()] = c
		s.few = nil
	}
}

func (n *node) disown(c *node) {
	s := n.sub
	if s.many != nil {
		delete(s.many, c.name())
		if len(s.many) == 0 {
			n.sub = nil
		}
		return
	}
	for i, k := range s.few {
		if k == c {
			last := len(s.few) - 1
			s.few[i] = s.few[last]
			s.few[last] = nil
			s.few = s.few[:last]
			break
		}
	}
	if len(s.few) == 0 {
		n.sub = nil
	}
}

// children calls f for each child, until f returns false. f must not change which children there are.
func (n *node) children(f func(*node) bool) {
	if n.sub == nil {
		return
	}
	for _, c := range n.sub.few {
		if !f(c) {
			return
		}
	}
	for _, c := range n.sub.many {
		if !f(c) {
			return
		}
	}
}

// walk calls f for every node below n that has something pending at it.
func (n *node) walk(f func(*node)) {
	n.children(func(c *node) bool {
		if c.where != nowhere {
			f(c)
		}
		if c.pendingBelow() > 0 {
			c.walk(f)
		}
		return true
	})
}

// covered returns the nodes below n whose pending items an item of kind k at n covers.
func (n *node) covered(k Kind) (found []*node) {
	switch {
	case k == Tree:
		n.walk(func(c *node) { found = append(found, c) })
	case k == Dir && n.sub != nil && n.sub.paths > 0:
		n.children(func(c *node) bool {
			if c.where != nowhere && c.kind <= Path {
				found = append(found, c)
			}
			return true
		})
	}
	return found
}

// find returns the node for p, or the one nearest above it that exists.
func (n *node) find(p string) (found *node, exact bool) {
	if p == "." {
		return n, true
	}
	for {
		name, rest, more := strings.Cut(p, "/")
		c := n.child(name)
		if c == nil {
			return n, false
		}
		if !more {
			return c, true
		}
		n, p = c, rest
	}
}

// lookup returns the node for p, or nil.
func (n *node) lookup(p string) *node {
	if f, exact := n.find(p); exact {
		return f
	}
	return nil
}

// reach returns the node for p, which it makes if need be, with those on the way.
func (n *node) reach(p string) *node {
	n, exact := n.find(p)
	if exact {
		return n
	}
	done := 0 // length of p that has nodes
	if n.up != nil {
		done = len(n.path) + 1
	}
	for done < len(p) {
		end := len(p)
		if i := strings.IndexByte(p[done:], '/'); i >= 0 {
			end = done + i
		}
		c := &node{up: n, path: p[:end]}
		n.adopt(c)
		n, done = c, end+1
	}
	return n
}

// trim removes n, and what leads only to it, once they stand for nothing.
func (n *node) trim() {
	for n.up != nil && n.sub == nil && n.busy == nil && n.hold == nil && n.where == nowhere {
		n.up.disown(n)
		n = n.up
	}
}

// flying returns how many flights of each class there are below n that overlap an item of kind k at n.
func (n *node) flying(k Kind) [classes]int32 {
	switch {
	case n.sub == nil || k == Self:
		return [classes]int32{}
	case k == Dir:
		return n.sub.kids
	}
	return n.sub.busy
}

// quiet reports whether nothing below n is in flight that overlaps an item of kind k at n.
func (n *node) quiet(k Kind) bool { return n.flying(k) == [classes]int32{} }

func (n *node) pendingBelow() int32 {
	if n.sub == nil {
		return 0
	}
	return n.sub.pend
}

// count adds by to what the nodes above n know of items pending below them.
func (n *node) count(by int32) {
	for a := n.up; a != nil; a = a.up {
		a.sub.pend += by
	}
	if n.kind <= Path && n.up != nil {
		n.up.sub.paths += by
	}
}

// fly adds by to what the nodes above n know of flights below them.
func (n *node) fly(c class, by int32) {
	for a := n.up; a != nil; a = a.up {
		a.sub.busy[c] += by
	}
	if n.up != nil {
		n.up.sub.kids[c] += by
	}
}

// active reports whether an item is pending at n that will be taken as soon as it may be: it answers for what it covers.
func (n *node) active() bool {
	return n.where != nowhere && n.live && n.where != deferred
}
