package transfer

import (
	"time"

	"github.com/syncd/syncd/internal/queue"
)

// A linkIndex knows the names of inodes that have several. The kernel reports a change by the name that was used; the
// others are as stale at the destination. It costs memory for such inodes only, and its names may be out of date: an
// item too many does no harm.
type linkIndex map[link]*linked

type linked struct {
	ctime int64 // of the state whose change all names know of, nanoseconds
	names map[string]struct{}
}

// see notes that c is a name of its inode. It returns the names that are not known to be looked at in the inode's newest
// state.
func (x linkIndex) see(c *child) []string {
	l := x[c.link]
	if c.nlink < 2 && l == nil || isDir(c.entry.Mode) {
		return nil
	}
	ctime := c.version.ctime*1e9 + int64(c.version.ctimeNsec)
	if l == nil {
		l = &linked{ctime: ctime, names: map[string]struct{}{}}
		x[c.link] = l
	}
	l.names[c.entry.Path] = struct{}{}
	if c.nlink < 2 {
		delete(x, c.link) // its other names are gone, and told so by events of their own
		return nil
	}
	switch {
	case ctime == l.ctime:
		return nil
	case ctime < l.ctime:
		return []string{c.entry.Path} // a newer state was seen by another name: this look at it is stale
	}
	l.ctime = ctime
	others := make([]string, 0, len(l.names)-1)
	for name := range l.names {
		if name != c.entry.Path {
			others = append(others, name)
		}
	}
	return others
}

// seeLinks queues the other names of what changed.
func (e *Engine) seeLinks(children []child) {
	if !e.following {
		return
	}
	for i := range children {
		for _, other := range e.links.see(&children[i]) {
			e.queue.Add(queue.Item{Kind: queue.Path, Path: other}, time.Now())
		}
	}
}
