package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// written returns what a fresh unframed Writer produces.
func written(t testing.TB, f func(*Writer)) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b)
	f(w)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The vectors of sections 3.1 to 3.4.
func TestVectors(t *testing.T) {
	varint := func(v int64) (func(*Writer), func(*Reader) int64) {
		return func(w *Writer) { w.Varint(int32(v)) }, func(r *Reader) int64 { return int64(r.Varint()) }
	}
	varlong := func(m int) func(v int64) (func(*Writer), func(*Reader) int64) {
		return func(v int64) (func(*Writer), func(*Reader) int64) {
			return func(w *Writer) { w.Varlong(v, m) }, func(r *Reader) int64 { return r.Varlong(m) }
		}
	}
	longint := func(v int64) (func(*Writer), func(*Reader) int64) {
		return func(w *Writer) { w.Longint(v) }, (*Reader).Longint
	}
	word := func(v int64) (func(*Writer), func(*Reader) int64) {
		return func(w *Writer) { w.Int32(int32(v)) }, func(r *Reader) int64 { return int64(r.Int32()) }
	}
	short := func(v int64) (func(*Writer), func(*Reader) int64) {
		return func(w *Writer) { w.Uint16(uint16(v)) }, func(r *Reader) int64 { return int64(r.Uint16()) }
	}
	for _, c := range []struct {
		name string
		kind func(int64) (func(*Writer), func(*Reader) int64)
		v    int64
		want string
	}{
		{"int32", word, -2, "fe ff ff ff"},
		{"uint16", short, 0x8001, "01 80"},
		{"longint", longint, 4294967297, "ff ff ff ff 01 00 00 00 01 00 00 00"},
		{"longint", longint, 5, "05 00 00 00"},
		{"longint", longint, 0x7fffffff, "ff ff ff 7f"},
		{"longint", longint, -1, "ff ff ff ff ff ff ff ff ff ff ff ff"},
		{"varint", varint, 0, "00"},
		{"varint", varint, 127, "7f"},
		{"varint", varint, 128, "80 80"},
		{"varint", varint, 255, "80 ff"},
		{"varint", varint, 256, "81 00"},
		{"varint", varint, 16383, "bf ff"},
		{"varint", varint, 16384, "c0 00 40"},
		{"varint", varint, 0x1fffff, "df ff ff"},
		{"varint", varint, 0x200000, "e0 00 00 20"},
		{"varint", varint, 0x0fffffff, "ef ff ff ff"},
		{"varint", varint, 0x10000000, "f0 00 00 00 10"},
		{"varint", varint, 0x7fffffff, "f0 ff ff ff 7f"},
		{"varint", varint, -1, "f0 ff ff ff ff"},
		{"varlong3", varlong(3), 0, "00 00 00"},
		{"varlong3", varlong(3), 1, "00 01 00"},
		{"varlong3", varlong(3), 255, "00 ff 00"},
		{"varlong3", varlong(3), 0x7fffff, "7f ff ff"},
		{"varlong3", varlong(3), 0x800000, "80 00 00 80"},
		{"varlong3", varlong(3), 0xffffff, "80 ff ff ff"},
		{"varlong3", varlong(3), 0x1000000, "81 00 00 00"},
		{"varlong3", varlong(3), 0x7fffffff, "c0 ff ff ff 7f"},
		{"varlong3", varlong(3), 1 << 32, "c1 00 00 00 00"},
		{"varlong3", varlong(3), 5 << 40, "e5 00 00 00 00 00"},
		{"varlong3", varlong(3), -1, "fc ff ff ff ff ff ff ff ff"},
		{"varlong4", varlong(4), 0, "00 00 00 00"},
		{"varlong4", varlong(4), 1, "00 01 00 00"},
		{"varlong4", varlong(4), 0x7fffff, "00 ff ff 7f"},
		{"varlong4", varlong(4), 0x1000000, "01 00 00 00"},
		{"varlong4", varlong(4), 0x7fffffff, "7f ff ff ff"},
		{"varlong4", varlong(4), 1 << 31, "80 00 00 00 80"},
		{"varlong4", varlong(4), 1 << 32, "81 00 00 00 00"},
		{"varlong4", varlong(4), 1700000001, "65 01 f1 53"},
		{"varlong4", varlong(4), -1, "f8 ff ff ff ff ff ff ff ff"},
	} {
		write, read := c.kind(c.v)
		want := unhex(t, c.want)
		if got := written(t, write); !bytes.Equal(got, want) {
			t.Errorf("%s(%d) = % x, want % x", c.name, c.v, got, want)
		}
		r := NewReader(bytes.NewReader(want))
		if got := read(r); got != c.v || r.Err() != nil || r.Buffered() != 0 {
			t.Errorf("reading %s % x: %d, error %v, %d bytes left; want %d", c.name, want, got, r.Err(), r.Buffered(), c.v)
		}
	}
}

