package queue

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// A Backoff spaces attempts: First after the first failure, doubling up to Max, each shortened by a random part of
// up to a quarter so that what failed together does not come back together.
type Backoff struct {
	First, Max time.Duration
}

// Delay returns the wait after the n-th failure in a row, n >= 1.
func (b Backoff) Delay(n int) time.Duration {
	d := b.First
	for ; n > 1 && d < b.Max; n-- {
		d *= 2
	}
	d = min(d, b.Max)
	if d >= 4 {
		d -= rand.N(d / 4)
	}
	return d
}

// A waiter is a path that failed, waiting or being tried again.
type waiter struct {
	path     string
	failures int
	reason   error
	due      time.Time
	pos      int // in waitList.heap, -1 while it is being tried
}

// A waitList orders waiters by their due time and remembers their failures until they are forgotten.
type waitList struct {
	heap  waitHeap
	index map[string]*waiter
}

func (l *waitList) len() int { return len(l.heap) }

func (l *waitList) add(p string, reason error, now time.Time, b Backoff) int {
	w := l.index[p]
	if w == nil {
		w = &waiter{path: p, pos: -1}
		l.index[p] = w
	}
	w.failures++
	w.reason = reason
	w.due = now.Add(b.Delay(w.failures))
	if w.pos < 0 {
		heap.Push(&l.heap, w)
	} else {
		heap.Fix(&l.heap, w.pos)
	}
	return w.failures
}

// due takes the earliest waiter out of the heap if its time has come and free says that it may be tried.
func (l *waitList) due(now time.Time, free func(string) bool) (string, bool) {
	var held []*waiter
	defer func() {
		for _, w := range held {
			heap.Push(&l.heap, w)
		}
	}()
	for len(l.heap) > 0 && !l.heap[0].due.After(now) {
		w := heap.Pop(&l.heap).(*waiter)
		if free(w.path) {
			return w.path, true
		}
		held = append(held, w)
	}
	return "", false
}

func (l *waitList) next() (time.Time, bool) {
	if len(l.heap) == 0 {
		return time.Time{}, false
	}
	return l.heap[0].due, true
}

func (l *waitList) forget(p string) {
	if w := l.index[p]; w != nil {
		if w.pos >= 0 {
			heap.Remove(&l.heap, w.pos)
		}
		delete(l.index, p)
	}
}

type waitHeap []*waiter

func (h waitHeap) Len() int           { return len(h) }
func (h waitHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h waitHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}
func (h *waitHeap) Push(x any) {
	w := x.(*waiter)
	w.pos = len(*h)
	*h = append(*h, w)
}
func (h *waitHeap) Pop() any {
	last := len(*h) - 1
	w := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	w.pos = -1
	return w
}
