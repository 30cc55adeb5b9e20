package embedded

import (
	"fmt"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"golang.org/x/sys/unix"
)

// linkGroup is one file with several names in the batch. Its leader is chosen as rsync does it: the first name that
// is there already, with data to come if it is outdated, else the last name; the others become links to it.
type linkGroup struct {
	left    int          // members not yet visited
	leader  int          // -1: not found yet
	at      *unix.Stat_t // what stood at the leader's place, if that was of the right kind
	waiting []int        // members visited without one
}

// linkTo is a link to be made when its leader is in place.
type linkTo struct{ i, leader int }

func (s *send) findLinks(order []int32) {
	for _, i := range order {
		e := &s.entries[i]
		if e.Link <= 0 || e.Mode == 0 || isDir(e.Mode) {
			continue
		}
		g := s.links[e.Link]
		if g == nil {
			g = &linkGroup{leader: -1}
			s.links[e.Link] = g
		}
		g.left++
	}
	for id, g := range s.links {
		if g.left < 2 {
			delete(s.links, id)
		}
	}
}

// group returns the entry's link group, nil if it is alone.
func (s *send) group(e *flist.Entry) *linkGroup {
	if e.Link <= 0 {
		return nil
	}
	return s.links[e.Link]
}

// follow settles a member whose leader is known, as far as that is possible before the leader is in place.
func (s *send) follow(i int, e *flist.Entry, at place, g *linkGroup) {
	if !s.wanted(e, at) {
		s.skip(i, "")
		return
	}
	if err := s.makeWay(e, &at); err != nil {
		s.fail(i, err)
		return
	}
	if f, report := s.linkFlags(e, at, g); report {
		s.item(i, f)
	}
	if s.o.DryRun {
		s.done(i)
		return
	}
	s.toLink = append(s.toLink, linkTo{i, g.leader})
}

// linkFlags returns the item of a member, and whether there is anything to say: names that are links to each other
// already are only reported when something differs.
func (s *send) linkFlags(e *flist.Entry, at place, g *linkGroup) (f rsync.ItemFlags, report bool) {
	const made = rsync.ItemLocal | rsync.ItemLink
	if at.old(e) == nil {
		return rsync.ItemNew | made, true
	}
	f = s.attrs.differ(e, at, at.st, made)
	return f, f != made || !sameInode(at.st, g.at)
}

func sameInode(a, b *unix.Stat_t) bool {
	return a != nil && b != nil && a.Dev == b.Dev && a.Ino == b.Ino
}

// lead makes i, whose place is at, the leader of its group and links those to it that waited for one.
func (s *send) lead(i int, at place, g *linkGroup) {
	g.leader = i
	g.at = at.old(&s.entries[i])
	waiting := g.waiting
	g.waiting = nil
	for k := len(waiting) - 1; k >= 0; k-- {
		w := waiting[k]
		if at, ok := s.locate(w, &s.entries[w]); ok {
			s.follow(w, &s.entries[w], at, g)
		}
	}
}

// makeLinks links the members of groups to their leaders, now that these are in place.
func (s *send) makeLinks() {
	for _, l := range s.toLink {
		if s.ended() {
			return
		}
		switch lead := &s.rep.Results[l.leader]; lead.State {
		case rsync.Acked, rsync.Changed:
			if err := s.link(l); err != nil {
				s.fail(l.i, err)
				continue
			}
			s.rep.Results[l.i].State, s.rep.Results[l.i].Err = lead.State, lead.Err
		case rsync.Failed, rsync.NotSent:
			s.rep.Results[l.i].State = lead.State
			s.rep.Results[l.i].Err = fmt.Errorf("link %q: %w", s.entries[l.i].Path, lead.Err)
		}
	}
}

func (s *send) link(l linkTo) error {
	e, lead := &s.entries[l.i], &s.entries[l.leader]
	dir, name, err := s.dirs.parent(e.Path)
	if err != nil {
		return fmt.Errorf("open directory of %q: %w", e.Path, err)
	}
	from, leadName, err := s.others.parent(lead.Path)
	if err != nil {
		return fmt.Errorf("open directory of %q: %w", lead.Path, err)
	}
	a, err := lstat(from, leadName)
	if err != nil {
		return fmt.Errorf("stat %q: %w", lead.Path, err)
	}
	b, err := lstat(dir, name)
	if err != nil {
		return fmt.Errorf("stat %q: %w", e.Path, err)
	}
	if sameInode(a, b) {
		return nil // also because rename(2) of one onto the other would do nothing and leave the temporary name
	}
	return s.replace(e.Path, place{dir: dir, name: name, st: b}, func(tmp string) error {
		err := eintr(func() error { return unix.Linkat(from, leadName, dir, tmp, 0) })
		if err != nil {
			return fmt.Errorf("link %q to %q: %w", e.Path, lead.Path, err)
		}
		return nil
	})
}
