package transfer

import (
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
)

// heldSoon is how long it takes at most until a directory is pruned again of which something that was held came back.
const heldSoon = 10 * time.Second

// deletions is what a following engine deletes under --max-delete. Sessions that may delete run one at a time, with
// what the guard has left: a limit can't be shared. They carry nothing but names: of what is gone here, of what a
// directory stands in the way of, and of directories to prune. All other sessions run without delete mode, and at any
// time.
//
// What the server leaves because of the limit is held: a path put off in the queue, where a change of it finds it, and a
// directory to prune in dirs. It is tried again when the window has moved on or an operator allows more. A session that
// is allowed nothing is run nevertheless: the server says how much there would be to delete, if anything.
type deletions struct {
	*guard
	busy    bool     // a session that may delete runs, or waits for its turn
	paths   []string // in flight, to be deleted
	clears  []*batch // prune, in the order in which they were filled
	ready   bool     // it waits: it is the first of Engine.ready
	turn    bool     // it began when something began last
	yield   bool     // paths before the next round of pruning
	way     map[string]bool
	held    map[string]*hold // paths
	dirs    map[string]*hold // directories to prune
	due     time.Time        // the earliest of dirs; zero: none
	since   time.Time        // something is held without a pause; zero: nothing is
	swept   int64            // Swallowed of the queue when held was last compared with it
	entries int              // Held.Entries, unless stale
	stale   bool
}

// A hold is a deletion that waits.
type hold struct {
	n      int // entries, as far as the server told
	free   bool
	job    pruneJob // dirs
	due    time.Time
	queued bool // dirs: among those to prune
}

func newDeletions(g *guard) *deletions {
	return &deletions{
		guard: g, way: map[string]bool{}, held: map[string]*hold{}, dirs: map[string]*hold{},
	}
}

// doom has the path in flight at p deleted at the destination. way tells that it is not gone here, but a directory is
// in its way there.
func (e *Engine) doom(p string, way bool) {
	e.guard.paths = append(e.guard.paths, p)
	if way {
		e.guard.way[p] = true
	}
}

// nextDeletion makes the next batch that deletes ready, if none is under way.
func (e *Engine) nextDeletion(now time.Time) {
	d := e.guard
	if d == nil || d.busy {
		return
	}
	var b *batch
	switch {
	case len(d.clears) > 0:
		b, d.clears = d.clears[0], d.clears[1:]
	case e.round || len(d.paths) == 0: // while a round of pruning lasts much has to wait: nothing comes between
		return
	default:
		b = d.take()
	}
	d.yield = b.kind == prune
	d.busy = true
	b.allowed = d.left(now)
	if b.free {
		b.allowed = -1
	}
	d.ready = true
	e.ready[0] = slices.Insert(e.ready[0], 0, b)
}

// first reports whether deletions go before live changes now. They take turns: there may be changes always.
func (d *deletions) first() bool { return d != nil && d.ready && !d.turn }

// given notes that a session gets b.
func (d *deletions) given(b *batch) {
	if d == nil {
		return
	}
	if d.turn = b.deletes || b.kind == prune; d.turn {
		d.ready = false
	}
}

// take makes a batch of paths to delete: all of them free, or none.
func (d *deletions) take() *batch {
	free := func(p string) bool { return d.held[p] != nil && d.held[p].free }
	b := &batch{
		kind: copySmall, retry: true, acks: true, live: true, deletes: true, free: free(d.paths[0]), way: map[string]bool{},
	}
	var rest []string
	for _, p := range d.paths {
		if len(b.paths) == maxLivePaths || free(p) != b.free {
			rest = append(rest, p)
			continue
		}
		b.paths = append(b.paths, queue.Item{Path: p})
		if d.way[p] {
			b.way[p] = true
			delete(d.way, p)
		}
	}
	d.paths = rest
	return b
}

// mayPrune reports whether a round of pruning may begin: directories are locked until it has ended.
func (d *deletions) mayPrune() bool {
	return d == nil || !d.busy && len(d.clears) == 0 && !(d.yield && len(d.paths) > 0)
}

// spendOn counts what a session deleted. One that broke after it began may have deleted all that it was allowed to.
func (d *deletions) spendOn(o outcome) {
	if o.given.deletes || o.given.kind == prune {
		d.busy = false
	}
	if o.b == nil || o.b.free {
		return
	}
	n := o.b.deleted
	if o.err != nil && len(o.report.Results) > 0 && !refusesMissing(o.err) {
		n = max(n, o.b.allowed)
	}
	d.spend(n, time.Now())
}

// settleDeletion takes what became of entry i of a batch that deletes paths. It adds those that the limit left to
// limited, and reports whether there is nothing more to be said of the entry.
func (e *Engine) settleDeletion(b *batch, i int, r rsync.Result, limit bool, limited *[]string) bool {
	switch {
	case limit && (r.State == rsync.Skipped || r.State == rsync.Failed && inTheWay(r.Err)):
		*limited = append(*limited, b.answers[int32(i)]...)
		return true
	case r.State != rsync.Acked:
		return false
	}
	for _, p := range b.answers[int32(i)] {
		switch {
		case !b.way[p]:
			e.wrote(p)
			e.counters.vanished.Add(1)
			e.done(p)
		case b.deleted > 0:
			e.guard.let(p)
			e.queue.Defer(p, time.Now())
		default:
			e.retry(p, errInTheWay)
		}
	}
	return true
}

