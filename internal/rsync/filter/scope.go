package filter

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// A ReadFunc opens the file name in the directory dir of the source, a path
// from the transfer root ("." is the root itself). An error that is
// fs.ErrNotExist means that there is none.
type ReadFunc func(dir, name string) (io.ReadCloser, error)

// A Scope holds the rules in force inside one directory. It is immutable and
// safe for concurrent use.
type Scope struct {
	shared *shared
	merges []merged
	send   []*rule // all that the sender looks at, in order
	next   *Scope  // of a child directory without merge files of its own; itself, unless a merge is not inherited

	dirsOnly bool // what send has is about directories alone
}

// shared is what all scopes of one tree have in common.
type shared struct {
	rules []*rule
	base  string
	read  ReadFunc
	open  func(string) (io.ReadCloser, error)
	from0 bool
}

// merged is the state of one dir-merge rule: what the files of this directory
// and of its parents gave, the deepest first.
type merged struct {
	by    *rule
	rules []*rule
}

// Root returns the scope of the transfer root.
func (l *List) Root(read ReadFunc) (*Scope, error) {
	b := l.builder()
	if l.cvs {
		if err := b.add(":C", syntax{}); err != nil {
			return nil, err
		}
		if err := b.add("-C", syntax{}); err != nil {
			return nil, err
		}
	}
	sh := &shared{rules: b.rules, base: strings.Trim(l.Base, "/"), read: read, open: b.open, from0: l.From0}
	top := &Scope{shared: sh}
	for _, r := range sh.rules {
		if r.merge != nil {
			top.merges = append(top.merges, merged{by: r})
		}
	}
	for i := 0; i < len(top.merges); i++ {
		if err := top.readParents(i, "."); err != nil {
			return nil, err
		}
	}
	top.finish()
	return top.Enter(".")
}

// Enter returns the scope inside the child directory dir, a path from the
// transfer root. It is s itself when nothing changes.
// An error means that a merge file there is malformed or cannot be read.
func (s *Scope) Enter(dir string) (*Scope, error) {
	if len(s.merges) == 0 {
		return s, nil
	}
	in := &Scope{shared: s.shared, merges: append([]merged(nil), s.next.merges...)}
	changed := false
	for i := 0; i < len(in.merges); i++ { // grows when a merge file brings another dir-merge rule
		if i >= len(s.next.merges) {
			if err := in.readParents(i, dir); err != nil {
				return nil, err
			}
		}
		found, err := in.readMerge(i, dir)
		if err != nil {
			return nil, err
		}
		changed = changed || found
	}
	if !changed {
		return s.next, nil
	}
	in.finish()
	return in, nil
}

// readMerge puts the rules of one merge file in dir before those inherited.
func (s *Scope) readMerge(i int, dir string) (found bool, err error) {
	m := s.merges[i]
	f, err := s.shared.read(dir, m.by.merge.name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	name := path.Join(dir, m.by.merge.name)
	if err != nil {
		return false, fmt.Errorf("filter file %q: %w; make it readable or remove it", name, err)
	}
	defer f.Close()
	b := &builder{open: s.opener(dir)}
	if dir != "." {
		b.dir = dir
	}
	return true, s.absorb(i, name, f, b)
}

// absorb reads one file of the i-th dir-merge rule by means of b.
func (s *Scope) absorb(i int, name string, f io.Reader, b *builder) error {
	m := s.merges[i]
	b.known, b.from0 = s.known, s.shared.from0
	if err := b.addFile(name, f, m.by.merge.inner, b.from0); err != nil {
		return err
	}
	for _, r := range b.rules {
		if r.merge != nil {
			s.merges = append(s.merges, merged{by: r})
		}
	}
	if !b.cleared {
		b.rules = append(b.rules, m.rules...)
	}
	s.merges[i].rules = b.rules
	return nil
}

// opener opens what a merge file in dir merges. As in rsync, a name without a
// slash is looked for in the transfer root, and a relative one with a slash
// from dir. What lies in the tree is read by the tree's own reader.
func (s *Scope) opener(dir string) func(string) (io.ReadCloser, error) {
	return func(name string) (io.ReadCloser, error) {
		if !path.IsAbs(name) {
			if strings.Contains(name, "/") {
				name = path.Join(dir, name)
			}
			if name != ".." && !strings.HasPrefix(name, "../") {
				return s.shared.read(path.Dir(name), path.Base(name))
			}
			if s.shared.base == "" {
				return nil, errors.New("it lies outside the tree")
			}
			name = path.Join("/", s.shared.base, name)
		}
		return s.shared.open(name)
	}
}

func (s *Scope) known(name string) bool {
	for _, m := range s.merges {
		if m.by.merge.name == name {
			return true
		}
	}
	return false
}

// finish computes what follows from merges.
func (s *Scope) finish() {
	s.dirsOnly = true
	s.each(s.shared.rules, func(r *rule) {
		if r.merge == nil && r.onSender() {
			s.send = append(s.send, r)
			s.dirsOnly = s.dirsOnly && r.pattern.dirOnly && !r.negate
		}
	})
	s.next = s
	for _, m := range s.merges {
		if m.by.merge.inner.noInherit && len(m.rules) > 0 {
			s.next = s.inherited()
			return
		}
	}
}

// inherited is the scope of a child directory without merge files.
func (s *Scope) inherited() *Scope {
	child := &Scope{shared: s.shared}
	for _, m := range s.merges {
		if m.by.merge.inner.noInherit {
			m.rules = nil
		}
		child.merges = append(child.merges, m)
	}
	child.finish()
	return child
}

// each calls fn for all rules in force, in order, dir-merge rules before what
// they merged.
func (s *Scope) each(rules []*rule, fn func(*rule)) {
	for _, r := range rules {
		fn(r)
		if r.merge == nil {
			continue
		}
		for _, m := range s.merges {
			if m.by == r {
				s.each(m.rules, fn)
			}
		}
	}
}

// Excluded reports whether the sender leaves out the entry path, relative to
// the transfer root, of the directory that s is the scope of. The first rule
// that matches decides; without one, the entry is in.
func (s *Scope) Excluded(path string, isDir bool) bool {
	if path == "." {
		return false
	}
	for _, r := range s.send {
		if r.matches(s.shared.base, path, isDir) {
			return !r.include
		}
	}
	return false
}

// Skip is Excluded for the entry name of the directory dir. It spares putting the path together for what no rule is
// about, which is most of a tree.
func (s *Scope) Skip(dir, name string, isDir bool) bool {
	if !isDir && s.dirsOnly {
		return false
	}
	if dir != "." {
		name = dir + "/" + name
	}
	return s.Excluded(name, isDir)
}

func (r *rule) onSender() bool {
	return !r.xattr && (r.sides == 0 || r.sides&senderSide != 0)
}

// matches applies the rule, its negation included. base is the absolute path of
// the transfer root without its first slash.
func (r *rule) matches(base, path string, isDir bool) bool {
	if !r.absolute {
		base = ""
	}
	return r.pattern.match(base, path, isDir) != r.negate
}
