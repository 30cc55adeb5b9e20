package transfer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/scan"
)

// Changes in one session: enough that a burst does not pay a handshake for each, few enough that the first of them
// does not wait for the last.
const maxLivePaths = 1024

// Follow makes the full pass and goes on making equal whatever Changed names, until ctx ends, which it returns the
// cause of. Neither network nor destination end it: what cannot be done now is tried again. Sessions that run when ctx
// ends get until Config.StopTimeout to finish.
//
// Changed may be called before Follow, and from any goroutine.
func (e *Engine) Follow(ctx context.Context) error {
	e.following = true
	e.queue.MaxPending = queue.DefaultMaxPending
	if e.cfg.Delete && e.cfg.MaxDelete >= 0 {
		e.guard = newDeletions(e.cfg.DeleteHistory.guard(e.cfg.MaxDelete, e.cfg.DeleteWindow))
	}
	e.counters.begin()
	defer e.counters.end()
	defer e.closeConnections()
	e.queue.AddTree(".", nil)
	if err := e.awaitDestination(ctx); err != nil {
		return err
	}
	beside, stop := context.WithCancel(ctx)
	var reassuring sync.WaitGroup
	defer reassuring.Wait()
	defer stop()
	if e.cfg.Sync != nil {
		reassuring.Go(func() { e.reassure(beside) })
	}
	return e.run(ctx, context.WithoutCancel(ctx))
}

// awaitDestination runs the first session, as often as it takes. Meanwhile changes go into the queue, which knows how
// to hold many.
func (e *Engine) awaitDestination(ctx context.Context) error {
	primed := make(chan error, 1)
	go func() { primed <- e.primeForever(ctx) }()
	for {
		e.alive()
		e.receive(time.Now())
		select {
		case err := <-primed:
			return err
		case <-e.inbox.news:
		case ask := <-e.asked:
			ask()
		case <-e.alarm(time.Now()):
		}
	}
}

func (e *Engine) primeForever(ctx context.Context) error {
	for try := 1; ; try++ {
		err := e.prime(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			_ = e.ask(ctx, e.trouble.over) // unless ctx ended meanwhile
			return nil
		}
		if errors.Is(err, scan.ErrRootChanged) {
			return err
		}
		e.tell.note(err.Error())
		e.ask(ctx, func() { e.trouble.is(err) })
		if err := sleep(ctx, e.cfg.tuning.sessionBackoff.Delay(try)); err != nil {
			return err
		}
	}
}

// drain lets running sessions end in their own time, up to StopTimeout.
func (e *Engine) drain(ctx context.Context, listings <-chan listed, outcomes <-chan outcome) error {
	if !e.following {
		return context.Cause(ctx)
	}
	enough := time.After(e.cfg.StopTimeout)
	for e.running[0]+e.running[1] > 0 {
		e.alive()
		select {
		case o := <-outcomes:
			e.running[laneOf(o.given)]--
			if err := e.settle(o); err != nil {
				return err
			}
		case <-listings:
			e.listing--
		case ask := <-e.asked:
			ask()
		case <-e.alarm(time.Now()):
		case <-enough:
			return context.Cause(ctx)
		}
	}
	return context.Cause(ctx)
}

// closeConnections ends those that no session has any more.
func (e *Engine) closeConnections() {
	if e.spare != nil {
		e.spare.close()
		e.reaper.Close(reapGrace)
	}
}

func (e *Engine) alive() {
	if e.cfg.Alive != nil {
		e.cfg.Alive()
	}
}

// Changed queues what is no longer known to be equal. It does not wait for anything.
func (e *Engine) Changed(items ...queue.Item) {
	arrived := make([]arrival, len(items))
	for i, it := range items {
		arrived[i].Item = it
	}
	e.inbox.put(arrived...)
}

// Renamed is Changed for what a rename stands for. Of a directory, Tree at the new name must follow.
func (e *Engine) Renamed(r queue.Rename) { e.inbox.put(arrival{rename: &r}) }

// SetFilter gives a following engine other rules, and has the whole tree compared by them: what they no longer leave out
// must come, and what they leave out now stays as it is at the destination. Nothing that is queued is lost.
func (e *Engine) SetFilter(ctx context.Context, l *filter.List) error {
	var err error
	asked := e.ask(ctx, func() {
		if err = e.setFilter(l); err == nil {
			e.renew(l)
			e.queue.Add(queue.Item{Kind: queue.Tree, Path: "."}, time.Now())
		}
	})
	return errors.Join(asked, err)
}

