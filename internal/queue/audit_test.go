package queue

// audit recounts what the queue has counted, and looks for nodes that stand for nothing.
func audit(m *model) {
	m.t.Helper()
	q := m.q
	seen := map[*node]bool{}
	pending, waits, flights, locks := 0, 0, [classes]int{}, 0
	var visit func(n *node) subtree
	visit = func(n *node) subtree {
		seen[n] = true
		var sum subtree
		n.children(func(c *node) bool {
			if c.up != n || n.child(c.name()) != c {
				m.fatalf("%s is not where it belongs", c.path)
			}
			got := visit(c)
			for i := range got.busy {
				sum.busy[i] += got.busy[i]
			}
			sum.pend += got.pend
			if c.busy != nil {
				sum.busy[c.busy.class]++
				sum.kids[c.busy.class]++
			}
			if c.where != nowhere {
				sum.pend++
				if c.kind <= Path {
					sum.paths++
				}
			}
			return true
		})
		if n.sub != nil && (n.sub.busy != sum.busy || n.sub.kids != sum.kids || n.sub.pend != sum.pend || n.sub.paths != sum.paths) {
			m.fatalf("%s counts %+v, has %+v", n.path, *n.sub, sum)
		}
		if n.up != nil && n.sub == nil && n.busy == nil && n.hold == nil && n.where == nowhere {
			m.fatalf("%s stands for nothing", n.path)
		}
		if n.where != nowhere {
			pending++
			if !n.live {
				waits++
			}
			if q.coveredAbove(n) != nil {
				m.fatalf("%v %s is pending below an item that covers it", n.kind, n.path)
			}
		}
		if h := q.heapOf(n.where); h != nil && h.nodes[n.pos] != n {
			m.fatalf("%s is not in its heap", n.path)
		}
		if n.where == parked && (n.at == nil || len(q.behind[n.at]) == 0) {
			m.fatalf("%s waits for nothing", n.path)
		}
		if f := n.busy; f != nil && f.kind == locked {
			locks++
		} else if f != nil {
			flights[f.class]++
		}
		if n.hold != nil && n.hold.failures == 0 && n.where == nowhere {
			m.fatalf("%s is put off, but not pending", n.path)
		}
		if n.hold != nil && n.hold.failures > 0 && q.failing[n.hold.pos] != n {
			m.fatalf("%s fails without being listed", n.path)
		}
		return sum
	}
	visit(q.root)
	if pending != q.pending || waits != q.waits || flights != q.flights || locks != q.locks {
		m.fatalf("counted %d %d %v %d, are %d %d %v %d", q.pending, q.waits, q.flights, q.locks, pending, waits, flights, locks)
	}
	for _, n := range q.failing {
		if !seen[n] || n.hold == nil || n.hold.failures == 0 {
			m.fatalf("%s is listed as failing", n.path)
		}
	}
	trees := 0
	for _, frames := range q.blocked {
		for _, f := range frames {
			trees += len(f.names)
		}
	}
	for n := range q.blocked {
		if !seen[n] {
			m.fatalf("trees wait for %s, which is gone", n.path)
		}
	}
	for n, list := range q.behind {
		for _, c := range list {
			if c.at == n && !seen[n] {
				m.fatalf("%s waits for %s, which is gone", c.path, n.path)
			}
		}
	}
	for _, s := range q.stacks {
		for _, f := range s {
			trees += len(f.names)
		}
	}
	if trees != q.trees {
		m.fatalf("counted %d trees, are %d", q.trees, trees)
	}
}
