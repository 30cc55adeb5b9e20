package delta

import (
	"bytes"
	"math/bits"
	"slices"
)

const (
	minTable     = 1 << 8
	maxHeadBits  = 28
	filterPerSum = 4 // log2 of the filter's bits per sum: one in 16 sums that are not there passes
	maxChain     = 32
	spread       = 0x9e3779b1 // multiplying by it moves the entropy of a rolling sum into the top bits
)

// A table finds blocks of full length by their rolling sum. It is filled as sums arrive.
//
// Two rules keep it linear whatever the sums are: of blocks with equal sums only one is entered, and a chain never
// grows beyond maxChain blocks; what would make it longer is left out and will not be found.
type table struct {
	sums        *blockSums
	latest      bool     // of equal blocks keep the last; else the first
	filter      []uint64 // one bit per hash: a miss is certain
	filterShift uint
	heads       []int32 // by hash: first block of the chain, +1
	headShift   uint
	next        []int32 // by block: next of the chain, +1
}

// start empties the table for the sums of a new file. latest says which of several equal blocks to keep.
func (t *table) start(sums *blockSums, latest bool) {
	t.sums, t.latest = sums, latest
	t.filter, t.heads, t.next = t.filter[:0], t.heads[:0], t.next[:0]
}

// update enters all blocks whose sums have arrived since the last call.
func (t *table) update() {
	n := int(min(t.sums.known(), t.sums.head.full()))
	if n > len(t.heads)/2 || len(t.heads) == 0 {
		t.grow(n)
	}
	t.next = slices.Grow(t.next, n-len(t.next))
	for i := len(t.next); i < n; i++ {
		t.next = append(t.next, 0)
		t.enter(int32(i))
	}
}

// grow makes place for n blocks or more and empties the table.
func (t *table) grow(n int) {
	b := bits.Len(uint(max(n, minTable) - 1))
	headBits := min(b+1, maxHeadBits)
	if len(t.heads) == 1<<headBits {
		return // as large as it gets
	}
	filterBits := min(b+filterPerSum, 31)
	t.headShift, t.filterShift = uint(32-headBits), uint(32-filterBits)
	t.heads = cleared(t.heads, 1<<headBits)
	t.filter = cleared(t.filter, 1<<filterBits/64)
	t.next = t.next[:0]
}

// cleared returns a slice of n zeros, in the memory of s if it has enough.
func cleared[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	s = s[:n]
	clear(s)
	return s
}

func (t *table) enter(i int32) {
	v := t.sums.rolling[i]
	h := v * spread
	link := &t.heads[h>>t.headShift]
	for range maxChain {
		j := *link - 1
		if j < 0 {
			*link = i + 1
			f := h >> t.filterShift
			t.filter[f/64] |= 1 << (f % 64)
			return
		}
		if t.sums.rolling[j] == v && bytes.Equal(t.sums.sum(i), t.sums.sum(j)) {
			if t.latest {
				*link, t.next[i] = i+1, t.next[j]
			}
			return
		}
		link = &t.next[j]
	}
}

// mayHave reports whether a block with this rolling sum may be in the table. false is certain.
func (t *table) mayHave(v uint32) bool {
	f := v * spread >> t.filterShift
	return t.filter[f/64]>>(f%64)&1 != 0
}

// chain returns the first block of those that may have rolling sum v, follow the next; -1 is the end.
func (t *table) chain(v uint32) int32 { return t.heads[v*spread>>t.headShift] - 1 }
func (t *table) follow(j int32) int32 { return t.next[j] - 1 }

// slide moves a window of n bytes along b until mayHave holds, at most to the end of b. s1 and s2 are the rolling
// sums of b[:n] on entry, and those of the window it stopped at on return. It moves by at least one byte if there is
// one, and returns by how many.
func (t *table) slide(b []byte, n int, s1, s2 uint32) (moved int, r1, r2 uint32) {
	out, in := b[:len(b)-n], b[n:]
	in = in[:len(out)]
	filter, shift, size := t.filter, t.filterShift&31, uint32(n)
	for i, x := range out {
		o := uint32(int8(x))
		s1 += uint32(int8(in[i])) - o
		s2 += s1 - size*o
		f := (s1&0xffff | s2<<16) * spread >> shift
		if filter[f/64]>>(f%64)&1 != 0 {
			return i + 1, s1, s2
		}
	}
	return len(out), s1, s2
}
