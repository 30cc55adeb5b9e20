package delta

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"github.com/syncd/syncd/internal/rsync/wire"
)

// A server is both halves of an rsync server for one file. Its Read is the generator: it computes the sums of the old
// file, a few at a time and only when asked. Its Write is the receiver: it applies tokens the moment they arrive. In
// place, both work on the same bytes.
type server struct {
	head    Head
	c       Checksum
	inPlace bool

	old     []byte // what the generator reads and blocks are copied from
	next    int32  // next block to be summed
	perRead int32  // sums given per Read
	onSum   func(i int32)
	cut     bool // end of file instead of the last sum

	in       []byte // bytes received and not understood yet
	new      []byte // the file as it is rebuilt; in place, a copy of what has been written
	literals int64
	matched  int64
	tokens   int
	blocks   []int32
	done     bool // the end token has come; in is the sum
	err      error
}

// head as a stock generator chooses it but for the given block and sum lengths.
func headOf(n, block, sum int) Head {
	return Head{Count: int32((n + block - 1) / block), BlockLen: int32(block), SumLen: int32(sum),
		Remainder: int32(n % block)}
}

func newServer(old []byte, h Head, c Checksum, inPlace bool) *server {
	return &server{head: h, c: c, inPlace: inPlace, old: bytes.Clone(old), perRead: 3}
}

// block returns the present bytes of block i.
func (s *server) block(i int32) []byte {
	from := int(i) * int(s.head.BlockLen)
	n := int(s.head.BlockLen)
	if i == s.head.Count-1 && s.head.Remainder != 0 {
		n = int(s.head.Remainder)
	}
	if from+n > len(s.old) {
		s.fail("block %d is beyond the end of the file", i)
		return make([]byte, n)
	}
	return s.old[from : from+n]
}

func (s *server) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format, args...)
	}
}

func (s *server) Read(p []byte) (int, error) {
	if s.next == s.head.Count || s.cut && s.next == s.head.Count-1 {
		return 0, io.EOF
	}
	size := 4 + int(s.head.SumLen)
	n := 0
	for range s.perRead {
		if s.next == s.head.Count || n+size > len(p) {
			break
		}
		if s.onSum != nil {
			s.onSum(s.next)
		}
		b := s.block(s.next)
		sum := s.c.Block(b)
		binary.LittleEndian.PutUint32(p[n:], Rolling(b))
		copy(p[n+4:], sum[:s.head.SumLen])
		n += size
		s.next++
	}
	return n, nil
}

func (s *server) Write(p []byte) (int, error) {
	s.in = append(s.in, p...)
	for !s.done && len(s.in) >= 4 {
		t := int32(binary.LittleEndian.Uint32(s.in))
		switch {
		case t == 0:
			s.done = true
			if s.inPlace {
				s.old = s.old[:min(len(s.new), len(s.old))]
			}
			if s.next != s.head.Count {
				s.fail("end token before the last sum")
			}
		case t > 0:
			if t > 32768 {
				s.fail("literal of %d bytes", t)
			}
			if len(s.in) < 4+int(t) {
				return len(p), nil
			}
			s.literals += int64(t)
			s.put(s.in[4 : 4+t])
			s.in = s.in[t:]
		default:
			i := -t - 1
			if i >= s.head.Count {
				s.fail("invalid block index %d", i)
				return len(p), s.err
			}
			s.blocks = append(s.blocks, i)
			s.matched += int64(len(s.block(i)))
			s.put(bytes.Clone(s.block(i)))
		}
		s.in = s.in[4:]
		s.tokens++
	}
	return len(p), nil
}

func (s *server) put(p []byte) {
	at := len(s.new)
	s.new = append(s.new, p...)
	if s.inPlace {
		if n := at + len(p); n > len(s.old) {
			s.old = append(s.old, make([]byte, n-len(s.old))...)
		}
		copy(s.old[at:], p)
	}
}

// verified reports whether the whole-file sum received is that of the file rebuilt.
func (s *server) verified() bool {
	f := s.c.NewFile()
	f.Write(s.new)
	return s.done && bytes.Equal(f.AppendSum(nil), s.in)
}

// serve runs Send against s and returns its results.
func (s *server) serve(t testing.TB, f io.Reader, size int64, scratch *Scratch) (Stats, error) {
	t.Helper()
	w, r := wire.NewWriter(s), wire.NewReader(s)
	r.SetBeforeBlock(func() { w.Flush() })
	stats, err := Send(w, r, f, size, s.head, s.c, s.inPlace, scratch)
	if e := w.Flush(); err == nil {
		err = e
	}
	if s.err != nil {
		t.Fatal(s.err)
	}
	return stats, err
}

// send is serve for a file that can be read, and requires everything to be in order.
func (s *server) send(t testing.TB, file []byte, scratch *Scratch) Stats {
	t.Helper()
	stats, err := s.serve(t, bytes.NewReader(file), int64(len(file)), scratch)
	if err != nil {
		t.Fatal(err)
	}
	if !s.verified() {
		t.Fatal("the sum is not that of the file rebuilt")
	}
	if s.head.SumLen >= 8 && !bytes.Equal(s.new, file) {
		t.Fatalf("rebuilt %d bytes, not equal to the %d sent", len(s.new), len(file))
	}
	if stats != (Stats{s.literals, s.matched}) {
		t.Fatalf("stats %+v, sent %d literal and %d matched", stats, s.literals, s.matched)
	}
	if s.next != s.head.Count {
		t.Fatalf("only %d sums of %d consumed", s.next, s.head.Count)
	}
	return stats
}

// sendTo answers s for the file, but writes to w.
func sendTo(w io.Writer, s *server, file []byte) error {
	out, in := wire.NewWriter(w), wire.NewReader(s)
	if _, err := Send(out, in, bytes.NewReader(file), int64(len(file)), s.head, s.c, s.inPlace, new(Scratch)); err != nil {
		return err
	}
	return out.Flush()
}
