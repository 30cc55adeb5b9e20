package queue

import (
	"errors"
	"math"
	"path"
	"slices"
	"time"
)

// step makes one random move.
func (m *model) step() {
	switch m.next(24) {
	case 23:
		m.takeOver()
	case 22:
		m.press()
	case 21:
		m.pick()
	case 20:
		m.seize()
	case 0, 1, 2, 3, 4:
		it := Item{Path, m.anyPath()}
		if k := Kind(m.next(12)) + Self; k <= Tree {
			it = Item{k, dirs[m.next(len(dirs))]}
		}
		m.add(it)
	case 5, 6, 7, 8, 9:
		m.take()
	case 10:
		if p, ok := m.q.TakePath(m.now); ok {
			m.note("TakePath %s", p)
			if m.notYet[p].After(m.now) {
				m.fatalf("%s taken before its time", p)
			}
			m.taken(Item{Path, p}, false)
		}
	case 11:
		if t, ok := m.q.TakeTree(); ok {
			m.note("TakeTree %s", t.Path)
			m.taken(t.Item, true)
		}
	case 12, 13:
		if f := m.anyFlight(); f != nil {
			m.finish(f)
		}
	case 14:
		m.now = m.now.Add(time.Duration(m.next(4)) * time.Second)
		m.note("now %d", m.now.Unix())
	case 15:
		m.fail()
	case 16:
		m.lock()
	case 17:
		m.steer()
	case 18:
		if p := dirs[m.next(len(dirs))]; m.next(3) == 0 {
			m.note("AddTree %s", p)
			m.change(Item{Tree, p})
			m.q.AddTree(p, "")
		}
	case 19:
		if f := m.anyFlight(); f != nil && f.Kind == Tree {
			m.expand(f)
		}
	}
}

func (m *model) add(it Item) {
	m.note("Add %v %s", it.Kind, it.Path)
	m.change(it)
	m.q.Add(it, m.now)
	m.bounded()
}

func (m *model) take() {
	it, ok := m.q.Take(m.now)
	rest := m.pending()
	for _, n := range rest {
		age := int64(math.MaxInt64)
		if ok {
			age = m.q.root.lookup(it.Path).busy.since
		}
		if n.since < age && m.due(n) && !m.hindered(n, rest) {
			m.fatalf("%v %s not taken though nothing is in its way; taken instead: %v %v; its state: %+v", n.kind, n.path, ok, it, m.q.pendingCover(n))
		}
	}
	if !ok {
		return
	}
	m.note("Take %v %s", it.Kind, it.Path)
	m.taken(it, false)
}

func (m *model) finish(f *modelFlight) {
	m.note("Done %v %s", f.Kind, f.Path)
	m.ended(f)
	m.q.Done(f.Path)
	for p := range f.covers {
		m.got[p] = max(m.got[p], f.from)
	}
}

func (m *model) expand(f *modelFlight) {
	names := childDirs(f.Path)
	for len(names) > 0 && m.next(4) == 0 {
		names = names[1:] // it is no longer there: what was below it goes with it
	}
	m.note("Expand %s %q", f.Path, names)
	m.q.Expand(f.Path, "in "+f.Path, names)
	f.Kind, f.wider = Dir, true
	for _, name := range names {
		c := Join(f.Path, name)
		for p := range f.covers {
			if p != c && (Item{Tree, c}).Covers(Item{Path, p}) {
				without(f.covers, p)
			}
		}
	}
}

var reasons = []error{errors.New("no space"), errors.New("permission denied")}

