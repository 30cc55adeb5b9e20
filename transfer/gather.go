package transfer

import (
	"time"

	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/scan"
)

// With -H the names of an inode must come in one list to become one inode at the destination. So an entry with several
// names goes into no batch by itself: it joins a group, and all names of the group travel in one session as one group of
// the protocol, whatever directories they are in. The server links those that are not linked, and asks for the content
// of one name at most.
//
// Names come from listings, which goes on until all are there or the pass is over, and from the queue, in flight: these
// do not wait for what they know nothing of. The names that the index or the catalogue know besides are taken into flight
// to go along. One that can't be, because something is to be done there anyway, will bring the group together later:
// until then what was sent without it stays queued.

const (
	// gatherLinks is how long the names of an inode that changed wait for each other.
	gatherLinks = 10 * time.Millisecond
	// gatherAgain is how long names wait whose others could not come along.
	gatherAgain = 250 * time.Millisecond
)

// A gathering has the inodes of which names wait for others. Its owner is the engine's goroutine.
type gathering struct {
	groups map[link]*group
	ready  []*group // to be sent
	live   []*group // with a name in flight, the oldest first; some may be sent by now
	idle   int      // groups that are in neither
}

// A group is an inode and those of its names that are to be sent.
type group struct {
	at     link
	latest version
	nlink  uint64
	names  map[string]bool // in flight?
	trust  trust
	due    time.Time // of one in live
	queued bool      // in ready or live
	ready  bool
	waits  bool   // with names that are not in flight
	origin origin // of these
}

func newGathering() gathering { return gathering{groups: map[link]*group{}} }

// gathers reports whether an entry is sent with its other names.
func (e *Engine) gathers(c *child) bool {
	return e.session.HardLinks && !isDir(c.entry.Mode) && c.nlink > 1
}

// join takes a name into the group of its inode.
func (e *Engine) join(c *child, flying bool, now time.Time) {
	x := &e.gathering
	g := x.groups[c.link]
	if g == nil {
		g = &group{at: c.link, names: map[string]bool{}}
		x.groups[c.link] = g
		x.idle++
	}
	if g.nlink == 0 || c.version.Ctime >= g.latest.Ctime {
		g.latest, g.nlink = c.version, c.nlink
	}
	t := min(c.trust, bySum) // which is as sure as to send it
	if e.links.moved(c) {
		t = never
	}
	g.trust = max(g.trust, t)
	g.names[c.entry.Path] = g.names[c.entry.Path] || flying
	switch {
	case uint64(len(g.names)) >= g.nlink:
		x.send(g)
	case flying && !g.queued:
		g.queued, g.due = true, now.Add(gatherLinks)
		x.idle--
		x.live = append(x.live, g)
	}
}

func (x *gathering) send(g *group) {
	if g.ready {
		return
	}
	if !g.queued {
		x.idle--
	}
	g.queued, g.ready = true, true
	x.ready = append(x.ready, g)
}

// next is when a group becomes due; the zero time if none does.
func (x *gathering) next() time.Time {
	for _, g := range x.live {
		if !g.ready {
			return g.due
		}
	}
	return time.Time{}
}

// joinListed takes the entries of a listing whose inodes have names elsewhere out of it: they are sent by their groups.
// It reports whether there were any.
func (e *Engine) joinListed(l *listed) bool {
	if !e.session.HardLinks {
		return false
	}
	here := map[link]uint64{}
	for i := range l.children {
		if c := &l.children[i]; e.gathers(c) {
			here[c.link]++
		}
	}
	if len(here) == 0 {
		return false
	}
	whole := !e.following && e.fits(*l)
	var held []*child
	rest := make([]child, 0, len(l.children))
	for i := range l.children {
		c := &l.children[i]
		if e.links.moved(c) {
			c.trust = never
		}
		if !e.gathers(c) || whole && here[c.link] == c.nlink {
			rest = append(rest, *c)
			continue
		}
		held = append(held, c)
		if e.big(&c.entry) {
			l.big--
		}
	}
	e.expectLinks(held)
	from := e.originOf(l.path)
	for _, c := range held {
		e.join(c, false, time.Now())
		g := e.gathering.groups[c.link]
		g.origin.merge(from, !g.waits)
		g.waits = true
	}
	l.children = rest
	return len(held) > 0
}

// expectLinks has the catalogue doubt what the destination has at names that wait: their directories may be complete
// before.
func (e *Engine) expectLinks(held []*child) {
	e.ledger.ask(func(s *catalogue.Store) error {
		changes := make([]catalogue.Change, len(held))
		for i, c := range held {
			changes[i] = catalogue.MarkDoubt(c.entry.Path)
		}
		return s.Apply(changes...)
	})
}

// joinLooked takes a name that is in flight.
func (e *Engine) joinLooked(c *child, given *batch) {
	if given.check || given.live {
		c.trust = bySum
	}
	e.ledger.ask(func(s *catalogue.Store) error {
		r, _, err := s.Get(c.entry.Path)
		c.anew = e.wasOther(&r, &c.version)
		return err
	})
	e.join(c, true, time.Now())
}