// An inbox is where watchers leave items and the engine finds them.
type inbox struct {
	mu    sync.Mutex
	items []arrival
	news  chan struct{} // has one element while items may have some
}

// An arrival is an item or a rename.
type arrival struct {
	queue.Item
	rename *queue.Rename
}

func (b *inbox) put(arrived ...arrival) {
	b.mu.Lock()
	b.items = append(b.items, arrived...)
	b.mu.Unlock()
	select {
	case b.news <- struct{}{}:
	default:
	}
}

// take empties the inbox.
func (b *inbox) take() []arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	items := b.items
	b.items = nil
	return items
}

// receive moves what was left in the inbox to the queue.
func (e *Engine) receive(now time.Time) {
	arrivals := e.inbox.take()
	for _, a := range arrivals {
		if a.rename != nil {
			e.renamed(a.rename, now)
			continue
		}
		e.queue.Add(a.Item, now)
	}
	if len(arrivals) > 0 {
		e.changed, e.roundSize = now, minPruneRound
	}
}

// nextLive takes changes from the queue as soon as a session is free for them and may begin: until then they gather.
// Directories to be listed go the way of the pass.
func (e *Engine) nextLive(now time.Time) *batch {
	if !e.following || e.paused || e.running[0]+e.running[1] >= e.sessions || e.pace.ready().After(now) || e.prunesFirst(now) {
		return nil
	}
	var paths []queue.Item
	for len(paths) < maxLivePaths {
		it, ok := e.queue.Take(now)
		if !ok {
			break
		}
		switch it.Kind {
		case queue.Path, queue.Self:
			paths = append(paths, it)
		default:
			check := e.outage.checked(it)
			e.outage.settled(it)
			count := e.counting && it.Kind == queue.Tree && it.Path == "."
			e.counting = e.counting && !count
			e.trees = append(e.trees, listJob{
				path: it.Path, only: it.Kind == queue.Dir, alone: true, check: check, count: count,
				recent: e.recentUnless(count, it.Path),
			})
		}
	}
	if paths = e.apart(paths, now); len(paths) == 0 {
		return nil
	}
	e.pace.begin(now)
	return &batch{kind: copySmall, retry: true, acks: e.asks(now), live: true, paths: paths}
}

// isLive reports whether sessions of live batches have these options.
func (e *Engine) isLive(o rsync.Options) bool {
	return e.following && o == e.options(&batch{kind: copySmall, retry: true, acks: !e.plainly.now.Load(), live: true})
}

// resolve finds the directories above a tree that comes from a change and not from the listing of its parent.
func (e *Engine) resolve(p string) (*dir, error) {
	if p == "." {
		return nil, nil
	}
	l := &lookup{e: e, dirs: map[string]*dir{}}
	parent, _, err := l.find(p)
	if err != nil {
		return nil, err // of what was found, not all leads to p
	}
	return parent, nil
}

// stale returns the directories of a batch whose attributes changed since they were looked up. Every session sets
// those of all that ride along, so the one that ends last may have set old ones; their own item sets them right.
func (e *Engine) stale(b *batch) []queue.Item {
	if !e.following {
		return nil
	}
	var stale []queue.Item
	for i := range b.entries {
		sent := &b.entries[i]
		if !isDir(sent.Mode) && sent.Link == 0 {
			continue
		}
		found, err := e.lookUp(sent.Path)
		if err != nil {
			continue // its deletion is an item of its own
		}
		if sent.Link != 0 {
			// The server asks for the content of one name of a group: the others were not looked at since.
			if b.about[i].primary && versionOf(&found.Stat) != b.about[i].version {
				stale = append(stale, queue.Item{Path: sent.Path})
			}
			continue
		}
		if !isDir(found.Stat.Mode) {
			continue
		}
		now := EntryOf(sent.Path, &found)
		if now.Mode != sent.Mode || now.Mtime != sent.Mtime || now.Nsec != sent.Nsec || now.UID != sent.UID ||
			now.GID != sent.GID || !now.Attrs.Equal(sent.Attrs) {
			stale = append(stale, queue.Item{Kind: queue.Self, Path: sent.Path})
		}
	}
	return stale
}
