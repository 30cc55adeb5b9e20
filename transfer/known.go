package transfer

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/scan"
)

// A listing names one by one, as changes, what is gone of a directory; where it is more than this, the directory is
// sent as a whole to be pruned.
const maxGoneNames = 1000

// mostGoneNames is how many names may be. A pass prunes every directory that lost one if the server takes no names.
func (e *Engine) mostGoneNames() int {
	if !e.following && e.noMissing.Load() {
		return 0
	}
	return maxGoneNames
}

// A ledger is the catalogue of a run, or nothing: without one, and after the first error of one, everything is asked of
// the destination. It is safe for concurrent use, as the catalogue is.
type ledger struct {
	store      atomic.Pointer[catalogue.Store]
	log        *slog.Logger
	ruled      atomic.Bool // files in the tree say what belongs to it
	distrusted atomic.Bool // Config.Distrusted, or by now

	unsure []unsure     // the engine's
	doubts atomic.Int64 // how many these are
}

// ask runs f with the catalogue. Without one, or if it fails, it returns false.
func (g *ledger) ask(f func(s *catalogue.Store) error) bool {
	s := g.store.Load()
	if s == nil {
		return false
	}
	err := f(s)
	if err != nil && g.store.CompareAndSwap(s, nil) {
		g.log.Error("the catalogue is of no use any more; going on without it", "err", err)
	}
	return err == nil
}

// A memory is what the catalogue has of one directory. It is read in step with a listing: both are in byte order.
type memory struct {
	records  []catalogue.Record
	self     catalogue.Record
	trusted  bool     // what has no record is not at the destination, or is none of our business there
	gone     []string // names with a record and no entry
	littered bool     // there is a name of which is not known what became of it
}

// remember returns what is known of directory p, in the memory of records. If its parent was listed, that has its record.
func (e *Engine) remember(p string, parent *dir, records []catalogue.Record) *memory {
	m := &memory{}
	if !e.ledger.ask(func(s *catalogue.Store) (err error) {
		known := false
		if parent != nil {
			m.self, known = parent.recalled[p[strings.LastIndexByte(p, '/')+1:]]
		}
		if !known {
			m.self, _, err = s.Get(p)
		}
		if err == nil {
			m.records, m.trusted, err = s.AppendDir(records[:0], p)
		}
		return err
	}) {
		return &memory{}
	}
	// What the rules in a directory's own files let in may have changed without a change of its names.
	m.trusted = (m.trusted || !e.cfg.Delete) && !e.ledger.ruled.Load()
	return m
}

// find returns the record of the next entry of a listing, and notes those that have none any more.
func (m *memory) find(name string) catalogue.Record {
	for len(m.records) > 0 && m.records[0].Name <= name {
		r := m.records[0]
		m.records = m.records[1:]
		m.littered = m.littered || mayBeLittered(&r)
		if r.Name == name {
			return r
		}
		m.gone = append(m.gone, r.Name)
	}
	return catalogue.Record{}
}

// rest notes the records after the last entry.
func (m *memory) rest() []string {
	for _, r := range m.records {
		m.littered = m.littered || mayBeLittered(&r)
		m.gone = append(m.gone, r.Name)
	}
	m.records = nil
	return m.gone
}

// mayBeLittered reports whether a session was never heard of again that was to bring what a record is of.
func mayBeLittered(r *catalogue.Record) bool {
	return r.State == catalogue.Doubt && !isDir(r.Version.Mode)
}

// same reports whether the destination is known to have just this version.
func same(r *catalogue.Record, v version) bool { return r.State == catalogue.Known && r.Version == v }

// suspicious reports whether a file may differ at the destination although size and time there say that it does not:
// the record knows of a version that had the same ones, or cannot tell what is there.
func (e *Engine) suspicious(r *catalogue.Record, v version) bool {
	if r.Name == "" {
		return false
	}
	switch r.State {
	case catalogue.Known:
		return r.Version.Size == v.Size && r.Version.Mtime == v.Mtime
	case catalogue.Racy:
		return r.Version.Size == v.Size && r.Version.Mtime == v.Mtime
	default:
		// After a crash of the machine everything is in doubt, and little of it for a reason.
		return !(e.ledger.distrusted.Load() && r.Version == v)
	}
}