func TestVstring(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 300, MaxVstring} {
		s := strings.Repeat("x", n)
		b := written(t, func(w *Writer) { w.Vstring(s) })
		if n == 300 && !bytes.HasPrefix(b, []byte{0x81, 0x2c}) {
			t.Errorf("length 300 = % x", b[:2])
		}
		r := NewReader(bytes.NewReader(b))
		if got := r.Vstring(n); got != s || r.Err() != nil {
			t.Errorf("length %d: read %d bytes, %v", n, len(got), r.Err())
		}
		if n > 0 {
			r = NewReader(bytes.NewReader(b))
			if got := r.Vstring(n - 1); got != "" || !errors.Is(r.Err(), ErrProtocol) {
				t.Errorf("length %d beyond the limit: read %d bytes, error %v", n, len(got), r.Err())
			}
		}
	}
	w := NewWriter(io.Discard)
	w.Vstring(strings.Repeat("x", MaxVstring+1))
	if w.Flush() == nil || w.Written() != 0 {
		t.Errorf("a string that has no encoding was written: %d bytes, error %v", w.Written(), w.Err())
	}
}

// The sequence of section 3.5.
func TestNdxVector(t *testing.T) {
	var want []byte
	var values []int32
	for _, c := range []struct {
		n int32
		s string
	}{
		{0, "01"}, {1, "01"}, {2, "01"}, {255, "fd"}, {256, "01"}, {257, "01"}, {257, "fe 00 00"}, {600, "fe 01 57"},
		{40000, "fe 80 40 9c 00"}, {100000, "fe 80 a0 86 01"}, {5, "fe 80 05 00 00"}, {-101, "ff 64"}, {-102, "ff 01"},
		{-2, "ff fe 80 02 00 00"}, {-3, "ff 01"}, {-1, "00"}, {6, "01"}, {math.MaxInt32, "fe ff ff ff ff"},
	} {
		values = append(values, c.n)
		want = append(want, unhex(t, c.s)...)
	}
	got := written(t, func(w *Writer) {
		for _, n := range values {
			w.Ndx(n, 30)
		}
	})
	if !bytes.Equal(got, want) {
		t.Errorf("got  % x\nwant % x", got, want)
	}
	r := NewReader(bytes.NewReader(want))
	for _, n := range values {
		if got := r.Ndx(30); got != n || r.Err() != nil {
			t.Fatalf("read %d, error %v; want %d", got, r.Err(), n)
		}
	}
}

func TestNdxFirstAbsolute(t *testing.T) {
	for _, n := range []int32{math.MaxInt32, math.MaxInt32 - 1, 32766, 32767, 253, 252, -math.MaxInt32} {
		r := NewReader(bytes.NewReader(written(t, func(w *Writer) { w.Ndx(n, 31) })))
		if got := r.Ndx(31); got != n || r.Err() != nil {
			t.Errorf("read %d, error %v; want %d", got, r.Err(), n)
		}
	}
}

func TestNdxOld(t *testing.T) {
	b := written(t, func(w *Writer) { w.Ndx(-1, 29); w.Ndx(7, 27) })
	if want := unhex(t, "ff ff ff ff 07 00 00 00"); !bytes.Equal(b, want) {
		t.Errorf("got % x, want % x", b, want)
	}
	r := NewReader(bytes.NewReader(b))
	if a, b := r.Ndx(29), r.Ndx(27); a != -1 || b != 7 || r.Err() != nil {
		t.Errorf("read %d and %d, error %v", a, b, r.Err())
	}
}

