package transfer

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/scan"
)

// A linkIndex knows the names of inodes that have several. The kernel reports a change by the name that was used; the
// others are as stale at the destination. It costs memory for such inodes only, and its names may be out of date: an
// item too many does no harm.
//
// A name that was looked at while its inode had no other is not in it: it is hidden when another one comes. Where the
// index has fewer names than the inode, they are searched for, once: whatever name comes later is told by an event.
type linkIndex struct {
	inodes map[link]*linked
	hidden map[link]struct{} // fewer names than the inode has, and never searched for
	sent   map[string]uint64 // with -H, by name: the inode that the destination may have it linked to others as
	live   bool              // one of them was seen to change

	searching bool
	after     time.Time              // no search sooner
	searches  chan map[link]struct{} // to the searcher, with room for the only one
}

type linked struct {
	ctime    int64  // of the state whose change all names know of, nanoseconds
	nlink    uint64 // in that state
	names    map[string]struct{}
	searched bool
}

func newLinkIndex() linkIndex {
	return linkIndex{
		inodes: map[link]*linked{}, hidden: map[link]struct{}{}, sent: map[string]uint64{},
		searches: make(chan map[link]struct{}, 1),
	}
}

// see notes that c is a name of its inode; live tells that it changed, and was not just listed. It returns the names
// that are not known to be looked at in the inode's newest state. Which names are its is asked of still.
//
// The looks are not told in the order in which they were taken: a batch tells of its own when its session is over.
func (x *linkIndex) see(c *child, live bool, still func(name string) bool) []string {
	l := x.inodes[c.link]
	if c.nlink < 2 && l == nil || isDir(c.entry.Mode) {
		return nil
	}
	ctime := c.version.Ctime
	if l == nil {
		l = &linked{ctime: ctime, nlink: c.nlink, names: map[string]struct{}{}}
		x.inodes[c.link] = l
	}
	l.names[c.entry.Path] = struct{}{}
	was, had := l.ctime, l.nlink
	l.ctime, l.nlink = ctime, c.nlink
	switch {
	case ctime < was || ctime == was && c.nlink != had:
		// Either another name was seen in a newer state, and this look at it is stale; or the clock was set back, and
		// this state is the newest. In both cases another look at all of them tells.
		return slices.Collect(maps.Keys(l.names))
	case c.nlink < 2:
		delete(x.inodes, c.link) // its other names are gone, and told so by events of their own
		delete(x.hidden, c.link)
		return nil
	case ctime == was:
		x.hide(c, l, live)
		return nil
	}
	l.keep(still)
	x.hide(c, l, live)
	return l.others(c.entry.Path)
}

// keep forgets the names that are another inode's now. This one may be a new one, of the same number.
func (l *linked) keep(still func(name string) bool) {
	for name := range l.names {
		if !still(name) {
			delete(l.names, name)
			l.searched = false
		}
	}
}

// hide notes whether names are missing.
func (x *linkIndex) hide(c *child, l *linked, live bool) {
	if l.searched || uint64(len(l.names)) >= c.nlink {
		delete(x.hidden, c.link)
		return
	}
	x.hidden[c.link] = struct{}{}
	x.live = x.live || live
}

func (l *linked) has(name string) bool {
	_, ok := l.names[name]
	return ok
}

// moved reports whether a name may be, at the destination, one of another inode than it is here: if its content happens to
// be the same it must be written all the same, to be one of no other any more.
func (x *linkIndex) moved(c *child) bool {
	was, ok := x.sent[c.entry.Path]
	return c.anew || ok && was != c.version.Ino
}

// settled notes what became of entry i of b.
func (x *linkIndex) settled(b *batch, i int, acked bool) {
	p := b.entries[i].Path
	switch {
	case b.entries[i].Link != 0:
		x.sent[p] = b.about[i].version.Ino
	case acked && len(x.sent) > 0:
		delete(x.sent, p)
	}
}

func (l *linked) others(than string) []string {
	return slices.DeleteFunc(slices.Collect(maps.Keys(l.names)), func(name string) bool { return name == than })
}

