package verify

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/wire"
	"github.com/syncd/syncd/internal/scan"
)

// settle reports on a batch whose session ended well.
func (r *run) settle(ctx context.Context, b *batch, report *rsync.Report) error {
	silent := errSilent
	if len(report.Loose) > 0 {
		silent = errors.New(report.Loose[0])
	}
	var doubtful []int32 // files whose content differs, or cannot be read there
	for i := range b.entries {
		if !b.about[i].primary {
			continue
		}
		if b.about[i].links {
			r.settleLink(b, i, &report.Results[i])
			continue
		}
		if r.settleEntry(b, i, &report.Results[i], silent) {
			doubtful = append(doubtful, int32(i))
		}
	}
	for _, words := range report.DeleteErrors {
		if !keptDirectory(words) {
			r.uncompared(".", errors.New(words))
		}
	}
	if len(doubtful) == 0 {
		return nil
	}
	return r.probe(ctx, b, doubtful, report)
}

// settleEntry reports on one entry. It returns true for a file that probe is to report on. silent is the reason for an
// entry of which nothing is known although no error names it.
func (r *run) settleEntry(b *batch, i int, res *rsync.Result, silent error) (probe bool) {
	e, a := &b.entries[i], &b.about[i]
	flags := differs(res.Items, e.Mode)
	if k, known := r.v.kept(); known && flags&^k.Lost == 0 {
		flags = 0
	}
	switch {
	case a.failed == ErrChanged, errors.Is(res.Err, rsync.ErrChanged), vanished(res):
		r.again(Item{Path: e.Path})
		return false
	case a.failed != nil:
		r.uncompared(e.Path, a.failed)
		return false
	case flags != 0 && r.isNow(e.Path, &a.stat):
		if b.contents && isRegular(e.Mode) && flags&rsync.ItemContent != 0 && flags&(rsync.ItemSize|rsync.ItemNew) == 0 {
			return true
		}
		r.different(Difference{Path: e.Path, Flags: flags, Entry: *e})
	case flags != 0:
		r.again(Item{Path: e.Path})
		return false
	}
	switch {
	case res.State == rsync.Acked, e.Mode == 0 && res.Err != nil && keptDirectory(res.Err.Error()):
		if flags == 0 {
			r.settleEqual(b, i)
		}
	case res.Err != nil:
		r.uncompared(e.Path, res.Err)
	default:
		r.uncompared(e.Path, silent)
	}
	return false
}

var errSilent = errors.New("the server said nothing of it")

// vanished reports whether a file could not be opened because it is gone, by a destination on this machine.
func vanished(res *rsync.Result) bool {
	return res.State == rsync.NotSent && errors.Is(res.Err, fs.ErrNotExist)
}

// differs returns what of the server's report is a difference.
func differs(f rsync.ItemFlags, mode uint32) rsync.ItemFlags {
	const about = rsync.ItemTimeSet | rsync.ItemUnknown | rsync.ItemAtime
	said := f &^ about
	if f&rsync.ItemTimeSet != 0 {
		said &^= rsync.ItemTime // it would be another one, whatever it is
	}
	if mode&unix.S_IFMT == unix.S_IFLNK {
		said &^= rsync.ItemSize // its time could not be set there
	}
	if said == 0 {
		return 0
	}
	return f
}

// keptDirectory recognizes a directory that is not extra because rules protect what is in it.
func keptDirectory(words string) bool {
	return strings.Contains(words, "cannot delete non-empty directory")
}

// isNow reports whether the source still has what was compared.
func (r *run) isNow(path string, was *scan.Stat) bool {
	st, _, err := r.v.cfg.Root.Stat(path)
	return err == nil && st == *was
}

func (r *run) settleEqual(b *batch, i int) {
	e, a := &b.entries[i], &b.about[i]
	for _, p := range b.answers[int32(i)] {
		if !b.extra[p] {
			r.equal(p, Proof{})
		}
	}
	if b.extra[e.Path] {
		return // it was named
	}
	p := Proof{Version: a.stat}
	if b.contents && isRegular(e.Mode) {
		p.Digest, p.Hash, p.Read = e.Sum, b.hash, a.read
	}
	r.equal(e.Path, p)
}

// probe tells files with other content from files that cannot be read there, about which servers say nothing: they take
// zeros for the digest of such a file. So they are asked whether it is that.
func (r *run) probe(ctx context.Context, b *batch, places []int32, said *rsync.Report) error {
	unreadable := func(k int) bool { return r.v.unreadable(b.entries[places[k]].Path) }
	if !r.v.local() {
		s, at := b.subset(places, make([]byte, b.hash.Size()))
		o := r.opts
		o.Delete, o.Force, o.IgnoreErrors = false, false, false
		report, err := r.deliver(ctx, s, o, func(terms) {}, nobody{})
		if err != nil {
			return err
		}
		unreadable = func(k int) bool { return report.Results[at[k]].Items&rsync.ItemContent == 0 }
	}
	for k, i := range places {
		e := &b.entries[i]
		flags := said.Results[i].Items
		if !unreadable(k) {
			r.different(Difference{Path: e.Path, Flags: flags, Entry: *e})
			continue
		}
		r.uncompared(e.Path, ErrUnreadable)
		if rest := differs(flags&^(rsync.ItemContent|rsync.ItemTransfer), e.Mode); rest != 0 {
			r.different(Difference{Path: e.Path, Flags: rest, Entry: *e})
		}
	}
	return nil
}

// extras hears what a session finds that is not here.
type extras struct {
	nobody
	r    *run
	b    *batch
	seen int // in this session
}

// Deleted takes the path of something that is there and not in the list. A session that was broken off says it again.
func (x *extras) Deleted(path string, dir bool) {
	if x.seen++; x.seen <= x.b.told {
		return
	}
	x.b.told++
	if x.b.isHidden(path) {
		return
	}
	r := x.r
	switch st, _, err := r.v.cfg.Root.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		if x.b.gone {
			x.b.isExtra(path)
		}
		r.different(Difference{Path: path, Extra: true, Dir: dir})
	case err != nil:
		r.uncompared(path, err)
	case r.v.cfg.Session.Lists(st.Mode):
		r.again(Item{Path: path}) // made since it was listed
	default:
		r.different(Difference{Path: path, Extra: true, Dir: dir})
	}
}

type nobody struct{}

func (nobody) Item(int, rsync.ItemFlags) {}
func (nobody) Sending(int)               {}
func (nobody) Sent(int64)                {}
func (nobody) Deleted(string, bool)      {}
func (nobody) Message(wire.Tag, string)  {}
