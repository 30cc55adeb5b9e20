package queue

import (
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"
)

// The model knows of each path when it last changed and what the newest change is that an acknowledged flight has seen.
// It takes nothing from the queue but its answers; the queue must then neither lose a change nor let two overlap.

var universe = func() []string {
	all := []string{".", "a", "b", "ab", "a/c", "a/c/d", "b/y", "b/z", "a/c/d/1", "a/c/d/2"}
	for i := range fewChildren + 2 {
		all = append(all, fmt.Sprintf("a/c/f%d", i))
	}
	return all
}()

var dirs = []string{".", "a", "b", "a/c", "a/c/d"}

func childDirs(p string) (names []string) {
	for _, d := range dirs {
		if d != "." && path.Dir(d) == p {
			names = append(names, path.Base(d))
		}
	}
	return names
}

type modelFlight struct {
	Item
	from    int             // version that it has seen
	covers  map[string]bool // what its acknowledgement settles
	fromAll bool            // from TakeTree
	slow    bool
	wider   bool // a Dir that answers for what is no longer below it, having been a Tree
}

type model struct {
	t       testing.TB
	next    func(n int) int // the next decision, 0 <= d < n
	more    func() bool
	q       *Queue[string]
	now     time.Time
	version int
	need    map[string]int
	got     map[string]int
	flights map[string]*modelFlight
	locks   map[string]bool
	notYet  map[string]time.Time // paths that failed and did not change since
	log     []string
	deep    int // how many steps pass between thorough checks

	pressed, tookOver int // how often a step that needs much before it came to something
}

func newModel(t testing.TB, next func(int) int, more func() bool) *model {
	m := &model{
		t: t, next: next, more: more, q: New[string](backoff), now: time.Unix(1000, 0),
		need: map[string]int{}, got: map[string]int{}, flights: map[string]*modelFlight{}, locks: map[string]bool{},
		notYet: map[string]time.Time{}, deep: 1,
	}
	if next(2) == 0 {
		m.q.MaxPending = 1 + next(8)
	}
	if next(4) == 0 {
		m.q.Delay = time.Duration(1+next(3)) * time.Second
	}
	return m
}

func (m *model) fatalf(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s\nafter:\n%s", fmt.Sprintf(format, args...), strings.Join(m.log, "\n"))
}

func (m *model) note(format string, args ...any) { m.log = append(m.log, fmt.Sprintf(format, args...)) }

func (m *model) anyPath() string { return universe[m.next(len(universe))] }