func (m *model) fail() {
	f := m.anyFlight()
	if f == nil {
		return
	}
	reason := reasons[m.next(2)]
	if f.Kind != Path && m.next(2) == 0 {
		m.note("Fail %v %s", f.Kind, f.Path)
		if f.Kind == Dir {
			// What an expanded Tree left to its Dir can only come again as a Tree.
			f.Kind = Tree
		}
		m.ended(f)
		m.q.Fail(f.Item, reason, m.now)
		m.bounded()
		return
	}
	p := f.Path
	if f.Kind > Path {
		var inside []string
		for _, c := range universe {
			if f.covers[c] {
				inside = append(inside, c)
			}
		}
		if len(inside) == 0 {
			return
		}
		p = inside[m.next(len(inside))]
		if m.flights[p] != nil && m.flights[p] != f {
			return
		}
		without(f.covers, p)
	} else {
		m.ended(f)
	}
	// Claimed flights answer for everything below; what fails of them fails whole.
	if f.Kind == Path && len(f.covers) > 2 {
		m.note("Fail Tree %s", f.Path)
		m.q.Fail(Item{Tree, f.Path}, reason, m.now)
		m.bounded()
		return
	}
	m.note("Retry %s at %d: %v", p, m.now.Unix(), reason)
	n := m.q.Retry(p, reason, m.now)
	m.bounded()
	if node := m.q.root.lookup(p); node != nil && node.hold != nil && node.where != nowhere && !node.live {
		full := backoff.First
		for range n - 1 {
			full = min(2*full, backoff.Max)
		}
		m.notYet[p] = m.now.Add(full * 3 / 4)
	}
}

func (m *model) lock() {
	p := m.anyPath()
	if m.locks[p] {
		m.note("Unlock %s", p)
		delete(m.locks, p)
		m.q.Unlock(p)
		return
	}
	free := true
	for _, f := range m.flights {
		if (Item{Tree, p}).Covers(Item{Path, f.Path}) || f.Kind != Dir && f.Kind != Self && (Item{Tree, f.Path}).Covers(Item{Path, p}) {
			free = false
		}
	}
	for l := range m.locks {
		free = free && !overlap(Item{Tree, l}, Item{Tree, p})
	}
	m.note("Lock %s: %v", p, free)
	if got := m.q.Lock(p); got != free {
		m.fatalf("Lock %s is %v", p, got)
	}
	if free {
		m.locks[p] = true
	}
}

// seize takes a path at once, which it may only if nothing is left to do there.
func (m *model) seize() {
	p := m.anyPath()
	there := Item{Tree, p}
	free := m.q.Trees() == 0
	for _, f := range m.flights {
		free = free && !overlap(f.Item, Item{Path, p}) && !there.Covers(Item{Path, f.Path})
	}
	for l := range m.locks {
		free = free && !overlap(Item{Tree, l}, there)
	}
	for _, n := range m.everyPending() {
		free = free && !overlap(Item{n.kind, n.path}, Item{Path, p}) && !there.Covers(Item{Path, n.path})
	}
	m.note("Seize %s: %v", p, free)
	if got := m.q.Seize(p, m.now); got != free {
		m.fatalf("Seize %s is %v", p, got)
	}
	if free {
		m.change(Item{Path, p})
		m.taken(Item{Path, p}, false)
	}
}

// pick takes a path at once that may be pending, unless something else overlaps it.
func (m *model) pick() {
	p := m.anyPath()
	there, pending := Item{Tree, p}, false
	free := true
	rest := m.everyPending()
	for _, n := range rest {
		if n.path == p {
			pending = true
			free = free && n.live && n.kind == Path && (n.where == ready || n.where == deferred)
			continue
		}
		free = free && !overlap(Item{n.kind, n.path}, Item{Path, p}) && !there.Covers(Item{Path, n.path})
	}
	for _, f := range m.flights {
		beside := !pending && f.Kind == Dir && path.Dir(p) == f.Path && p != f.Path
		free = free && (beside || !overlap(f.Item, Item{Path, p}) && !there.Covers(Item{Path, f.Path}))
	}
	for l := range m.locks {
		free = free && !overlap(Item{Tree, l}, there)
	}
	m.note("Pick %s: %v", p, free)
	if got := m.q.Pick(p, m.now); got != free {
		m.fatalf("Pick %s is %v", p, got)
	}
	if free {
		if !pending {
			m.change(Item{Path, p})
		}
		m.taken(Item{Path, p}, !pending)
	}
}

