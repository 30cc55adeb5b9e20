package verify

import (
	"errors"
	"fmt"
	"path"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/transfer"
)

// maxLinkNames bounds what is remembered of names of inodes whose other names come in other lists.
const maxLinkNames = 250_000

// A linkIndex remembers the names of inodes that have several, until all of them are in one batch: whether names are
// links to each other there, a server says only of those in one list. Those that come in several are compared as links
// at the end.
type linkIndex struct {
	open  map[link]*linkNames
	names int
	full  bool
}

type linkNames struct {
	paths  []string
	last   *batch
	spread bool // over several batches
}

// seeLink takes a name that was added to b.
func (f *filler) seeLink(b *batch, p string, st *scan.Stat) {
	x := &f.linked
	key := link{st.Dev, st.Ino}
	n := x.open[key]
	switch {
	case n == nil && x.names >= maxLinkNames, n != nil && x.names >= maxLinkNames && n.last != b:
		if !x.full {
			x.full = true
			f.uncompared(".", fmt.Errorf("more than %d names of files with several: not all are compared as links", maxLinkNames))
		}
		return
	case n == nil:
		n = &linkNames{last: b}
		if x.open == nil {
			x.open = map[link]*linkNames{}
		}
		x.open[key] = n
	}
	n.spread = n.spread || n.last != b
	n.last = b
	n.paths = append(n.paths, p)
	x.names++
	if uint64(len(n.paths)) >= st.Nlink && !n.spread {
		x.names -= len(n.paths)
		delete(x.open, key)
	}
}

// links adds once more the names of inodes that are in several batches, those of an inode to one.
func (f *filler) links() error {
	if f.filling[byAttributes] != nil { // which may have some of the names already
		if err := f.close(byAttributes); err != nil {
			return err
		}
	}
	for key, n := range f.linked.open {
		delete(f.linked.open, key)
		if !n.spread {
			continue // the other names are not in the tree, or left out
		}
		if b := f.filling[byAttributes]; b != nil && len(b.entries)+len(n.paths) > f.v.cfg.tuning.entries {
			if err := f.close(byAttributes); err != nil {
				return err
			}
		}
		var b *batch
		for _, p := range n.paths {
			parent, err := f.parent(path.Dir(p))
			if err == nil && b == nil {
				b, err = f.batch(byAttributes, parent, len(n.paths))
			}
			if err != nil {
				if missing := (*missingError)(nil); errors.As(err, &missing) {
					continue // changed since: its parent was, or will be, compared again
				}
				return err
			}
			f.link(b, parent, p)
		}
		if b != nil {
			if err := f.closeFull(byAttributes); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *filler) link(b *batch, parent *dir, p string) {
	found, err := f.lookUp(p)
	if err != nil || found.Stat.IsDir() {
		return // as above
	}
	e := transfer.EntryOf(p, &found)
	if flist.Validate(&e, f.terms.protocol) != nil {
		return // said when it was listed
	}
	b.ride(parent)
	at := b.add(e, &found.Stat, true, true)
	b.about[at].links = true
}

// settleLink reports on a name that was listed for the sake of its links: all else has been reported.
func (r *run) settleLink(b *batch, i int, res *rsync.Result) {
	e, a := &b.entries[i], &b.about[i]
	const linked = rsync.ItemLocal | rsync.ItemLink
	switch {
	case res.State != rsync.Acked:
		r.uncompared(e.Path, errors.Join(errLinks, res.Err))
	case res.Items&linked != linked || res.Items&rsync.ItemNew != 0:
	case r.isNow(e.Path, &a.stat):
		r.different(Difference{Path: e.Path, Flags: linked, Entry: *e})
	default:
		r.uncompared(e.Path, ErrChanged)
	}
}

var errLinks = errors.New("its hard links could not be compared")
