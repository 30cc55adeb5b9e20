package transfer

import (
	"errors"
	"io/fs"
	"time"

	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync/flist"
)

// What was moved while nobody looked costs no data: an entry that the catalogue does not know, of an inode that it knows
// by a name that is gone, is not sent but kept as a move, and what is gone is kept from being deleted. When everything
// has been listed, sessions without data link the new names to the old ones, as renames are carried out while following;
// then the old ones go. What the server does not say to have linked is sent.

// maxMoves bounds the moves of one pass that are remembered, and the names that wait for them. What is more is sent.
const maxMoves = 1 << 18

// moves are those of a pass. Their owner is the engine's goroutine.
type moves struct {
	on      bool // the catalogue knew of something at the beginning
	waiting []movedFile
	sending int      // sessions
	gone    []string // names to be deleted once all is done
}

// underWay reports whether moves of a pass, or what waits for them, are still to be done.
func (m *moves) underWay() bool { return len(m.waiting)+len(m.gone)+m.sending > 0 }

// A movedFile is one with the name that the destination has it by.
type movedFile struct {
	to, from string
	version  version // of both, but for the time that the move may have set
	exact    bool    // which it did not: size and time tell that the content is the old one
}

// knowsSome reports whether the catalogue knows of something at all.
func (e *Engine) knowsSome() (known bool) {
	e.ledger.ask(func(s *catalogue.Store) (err error) {
		_, known, err = s.Get(".")
		return err
	})
	return known
}

// mayMove reports whether moves can be carried out at all.
func (e *Engine) mayMove() bool {
	return e.moves.on && e.cfg.MaxDelete < 0 && e.mayEverRelink()
}

// holdsBack reports whether nothing may be deleted yet: an old name may still be needed, or a name still be made.
func (e *Engine) holdsBack() bool {
	m := &e.moves
	if !e.following && (len(e.gathering.groups) > 0 || m.underWay()) {
		return true // what waits would find its directory locked, and come one by one
	}
	return m.on && (e.queue.Trees() > 0 || e.listing > e.pruneLists || len(m.waiting) > 0 || m.sending > 0) && e.mayMove()
}

// movedFrom returns where the destination has the file of a listing that it does not know by its name. It runs in the
// goroutine of a lister.
func (e *Engine) movedFrom(c *child) *movedFile {
	if !e.mayMove() || !isRegular(c.entry.Mode) || c.nlink != 1 || c.entry.Size == 0 || c.trust != byTime {
		return nil
	}
	var found *movedFile
	e.ledger.ask(func(s *catalogue.Store) error {
		paths, err := s.Paths(c.version.Ino)
		if err != nil {
			return err
		}
		for _, p := range paths {
			r, _, err := s.Get(p)
			if err != nil {
				return err
			}
			v := r.Version
			exact := v.Ctime == c.version.Ctime
			v.Ctime = c.version.Ctime
			if r.State != catalogue.Known || v != c.version || p == c.entry.Path || !exact && e.lacks(comparesSums) {
				continue
			}
			if _, _, err := e.cfg.Root.Stat(p); errors.Is(err, fs.ErrNotExist) {
				found = &movedFile{to: c.entry.Path, from: p, version: c.version, exact: exact}
			}
		}
		return nil
	})
	return found
}

// moveListed takes the moved files out of a listing. It reports whether there are any.
func (e *Engine) moveListed(l *listed) bool {
	if len(l.moved) == 0 {
		return false
	}
	room := maxMoves - len(e.moves.waiting)
	held := make(map[string]bool, min(room, len(l.moved)))
	for _, m := range l.moved {
		if len(held) == room {
			break
		}
		held[m.to] = true
		e.moves.waiting = append(e.moves.waiting, m)
	}
	var rest []child
	var expected []*child
	for i := range l.children {
		if c := &l.children[i]; held[c.entry.Path] {
			expected = append(expected, c)
			if e.big(&c.entry) {
				l.big--
			}
		} else {
			rest = append(rest, *c)
		}
	}
	e.expectLinks(expected)
	l.children = rest
	return true
}

// nextMoves gives moves to sessions when the listing is over, and has what is gone deleted after them.
func (e *Engine) nextMoves(now time.Time, noList bool) {
	m := &e.moves
	if !m.on || !noList || e.queue.Trees() > 0 || e.listing > 0 || e.paused {
		return
	}
	for len(m.waiting) > 0 && len(e.ready[0]) == 0 && e.running[0]+e.running[1] < e.sessions {
		n := min(len(m.waiting), e.cfg.tuning.entries/2)
		e.beginMoves(m.waiting[:n], now)
		m.waiting = m.waiting[n:]
	}
	if len(m.waiting) > 0 || m.sending > 0 {
		return
	}
	m.waiting = nil
	for _, p := range m.gone {
		e.queue.Add(queue.Item{Kind: queue.Path, Path: p}, now)
	}
	m.gone = nil
}

