package scan

import (
	"context"
	"sync"
)

// walker holds the frontier of a walk: what is next to be listed, in the order in which it will be delivered. The
// frontier is a linked list of groups, the not yet taken child directories of one listed directory, and of nodes,
// directories being listed, each standing where its own children will go. So the workers always take the directory
// that is needed soonest, and there are never more nodes to step over than workers.
//
// Deadlock is impossible: the consumer lists the directory it needs by itself when no worker has taken it, and a
// worker that has may exceed the bound on memory.
type walker struct {
	ctx  context.Context
	root *Root
	WalkOptions
	first *group

	mu      sync.Mutex
	more    sync.Cond // workers wait here for work, room, or the end
	done    sync.Cond // the consumer waits here for the node it needs
	stopped bool      // the context is done
	held    int       // entries listed or being listed, and not delivered
	starved int       // workers that wait for room
	front   item      // ring: sentinel of the frontier
}

// item is a member of the frontier: exactly one of its pointers is set.
type item struct {
	prev, next *item
	group      *group
	node       *node
}

// group is the child directories of one directory. Its nodes are made when they are taken, for there may be millions.
type group struct {
	dir   string
	names []string // not yet taken
	ahead []*node  // taken by workers, not yet by the consumer
	item  item     // in the frontier while names is not empty
}

// node is one directory between being taken and being delivered.
type node struct {
	path    string
	item    item
	wanted  bool // the consumer needs it now: memory is no reason to wait
	parked  bool // its worker waits for room
	held    int  // its part of walker.held
	listing *Listing
	below   *group
	err     error // of the whole walk
	ready   bool
}

// listingCost is what a listing counts for beside its entries, so that millions of empty directories are bounded too.
const listingCost = 4 // entries

func newWalker(ctx context.Context, r *Root, o WalkOptions, start string) *walker {
	w := &walker{ctx: ctx, root: r, WalkOptions: o}
	w.more.L, w.done.L = &w.mu, &w.mu
	w.front.prev, w.front.next = &w.front, &w.front
	w.first = &group{names: []string{start}}
	w.first.item.group = w.first
	w.insert(&w.first.item, &w.front)
	return w
}

func (w *walker) insert(it, before *item) {
	it.prev, it.next = before.prev, before
	it.prev.next, before.prev = it, it
}

func (w *walker) remove(it *item) {
	it.prev.next, it.next.prev = it.next, it.prev
	it.prev, it.next = nil, nil
}

// take makes a node of the next name of g. The caller holds the lock.
func (w *walker) take(g *group) *node {
	n := &node{path: Join(g.dir, g.names[0])}
	n.item.node = n
	w.insert(&n.item, &g.item)
	if g.names = g.names[1:]; len(g.names) == 0 {
		g.names = nil
		w.remove(&g.item)
	}
	n.held = listingCost
	w.held += n.held
	return n
}

// work lists directories ahead of the consumer until the walk ends.
func (w *walker) work() {
	for {
		n := w.claim()
		if n == nil {
			return
		}
		w.list(n)
	}
}

// claim waits for a directory to list. It returns nil at the end of the walk.
func (w *walker) claim() *node {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if w.stopped || w.front.next == &w.front { // without groups and nodes, nothing more can come
			w.more.Broadcast()
			return nil
		}
		if w.held >= w.Prefetch {
			w.waitForRoom()
			continue
		}
		if g := w.soonest(); g != nil {
			n := w.take(g)
			g.ahead = append(g.ahead, n)
			return n
		}
		w.more.Wait()
	}
}

// soonest returns the group whose next directory will be delivered first of all that are not taken.
func (w *walker) soonest() *group {
	for it := w.front.next; it != &w.front; it = it.next {
		if it.group != nil {
			return it.group
		}
	}
	return nil
}

// waitForRoom waits until something has changed: the caller looks again.
func (w *walker) waitForRoom() {
	w.starved++
	w.more.Wait()
	w.starved--
}

// list reads the directory of n and puts its children in its place.
func (w *walker) list(n *node) {
	l, err := w.root.list(w.ctx, n.path, w.Options, nil, func(entries int) error { return w.reserve(n, entries) })
	var below *group
	if err == nil {
		if dirs := l.dirs(); dirs != nil {
			below = &group{dir: l.Dir, names: dirs}
			below.item.group = below
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		n.listing, n.below = l, below
	case w.ctx.Err() != nil:
		n.err = context.Cause(w.ctx)
	default:
		n.listing = &Listing{Dir: n.path, Err: err}
	}
	if below != nil {
		w.insert(&below.item, &n.item)
		w.more.Broadcast()
	}
	w.remove(&n.item)
	if w.front.next == &w.front {
		w.more.Broadcast()
	}
	n.ready = true
	if n.wanted {
		w.done.Signal()
	}
}

// reserve accounts for entries of n that are about to be held, and waits while there is no room for them.
func (w *walker) reserve(n *node, entries int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !n.wanted && !w.stopped && w.held+entries > w.Prefetch {
		n.parked = true
		w.waitForRoom()
	}
	n.parked = false
	if w.stopped {
		return context.Cause(w.ctx)
	}
	n.held += entries
	w.held += entries
	return nil
}

// next returns the next node of g in order, or nil at its end, and marks it as wanted. A node that no worker has taken
// is listed before next returns.
func (w *walker) next(g *group) *node {
	w.mu.Lock()
	if len(g.ahead) > 0 {
		n := g.ahead[0]
		g.ahead[0] = nil // or the slice would hold its listing
		g.ahead = g.ahead[1:]
		n.wanted = true
		if n.parked {
			w.more.Broadcast()
		}
		w.mu.Unlock()
		return n
	}
	if len(g.names) == 0 {
		w.mu.Unlock()
		return nil
	}
	n := w.take(g)
	n.wanted = true
	w.mu.Unlock()
	w.list(n)
	return n
}

// await waits for n and takes over its listing.
func (w *walker) await(n *node) (*Listing, *group, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !n.ready && !w.stopped {
		w.done.Wait()
	}
	if w.ctx.Err() != nil {
		return nil, nil, context.Cause(w.ctx)
	}
	if n.err != nil {
		return nil, nil, n.err
	}
	w.held -= n.held
	if w.starved > 0 && w.held <= w.Prefetch/2 { // not for every directory: waking workers costs more than listing one
		w.more.Broadcast()
	}
	return n.listing, n.below, nil
}

// stop ends the waiting of everyone. The context must have been cancelled.
func (w *walker) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.more.Broadcast()
	w.done.Broadcast()
}
