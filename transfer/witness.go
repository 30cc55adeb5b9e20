package transfer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
)

// How many ways down the tree are taken to choose what the destination is asked for before its catalogue is believed.
const witnessWalks = 16

// witness asks the destination, before the first pass, for some of what it is known to hold. A disk that was replaced,
// or not mounted, or that somebody cleared, shows in any few names; then nothing in the catalogue is believed.
func (e *Engine) witness(ctx context.Context) error {
	b := e.witnesses()
	if b == nil {
		return nil
	}
	o := e.options(b)
	o.DryRun, o.Delete, o.DeleteMissing, o.Acks, o.PartialDir = true, false, false, false, ""
	report, err := e.dest.Send(ctx, &rsync.Batch{Entries: b.entries, Open: nobodyOpens, Names: e.names}, o)
	if kindOf(err) == rsync.KindRefused { // dry runs
		e.tell.note(fmt.Sprintf("whether the destination is as it was left cannot be seen: %v", err))
		return nil
	}
	if err != nil {
		return err
	}
	lacking, first := 0, ""
	for i := range b.about {
		if b.about[i].primary && result(report, i).Items&(rsync.ItemNew|rsync.ItemTransfer) != 0 {
			lacking, first = lacking+1, b.entries[i].Path
		}
	}
	if lacking == 0 {
		return nil
	}
	e.tell.note(fmt.Sprintf("the destination is not as it was left: of %d entries asked for it lacks or changed %d, such as %q; "+
		"everything is compared with it again", b.primaries(), lacking, first))
	if !e.following {
		e.distrust()
		return nil
	}
	return e.ask(ctx, e.distrust)
}

func nobodyOpens(int) (rsync.File, error) { return nil, errDry }

var errDry = errors.New("nothing is sent in a dry run")

// witnesses chooses entries that did not change since the destination acknowledged them; nil if there are none.
func (e *Engine) witnesses() *batch {
	var paths []string
	var versions []version
	e.ledger.ask(func(s *catalogue.Store) error {
		seen := map[string]bool{}
		for range witnessWalks {
			for dir := "."; ; {
				records, _, err := s.Dir(dir)
				if err != nil {
					return err
				}
				if len(records) == 0 {
					break
				}
				r := &records[rand.IntN(len(records))]
				p := queue.Join(dir, r.Name)
				if !seen[p] && r.State == catalogue.Known {
					seen[p] = true
					paths, versions = append(paths, p), append(versions, r.Version)
				}
				if !isDir(r.Version.Mode) {
					break
				}
				dir = p
			}
		}
		return nil
	})
	l := &lookup{e: e, dirs: map[string]*dir{}}
	b := newBatch(copySmall, nil)
	for i, p := range paths {
		parent, self, err := l.find(p)
		switch {
		case err != nil || self.version != versions[i]: // it changed here
		case isDir(self.entry.Mode):
			b.ride(parent)
			b.addDir(self.entry, self.version, true)
		default:
			b.ride(parent)
			b.add(self, false)
		}
	}
	if b.primaries() == 0 {
		return nil
	}
	return b
}

// distrust has the catalogue begin anew, though sizes and times are believed.
func (e *Engine) distrust() {
	e.ledger.distrusted.Store(true)
	e.renewed()
}
