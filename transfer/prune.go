package transfer

import (
	"slices"
	"strings"
	"time"

	"github.com/syncd/syncd/internal/rsync"
)

// Directories that are pruned in one round. While a round lasts nothing below them changes at the destination, so it
// must be short while there are changes; a session for each directory would be dear.
const (
	minPruneRound = 64
	maxPruneRound = 4096
	// A round that takes longer was too large: a change has to wait for so long.
	roundTime = 200 * time.Millisecond
	// How long changes wait, for directories that have waited for passPatience, until what is in flight has ended.
	drainTime = 4 * time.Second
)

// nextPrune takes a directory to prune that nothing is creating entries in, and keeps it so: a session that prunes would
// delete the temporary names of another one.
func (e *Engine) nextPrune() (pruneJob, bool) {
	now := time.Now()
	first := e.prunesFirst(now)
	if c := e.queue.Counts(); first && c.InFlight > c.Slow || !e.inRound() {
		return pruneJob{}, false
	}
	for i, p := range e.prunes {
		if !e.queue.Lock(p.path) {
			continue
		}
		e.prunes[i] = e.prunes[0] // those that could not be locked stay in front
		e.prunes[0] = pruneJob{}
		e.prunes = e.prunes[1:]
		e.locked[p.path] = p
		e.roundTaken++
		e.pruneLists++
		return p, true
	}
	e.roundTaken = e.roundSize
	if first || e.passedOver.IsZero() {
		e.passedOver = now
	}
	return pruneJob{}, false
}

// prunesFirst reports whether no change may begin because directories wait to be pruned in which there was always something
// in flight: steady writes, far away or on a slow machine, would else keep the pass from ever ending. What is in flight
// ends, but for large files, and one round of them is pruned; then changes have their turn again.
func (e *Engine) prunesFirst(now time.Time) bool {
	if len(e.prunes) == 0 {
		e.passedOver = time.Time{}
	}
	late := now.Sub(e.passedOver)
	switch {
	case !e.following || e.passedOver.IsZero() || late < passPatience:
		return false
	case late > passPatience+drainTime:
		e.passedOver = now
		return false
	}
	return e.queue.Trees() == 0 && !e.holdsBack() && (e.round || e.guard.mayPrune())
}

// inRound reports whether directories may be locked for pruning now. A round begins when the pass has left enough of
// them, or is over.
func (e *Engine) inRound() bool {
	if !e.round && e.guard.mayPrune() && len(e.prunes) > 0 && (len(e.prunes) >= e.roundSize || e.queue.Trees() == 0) {
		e.round, e.roundTaken = true, 0
	}
	return e.round && e.roundTaken < e.roundSize
}

// endRound sends what a round of pruning has gathered.
func (e *Engine) endRound() {
	if e.round && e.roundTaken >= e.roundSize && e.pruneLists == 0 {
		e.round = false
		if e.clearing != nil {
			e.closePrune()
		}
	}
}

// resizeRound learns from a round that took from began until now: the next ones are larger while nothing changes and
// the server is quick, and smaller when it is not. A change makes them small at once: see receive.
func (e *Engine) resizeRound(began, now time.Time) {
	switch lasted := now.Sub(began); {
	case lasted > roundTime:
		e.roundSize = max(minPruneRound, e.roundSize/2)
	case lasted < roundTime/4 && e.changed.Before(began):
		e.roundSize = min(maxPruneRound, e.roundSize*2)
	}
}

// unlock lets changes below the directories of a prune batch go on.
func (e *Engine) unlock(clears []pruneJob) {
	for _, p := range clears {
		e.queue.Unlock(p.path)
		delete(e.locked, p.path)
	}
}

// settlePrune takes what became of a session that pruned to its end, or was refused something. unseen are the directories
// that the server could not look into.
func (e *Engine) settlePrune(b *batch, r *rsync.Report, refused bool, unseen map[string]bool) {
	if !r.Complete && len(r.DeleteErrors) == 0 {
		return
	}
	in := refusedIn(b.clears, r.DeleteErrors)
	for _, p := range b.clears {
		e.guard.letPrune(p.path)
		e.left.note(p, refused && in[p.path] || unseen[p.path], in[p.path], time.Now())
	}
}

// refusedIn are the directories in which the server refused to delete something: those whose names are in its words, or
// all, if none is.
func refusedIn(dirs []pruneJob, words []string) map[string]bool {
	in := map[string]bool{}
	if len(words) == 0 {
		return in
	}
	for _, p := range dirs {
		in[p.path] = p.path == "." || slices.ContainsFunc(words, func(w string) bool { return strings.Contains(w, p.path+"/") })
	}
	for _, named := range in {
		if named {
			return in
		}
	}
	for p := range in {
		in[p] = true
	}
	return in
}
