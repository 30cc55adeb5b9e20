package delta

import (
	"bytes"
	"math/bits"
	"slices"
)

const (
	minTable       = 1 << 8
	maxHeadBits    = 28
	maxFilterWords = 1 << 21 // 16 MiB
	maxChain       = 32
	spread         = 0x9e3779b1 // multiplying by it moves the entropy of a rolling sum into the top bits
)

// A table finds blocks of full length by their rolling sum. It is filled as sums arrive.
//
// Two rules keep it linear whatever the sums are: of blocks with equal sums only one is entered, and a chain never
// grows beyond maxChain blocks; what would make it longer is left out and will not be found.
type table struct {
	sums   *blockSums
	latest bool    // of equal blocks keep the last; else the first
	heads  []int32 // by hash: first block of the chain, +1
	shift  uint    // of the hash
	next   []int32 // by block: next of the chain, +1

	// The filter has a word per block, so that one in 64 sums that are not there passes. The word is picked by the
	// upper sum and, beyond 65536 words, by what is left of the lower; the bit in the word by the lower sum. Both vary
	// enough as they are, and hashing them first would cost a third of the search.
	filter    []uint64
	low, high uint32 // the masks that pick the word
	// leaving is what each byte has added to the upper sum when it leaves the window; a look-up costs less than a
	// multiplication in the one loop that runs for every byte.
	leaving [256]uint32
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
	switch len(t.heads) {
	case 1 << headBits:
		return // as large as it gets
	case 0:
		for b := range t.leaving {
			t.leaving[b] = uint32(t.sums.head.BlockLen) * uint32(int8(b))
		}
	}
	words := min(1<<b, maxFilterWords)
	t.shift, t.low, t.high = uint(32-headBits), uint32(words-1)&0xffff, uint32(words-1)&^0xffff
	t.heads = cleared(t.heads, 1<<headBits)
	t.filter = cleared(t.filter, words)
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
	link := &t.heads[v*spread>>t.shift]
	for range maxChain {
		j := *link - 1
		if j < 0 {
			*link = i + 1
			t.filter[v>>16&t.low|v<<10&t.high] |= 1 << (v & 63)
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
	return t.filter[v>>16&t.low|v<<10&t.high]>>(v&63)&1 != 0
}

// has reports whether a block with rolling sum v is in the table.
func (t *table) has(v uint32) bool {
	for i := t.chain(v); i >= 0; i = t.follow(i) {
		if t.sums.rolling[i] == v {
			return true
		}
	}
	return false
}

// chain returns the first block of those that may have rolling sum v, follow the next; -1 is the end.
func (t *table) chain(v uint32) int32 { return t.heads[v*spread>>t.shift] - 1 }
func (t *table) follow(j int32) int32 { return t.next[j] - 1 }

// slide moves a window of n bytes, a block, along b until its sum is in the table, at most to the end of b. s1 and s2
// are the rolling sums of b[:n] on entry, and those of the window it stopped at on return. It moves by at least one
// byte if there is one, and returns by how many.
func (t *table) slide(b []byte, n int, s1, s2 uint32) (moved int, r1, r2 uint32) {
	out, in := b[:len(b)-n], b[n:]
	in = in[:len(out)]
	filter, low, high := t.filter, t.low, t.high
	for i, x := range out {
		s1 += uint32(int8(in[i])) - uint32(int8(x))
		s2 += s1 - t.leaving[x]
		if filter[s2&low|s1<<10&high]>>(s1&63)&1 != 0 && t.has(s1&0xffff|s2<<16) {
			return i + 1, s1, s2
		}
	}
	return len(out), s1, s2
}
