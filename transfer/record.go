package transfer

import (
	"context"
	"strings"
	"time"

	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/filter"
)

// expect notes what the session for b may change at the destination before it begins, so that nobody believes what was
// true before it if its end is never seen. What it may delete has no records below any more; all names that it may
// create have one.
func (g *ledger) expect(b *batch) {
	g.ask(func(s *catalogue.Store) error {
		var changes []catalogue.Change
		for _, p := range b.clears {
			changes = append(changes, catalogue.Complete(p.path, false))
		}
		if b.content {
			for _, p := range b.parts {
				changes = append(changes, catalogue.Complete(p, false))
			}
		}
		for _, p := range b.forget {
			changes = append(changes, catalogue.Forget(p))
		}
		for i := range b.entries {
			more, err := expected(s, b, i)
			if err != nil {
				return err
			}
			changes = append(changes, more...)
		}
		if len(changes) == 0 {
			return nil
		}
		return s.Apply(changes...)
	})
}

// expected returns what has to be noted of entry i of b.
func expected(s *catalogue.Store, b *batch, i int) ([]catalogue.Change, error) {
	p, mode := b.entries[i].Path, b.entries[i].Mode
	if mode == 0 {
		return []catalogue.Change{catalogue.Forget(p), catalogue.MarkDoubt(p)}, nil
	}
	if b.kind == prune && !isDir(mode) {
		return nil, nil
	}
	r, ok, err := s.Get(p)
	switch {
	case err != nil:
		return nil, err
	case ok && !isDir(mode) && (isDir(r.Version.Mode) || r.Version.Mode == 0):
		// A directory that is there, or may be, goes with all that is in it.
		return []catalogue.Change{catalogue.Forget(p), catalogue.MarkDoubt(p)}, nil
	case ok && r.State == catalogue.Doubt:
		return nil, nil
	case ok && isDir(mode) && r.Version == b.about[i].version:
		return nil, nil // only its times are set again
	}
	return []catalogue.Change{catalogue.MarkDoubt(p)}, nil
}

// known collects what the acknowledgements of one session say, for the catalogue.
type known struct {
	changes []catalogue.Change
	unsure  []unsure
}

// acknowledged notes that entry i of b is in place.
func (k *known) acknowledged(e *Engine, b *batch, i int) {
	if e.ledger.store.Load() == nil || b.kind == prune && !isDir(b.entries[i].Mode) {
		return
	}
	p, v := b.entries[i].Path, b.about[i].version
	if b.entries[i].Mode == 0 {
		k.changes = append(k.changes, catalogue.Forget(p))
		return
	}
	// Of a directory that other sessions bring along, too, the last one to end may have set other times.
	race := racy(v, b.since) || e.following && isDir(v.Mode)
	k.changes = append(k.changes, catalogue.Put(p, v, race))
	if race && e.following {
		k.unsure = append(k.unsure, unsure{p, v})
	}
}

// pruned notes that directories have nothing at the destination that they do not have here, but for those unseen.
func (k *known) pruned(b *batch, r *rsync.Report, unseen map[string]bool) {
	if !r.Complete || r.LimitHit || len(r.DeleteErrors) > 0 {
		return
	}
	complete := func(p string) {
		if !unseen[p] {
			k.changes = append(k.changes, catalogue.Complete(p, true))
		}
	}
	for _, p := range b.clears {
		complete(p.path)
	}
	if b.content && b.kind != prune {
		for _, p := range b.parts {
			complete(p)
		}
	}
}

// record hands what was collected to the catalogue.
func (e *Engine) record(k *known) {
	if len(k.changes) == 0 {
		return
	}
	if e.ledger.ask(func(s *catalogue.Store) error { return s.Apply(k.changes...) }) {
		e.ledger.unsure = append(e.ledger.unsure, k.unsure...)
		if extra := len(e.ledger.unsure) - maxUnsure; extra > 0 {
			e.ledger.unsure = e.ledger.unsure[extra:]
		}
		e.ledger.doubts.Store(int64(len(e.ledger.unsure)))
	}
}

// maxUnsure bounds what waits to be believed. What is forgotten is compared by checksum after a restart.
const maxUnsure = 1 << 18

