package wire

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
)

// sink records each write.
type sink struct {
	writes [][]byte
	fail   error // returned by every write that finds it set
	short  bool
}

func (s *sink) Write(p []byte) (int, error) {
	if s.fail != nil {
		return 0, s.fail
	}
	if s.short {
		return len(p) / 2, nil
	}
	s.writes = append(s.writes, bytes.Clone(p))
	return len(p), nil
}

func (s *sink) all() []byte { return bytes.Join(s.writes, nil) }

type message struct {
	tag  Tag
	text string
	at   int // bytes of data before it
}

// split takes a framed stream apart, without Demux.
func split(t *testing.T, b []byte) (data []byte, messages []message) {
	t.Helper()
	for len(b) > 0 {
		if len(b) < 4 || b[3] < 7 {
			t.Fatalf("no frame: % x", b[:min(len(b), 20)])
		}
		n := 4 + int(b[0]) + int(b[1])<<8 + int(b[2])<<16
		if n > len(b) {
			t.Fatalf("frame of %d bytes in %d", n, len(b))
		}
		if tag := Tag(b[3] - 7); tag == DataTag {
			data = append(data, b[4:n]...)
		} else {
			messages = append(messages, message{tag, string(b[4:n]), len(data)})
		}
		b = b[n:]
	}
	return data, messages
}

func TestStartFraming(t *testing.T) {
	var s sink
	w := NewWriter(&s)
	w.String("raw")
	w.StartFraming()
	w.StartFraming()
	w.String("framed")
	w.Flush()
	w.Flush()
	w.Byte('x')
	w.Flush()
	want := []string{"raw", "\x06\x00\x00\x07framed", "\x01\x00\x00\x07x"}
	if len(s.writes) != len(want) {
		t.Fatalf("%d writes: %q", len(s.writes), s.writes)
	}
	for i := range want {
		if string(s.writes[i]) != want[i] {
			t.Errorf("write %d is %q, want %q", i, s.writes[i], want[i])
		}
	}
	if n := w.Written(); n != int64(len(s.all())) {
		t.Errorf("Written = %d", n)
	}
}

func TestMessagesStandBetweenData(t *testing.T) {
	var s sink
	w := NewWriter(&s)
	w.StartFraming()
	w.Message(NoSend, []byte{1, 0, 0, 0})
	w.String("one")
	w.Message(IOError, []byte{2, 0, 0, 0})
	w.Message(ErrorExit, nil)
	w.String("two")
	w.Flush()
	data, messages := split(t, s.all())
	want := []message{{NoSend, "\x01\x00\x00\x00", 0}, {IOError, "\x02\x00\x00\x00", 3}, {ErrorExit, "", 3}}
	if string(data) != "onetwo" || len(messages) != 3 || messages[0] != want[0] || messages[1] != want[1] || messages[2] != want[2] {
		t.Errorf("data %q, messages %v", data, messages)
	}
	if len(s.writes) != 1 {
		t.Errorf("%d writes", len(s.writes))
	}
}

func TestMessageErrors(t *testing.T) {
	w := NewWriter(io.Discard)
	if w.Message(NoSend, nil); w.Err() == nil {
		t.Error("a message went into an unframed stream")
	}
	w = NewWriter(io.Discard)
	w.StartFraming()
	if w.Message(Info, make([]byte, MaxMessage+1)); w.Err() == nil {
		t.Error("a message beyond the limit was accepted")
	}
	var s sink
	w = NewWriter(&s)
	w.StartFraming()
	w.String("x")
	w.Message(Info, make([]byte, MaxMessage))
	w.Bytes(make([]byte, bufferSize))
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if data, messages := split(t, s.all()); len(data) != 1+bufferSize || len(messages) != 1 || len(messages[0].text) != MaxMessage {
		t.Errorf("%d bytes of data, %d messages", len(data), len(messages))
	}
}