// beginMoves takes both names of moved files into flight. Where something else is to be done, that brings the new name.
func (e *Engine) beginMoves(files []movedFile, now time.Time) {
	var batches [2]*batch
	for i := range files {
		f := &files[i]
		if !e.queue.Pick(f.to, now) {
			continue
		}
		if e.queue.Pending(f.from) || !e.queue.Pick(f.from, now) {
			e.queue.Defer(f.to, now)
			continue
		}
		at := 0
		if !f.exact {
			at = 1
		}
		if batches[at] == nil {
			batches[at] = &batch{kind: relink, check: !f.exact}
		}
		batches[at].moves = append(batches[at].moves, f)
	}
	for _, b := range batches {
		if b != nil {
			e.moves.sending++
			e.enqueue(b)
		}
	}
}

// move looks up the new names of moved files, and what the directories of the old ones were.
func (l *lookup) move(given *batch) {
	if given.moves == nil {
		return
	}
	b := newBatch(relink, nil)
	b.answers, b.since, b.check = map[int32][]string{}, l.since, given.check
	l.order = append(l.order, b)
	for _, f := range given.moves {
		to, self, err := l.find(f.to)
		if err != nil || self.nlink != 1 || self.version != f.version || !l.rideGone(b, f.from) {
			l.unmoved = append(l.unmoved, f)
			continue
		}
		b.ride(to)
		r := &rename{Rename: queue.Rename{From: f.from, To: f.to}, moved: f}
		b.answer(b.pair(r, self, f.from), f.to)
	}
}

// rideGone lists the directories above a name that is gone, as they are or as the destination knew them.
func (l *lookup) rideGone(b *batch, p string) bool {
	if _, _, err := l.e.cfg.Root.Stat(p); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	var gone []flist.Entry
	var versions []version
	for _, up := range above(p) {
		if _, ok := b.dirs[up]; ok {
			continue
		}
		if gone == nil {
			if parent, self, err := l.find(up); err == nil && isDir(self.entry.Mode) {
				d, err := l.directory(up, parent)
				if err != nil {
					return false
				}
				b.ride(d)
				continue
			} else if !errors.Is(err, fs.ErrNotExist) {
				return false // something else took its place
			}
		}
		var r catalogue.Record
		if !l.e.ledger.ask(func(s *catalogue.Store) (err error) {
			r, _, err = s.Get(up)
			return err
		}) || !isDir(r.Version.Mode) {
			return false
		}
		v := r.Version
		sec, nsec := v.Mtime/1e9, v.Mtime%1e9
		if nsec < 0 {
			sec, nsec = sec-1, nsec+1e9
		}
		gone = append(gone, flist.Entry{Path: up, Mode: v.Mode, Mtime: sec, Nsec: int32(nsec), UID: v.UID, GID: v.GID})
		versions = append(versions, v)
	}
	for i := range gone {
		b.addDir(gone[i], versions[i], false)
	}
	return true
}

// settleMoves acknowledges what was linked. All else is sent as if it had not been tried.
func (e *Engine) settleMoves(o outcome) error {
	e.moves.sending--
	now := time.Now()
	end := func(f *movedFile) {
		e.queue.Defer(f.to, now)
		e.queue.Done(f.from)
	}
	for _, f := range o.found.unmoved {
		end(f)
	}
	for _, it := range o.stale {
		e.queue.Add(it, now)
	}
	if over(o.err) {
		return o.err
	}
	if o.b == nil {
		return nil
	}
	if o.err != nil {
		e.lose(o)
	}
	e.counters.session(o.report)
	var news known
	done := 0
	for i := range o.b.pairs {
		p := &o.b.pairs[i]
		if o.err != nil || o.changed[int(p.to)] || !p.linked(o.b, o.report) {
			end(p.moved)
			continue
		}
		done++
		e.inPlace(&news, o.b, int(p.to))
		e.acknowledged(o.b, int(p.to), result(o.report, int(p.to)))
		e.queue.Done(p.From)
	}
	e.record(&news)
	e.log.Debug("moved without data", "tried", len(o.b.pairs), "linked", done, "err", o.err)
	return nil
}