// An unsure record is of a version that was looked at so soon after its last change that the next change might have
// the same times, or of a directory whose times other sessions may still set. Once the watcher has been heard of all
// that happened till then, and nothing is queued for the path, it can be believed.
type unsure struct {
	path    string
	version version
}

// believe makes records sure when all changes up to then have been queued.
func (e *Engine) believe(then time.Time) {
	keep := e.ledger.unsure[:0]
	var changes []catalogue.Change
	e.ledger.ask(func(s *catalogue.Store) error {
		for _, u := range e.ledger.unsure {
			switch r, ok, err := s.Get(u.path); {
			case err != nil:
				return err
			case !ok || r.State != catalogue.Racy || r.Version != u.version:
			case racy(u.version, then) || e.rides(u.path):
				keep = append(keep, u)
			case len(e.queue.Why(u.path)) == 0:
				changes = append(changes, catalogue.Put(u.path, u.version, false))
			} // else it will be acknowledged again
		}
		return s.Apply(changes...)
	})
	e.ledger.unsure = keep
	e.ledger.doubts.Store(int64(len(keep)))
}

// reassure has what is unsure believed as time goes by, until ctx ends.
func (e *Engine) reassure(ctx context.Context) {
	tick := time.NewTicker(raceWindow)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if e.ledger.doubts.Load() == 0 {
			continue
		}
		if then := time.Now(); e.cfg.Sync(ctx) == nil {
			e.ask(ctx, func() { e.receive(time.Now()); e.believe(then) })
		}
	}
}

// rides reports whether a running session sets the times of directory p.
func (e *Engine) rides(p string) bool {
	for b := range e.sending {
		if _, ok := b.dirs[p]; ok {
			return true
		}
		for _, it := range b.paths { // what it has become, only the sender knows
			if p == "." || strings.HasPrefix(it.Path, p+"/") {
				return true
			}
		}
	}
	return false
}

// vanished queues what a directory no longer has, by name.
func (e *Engine) vanished(l listed) {
	for _, name := range l.gone {
		if e.moves.on && e.holdsBack() && len(e.moves.gone) < maxMoves {
			e.moves.gone = append(e.moves.gone, queue.Join(l.path, name))
			continue
		}
		e.queue.Add(queue.Item{Kind: queue.Path, Path: queue.Join(l.path, name)}, time.Now())
	}
}

// renew has the catalogue begin anew for other filter rules: what they let in now it never heard of.
func (e *Engine) renew(l *filter.List) {
	e.cfg.Filter = l
	e.ledger.ruled.Store(l != nil && l.HasMerge())
	e.distrust()
}

// maxDoubts is how many records are doubted one by one; of more, all are at once.
const maxDoubts = 100_000

// doubt has what the destination perhaps lost compared by checksum after a restart, too, if this run does not come to it.
func (e *Engine) doubt(items map[string]queue.Kind) {
	var changes []catalogue.Change
	tooMany := false
	e.ledger.ask(func(s *catalogue.Store) error {
		var below func(p string, k queue.Kind) error
		below = func(p string, k queue.Kind) error {
			changes = append(changes, catalogue.MarkDoubt(p))
			if tooMany = len(changes) > maxDoubts; tooMany || k < queue.Dir {
				return nil
			}
			records, _, err := s.Dir(p)
			for i := range records {
				if err != nil || tooMany {
					break
				}
				deeper := queue.Path
				if k == queue.Tree && isDir(records[i].Version.Mode) {
					deeper = queue.Tree
				}
				err = below(queue.Join(p, records[i].Name), deeper)
			}
			return err
		}
		for p, k := range items {
			if err := below(p, k); err != nil || tooMany {
				return err
			}
		}
		return s.Apply(changes...)
	})
	if tooMany {
		e.renewed()
	}
}

// renewed begins a new epoch of the catalogue: everything in it is in doubt.
func (e *Engine) renewed() {
	e.ledger.ask(func(s *catalogue.Store) error {
		id, err := e.cfg.identity()
		if err != nil {
			return err
		}
		return s.Renew(id)
	})
}
