package transfer

import (
	"path"
	"strings"
	"time"

	"github.com/syncd/syncd/internal/queue"
)

const (
	// recentFor is how long what the destination has written may be in nothing but its memory. Its kernel writes it out
	// after half a minute, disks and arrays with caches of their own take longer.
	recentFor = 10 * time.Minute
	// recentParts is into how many parts that time is cut: what is remembered grows old by parts.
	recentParts = 2
	// maxRecent bounds the items that one part remembers.
	maxRecent = 16384
)

// recent remembers what the destination acknowledged lately. It is bounded: too many paths become the directories that
// they are in, and these the trees. The zero value remembers nothing; one goroutine owns it.
type recent struct {
	parts  [recentParts + 1]map[string]queue.Kind // the newest first; older than recentFor are none but some of the last
	begun  time.Time                              // when the newest part was
	widest queue.Kind                             // in the newest part
}

// note remembers that the entry at p was written.
func (r *recent) note(p string, now time.Time) {
	r.age(now)
	newest := r.parts[0]
	if newest == nil {
		newest = map[string]queue.Kind{}
		r.parts[0], r.widest = newest, queue.Path
	}
	if r.covered(p) {
		return
	}
	newest[p] = max(newest[p], queue.Path)
	for len(newest) > maxRecent {
		newest = r.widen()
	}
}

// age begins a new part when it is time.
func (r *recent) age(now time.Time) {
	const part = recentFor / recentParts
	for n := 0; now.Sub(r.begun) >= part; n++ {
		if n > recentParts {
			r.begun = now
			return
		}
		copy(r.parts[1:], r.parts[:])
		r.parts[0] = nil
		r.begun = r.begun.Add(part)
	}
}

// covered reports whether the newest part has something wider than p.
func (r *recent) covered(p string) bool {
	if r.widest == queue.Path || p == "." {
		return false
	}
	for up := path.Dir(p); ; up = path.Dir(up) {
		if k := r.parts[0][up]; k == queue.Tree || k == queue.Dir && up == path.Dir(p) {
			return true
		}
		if up == "." || r.widest < queue.Tree {
			return false
		}
	}
}

// widen replaces what is in the newest part by fewer and wider items.
func (r *recent) widen() map[string]queue.Kind {
	r.widest = min(r.widest+1, queue.Tree)
	deepest := 0
	for p := range r.parts[0] {
		deepest = max(deepest, strings.Count(p, "/"))
	}
	wider := map[string]queue.Kind{}
	for p, k := range r.parts[0] {
		switch {
		case k == queue.Path:
			p, k = path.Dir(p), queue.Dir
		case r.widest == queue.Tree && (k == queue.Dir || strings.Count(p, "/") == deepest):
			p, k = path.Dir(p), queue.Tree
		}
		wider[p] = max(wider[p], k)
	}
	r.parts[0] = wider
	return wider
}

// items is what was written lately. It stays remembered: the next outage may come before it has reached a disk.
func (r *recent) items(now time.Time) map[string]queue.Kind {
	r.age(now)
	all := map[string]queue.Kind{}
	for _, part := range r.parts {
		for p, k := range part {
			all[p] = max(all[p], k)
		}
	}
	return all
}
