package scan

import (
	"cmp"
	"slices"
	"strings"
)

// sortKey stands for a ref while sorting: comparing numbers that lie side by side is several times faster than
// following strings. For ties, pos says whom to ask.
type sortKey struct {
	num uint64
	pos uint32
}

// byName returns, in keys, the positions of refs in byte order of their names. Names in one directory tend to begin
// alike, so that keys are made of what follows the common prefix.
func byName(refs []ref, keys []sortKey) []sortKey {
	prefix := commonPrefix(refs)
	keys = keys[:0]
	sorted := true
	for i := range refs {
		num := word(refs[i].name[prefix:])
		if sorted && i > 0 {
			last := keys[i-1].num
			sorted = last < num || last == num && refs[i-1].name <= refs[i].name
		}
		keys = append(keys, sortKey{num, uint32(i)})
	}
	if !sorted {
		slices.SortFunc(keys, func(a, b sortKey) int {
			if a.num != b.num {
				if a.num < b.num {
					return -1
				}
				return 1
			}
			return strings.Compare(refs[a.pos].name, refs[b.pos].name)
		})
	}
	return keys
}

// word is the first 8 bytes of s, most significant first. Shorter strings are padded with zeros, which no name has, so
// that they come first.
func word(s string) uint64 {
	if len(s) >= 8 {
		return uint64(s[7]) | uint64(s[6])<<8 | uint64(s[5])<<16 | uint64(s[4])<<24 |
			uint64(s[3])<<32 | uint64(s[2])<<40 | uint64(s[1])<<48 | uint64(s[0])<<56
	}
	var w uint64
	for i := range len(s) {
		w |= uint64(s[i]) << (56 - 8*i)
	}
	return w
}

func commonPrefix(refs []ref) int {
	if len(refs) == 0 {
		return 0
	}
	first := refs[0].name
	n := len(first)
	for i := 1; i < len(refs) && n > 0; i++ {
		name := refs[i].name
		n = min(n, len(name))
		for j := range n {
			if name[j] != first[j] {
				n = j
				break
			}
		}
	}
	return n
}

// byInode returns, in keys, the numbers 0 to len(order)-1 sorted by the inode of the ref that order puts there.
func byInode(refs []ref, order, keys []sortKey) []sortKey {
	keys = keys[:0]
	for i := range order {
		keys = append(keys, sortKey{refs[order[i].pos].ino, uint32(i)})
	}
	slices.SortFunc(keys, func(a, b sortKey) int { return cmp.Compare(a.num, b.num) })
	return keys
}
