package delta

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/syncd/syncd/internal/rsync/wire"
)

func TestLength(t *testing.T) {
	for h, want := range map[Head]int64{
		{}: 0, {Count: 3, BlockLen: 700}: 2100, {Count: 3, BlockLen: 700, Remainder: 1}: 1401,
		{Count: 1, BlockLen: 700, Remainder: 700}: 700, {Count: 1<<31 - 1, BlockLen: 1 << 17}: (1<<31 - 1) << 17,
	} {
		if got := h.Length(); got != want {
			t.Errorf("%+v: %d, want %d", h, got, want)
		}
	}
}

// What is added goes as data, and the sum is that of all.
func TestAppend(t *testing.T) {
	data := randomBytes(newRand(1), 3*readChunk+100)
	for _, have := range []int{0, 1, readChunk, readChunk + 1, len(data) - 1, len(data)} {
		var b bytes.Buffer
		w := wire.NewWriter(&b)
		st, err := Append(w, bytes.NewReader(data), int64(have), int64(len(data)), xxh, new(Scratch))
		if err != nil || st.Literal != int64(len(data)-have) || st.Matched != int64(have) {
			t.Fatalf("%d: %+v, %v", have, st, err)
		}
		w.Flush()
		r := wire.NewReader(&b)
		got := bytes.Clone(data[:have])
		for n := r.Int32(); n > 0; n = r.Int32() {
			p := make([]byte, n)
			r.Full(p)
			got = append(got, p...)
		}
		sum := make([]byte, xxh.Hash.Size())
		r.Full(sum)
		want := xxh.NewFile()
		want.Write(data)
		if r.Err() != nil || !bytes.Equal(got, data) || !bytes.Equal(sum, want.AppendSum(nil)) {
			t.Errorf("%d: %d bytes, sum %x, %v", have, len(got), sum, r.Err())
		}
	}
}

// A file that cannot be read, or ends before what the server has, is refused by its sum.
func TestAppendToWhatCannotBeRead(t *testing.T) {
	data := randomBytes(newRand(2), 5000)
	broken := errors.New("broken")
	for name, f := range map[string]io.Reader{
		"short": bytes.NewReader(data[:1000]), "before": iotest.ErrReader(broken),
		"after": io.MultiReader(bytes.NewReader(data[:4500]), iotest.ErrReader(broken)),
	} {
		var b bytes.Buffer
		w := wire.NewWriter(&b)
		if _, err := Append(w, f, 4000, 5000, xxh, new(Scratch)); !errors.Is(err, ErrSource) {
			t.Errorf("%s: %v", name, err)
		}
		w.Flush()
		if sum := b.Bytes()[b.Len()-xxh.Hash.Size():]; !bytes.Equal(sum, make([]byte, len(sum))) {
			t.Errorf("%s: the sum is %x", name, sum)
		}
	}
}