// What no writer produces is an error, for it would be misread by someone.
func TestReaderRefuses(t *testing.T) {
	for _, c := range []struct {
		name, in string
		read     func(*Reader) bool // reports whether the value is zero
	}{
		{"varint of 5 value bytes", "f8 01 02 03 04 05", func(r *Reader) bool { return r.Varint() == 0 }},
		{"varint with bits above 32", "f1 01 02 03 04", func(r *Reader) bool { return r.Varint() == 0 }},
		{"varlong of 9 value bytes", "fc 01 02 03 04 05 06 07 08 09", func(r *Reader) bool { return r.Varlong(4) == 0 }},
		{"varlong with bits above 64", "fd 01 02 03 04 05 06 07 08", func(r *Reader) bool { return r.Varlong(3) == 0 }},
		{"negative longint", "fe ff ff ff", func(r *Reader) bool { return r.Longint() == 0 }},
		{"-1 as a negative index", "ff fe 80 01 00 00", func(r *Reader) bool { return r.Ndx(30) == 0 }},
		{"index that overflows", "fe ff ff ff ff 01", func(r *Reader) bool { r.Ndx(30); return r.Ndx(30) == 0 }},
		{"negative index that overflows", "ff fe ff ff ff ff ff 01", func(r *Reader) bool { r.Ndx(30); return r.Ndx(30) == 0 }},
	} {
		r := NewReader(bytes.NewReader(unhex(t, c.in)))
		if zero := c.read(r); !zero || !errors.Is(r.Err(), ErrProtocol) {
			t.Errorf("%s: zero value %v, error %v", c.name, zero, r.Err())
		}
		if r.Byte() != 0 || r.Int32() != 0 || r.Buffered() != 0 {
			t.Errorf("%s: the error does not stick", c.name)
		}
	}
}

// Every way to cut a value short is io.ErrUnexpectedEOF; the end between two values is io.EOF.
func TestReaderEnd(t *testing.T) {
	reads := map[string]func(*Reader){
		"00 ff fe 80 02 00 00":              func(r *Reader) { r.Ndx(30); r.Ndx(30) },
		"c1 00 00 00 00":                    func(r *Reader) { r.Varlong(3) },
		"f0 ff ff ff ff":                    func(r *Reader) { r.Varint() },
		"81 2c" + strings.Repeat("61", 300): func(r *Reader) { r.Vstring(300) },
		"ff ff ff ff 01 00 00 00 01 00 00 00": func(r *Reader) {
			r.Longint()
		},
		"01 02 03 04 05 06 07": func(r *Reader) { r.Full(make([]byte, 7)) },
		"01 02 03 04":          func(r *Reader) { r.Int32() },
	}
	for in, read := range reads {
		whole := unhex(t, in)
		for n := range whole {
			r := NewReader(iotest.OneByteReader(bytes.NewReader(whole[:n])))
			read(r)
			want := io.ErrUnexpectedEOF
			if n == 0 || in[:2] == "00" && n == 1 {
				want = io.EOF
			}
			if r.Err() != want {
				t.Errorf("%s cut after %d: error %v, want %v", in, n, r.Err(), want)
			}
		}
		r := NewReader(iotest.DataErrReader(bytes.NewReader(whole)))
		read(r)
		if r.Err() != nil {
			t.Errorf("%s: %v", in, r.Err())
		}
		if r.Byte(); r.Err() != io.EOF {
			t.Errorf("%s: error %v after the end", in, r.Err())
		}
	}
}

func TestReaderFullClears(t *testing.T) {
	r := NewReader(strings.NewReader("abc"))
	p := []byte("wxyz")
	if r.Full(p); !bytes.Equal(p, make([]byte, 4)) || r.Err() != io.ErrUnexpectedEOF {
		t.Errorf("got %q, error %v", p, r.Err())
	}
}

