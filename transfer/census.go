package transfer

import (
	"context"
	"time"

	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/scan"
)

// maxUnproven bounds what a Census names.
const maxUnproven = 1 << 17

// A Census is what a pass over the whole tree found by the catalogue.
type Census struct {
	Entries int64 // of the source, seen by the pass
	// Files are the regular files of which the destination is known to have just this version, with content that was
	// found equal by checksum; Bytes is what is in them, and Oldest the oldest of these comparisons, in seconds since
	// 1970; 0 if there is none.
	Files, Bytes int64
	Oldest       int64
	// Unproven are the other entries: what is not known to be equal, or is a regular file whose content never was
	// compared, and what is gone. They are in no order. Names are the directories of which the catalogue did not know
	// every name.
	Unproven, Names []string
	Many            bool // more than are named
}

// tally is the part of a Census that one listing gives.
type tally struct {
	files, bytes, oldest int64
	unproven             []string
}

// proven counts a regular file that the destination has, if its content was compared too.
func (t *tally) proven(r *catalogue.Record) bool {
	if r.Verified == 0 {
		return false
	}
	t.files++
	t.bytes += r.Version.Size
	if t.oldest == 0 || r.Verified < t.oldest {
		t.oldest = r.Verified
	}
	return true
}

// Recount has the whole tree compared with the catalogue, as after Changed with a Tree of the root, and counted: once
// the engine is idle, Census has the result.
func (e *Engine) Recount(ctx context.Context) error {
	return e.ask(ctx, func() {
		e.receive(time.Now())
		e.census, e.counting = new(Census), true
		e.queue.Add(queue.Item{Kind: queue.Tree, Path: "."}, time.Now())
	})
}

// Census returns what the pass of the last Recount has counted up to now. Nothing is known of it without a catalogue.
func (e *Engine) Census(ctx context.Context) (c Census, known bool, err error) {
	err = e.ask(ctx, func() {
		if known = e.census != nil && e.ledger.store.Load() != nil; known {
			c = *e.census
		}
		e.census = nil
	})
	return c, known, err
}

// count adds a listing to the census.
func (e *Engine) count(l *listed) {
	c := e.census
	if c == nil || !l.dir.counted || l.prune {
		return
	}
	if l.vanished {
		c.note(l.path)
		return
	}
	t := &l.tally
	c.Entries += 1 + int64(len(l.children)) + l.there.All() - l.there.Dirs
	c.Files += t.files
	c.Bytes += t.bytes
	if t.oldest != 0 && (c.Oldest == 0 || t.oldest < c.Oldest) {
		c.Oldest = t.oldest
	}
	if !l.trusted || l.err != nil {
		c.Names = append(c.Names, l.path)
		c.Many = c.Many || len(c.Names) > maxUnproven
	}
	if !l.same {
		c.note(l.path)
	}
	for _, p := range t.unproven {
		c.note(p)
	}
	for i := range l.children {
		c.note(l.children[i].entry.Path)
	}
	for _, name := range l.gone {
		c.note(queue.Join(l.path, name))
	}
}

func (c *Census) note(p string) {
	if len(c.Unproven) >= maxUnproven {
		c.Many = true
		return
	}
	c.Unproven = append(c.Unproven, p)
}

// VersionOf is the version that a catalogue has of what was looked at.
func VersionOf(s *scan.Stat) catalogue.Version { return versionOf(s) }

// Proven returns when the content of a regular file was found equal, by the catalogue s, in seconds since 1970; 0 if it was
// not, or if the destination is not known to have just this version.
func Proven(s *catalogue.Store, path string, now *scan.Stat) (at int64, err error) {
	r, ok, err := s.Get(path)
	if !ok || !same(&r, versionOf(now)) {
		return 0, err
	}
	return r.Verified, err
}