// recentLag is how much older than an item a change may be that it swallowed: the kernel's queue is read so late at most.
const recentLag = 30 * time.Second

// recent returns since when changes below the item in flight at p may have no items of their own, by the clock of the
// files.
func (e *Engine) recent(p string) time.Time {
	since := e.queue.Since(p)
	if since.IsZero() {
		return since
	}
	return time.Now().Add(-time.Since(since) - recentLag)
}

// recentUnless is recent but for a pass that only counts: what differs is to be found by it, not mended.
func (e *Engine) recentUnless(counts bool, p string) time.Time {
	if counts {
		return time.Time{}
	}
	return e.recent(p)
}

// trusted returns by what an entry of directory d is taken for equal.
func (e *Engine) trusted(d *dir, r *catalogue.Record, c *child) trust {
	switch {
	case c.version.Mode&unix.S_IFMT != unix.S_IFREG:
		return byTime
	case !d.check && same(r, c.version): // listed all the same, because of what else may be in its directory
		return byTime
	case !d.recent.IsZero() && c.version.Ctime > d.recent.UnixNano():
		return never
	case d.check || e.suspicious(r, c.version):
		return bySum
	}
	return byTime
}

// take sorts one entry of the directory being listed into l, unless the destination has it.
func (e *Engine) take(l *listing, s *scan.Entry, m *memory, all bool) {
	r := m.find(s.Name)
	v := versionOf(&s.Stat)
	there := !all && same(&r, v)
	if there && !isDir(v.Mode) && s.Stat.Nlink < 2 {
		l.have(s.Name, &r) // which is most of a tree: it costs no path
		return
	}
	c, ok := e.childOf(l, s)
	if !ok {
		return
	}
	if isDir(c.entry.Mode) {
		visited := !s.MountPoint && !l.only
		if visited {
			l.descend = append(l.descend, s.Name)
			if there {
				l.dir.recall(s.Name, r)
			}
		}
		if !there || visited {
			l.subdirs = append(l.subdirs, c)
		} else {
			l.there.add(&v)
		}
		return
	}
	if there {
		l.have(s.Name, &r)
		l.linked = append(l.linked, c)
		return
	}
	if e.big(&c.entry) {
		l.big++
	}
	c.trust, c.anew = e.trusted(l.dir, &r, &c), e.wasOther(&r, &c.version)
	if c.trust != byTime {
		l.unsure++
	}
	if r.Name == "" {
		if m := e.movedFrom(&c); m != nil {
			l.moved = append(l.moved, *m)
		}
	}
	l.children = append(l.children, c)
}

// recall keeps the record of a subdirectory that is visited soon: to look for it costs more than all else of a small one.
func (d *dir) recall(name string, r catalogue.Record) {
	if d.recalled == nil {
		d.recalled = map[string]catalogue.Record{}
	}
	d.recalled[name] = r
}

// have leaves out an entry that the destination has.
func (l *listing) have(name string, r *catalogue.Record) {
	l.there.add(&r.Version)
	if isRegular(r.Version.Mode) && !l.tally.proven(r) && l.dir.counted {
		l.tally.unproven = append(l.tally.unproven, queue.Join(l.dir.entry.Path, name))
	}
}

// there counts what a listing leaves out because the destination has it.
type there struct {
	ByType
	bytes int64
}

func (t *there) add(v *version) {
	switch v.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		t.Regular++
		t.bytes += v.Size
	case unix.S_IFDIR:
		t.Dirs++
	case unix.S_IFLNK:
		t.Symlinks++
		t.bytes += v.Size
	case unix.S_IFCHR, unix.S_IFBLK:
		t.Devices++
	default:
		t.Specials++
	}
}

// raceWindow is how near to a change a file must be looked at to leave it open whether another change came after the
// look with the same times: ticks of clocks are shorter, some file systems keep whole or even seconds only.
const raceWindow = 2 * time.Second

// racy reports whether another version with the same numbers may exist of what was looked at since then.
func racy(v version, since time.Time) bool {
	from := since.Add(-raceWindow).UnixNano()
	return v.Ctime > from || v.Mtime > from && v.Mtime < time.Now().Add(raceWindow).UnixNano()
}
