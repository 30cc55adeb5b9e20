package transfer

import (
	"path"
	"time"

	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/filter"
)

// A session that breaks leaves litter at the destination, beside the files that it was to bring: of a large one the part
// that has arrived, in the partial directory, and, if it was the server that was killed, the temporary file (.NAME.XXXXXX),
// which no rsync comes back to. The next session that brings the file ends its part. Nothing does where the file is gone
// meanwhile, or too small by then to have a part; and nothing ends temporary files. So a directory in which a session broke
// is pruned when what it broke at is settled; and so is one, after a restart, that has names of which that cannot be known.
//
// Without --delete nothing at the destination is looked for, and litter stays.

// litter has the paths in flight, or put off, at which sessions broke, by the directory that they are in. The engine's
// goroutine owns it.
type litter map[string]map[string]struct{}

// littered notes what a session that broke may have left beside the entries that it did not settle.
func (e *Engine) littered(o outcome, pending []bool) {
	if !e.cfg.Delete || e.session.DryRun {
		return
	}
	var dirs map[string]struct{}
	for i := range pending {
		seeded := o.b.seeded != nil && o.b.seeded[i]
		if !pending[i] || !seeded && result(o.report, i).Items&rsync.ItemTransfer == 0 {
			continue // it was not asked for
		}
		d := path.Dir(o.b.entries[i].Path)
		if dirs == nil {
			dirs = map[string]struct{}{}
		}
		dirs[d] = struct{}{}
		for _, p := range o.b.answers[int32(i)] {
			if e.litter[d] == nil {
				e.litter[d] = map[string]struct{}{}
			}
			e.litter[d][p] = struct{}{}
		}
	}
	for _, p := range o.b.parts {
		if _, ok := dirs[p]; ok {
			e.work[p].prune = true
		}
	}
	e.ledger.ask(func(s *catalogue.Store) error {
		changes := make([]catalogue.Change, 0, len(dirs))
		for d := range dirs {
			changes = append(changes, catalogue.Complete(d, false))
		}
		return s.Apply(changes...)
	})
}

// tidy has the directory of p pruned if p, which is settled, was the last at which a session broke there.
func (e *Engine) tidy(p string) {
	d := path.Dir(p)
	broken := e.litter[d]
	if _, ok := broken[p]; !ok {
		return
	}
	if delete(broken, p); len(broken) > 0 {
		return
	}
	delete(e.litter, d)
	if e.following {
		e.pruneLitter(d, time.Now())
	}
}

// pruneLitter has directory d pruned, even if all that it has to hold is known to be there.
func (e *Engine) pruneLitter(d string, now time.Time) {
	e.ledger.ask(func(s *catalogue.Store) error { return s.Apply(catalogue.Complete(d, false)) })
	e.queue.Add(queue.Item{Kind: queue.Dir, Path: d}, now)
}

// sweepEvery is how often it is looked whether what is remembered in litter is still to come.
const sweepEvery = time.Second

// sweepLitter has directories pruned whose last broken path was swallowed by a wider item, which prunes another directory
// or none: what was a file is a directory now.
func (e *Engine) sweepLitter(now time.Time) {
	if !e.following || len(e.litter) == 0 || now.Before(e.litterDue) {
		return
	}
	e.litterDue = now.Add(sweepEvery)
	for d := range e.litter {
		if !e.unsettled(d) {
			e.pruneLitter(d, now)
		}
	}
}

// unsettled reports whether something at which a session broke in directory d is still to come. Paths that wider items
// have swallowed are forgotten.
func (e *Engine) unsettled(d string) bool {
	for p := range e.litter[d] {
		if !e.queue.Has(p) {
			delete(e.litter[d], p)
		}
	}
	if len(e.litter[d]) > 0 {
		return true
	}
	delete(e.litter, d)
	return false
}

// keepParts returns the rules that keep the parts in directories to be pruned that are still of use. Where nothing is on
// its way into a directory, they are litter.
func (e *Engine) keepParts(b *batch) []string {
	if path.IsAbs(e.partialDir()) {
		return nil // in no directory of the tree
	}
	var rules []string
	for _, d := range b.unsettled {
		kind := "-p "
		if e.protocol < 30 {
			kind = "- "
		}
		pattern := filter.Literal("/"+queue.Join(d, path.Clean(e.partialDir()))) + "/"
		if len(pattern) < filter.MaxPattern { // else what it would keep begins anew
			rules = append(rules, kind+pattern)
		}
	}
	return rules
}

// partialDir is where parts are, of those files that leave any.
func (e *Engine) partialDir() string {
	if e.cfg.PartialDir != "" {
		return e.cfg.PartialDir
	}
	return DefaultPartialDir
}
