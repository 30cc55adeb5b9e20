package watcher

import "strings"

// A node is a directory at its place in the tree. It never moves: a directory that is renamed is dropped at its old
// place and found anew at the new one, where the kernel gives it the same watch. So the path of a node that is still
// in the tree has been right ever since it was opened: every event that says otherwise drops it.
type node struct {
	parent   *node // nil: the root
	name     string
	children map[string]*node
	wd       int32 // 0: not watched
	gone     bool  // dropped, with everything below it
}

// path returns the path from the root; false when the node or one above it has been dropped.
func (n *node) path() (string, bool) {
	size := 0
	for p := n; p != nil; p = p.parent {
		if p.gone {
			return "", false
		}
		size += len(p.name) + 1
	}
	if n.parent == nil {
		return ".", true
	}
	var b strings.Builder
	b.Grow(size)
	n.appendTo(&b)
	return b.String(), true
}

func (n *node) appendTo(b *strings.Builder) {
	if n.parent.parent != nil {
		n.parent.appendTo(b)
		b.WriteByte('/')
	}
	b.WriteString(n.name)
}

// alive reports whether the node is in the tree.
func (n *node) alive() bool {
	for p := n; p != nil; p = p.parent {
		if p.gone {
			return false
		}
	}
	return true
}

// child returns the node called name, made if there is none yet.
func (n *node) child(name string) (c *node, made bool) {
	if c := n.children[name]; c != nil {
		return c, false
	}
	if n.children == nil {
		n.children = map[string]*node{}
	}
	c = &node{parent: n, name: strings.Clone(name)}
	n.children[c.name] = c
	return c, true
}

// drop takes a node out of the tree, with everything below it, in constant time. Its watches are kept for a while:
// a directory that was only moved will be found again with them.
func (w *Watcher) drop(n *node) {
	if n.gone {
		return
	}
	n.gone = true
	if n.parent.children[n.name] == n {
		delete(n.parent.children, n.name)
	}
	w.lastNode = nil
	w.retire(n)
}

// pathOf is n.path, remembered from one event to the next.
func (w *Watcher) pathOf(n *node) (string, bool) {
	if n == w.lastNode {
		return w.lastPath, true
	}
	path, ok := n.path()
	if ok {
		w.lastNode, w.lastPath = n, path
	}
	return path, ok
}

// own notes that the watch wd reports what happens in n.
func (w *Watcher) own(wd int32, n *node) {
	if n.wd == wd {
		return
	}
	n.wd = wd
	switch old := w.wds[wd]; {
	case old == nil || !old.alive():
		w.wds[wd] = n
	default:
		w.aliases[wd] = append(w.aliases[wd], n)
	}
}

// disown forgets that wd reports what happens in n. It returns true when nobody needs the watch any more.
func (w *Watcher) disown(n *node) bool {
	others := w.aliases[n.wd]
	for i, other := range others {
		if other == n {
			others = append(others[:i], others[i+1:]...)
			break
		}
	}
	last := false
	if w.wds[n.wd] == n {
		if last = len(others) == 0; last {
			delete(w.wds, n.wd)
		} else {
			w.wds[n.wd], others = others[0], others[1:]
		}
	}
	if len(others) == 0 {
		delete(w.aliases, n.wd)
	} else {
		w.aliases[n.wd] = others
	}
	return last
}

// fresh watches the directory called name in dir anew, whatever was known of it, and emits its Tree then. If nothing of
// that name is a directory, nothing happens.
func (w *Watcher) fresh(dir *node, name string) {
	if c := dir.children[name]; c != nil {
		w.drop(c)
	}
	c, _ := dir.child(name)
	w.watchBelow(c, &group{root: c})
}