func TestKeepAlive(t *testing.T) {
	var s sink
	w := NewWriter(&s)
	w.KeepAlive()
	w.StartFraming()
	w.KeepAlive()
	w.String("x")
	w.KeepAlive()
	if got, want := string(s.all()), "\x00\x00\x00\x07"+"\x01\x00\x00\x07x"+"\x00\x00\x00\x07"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if w.Written() != 13 {
		t.Errorf("Written = %d", w.Written())
	}
}

func TestLiteral(t *testing.T) {
	for _, framed := range []bool{false, true} {
		var s sink
		w := NewWriter(&s)
		if framed {
			w.StartFraming()
		}
		var want []byte
		token := func(p []byte) { want = append(append(want, byte(len(p)), byte(len(p)>>8), byte(len(p)>>16), 0), p...) }
		rng := rand.New(rand.NewPCG(3, 4))
		for i := range 400 {
			size := rng.IntN(MaxLiteral + 1)
			if i%3 == 0 {
				size = MaxLiteral
			}
			p := w.Literal(size)
			if len(p) != size {
				t.Fatalf("room for %d bytes, want %d", len(p), size)
			}
			for j := range p {
				p[j] = byte(i + j)
			}
			used := size
			switch i % 5 {
			case 1:
				used = size / 2
			case 2:
				used = 0
			case 3: // the reader's hook flushes while the sums of a block are awaited
				w.Flush()
			case 4:
				w.KeepAlive()
			}
			filled := bytes.Clone(p[:used])
			if used > 0 {
				token(filled)
			}
			if w.Commit(used); i%7 == 0 {
				w.Byte(byte(i))
				want = append(want, byte(i))
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		got := s.all()
		if framed {
			got, _ = split(t, got)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("framed %v: got %d bytes, want %d; first difference at %d", framed, len(got), len(want), differAt(got, want))
		}
		if w.Written() != int64(len(s.all())) {
			t.Errorf("Written = %d, the sink has %d", w.Written(), len(s.all()))
		}
	}
}

func differAt(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// At every fill of the buffer there is room for a token and for a message, or room is made.
func TestNearTheEndOfTheBuffer(t *testing.T) {
	fill := make([]byte, bufferSize)
	for free := range 40 {
		for _, size := range []int{1, 8, 16, 28} {
			var s sink
			w := NewWriter(&s)
			w.StartFraming()
			w.Bytes(fill[:bufferSize-headerLen-free])
			copy(w.Literal(size), "literal")
			w.Commit(size)
			w.Flush()
			w.Bytes(fill[:bufferSize-headerLen-free])
			w.Message(Info, fill[:size])
			w.String("end")
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			want := 2*(bufferSize-headerLen-free) + tokenHeader + size + 3
			data, messages := split(t, s.all())
			if len(data) != want || len(messages) != 1 || len(messages[0].text) != size {
				t.Errorf("%d bytes free, size %d: %d bytes of data, want %d; messages %v", free, size, len(data), want, messages)
			}
		}
	}
}

// A big file must not go out in small pieces.
func TestLiteralsFillWrites(t *testing.T) {
	var s sink
	w := NewWriter(&s)
	w.StartFraming()
	for range 64 {
		w.Literal(MaxLiteral)
		w.Commit(MaxLiteral)
	}
	w.Flush()
	for i, p := range s.writes {
		if len(p) < 64<<10 {
			t.Errorf("write %d has %d bytes", i, len(p))
		}
	}
	if len(w.Literal(MaxLiteral+1)) != MaxLiteral || len(w.Literal(-1)) != 0 {
		t.Error("Literal does not keep to its limits")
	}
}

func TestCommitWithoutRoom(t *testing.T) {
	for _, n := range []int{-1, 5, 1 << 30} {
		w := NewWriter(io.Discard)
		w.Literal(4)
		if w.Commit(n); w.Err() == nil {
			t.Errorf("Commit(%d) of 4 reserved bytes was accepted", n)
		}
	}
	w := NewWriter(io.Discard)
	w.Literal(4)
	w.Commit(4)
	if w.Commit(4); w.Err() == nil {
		t.Error("the same literal was committed twice")
	}
}

func TestWriterErrorSticks(t *testing.T) {
	cause := errors.New("broken pipe")
	s := &sink{}
	w := NewWriter(s)
	w.StartFraming()
	w.String("a")
	w.Flush()
	s.fail = cause
	w.String("b")
	if err := w.Flush(); err != cause {
		t.Fatalf("Flush = %v", err)
	}
	s.fail = nil
	for range 10 {
		copy(w.Literal(MaxLiteral), "c")
		w.Commit(MaxLiteral)
	}
	w.Message(NoSend, []byte{0, 0, 0, 0})
	w.KeepAlive()
	if err := w.Flush(); err != cause || w.Err() != cause || len(s.writes) != 1 || w.Written() != 5 {
		t.Errorf("error %v, %d writes, Written = %d", err, len(s.writes), w.Written())
	}

	w = NewWriter(&sink{short: true})
	w.String("abcd")
	if err := w.Flush(); err != io.ErrShortWrite || w.Written() != 2 {
		t.Errorf("short write: error %v, Written = %d", err, w.Written())
	}
}

// Everything that is written comes back from a Demux, whatever the sizes.
func TestWriterToDemux(t *testing.T) {
	var s sink
	w := NewWriter(&s)
	w.StartFraming()
	rng := rand.New(rand.NewPCG(5, 6))
	var want []byte
	var sent int
	for range 2000 {
		p := make([]byte, rng.IntN(300))
		if rng.IntN(200) == 0 {
			p = make([]byte, rng.IntN(3*bufferSize))
		}
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		if rng.IntN(2) == 0 {
			w.Bytes(p)
		} else {
			w.String(string(p))
		}
		want = append(want, p...)
		if rng.IntN(10) == 0 {
			w.Message(Info, p[:min(len(p), 100)])
			sent++
		}
	}
	w.Flush()
	heard := 0
	d := NewDemux(bytes.NewReader(s.all()), func(Tag, []byte) error { heard++; return nil })
	if err := d.Run(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(d.Data())
	if err != nil || !bytes.Equal(got, want) || heard != sent {
		t.Errorf("got %d of %d bytes, %d of %d messages, error %v", len(got), len(want), heard, sent, err)
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	w := NewWriter(io.Discard)
	w.StartFraming()
	pattern := written(t, func(w *Writer) {
		for i := range int32(2000) {
			w.Ndx(i*3, 30)
			w.Int32(i)
			w.Varlong(int64(i), 3)
		}
	})
	src := bytes.NewReader(nil)
	r := NewReader(src)
	var sum [16]byte
	if n := testing.AllocsPerRun(10, func() {
		for i := range int32(2000) {
			w.Ndx(i, 30)
			w.Uint16(0x8000)
			w.Int32(i)
			w.Varint(i)
			w.Varlong(int64(i), 3)
			w.String("name")
			w.Literal(100)
			w.Commit(100)
			w.Bytes(sum[:])
			w.Message(NoSend, sum[:4])
		}
	}); n > 0 {
		t.Errorf("writing allocates %v times", n)
	}
	if n := testing.AllocsPerRun(10, func() {
		src.Reset(pattern)
		r.pos, r.end, r.err, r.ndx = 0, 0, nil, ndxStart
		for range 2000 {
			r.Ndx(30)
			r.Int32()
			r.Varlong(3)
		}
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
	}); n > 0 {
		t.Errorf("reading allocates %v times", n)
	}
}

func BenchmarkLiteral(b *testing.B) {
	w := NewWriter(io.Discard)
	w.StartFraming()
	b.SetBytes(MaxLiteral)
	for b.Loop() {
		w.Literal(MaxLiteral)
		w.Commit(MaxLiteral)
	}
}