// wasOther reports whether a name was another inode's when the destination last heard of it.
func (e *Engine) wasOther(r *catalogue.Record, v *version) bool {
	return e.session.HardLinks && isRegular(v.Mode) && r.Version.Ino != 0 && r.Version.Ino != v.Ino &&
		r.Version.Size == v.Size && r.Version.Mtime == v.Mtime
}

// nextGroups makes batches of groups that are due while a session is free for them.
func (e *Engine) nextGroups(now time.Time, noList bool) {
	x := &e.gathering
	for len(x.live) > 0 && (x.live[0].ready || !x.live[0].due.After(now)) {
		x.send(x.live[0])
		x.live = x.live[1:]
	}
	if x.idle > 0 && noList && e.queue.Trees() == 0 && e.listing == 0 {
		for _, g := range x.groups {
			x.send(g)
		}
	}
	if e.paused || len(e.ready[0]) > 0 || e.running[0]+e.running[1] >= e.sessions {
		return
	}
	var filling [trusts]*batch
	for len(x.ready) > 0 && len(e.ready[0]) < e.sessions {
		g := x.ready[0]
		x.ready = x.ready[1:]
		delete(x.groups, g.at)
		names, owed := e.assemble(g, now)
		if len(names) == 0 {
			continue
		}
		b := filling[g.trust]
		if b == nil {
			b = &batch{
				kind: copySmall, retry: true, acks: e.asks(now), group: true, check: g.trust == bySum, live: g.trust == never,
			}
			filling[g.trust] = b
		}
		for _, p := range names {
			b.paths = append(b.paths, queue.Item{Path: p})
			if owed {
				b.owe(p)
			}
		}
		if b.bytes += g.latest.Size; b.bytes >= maxBatchBytes || len(b.paths) >= e.cfg.tuning.entries {
			e.enqueue(b)
			filling[g.trust] = nil
		}
	}
	for _, b := range filling {
		if b != nil {
			e.enqueue(b)
		}
	}
}

// assemble takes all known names of a group into flight, and returns those that are; owed tells that others could not be.
func (e *Engine) assemble(g *group, now time.Time) (names []string, owed bool) {
	for p, flying := range g.names {
		if flying || e.queue.Pick(p, now) {
			names = append(names, p)
		} else {
			// What is in the way need not bring it: a directory being pruned, or one whose attributes are sent.
			e.queue.Add(queue.Item{Kind: queue.Path, Path: p}, now)
			owed = true
		}
		e.queue.Backdate(p, g.origin.since)
	}
	if len(names) == 0 {
		return nil, false
	}
	for _, p := range e.otherNames(g) {
		if e.queue.Pick(p, now) {
			names = append(names, p)
		} else {
			owed = true
		}
	}
	return names, owed
}

// otherNames returns the names of an inode that are known and not in the group.
func (e *Engine) otherNames(g *group) []string {
	var others []string
	l := e.links.inodes[g.at]
	seen := len(g.names)
	if l != nil {
		for p := range l.names {
			if _, ok := g.names[p]; ok {
				continue
			}
			if !e.isAt(p, g.at) {
				delete(l.names, p)
				continue
			}
			others = append(others, p)
			seen++
		}
	}
	if uint64(seen) >= g.nlink {
		return others
	}
	e.ledger.ask(func(s *catalogue.Store) error {
		paths, err := s.Paths(g.at.ino)
		for _, p := range paths {
			if _, ok := g.names[p]; ok || l != nil && l.has(p) || !e.isAt(p, g.at) {
				continue
			}
			others = append(others, p)
			if l != nil {
				l.names[p] = struct{}{}
			}
		}
		return err
	})
	return others
}

// owe notes that what is sent for p has to be sent again, with its other names.
func (b *batch) owe(p string) {
	if b.owes == nil {
		b.owes = map[string]struct{}{}
	}
	b.owes[p] = struct{}{}
}

// scopeOf returns the rules for a session of groups. Names may be under different ones; then nothing is deleted for them.
func (l *lookup) scopeOf(d *dir) *filter.Scope {
	var scope *filter.Scope
	if d != nil {
		scope = d.scope
	}
	if !l.given.group {
		return scope
	}
	if !l.scoped {
		l.scope, l.scoped = scope, true
	}
	if l.scope != scope {
		l.keeps = true
	}
	return l.scope
}

// changedLinks returns which entries of b are names of an inode that is not what it was: the server asks for the content
// of one name of a group, nobody looked at the others.
func (e *Engine) changedLinks(b *batch) map[int]bool {
	if e.following || e.session.DryRun {
		return nil // see stale
	}
	var changed map[int]bool
	lookups := e.cfg.Root.Lookups()
	defer lookups.Close()
	for i := range b.entries {
		if b.entries[i].Link == 0 || !b.about[i].primary {
			continue
		}
		found, err := lookups.Lookup(b.entries[i].Path, scan.Options{})
		if err == nil && versionOf(&found.Stat) == b.about[i].version {
			continue
		}
		if changed == nil {
			changed = map[int]bool{}
		}
		changed[i] = true
	}
	return changed
}
