package wire

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// maxVar is the longest encoding of putVar: a first byte and 8 bytes of value.
const maxVar = 9

// putVar encodes v with at least m low bytes (protocol 3.2 with m = 1, 3.3) and returns the encoding's length. The
// first byte says in its leading ones, at most 6, how many bytes follow beyond m-1, and carries the top byte of the value
// if that fits beside them. So v may be longer than m bytes by 5 at most.
func putVar(b *[maxVar]byte, v uint64, m int) int {
	n := max((bits.Len64(v)+7)/8, m)
	top := byte(v >> (8 * (n - 1)))
	extra := n - m
	binary.LittleEndian.PutUint64(b[1:], v)
	if int(top) >= 1<<(7-extra) {
		b[0] = leadingOnes(extra + 1)
		return n + 1
	}
	b[0] = leadingOnes(extra) | top
	return n
}

// AppendVarint appends what [Writer.Varint] writes.
func AppendVarint(dst []byte, v int32) []byte {
	var b [maxVar]byte
	n := putVar(&b, uint64(uint32(v)), 1)
	return append(dst, b[:n]...)
}

func leadingOnes(n int) byte { return byte(uint16(0xff00) >> n) }

// extraBytes tells from the first byte of a varint or varlong how many bytes follow beyond the fixed ones, at most 6.
func extraBytes(first byte) int { return min(bits.LeadingZeros8(^first), 6) }

// ndxState is what the differential encoding of indexes remembers, per direction (protocol 3.5).
type ndxState struct {
	pos int32 // last index >= 0
	neg int32 // last index below -1, negated
}

var ndxStart = ndxState{pos: -1, neg: 1}

// maxNdx is the longest encoding of an index.
const maxNdx = 6

func (s *ndxState) put(b *[maxNdx]byte, n int32) int {
	var at int
	var v, d int32
	switch {
	case n == NdxDone:
		b[0] = 0
		return 1
	case n >= 0:
		v, d = n, n-s.pos // wraps only from -1 to MaxInt32, and then as well says that the short forms do not do
		s.pos = v
	default:
		b[0] = 0xff
		at = 1
		v = -n
		d = v - s.neg
		s.neg = v
	}
	switch {
	case 1 <= d && d <= 253:
		b[at] = byte(d)
		return at + 1
	case 0 <= d && d <= 0x7fff:
		b[at], b[at+1], b[at+2] = 0xfe, byte(d>>8), byte(d)
		return at + 3
	}
	b[at], b[at+1], b[at+2], b[at+3], b[at+4] = 0xfe, byte(v>>24)|0x80, byte(v), byte(v>>8), byte(v>>16)
	return at + 5
}

// add moves the state on by the difference d and returns the index. ok is false if it leaves the range of int32.
func (s *ndxState) add(negative bool, d int32) (n int32, ok bool) {
	v := int64(s.pos) + int64(d)
	if negative {
		v = int64(s.neg) + int64(d)
	}
	if v > math.MaxInt32 {
		return 0, false
	}
	return s.set(negative, int32(v))
}

// set moves the state to the absolute value v and returns the index. ok is false for what no writer produces: -1 has a
// form of its own and must not come in by the back door.
func (s *ndxState) set(negative bool, v int32) (n int32, ok bool) {
	if negative {
		s.neg = v
		return -v, v >= 2
	}
	s.pos = v
	return v, v >= 0
}