func (m *model) anyFlight() *modelFlight {
	if len(m.flights) == 0 {
		return nil
	}
	var paths []string
	for p := range m.flights {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return m.flights[paths[m.next(len(paths))]]
}

// self names the fact that p's own attributes are equal, in the model's sets; p names that p is.
func self(p string) string { return p + " itself" }

func without(facts map[string]bool, p string) {
	delete(facts, p)
	delete(facts, self(p))
}

func covered(it Item) map[string]bool {
	c := map[string]bool{}
	for _, p := range universe {
		if it.Covers(Item{Path, p}) {
			c[p] = true
		}
		if it.Covers(Item{Self, p}) {
			c[self(p)] = true
		}
	}
	return c
}

func (m *model) change(it Item) {
	m.version++
	delete(m.notYet, it.Path)
	for p := range covered(it) {
		m.need[p] = m.version
		delete(m.notYet, p)
	}
}

// overlap is the rule in the words of the package comment.
func overlap(a, b Item) bool {
	if len(a.Path) > len(b.Path) || a.Path != "." && b.Path == "." {
		a, b = b, a
	}
	switch below := (Item{Tree, a.Path}).Covers(Item{Path, b.Path}); {
	case a.Path == b.Path:
		return true
	case !below:
		return false
	case a.Kind == Self:
		return false
	case a.Kind == Dir:
		return path.Dir(b.Path) == a.Path
	}
	return true
}

// taken checks that it may be in flight, and makes it so.
func (m *model) taken(it Item, fromAll bool) *modelFlight {
	for _, f := range m.flights {
		beside := fromAll && f.Kind == Dir && path.Dir(it.Path) == f.Path && it.Path != f.Path
		if overlap(f.Item, it) && !beside {
			m.fatalf("%v %s taken while %v %s is in flight", it.Kind, it.Path, f.Kind, f.Path)
		}
	}
	for p := range m.locks {
		if overlap(Item{Tree, p}, it) {
			m.fatalf("%v %s taken while %s is locked", it.Kind, it.Path, p)
		}
	}
	f := &modelFlight{Item: it, from: m.version, covers: covered(it), fromAll: fromAll}
	m.flights[it.Path] = f
	return f
}

func (m *model) ended(f *modelFlight) { delete(m.flights, f.Path) }

// pending returns copies of the nodes with live items.
func (m *model) pending() []*node {
	return slices.DeleteFunc(m.everyPending(), func(n *node) bool { return !n.live })
}

// everyPending returns copies of the nodes with pending items.
func (m *model) everyPending() (found []*node) {
	add := func(n *node) {
		c := *n
		found = append(found, &c)
	}
	if m.q.root.where != nowhere {
		add(m.q.root)
	}
	m.q.root.walk(add)
	return found
}

func (m *model) due(n *node) bool {
	now := m.q.clock(m.now)
	if n.where == deferred {
		return n.hold.due <= now
	}
	return m.q.Delay == 0 || n.since+int64(m.q.Delay) <= now
}

// hindered reports whether something in flight, or an item that waits for it with precedence, overlaps n.
func (m *model) hindered(n *node, all []*node) bool {
	busy := func(it Item, over []Item) bool {
		return slices.ContainsFunc(over, func(f Item) bool { return overlap(f, it) })
	}
	var flying []Item
	for _, f := range m.flights {
		flying = append(flying, f.Item)
	}
	for p := range m.locks {
		flying = append(flying, Item{Tree, p})
	}
	it := Item{n.kind, n.path}
	if busy(it, flying) {
		return true
	}
	for _, o := range all {
		if other := (Item{o.kind, o.path}); o.path != n.path && overlap(other, it) && busy(other, flying) &&
			(Item{Tree, o.path}).Covers(Item{Path, n.path}) && !m.patient(other) {
			return true
		}
	}
	return false
}

// patient reports whether what it waits for below it lasts so long that it holds back no live item.
func (m *model) patient(it Item) bool {
	for _, f := range m.flights {
		if (f.fromAll || f.slow) && f.Path != it.Path && overlap(it, f.Item) && (Item{Tree, it.Path}).Covers(Item{Path, f.Path}) {
			return true
		}
	}
	return false
}

// bounded checks the bound on memory.
func (m *model) bounded() {
	if c := m.q.Counts(); m.q.MaxPending > 0 && c.Live+c.Waiting > m.q.MaxPending {
		m.fatalf("%d pending, %d allowed", c.Live+c.Waiting, m.q.MaxPending)
	}
}

// kept checks that every change that is not settled is answered for: by a flight that has seen it, or by something
// pending.
func (m *model) kept() {
	for _, p := range universe {
		for _, fact := range []string{p, self(p)} {
			if m.need[fact] > m.got[fact] && !m.answered(p, fact) {
				m.fatalf("%s is lost: changed at %d, settled %d, covered by %+v", fact, m.need[fact], m.got[fact], m.q.Why(p))
			}
		}
	}
	if m.q.Empty() && len(m.flights)+len(m.locks) > 0 {
		m.fatalf("empty with %d in flight and %d locks", len(m.flights), len(m.locks))
	}
}

func (m *model) answered(p, fact string) bool {
	for _, f := range m.flights {
		if f.covers[fact] && f.from >= m.need[fact] {
			return true
		}
	}
	return slices.ContainsFunc(m.q.Why(p), func(c Cover) bool {
		return c.State != InFlight && c.State != Locked && covered(c.Item)[fact]
	})
}

// drain ends everything and checks that this settles everything.
func (m *model) drain() {
	for p := range m.locks {
		m.q.Unlock(p)
	}
	clear(m.locks)
	m.note("drain")
	for round := 0; !m.q.Empty(); round++ {
		if round > 200 {
			m.fatalf("does not end: %+v, in flight %v", m.q.Counts(), m.flights)
		}
		m.now = m.now.Add(backoff.Max + m.q.Delay)
		for {
			before := len(m.flights)
			m.take()
			if p, ok := m.q.TakePath(m.now); ok {
				m.note("TakePath %s", p)
				m.taken(Item{Path, p}, false)
			}
			if t, ok := m.q.TakeTree(); ok {
				m.note("TakeTree %s", t.Path)
				m.expand(m.taken(t.Item, true))
			}
			if len(m.flights) == before {
				break
			}
		}
		for len(m.flights) > 0 {
			m.finish(m.anyFlight())
		}
		m.kept()
		audit(m)
	}
	for p := range m.need {
		if m.need[p] > m.got[p] {
			m.fatalf("empty, but %s changed at %d and only %d is settled", p, m.need[p], m.got[p])
		}
	}
	if m.q.root.sub != nil || len(m.q.behind)+len(m.q.blocked)+len(m.q.failing) > 0 {
		m.fatalf("empty, but something is left: %+v", m.q)
	}
}

func (m *model) run() {
	for i := 0; m.more(); i++ {
		m.step()
		if i%m.deep == 0 {
			m.kept()
			audit(m)
		}
	}
	m.drain()
}

func TestHistories(t *testing.T) {
	pressed, tookOver := 0, 0
	for seed := range uint64(1500) {
		r := rand.New(rand.NewPCG(seed, 7))
		left := 20 + r.IntN(150)
		m := newModel(t, r.IntN, func() bool { left--; return left >= 0 })
		m.deep = 1 + r.IntN(16)
		m.note("seed %d", seed)
		m.run()
		pressed, tookOver = pressed+m.pressed, tookOver+m.tookOver
	}
	if pressed < 100 || tookOver < 100 {
		t.Errorf("%d directories pressed, %d items taken over: the histories do not get there", pressed, tookOver)
	}
}

func FuzzHistories(f *testing.F) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 9))
		b := make([]byte, 200)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), 2000)]
		next := func(n int) int {
			if len(b) == 0 {
				return n - 1
			}
			d := int(b[0]) % n
			b = b[1:]
			return d
		}
		newModel(t, next, func() bool { return len(b) > 0 }).run()
	})
}
