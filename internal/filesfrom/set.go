package filesfrom

import (
	"iter"
	"strings"

	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/scan"
)

// A Set is the entries of a tree that a list names. It is not changed once made.
type Set struct {
	root    node
	self    bool // the root itself is named, though not what is in it
	recurse bool
}

// A node is a path that is named, or leads to one that is.
type node struct {
	below map[string]*node
	self  bool // it is named
	in    bool // so is what is in it
}

// named reports whether the list has the path of n itself.
func (n *node) named() bool { return n != nil && (n.self || n.in) }

// child returns the node of an entry in n's directory; nil if it has none.
func (n *node) child(name string) *node {
	if n == nil {
		return nil
	}
	return n.below[name]
}

// find returns the node of a path, which it makes if it is missing.
func (s *Set) find(path []string) *node {
	n := &s.root
	for _, name := range path {
		if n.below == nil {
			n.below = map[string]*node{}
		}
		if n.below[name] == nil {
			n.below[name] = new(node)
		}
		n = n.below[name]
	}
	return n
}

// components are the names of a clean path. The root's has none.
func components(path string) iter.Seq[string] {
	if path == "." {
		return func(func(string) bool) {}
	}
	return strings.SplitSeq(path, "/")
}

// A Selection is a set with the filter that holds for it: a name of the list that is excluded is left out, but not
// one below it that is named, nor what leads there. It is safe for concurrent use.
type Selection struct {
	set   *Set
	rules *filter.Scope
}

// Select applies rules to s; nil are none. They must hold for the whole tree: none come from files in it.
func (s *Set) Select(rules *filter.Scope) *Selection { return &Selection{s, rules} }

func (s *Selection) excluded(path string, isDir bool) bool {
	return s.rules != nil && s.rules.Excluded(path, isDir)
}

// A place is a directory as a selection has it.
type place struct {
	*node      // nil: nothing below it is named
	all   bool // all entries in it are asked for
	asked bool // it is, itself
}

func (s *Selection) at(dir string) place {
	p := place{&s.set.root, s.set.root.in, s.set.self || s.set.root.in}
	at := "."
	for name := range components(dir) {
		at = scan.Join(at, name)
		p = s.enter(p, at, p.child(name))
	}
	return p
}

// enter returns the place of the subdirectory at path.
func (s *Selection) enter(in place, path string, n *node) place {
	deep, excluded := s.set.recurse, s.excluded(path, true)
	return place{
		node:  n,
		all:   !excluded && (deep && in.all || n.named() && (n.in || deep)),
		asked: !excluded && (in.all || n.named()),
	}
}

// Asked reports whether the directory itself is asked for. One that is not goes along with what is below it.
func (s *Selection) Asked(dir string) bool { return s.at(dir).asked }

// Choose has listings made of what s may ask for; Sift does the rest. Only with recursion there are file systems to stay
// in: a name of the list may be on any.
func (s *Selection) Choose(o *scan.Options) {
	o.Names, o.Skip = s.names, s.skip
	o.OneFileSystem = o.OneFileSystem && s.set.recurse
}

// names is [scan.Options.Names]. A directory that is asked for without what is in it has none.
func (s *Selection) names(dir string) (names []string, known bool) {
	p := s.at(dir)
	if p.all {
		return nil, false
	}
	if p.node != nil {
		for name := range p.below {
			names = append(names, name)
		}
	}
	return names, true
}

// skip is [scan.Options.Skip].
func (s *Selection) skip(dir, name string, isDir bool) bool {
	return s.excluded(scan.Join(dir, name), isDir) && s.set.at(dir).child(name) == nil // Sift decides about the others
}

// at returns the node of a clean path; nil if it has none.
func (s *Set) at(path string) *node {
	n := &s.root
	for name := range components(path) {
		n = n.child(name)
	}
	return n
}