// press has the pass give up waiting for directories below which something is always in flight. They must be live then, and
// nothing else may have left the pass.
func (m *model) press() {
	patience := time.Duration(m.next(4)) * time.Second
	late := m.q.clock(m.now) - int64(patience)
	var due []string
	for n, frames := range m.q.blocked {
		for _, f := range frames {
			if p := Join(f.dir, f.names[0]); len(f.names) == 1 && p == n.path && f.aside <= late {
				due = append(due, p)
			}
		}
	}
	m.note("Press %s: %q", patience, due)
	m.pressed += len(due)
	trees := m.q.Trees()
	m.q.Press(m.now, patience)
	if got := m.q.Trees(); got != trees-len(due) {
		m.fatalf("%d of %d trees left, want %d fewer", got, trees, len(due))
	}
	for _, p := range due {
		if m.q.coveredBy(Item{Tree, p}) == nil {
			m.fatalf("%s is not live", p)
		}
	}
	m.bounded()
}

// takeOver has a flight answer for the Tree pending at its path, which often has just come. It may only if nothing is in
// flight below.
func (m *model) takeOver() {
	f := m.anyFlight()
	if f == nil {
		return
	}
	there := Item{Tree, f.Path}
	if m.next(2) == 0 && slices.Contains(dirs, f.Path) {
		m.add(there)
	}
	free := slices.ContainsFunc(m.everyPending(), func(n *node) bool { return n.path == f.Path && n.kind == Tree })
	for _, o := range m.flights {
		free = free && (o == f || !there.Covers(Item{Path, o.Path}))
	}
	for l := range m.locks {
		free = free && !there.Covers(Item{Path, l})
	}
	m.note("TakeOver %s: %v", f.Path, free)
	if got := m.q.TakeOver(f.Path); got != free {
		m.fatalf("TakeOver %s is %v", f.Path, got)
	}
	if free {
		m.tookOver++
		f.Item, f.from, f.covers, f.wider = there, m.version, covered(there), false
	}
}

// steer makes one of the rarer moves with a flight.
func (m *model) steer() {
	f := m.anyFlight()
	if f == nil {
		return
	}
	switch m.next(4) {
	case 0:
		m.note("Slow %s", f.Path)
		m.q.Slow(f.Path)
		f.slow = true
	case 1:
		if f.wider || len(f.covers) != len(covered(f.Item)) {
			return
		}
		due := m.now.Add(time.Duration(m.next(5)) * time.Second)
		m.note("Defer %v %s until %d", f.Kind, f.Path, due.Unix())
		m.ended(f)
		m.q.Defer(f.Path, due)
		m.bounded()
	case 2:
		if f.Kind != Dir {
			return
		}
		for _, c := range universe {
			if f.covers[c] && path.Dir(c) == f.Path && c != "." && !slices.Contains(dirs, c) && m.flights[c] == nil && !m.locks[c] {
				m.note("Detach %s", c)
				if !m.q.Detach(c) {
					m.fatalf("%s not detached", c)
				}
				without(f.covers, c)
				m.flights[c] = &modelFlight{Item: Item{Path, c}, from: f.from, covers: covered(Item{Path, c}),
					fromAll: f.fromAll, slow: f.slow}
				return
			}
		}
	case 3:
		m.claim(f)
	}
}

func (m *model) claim(f *modelFlight) {
	if f.wider || len(f.covers) != len(covered(f.Item)) {
		return
	}
	top := f.Path
	for top != "." && m.next(2) == 0 {
		top = path.Dir(top)
	}
	if top == "." {
		return // the root is never gone
	}
	m.note("Claim %s for %v %s", top, f.Kind, f.Path)
	m.ended(f)
	if m.q.Claim(f.Path, top) {
		from, slow, all := f.from, f.slow, f.fromAll
		c := m.taken(Item{Path, top}, false)
		c.from, c.slow, c.fromAll, c.covers = from, slow, all, covered(Item{Tree, top})
	} else if !m.overlapsFlight(Item{Path, top}) {
		m.fatalf("%s not claimed though nothing is in the way", top)
	}
	m.bounded()
}

func (m *model) overlapsFlight(it Item) bool {
	for _, f := range m.flights {
		if overlap(f.Item, it) {
			return true
		}
	}
	for p := range m.locks {
		if overlap(Item{Tree, p}, it) {
			return true
		}
	}
	return false
}
