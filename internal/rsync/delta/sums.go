package delta

import (
	"bytes"
	"slices"

	"github.com/syncd/syncd/internal/rsync/wire"
)

// blockSums are the sums of the server's blocks as far as they have been received. Memory grows with what has come,
// not with what the head announces.
type blockSums struct {
	src     *wire.Reader
	head    Head
	rolling []uint32
	strong  []byte // head.SumLen bytes for each of rolling
	dropped [4 + maxSum]byte
}

// start begins with the sums of a new file; src may be nil if there are none.
func (s *blockSums) start(src *wire.Reader, h Head) {
	s.src, s.head = src, h
	s.rolling, s.strong = s.rolling[:0], s.strong[:0]
}

func (s *blockSums) known() int32 { return int32(len(s.rolling)) }

func (s *blockSums) complete() bool { return s.known() == s.head.Count }

// has receives sums up to that of block i. It reports false if there is no such block or the stream broke.
func (s *blockSums) has(i int64) bool {
	s.receive(i + 1)
	return i < int64(len(s.rolling))
}

// receive receives sums until there are n, or all.
func (s *blockSums) receive(n int64) {
	n = min(n, int64(s.head.Count))
	for int64(len(s.rolling)) < n {
		v := uint32(s.src.Int32())
		at := len(s.strong)
		s.strong = slices.Grow(s.strong, int(s.head.SumLen))[:at+int(s.head.SumLen)]
		s.src.Full(s.strong[at:])
		if s.src.Err() != nil {
			s.strong = s.strong[:at]
			return
		}
		s.rolling = append(s.rolling, v)
	}
}

// drain receives what is left without keeping it, and returns the error of the stream.
func (s *blockSums) drain() error {
	if s.head.Count == 0 {
		return nil
	}
	for n := s.known(); n < s.head.Count && s.src.Err() == nil; n++ {
		s.src.Full(s.dropped[:4+s.head.SumLen])
	}
	return s.src.Err()
}

// sum returns the strong sum of block i as it was sent.
func (s *blockSums) sum(i int32) []byte {
	n := int(s.head.SumLen)
	return s.strong[int(i)*n : int(i)*n+n]
}

// same reports whether block i has this strong sum.
func (s *blockSums) same(i int32, sum *[maxSum]byte) bool {
	return bytes.Equal(s.sum(i), sum[:s.head.SumLen])
}
