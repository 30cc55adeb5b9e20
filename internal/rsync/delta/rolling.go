package delta

import "encoding/binary"

const (
	rollGroup = 128                // bytes summed per step; 16-bit lanes would overflow beyond 22 words
	signFlip  = 0x8080808080808080 // turns each signed byte b into the unsigned b+128
	evenBytes = 0x00ff00ff00ff00ff
	laneSum   = 0x0001000100010001 // multiplying by it adds the four 16-bit lanes into the top one
)

// Rolling returns the weak checksum of one block (protocol 7.4): the sum of its signed bytes in the low half, the
// sum of the sums of all its prefixes in the high half, each modulo 2^16.
func Rolling(p []byte) uint32 {
	s1, s2 := rollingSums(p)
	return s1&0xffff | s2<<16
}

// rollingSums returns both sums of Rolling modulo 2^32, the form that can be rolled on.
//
// The bulk is summed eight bytes at a time in 16-bit lanes. Unsigned lanes cannot hold signed bytes, so 128 is added
// to each byte and what that adds up to is taken off again at the end.
func rollingSums(p []byte) (s1, s2 uint32) {
	n := uint32(len(p) &^ (rollGroup - 1))
	for len(p) >= rollGroup {
		g1, g2 := rollingGroup((*[rollGroup]byte)(p))
		s2 += rollGroup*s1 + g2
		s1 += g1
		p = p[rollGroup:]
	}
	s1 -= 128 * n
	s2 -= 64 * n * (n + 1) // 128 * (1 + 2 + ... + n); n is a multiple of 128, so the halving is exact
	for _, b := range p {
		s1 += uint32(int8(b))
		s2 += s1
	}
	return s1, s2
}

// rollingGroup sums one group of biased bytes: g1 plainly, g2 weighted by 128 for the first byte down to 1.
//
// Word j of 16 weighs 8*(15-j) more than its bytes do inside it. That part is the sum of the prefix sums, kept in
// "above" as the words go by. Inside a word the weights are 8 down to 1: 8, 6, 4, 2 for each pair of bytes, less 1
// for the second of the pair.
func rollingGroup(p *[rollGroup]byte) (g1, g2 uint32) {
	var pairs, odds, above uint64
	for i := 0; i < rollGroup; i += 32 {
		q := (*[32]byte)(p[i : i+32])
		w := binary.LittleEndian.Uint64(q[0:]) ^ signFlip
		o := w >> 8 & evenBytes
		above += pairs
		odds += o
		pairs += w&evenBytes + o

		w = binary.LittleEndian.Uint64(q[8:]) ^ signFlip
		o = w >> 8 & evenBytes
		above += pairs
		odds += o
		pairs += w&evenBytes + o

		w = binary.LittleEndian.Uint64(q[16:]) ^ signFlip
		o = w >> 8 & evenBytes
		above += pairs
		odds += o
		pairs += w&evenBytes + o

		w = binary.LittleEndian.Uint64(q[24:]) ^ signFlip
		o = w >> 8 & evenBytes
		above += pairs
		odds += o
		pairs += w&evenBytes + o
	}
	// The four lanes of above may exceed 16 bits together: add them in pairs first.
	a := above&0x0000ffff0000ffff + above>>16&0x0000ffff0000ffff
	g1 = uint32(pairs * laneSum >> 48)
	g2 = 8*uint32(a+a>>32) +
		8*uint32(pairs&0xffff) + 6*uint32(pairs>>16&0xffff) + 4*uint32(pairs>>32&0xffff) + 2*uint32(pairs>>48) -
		uint32(odds*laneSum>>48)
	return g1, g2
}
