package delta

import (
	"fmt"
	"io"

	"github.com/syncd/syncd/internal/rsync/wire"
)

// aliveEvery is how much of a file is read for its sum alone before the server is shown that somebody is there, in bytes.
const aliveEvery = 64 << 20

// Length returns the length of the server's old file, in bytes.
func (h Head) Length() int64 {
	n := int64(h.Count) * int64(h.BlockLen)
	if h.short() {
		n -= int64(h.BlockLen - h.Remainder)
	}
	return n
}

// Append answers one transfer request as [Send] does, of a server that keeps the first have bytes of its file and adds
// to them (protocol 7.10): what follows them goes as data, and the sum covers the whole file. There are no block sums.
// have must not be more than size.
func Append(w *wire.Writer, f io.Reader, have, size int64, c Checksum, scratch *Scratch) (Stats, error) {
	file := scratch.begin(w, size-have, c)
	source := scratch.pass(f, have, file)
	if source == nil {
		source = scratch.sendWhole(f, size-have, file)
	}
	stats, err := scratch.finish(file, source)
	stats.Matched = have
	return stats, err
}

// pass reads n bytes for the sum. What ends sooner is what the sum is of.
func (s *Scratch) pass(f io.Reader, n int64, file FileSum) error {
	if k := int(min(n, readChunk)); cap(s.buf) < k {
		s.buf = make([]byte, k)
	}
	for left, quiet := n, int64(0); left > 0 && s.out.w.Err() == nil; {
		p := s.buf[:min(left, int64(cap(s.buf)), readChunk)]
		k, err := readFull(f, p)
		file.Write(p[:k])
		left -= int64(k)
		if quiet += int64(k); quiet >= aliveEvery {
			quiet = 0
			s.out.w.KeepAlive()
		}
		if err == io.EOF {
			return io.ErrUnexpectedEOF // the server has more than there is now
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// begin prepares an answer of size bytes.
func (s *Scratch) begin(w *wire.Writer, size int64, c Checksum) FileSum {
	s.out = tokens{w: w, z: s.Compress}
	if s.out.z != nil {
		s.out.z.Begin(size, s.Incompressible)
	}
	return s.fileSum(c)
}

// finish ends an answer. source is what went wrong with reading.
func (s *Scratch) finish(file FileSum, source error) (Stats, error) {
	out := &s.out
	out.end()
	s.sum = file.AppendSum(s.sum[:0])
	if source != nil {
		falsify(s.sum)
		source = fmt.Errorf("%w: %w", ErrSource, source)
	}
	out.w.Bytes(s.sum)
	if err := out.w.Err(); err != nil {
		return out.stats, err
	}
	return out.stats, source
}
