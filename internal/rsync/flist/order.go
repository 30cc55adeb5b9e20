package flist

import "strings"

// minRun is the length up to which runs are sorted by insertion.
const minRun = 8

// Order returns the positions of the entries in the order in which the receiver numbers them (protocol 6.7): the entry
// with index k on the wire is entries[Order(entries, p)[k]]. Lists mostly arrive nearly sorted, for they come from a
// walk in byte order; so this is a merge sort of the sorted runs that are there, which for a sorted list is one pass.
func Order(entries []Entry, protocol int) []int32 {
	order := make([]int32, len(entries))
	for i := range order {
		order[i] = int32(i)
	}
	s := sorter{entries, protocol}
	runs := s.runs(order)
	if len(runs) < 3 {
		return order
	}
	from, to := order, make([]int32, len(order))
	for len(runs) > 2 {
		runs = s.mergePairs(to, from, runs)
		from, to = to, from
	}
	return from
}

type sorter struct {
	entries  []Entry
	protocol int
}

func (s sorter) less(i, j int32) bool {
	a, b := &s.entries[i], &s.entries[j]
	if s.protocol < 29 {
		return a.Path < b.Path
	}
	return less(a.Path, a.IsDir(), b.Path, b.IsDir())
}

// runs makes order a sequence of sorted runs and returns their limits: the start of each, and the end of the last.
func (s sorter) runs(order []int32) []int32 {
	limits := make([]int32, 1, 32)
	for at := 0; at < len(order); {
		end := at + 1
		for end < len(order) && !s.less(order[end], order[end-1]) {
			end++
		}
		for ; end < len(order) && end-at < minRun; end++ {
			s.insert(order[at : end+1])
		}
		limits = append(limits, int32(end))
		at = end
	}
	return limits
}

// insert puts the last element of run, which is sorted but for that, into its place.
func (s sorter) insert(run []int32) {
	last := len(run) - 1
	v := run[last]
	i := last
	for ; i > 0 && s.less(v, run[i-1]); i-- {
		run[i] = run[i-1]
	}
	run[i] = v
}

// mergePairs merges the first run with the second, the third with the fourth and so on, and returns the new limits.
func (s sorter) mergePairs(to, from []int32, limits []int32) []int32 {
	merged := limits[:1]
	i := 0
	for ; i+2 < len(limits); i += 2 {
		a, b, c := limits[i], limits[i+1], limits[i+2]
		s.merge(to[a:c], from[a:b], from[b:c])
		merged = append(merged, c)
	}
	if i+1 < len(limits) {
		a, b := limits[i], limits[i+1]
		copy(to[a:b], from[a:b])
		merged = append(merged, b)
	}
	return merged
}

func (s sorter) merge(to, a, b []int32) {
	if !s.less(b[0], a[len(a)-1]) {
		copy(to[copy(to, a):], b)
		return
	}
	for k := range to {
		if len(b) == 0 || len(a) > 0 && !s.less(b[0], a[0]) {
			to[k] = a[0]
			a = a[1:]
		} else {
			to[k] = b[0]
			b = b[1:]
		}
	}
}

// less compares by the rule of protocol 29 and later: in every directory first all that are none, in byte order, then
// the subdirectories as if their names ended in "/", each followed by its content. The root comes first.
func less(a string, aDir bool, b string, bDir bool) bool {
	if a == "." || b == "." {
		return a == "." && b != "."
	}
	i := commonPrefix(a, b)
	switch {
	case i == len(a) && i == len(b):
		return !aDir && bDir
	case i == len(a) && b[i] == '/': // b is below a, or below a directory of a's name
		return true
	case i == len(b) && a[i] == '/':
		return false
	}
	// The paths part in this component. It is a directory's if a slash follows or would follow.
	aDir = aDir || strings.IndexByte(a[i:], '/') >= 0
	bDir = bDir || strings.IndexByte(b[i:], '/') >= 0
	if aDir != bDir {
		return bDir
	}
	return byteAt(a, i, aDir) < byteAt(b, i, bDir)
}

// byteAt returns p[i], and behind the end what a directory's name ends in or something less than any byte.
func byteAt(p string, i int, dir bool) int {
	switch {
	case i < len(p):
		return int(p[i])
	case dir:
		return '/'
	}
	return -1
}

// commonPrefix returns how many bytes a and b begin with in common.
func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	a, b = a[:n], b[:n]
	i := 0
	for i+8 <= n && a[i:i+8] == b[i:i+8] { // paths share most of their bytes
		i += 8
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}