// A Reader must survive a source that returns nothing without saying why.
func TestReaderNoProgress(t *testing.T) {
	for name, read := range map[string]func(*Reader){
		"Int32": func(r *Reader) { r.Int32() },
		"Full":  func(r *Reader) { r.Full(make([]byte, 3)) },
	} {
		r := NewReader(idle{})
		if read(r); r.Err() != io.ErrNoProgress {
			t.Errorf("%s: error %v", name, r.Err())
		}
	}
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

// Random values in random order come back, whatever the sizes of the reads below.
func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var checks []func(*Reader) bool
	b := written(t, func(w *Writer) {
		for range 20000 {
			v := int64(rng.Uint64() >> rng.IntN(64))
			if rng.IntN(4) == 0 {
				v = -v
			}
			switch rng.IntN(8) {
			case 0:
				w.Varint(int32(v))
				checks = append(checks, func(r *Reader) bool { return r.Varint() == int32(v) })
			case 1:
				m := 3 + rng.IntN(6)
				w.Varlong(v, m)
				checks = append(checks, func(r *Reader) bool { return r.Varlong(m) == v })
			case 2:
				w.Longint(v)
				checks = append(checks, func(r *Reader) bool { return r.Longint() == v })
			case 3:
				n := int32(v)
				if n == math.MinInt32 {
					n = 0
				}
				w.Ndx(n, 30)
				checks = append(checks, func(r *Reader) bool { return r.Ndx(30) == n })
			case 4:
				p := make([]byte, rng.IntN(40))
				w.Bytes(p)
				checks = append(checks, func(r *Reader) bool {
					q := bytes.Repeat([]byte{1}, len(p))
					r.Full(q)
					return bytes.Equal(p, q)
				})
			case 5:
				s := strings.Repeat("s", rng.IntN(400))
				w.Vstring(s)
				checks = append(checks, func(r *Reader) bool { return r.Vstring(1000) == s })
			case 6:
				w.Int32(int32(v))
				checks = append(checks, func(r *Reader) bool { return r.Int32() == int32(v) })
			case 7:
				w.Byte(byte(v))
				checks = append(checks, func(r *Reader) bool { return r.Byte() == byte(v) })
			}
		}
	})
	for name, src := range map[string]io.Reader{
		"whole": bytes.NewReader(b), "bytes": iotest.OneByteReader(bytes.NewReader(b)),
		"half": iotest.HalfReader(bytes.NewReader(b)),
	} {
		r := NewReader(src)
		for i, ok := range checks {
			if !ok(r) || r.Err() != nil {
				t.Fatalf("%s: value %d is wrong, error %v", name, i, r.Err())
			}
		}
		if r.Byte(); r.Err() != io.EOF {
			t.Errorf("%s: %v at the end", name, r.Err())
		}
	}
}

// The hook runs before a read that may block and only then: a flush too many costs a packet, one too few a deadlock.
func TestBeforeBlock(t *testing.T) {
	pr, pw := io.Pipe()
	go func() {
		for _, s := range []string{"ab", "cd"} {
			pw.Write([]byte(s))
		}
		pw.Close()
	}()
	calls := 0
	r := NewReader(pr)
	r.SetBeforeBlock(func() { calls++ })
	for i, want := range []int{1, 1, 2, 2, 3} {
		if r.Byte(); calls != want {
			t.Errorf("byte %d: %d calls, want %d", i, calls, want)
		}
	}
	if r.Err() != io.EOF {
		t.Error(r.Err())
	}

	calls = 0
	var frames bytes.Buffer
	w := NewWriter(&frames)
	w.StartFraming()
	w.Bytes(make([]byte, 3*readerSize))
	w.Flush()
	d := NewDemux(&frames, nil)
	if err := d.Run(); err != nil {
		t.Fatal(err)
	}
	r = NewReader(d.Data())
	r.SetBeforeBlock(func() { calls++ })
	if r.Full(make([]byte, 2*readerSize+5)); calls != 0 || r.Buffered() != readerSize-5 {
		t.Errorf("%d calls with data at hand, %d bytes buffered", calls, r.Buffered())
	}
}

func TestReadDrainsTheBuffer(t *testing.T) {
	in := bytes.Repeat([]byte("0123456789"), readerSize/3)
	r := NewReader(bytes.NewReader(in))
	r.Int32()
	rest, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(rest, in[4:]) {
		t.Errorf("got %d bytes of %d, error %v", len(rest), len(in)-4, err)
	}
	if n, err := r.Read(nil); n != 0 || err != io.EOF {
		t.Errorf("empty read: %d, %v", n, err)
	}
}