// has reports whether c is known to be a name of its inode.
func (x *linkIndex) has(c *child) bool {
	l := x.inodes[c.link]
	return l != nil && l.has(c.entry.Path)
}

// knows reports whether an inode has, or had until it was seen last, several names.
func (x *linkIndex) knows(l link) bool { return x.inodes[l] != nil }

// seeLinks queues the other names of what changed, unless they are sent together. Of what a session took along with all
// its names that were known, sent tells: a name that comes up by it was not among them, and goes again with the others.
func (e *Engine) seeLinks(children []child, live, sent bool) {
	if !e.following && !e.session.HardLinks {
		return
	}
	for i := range children {
		c := &children[i]
		unknown := !e.links.has(c)
		again := e.links.see(c, live, func(name string) bool { return e.isAt(name, c.link) })
		if e.gathers(c) {
			if again = nil; sent && unknown {
				again = []string{c.entry.Path}
			}
		}
		for _, name := range again {
			e.queue.Add(queue.Item{Kind: queue.Path, Path: name}, time.Now())
		}
	}
}

// isAt reports whether p is a name of an inode now.
func (e *Engine) isAt(p string, at link) bool {
	st, _, err := e.cfg.Root.Stat(p)
	return err == nil && link{st.Dev, st.Ino} == at
}

// A search for hidden names reads the names of the whole tree. It takes no more than this part of the time, and no
// search begins sooner after the last one.
const (
	searchShare = 10
	searchPause = time.Second
)

// searchable reports whether names are to be searched for. While the pass has not been everywhere, it brings most of
// them along.
func (e *Engine) searchable() bool {
	passing := e.queue.Trees() > 0 || e.listing > 0
	return e.following && len(e.links.hidden) > 0 && !e.links.searching && !e.paused && (e.links.live || !passing)
}

// nextSearch has names searched for.
func (e *Engine) nextSearch(now time.Time) {
	if !e.searchable() || now.Before(e.links.after) {
		return
	}
	e.links.searching = true
	e.links.searches <- e.links.hidden
	e.links.hidden, e.links.live = map[link]struct{}{}, false
}

// searcher searches until ctx ends.
func (e *Engine) searcher(ctx context.Context) error {
	for {
		select {
		case inodes := <-e.links.searches:
			e.search(ctx, inodes)
		case <-ctx.Done():
			return nil
		}
	}
}

// search looks for all names of inodes.
func (e *Engine) search(ctx context.Context, inodes map[link]struct{}) {
	began := time.Now()
	numbers := make(map[uint64]struct{}, len(inodes))
	for l := range inodes {
		numbers[l.ino] = struct{}{}
	}
	names := map[link][]string{}
	opts := scan.Options{OneFileSystem: e.cfg.OneFileSystem}
	if scope := e.rootScope.Load(); scope != nil && !e.cfg.Filter.HasMerge() {
		opts.Skip = scope.Skip
	}
	err := e.cfg.Root.Find(ctx, opts, numbers, func(p string) {
		st, _, err := e.cfg.Root.Stat(p)
		if at := (link{st.Dev, st.Ino}); err == nil && !isDir(st.Mode) {
			names[at] = append(names[at], p)
		}
	})
	e.ask(ctx, func() {
		e.links.searching = false
		e.links.after = time.Now().Add(max(searchPause, searchShare*time.Since(began)))
		if err == nil {
			e.foundNames(inodes, names)
		}
	})
}

// foundNames takes the names that a search found: those that were hidden may be stale.
func (e *Engine) foundNames(inodes map[link]struct{}, names map[link][]string) {
	for at := range inodes {
		l := e.links.inodes[at]
		if l == nil {
			continue
		}
		l.searched = true
		for _, p := range names[at] {
			if _, known := l.names[p]; !known {
				l.names[p] = struct{}{}
				e.queue.Add(queue.Item{Kind: queue.Path, Path: p}, time.Now())
			}
		}
	}
}