// done takes a path out of the queue for good.
func (e *Engine) done(p string) {
	if e.guard != nil {
		e.guard.let(p)
	}
	e.outage.settled(queue.Item{Path: p})
	e.queue.Done(p)
	e.tidy(p)
}

// let ends the hold on a path.
func (d *deletions) let(p string) {
	if d.held[p] != nil {
		delete(d.held, p)
		d.lets()
	}
}

// letPrune ends the hold on a directory to prune.
func (d *deletions) letPrune(p string) {
	if d != nil && d.dirs[p] != nil {
		delete(d.dirs, p)
		d.lets()
	}
}

func (d *deletions) lets() {
	d.stale = true
	if len(d.held)+len(d.dirs) == 0 {
		d.since = time.Time{}
	}
}

// holdPaths puts paths off that the limit left, of which the server told that n entries would go.
func (e *Engine) holdPaths(paths []string, n int) {
	if len(paths) == 0 {
		return
	}
	now := time.Now()
	due := e.guard.again(now)
	for i, p := range paths {
		e.queue.Defer(p, due)
		was := e.guard.held[p] // let go while the session ran?
		e.guard.held[p] = &hold{n: share(max(n, len(paths)), i, len(paths)), free: was != nil && was.free}
	}
	e.guard.holds(now)
}

// holdPrunes does the same with directories.
func (e *Engine) holdPrunes(jobs []pruneJob, n int) {
	now := time.Now()
	due := e.guard.again(now)
	for i, job := range jobs {
		h := &hold{n: share(max(n, 1), i, len(jobs)), job: job, due: due}
		if was := e.guard.dirs[job.path]; was != nil && was.free { // let go while the session ran
			h.free, h.due = true, now
		}
		e.guard.dirs[job.path] = h
		e.guard.wakes(h.due)
	}
	e.guard.holds(now)
}

// seen notes that p is equal by now: less may be held of the directory that it is in.
func (d *deletions) seen(p string) {
	if d == nil || len(d.dirs) == 0 {
		return
	}
	h := d.dirs[path.Dir(p)]
	if h == nil || h.queued {
		return
	}
	if soon := time.Now().Add(min(d.window/windowStep, heldSoon)); soon.Before(h.due) {
		h.due = soon
		d.wakes(soon)
	}
}

// wakes has wakeHeld look at due, or earlier.
func (d *deletions) wakes(due time.Time) {
	if d.due.IsZero() || due.Before(d.due) {
		d.due = due
	}
}

// share is the i-th of k parts of n, which add up to it.
func share(n, i, k int) int { return n*(i+1)/k - n*i/k }

func (d *deletions) holds(now time.Time) {
	d.stale = true
	if d.since.IsZero() {
		d.since = now
	}
}

// wakeHeld queues directories to prune that were held until now. Paths come from the queue.
func (e *Engine) wakeHeld(now time.Time) {
	d := e.guard
	if d == nil || d.due.IsZero() || now.Before(d.due) {
		return
	}
	d.due = time.Time{}
	for _, h := range d.dirs {
		switch {
		case h.queued:
		case !h.due.After(now):
			h.queued = true
			e.prunes = append(e.prunes, h.job)
		default:
			d.wakes(h.due)
		}
	}
}

// freePrune reports whether an operator let go of the directory's prune.
func (d *deletions) freePrune(p string) bool { return d != nil && d.dirs[p] != nil && d.dirs[p].free }

// inherit lets top go if p, of whose deletion it takes the place, was let go.
func (d *deletions) inherit(p, top string) {
	if h := d.held[p]; h != nil && h.free && p != top {
		if d.held[top] == nil {
			d.held[top] = &hold{}
		}
		d.held[top].free = true
	}
}

// sweep forgets holds on paths that something wider answers for by now.
func (e *Engine) sweep() {
	d := e.guard
	if swallowed := e.queue.Stats().Swallowed; swallowed != d.swept {
		d.swept = swallowed
		for p := range d.held {
			if !e.queue.Has(p) {
				d.let(p)
			}
		}
	}
}

// deleteAgain puts paths off whose deletion a broken session did not acknowledge. They will be looked up anew: what is
// deleted must not be here now.
func (e *Engine) deleteAgain(b *batch, pending []bool) {
	e.badRun++
	due := time.Now().Add(e.cfg.tuning.sessionBackoff.Delay(e.badRun))
	for i := range pending {
		if pending[i] {
			for _, p := range b.answers[int32(i)] {
				e.queue.Defer(p, due)
			}
		}
	}
}

var errInTheWay = errors.New("a directory at the destination is in the way")

// inTheWay reports whether a server says that it kept a directory because it is not empty.
func inTheWay(err error) bool {
	return err != nil && (keptDirectory(err.Error()) || errors.Is(err, unix.ENOTEMPTY))
}

func keptDirectory(words string) bool {
	return strings.Contains(words, "cannot delete non-empty directory")
}
