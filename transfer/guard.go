package transfer

import "time"

// DefaultDeleteWindow is the time in which no more than Config.MaxDelete entries are deleted while following.
const DefaultDeleteWindow = time.Hour

const (
	// Deletions within this part of a window are remembered as one, at the time of the last.
	windowGrain = 256
	// No sooner than after this part of a window what is held is tried again: the server is asked for all of it.
	windowStep = 64

	// forever is how long a limit of none holds, unless an operator says something else.
	forever = 10 * 365 * 24 * time.Hour
)

// A guard says how many entries may be deleted now: limit in any window that slides over time, and what an operator
// allowed beyond that. It does not know the time, but is told.
type guard struct {
	limit  int
	window time.Duration
	spent  []spending // the oldest first; what the operator allowed is not in it
	extra  int        // what the operator allowed and nobody used,
	until  time.Time  // before it lapses
}

// A spending is n deletions, the first at from, the last at until.
type spending struct {
	from, until time.Time
	n           int
}

func newGuard(limit int, window time.Duration) *guard {
	if window <= 0 {
		window = DefaultDeleteWindow
	}
	return &guard{limit: limit, window: window}
}

// A DeleteHistory remembers deletions from one engine to the next, so that a window is a window for all of them. The
// zero value remembers none. Only one engine may run with it at a time, and all have the same limit.
type DeleteHistory struct{ g *guard }

// guard returns the guard that all engines share; of no history, a new one.
func (h *DeleteHistory) guard(limit int, window time.Duration) *guard {
	if h == nil {
		return newGuard(limit, window)
	}
	if h.g == nil {
		h.g = newGuard(limit, window)
	}
	return h.g
}

// left is how many more entries may be deleted now.
func (g *guard) left(now time.Time) int { return g.room(now) + g.allowed(now) }

// room is how many more the window has room for.
func (g *guard) room(now time.Time) int {
	gone := 0
	for gone < len(g.spent) && now.Sub(g.spent[gone].until) >= g.window {
		gone++
	}
	g.spent = g.spent[gone:]
	return max(0, g.limit-g.used())
}

func (g *guard) used() int {
	n := 0
	for _, s := range g.spent {
		n += s.n
	}
	return n
}

func (g *guard) allowed(now time.Time) int {
	if !now.Before(g.until) {
		g.extra = 0
	}
	return g.extra
}

// spend counts deletions that have been made: against the window while it has room, then against what was allowed.
func (g *guard) spend(n int, now time.Time) {
	if n <= 0 {
		return
	}
	beyond := min(max(0, n-g.room(now)), g.allowed(now))
	g.extra -= beyond
	if n -= beyond; n == 0 {
		return
	}
	if last := len(g.spent) - 1; last >= 0 && now.Sub(g.spent[last].from) < g.window/windowGrain {
		g.spent[last].until = now
		g.spent[last].n += n
		return
	}
	g.spent = append(g.spent, spending{now, now, n})
}

// allow lets n more entries be deleted within a window from now.
func (g *guard) allow(n int, now time.Time) {
	g.extra = min(g.allowed(now), 1<<30) + min(n, 1<<30)
	g.until = now.Add(g.window)
}

// next is when the window has room again: now if it has; false if it never will.
func (g *guard) next(now time.Time) (time.Time, bool) {
	if g.left(now) > 0 {
		return now, true
	}
	used := g.used()
	for _, s := range g.spent {
		if used -= s.n; used < g.limit {
			return s.until.Add(g.window), true
		}
	}
	return time.Time{}, false
}

// again is when to try again what was held at now.
func (g *guard) again(now time.Time) time.Time {
	soonest := now.Add(g.window / windowStep)
	next, ok := g.next(now)
	switch {
	case !ok:
		return now.Add(forever)
	case next.Before(soonest):
		return soonest
	}
	return next
}
