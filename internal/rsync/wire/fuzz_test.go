package wire

import (
	"bytes"
	"errors"
	"io"
	"math"
	"testing"
	"testing/iotest"
)

// Whatever comes in, a Reader neither panics nor returns anything but zero values beside an error.
func FuzzReader(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6}, []byte("\xff\xfe\x80\x02\x00\x00\xf0\xff\xff\xff\xff\xfc12345678\x81\x2c"))
	f.Add([]byte{5, 5, 5, 5}, []byte("\xfe\xff\xff\xff\xff\x01\x00\xff\x64"))
	f.Add([]byte{1, 1}, []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, ops, in []byte) {
		r := NewReader(iotest.OneByteReader(bytes.NewReader(in)))
		for _, op := range ops {
			failed := r.Err() != nil
			var zero bool
			switch op % 8 {
			case 0:
				zero = r.Varint() == 0
			case 1:
				zero = r.Varlong(3+int(op>>3)%6) == 0
			case 2:
				zero = r.Longint() == 0
			case 3:
				zero = r.Vstring(int(op)) == ""
			case 4:
				p := bytes.Repeat([]byte{1}, int(op))
				r.Full(p)
				zero = bytes.Equal(p, make([]byte, op))
			case 5:
				zero = r.Ndx(30) == 0
			case 6:
				zero = r.Uint16() == 0
			case 7:
				zero = r.Byte() == 0
			}
			if (failed || r.Err() != nil) && !zero {
				t.Fatalf("a value beside the error %v", r.Err())
			}
		}
		if err := r.Err(); err != nil && err != io.EOF && err != io.ErrUnexpectedEOF && !errors.Is(err, ErrProtocol) {
			t.Fatal(err)
		}
	})
}

// What the Reader takes and a Writer writes again is the same value, if not always the same bytes.
func FuzzValues(f *testing.F) {
	f.Add(int64(-1), 4, int32(-101))
	f.Add(int64(1)<<55, 3, int32(math.MaxInt32))
	f.Fuzz(func(t *testing.T, v int64, m int, n int32) {
		m = 3 + int(uint(m)%6)
		if n == math.MinInt32 {
			n++
		}
		b := written(t, func(w *Writer) {
			w.Varlong(v, m)
			w.Varint(int32(v))
			w.Longint(v)
			w.Ndx(n, 30)
			w.Ndx(int32(v>>33), 30)
			w.Ndx(n, 30)
		})
		r := NewReader(bytes.NewReader(b))
		if r.Varlong(m) != v || r.Varint() != int32(v) || r.Longint() != v ||
			r.Ndx(30) != n || r.Ndx(30) != int32(v>>33) || r.Ndx(30) != n || r.Err() != nil || r.Buffered() != 0 {
			t.Fatalf("% x does not come back, error %v", b, r.Err())
		}
	})
}

// Whatever comes in, a Demux passes on all data before the first fault, and keeps no more than that.
func FuzzDemux(f *testing.F) {
	f.Add([]byte(frame(DataTag, "abc") + frame(Info, "x\n") + frame(DataTag, "") + frame(Success, "1234")))
	f.Add([]byte("\xff\xff\xff\x07abc"))
	f.Add([]byte("\xff\xff\xff\x08abc"))
	f.Add([]byte(frame(99, "")))
	f.Fuzz(func(t *testing.T, in []byte) {
		var want []byte
		var texts int
		d := NewDemux(bytes.NewReader(in), func(_ Tag, p []byte) error {
			texts += len(p)
			return nil
		})
		err := d.Run()
		for rest := in; len(rest) >= 4 && rest[3] >= 7; { // data that must have come through, by the plain rule
			n := int(rest[0]) | int(rest[1])<<8 | int(rest[2])<<16
			body := rest[4:min(4+n, len(rest))]
			if tag := Tag(rest[3] - 7); tag == DataTag {
				want = append(want, body...)
			} else if !tag.known() || n > MaxMessage || n > len(body) {
				break
			}
			rest = rest[4+len(body):]
		}
		got, dataErr := io.ReadAll(d.Data())
		if !bytes.Equal(got, want) || !errors.Is(dataErr, err) || texts > len(in) || cap(d.text) > MaxMessage {
			t.Fatalf("data %q, want %q; errors %v and %v", got, want, err, dataErr)
		}
		if err != nil && !errors.Is(err, ErrProtocol) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
	})
}
