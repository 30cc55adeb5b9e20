package queue

// A heap orders nodes; each node knows its place in the one heap that it is in.
type heap struct {
	nodes  []*node
	before func(a, b *node) bool
}

func byAge(a, b *node) bool { return a.since < b.since }
func byDue(a, b *node) bool { return a.hold.due < b.hold.due }

func (h *heap) first() *node {
	if len(h.nodes) == 0 {
		return nil
	}
	return h.nodes[0]
}

func (h *heap) push(n *node) {
	n.pos = int32(len(h.nodes))
	h.nodes = append(h.nodes, n)
	h.up(int(n.pos))
}

func (h *heap) remove(n *node) {
	i, last := int(n.pos), len(h.nodes)-1
	h.swap(i, last)
	h.nodes[last] = nil
	h.nodes = h.nodes[:last]
	if i < last {
		h.fix(h.nodes[i])
	}
	if last == 0 && cap(h.nodes) > 1<<12 {
		h.nodes = nil // what a storm needed is not kept for ever
	}
}

// fix restores the order after n has changed.
func (h *heap) fix(n *node) {
	h.up(int(n.pos))
	h.down(int(n.pos))
}

func (h *heap) up(i int) {
	for i > 0 {
		above := (i - 1) / 2
		if !h.before(h.nodes[i], h.nodes[above]) {
			return
		}
		h.swap(i, above)
		i = above
	}
}

func (h *heap) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(h.nodes) {
			return
		}
		if c+1 < len(h.nodes) && h.before(h.nodes[c+1], h.nodes[c]) {
			c++
		}
		if !h.before(h.nodes[c], h.nodes[i]) {
			return
		}
		h.swap(i, c)
		i = c
	}
}

func (h *heap) swap(i, j int) {
	h.nodes[i], h.nodes[j] = h.nodes[j], h.nodes[i]
	h.nodes[i].pos, h.nodes[j].pos = int32(i), int32(j)
}
