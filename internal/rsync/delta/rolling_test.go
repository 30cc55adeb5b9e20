package delta

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"testing"
)

// plainRolling is the definition of protocol 7.4, term by term.
func plainRolling(p []byte) uint32 {
	var s1, s2 uint32
	for i, b := range p {
		s1 += uint32(int8(b))
		s2 += uint32(len(p)-i) * uint32(int8(b))
	}
	return s1&0xffff | s2<<16
}

func TestRollingVectors(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, v := range []struct {
		in   []byte
		want uint32
	}{
		{nil, 0},
		{[]byte("hello world"), 0x1a00045c},
		{[]byte{0xff, 0x80}, 0xff7eff7f},
		{all, 0x6a80ff80},
	} {
		if got := Rolling(v.in); got != v.want {
			t.Errorf("Rolling(%q) = %#x, want %#x", v.in, got, v.want)
		}
	}
}

func TestRollingIsItsDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 1<<17)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	bufs := [][]byte{random, bytes.Repeat([]byte{0xff}, 1<<17), bytes.Repeat([]byte{0x7f}, 1<<17),
		bytes.Repeat([]byte{0x80}, 1<<17), make([]byte, 1<<17)}
	lens := []int{0, 1, 7, 8, 31, 32, 127, 128, 129, 255, 256, 700, 1<<16 + 1, 1<<17 - 3, 1 << 17}
	for range 100 {
		lens = append(lens, rng.IntN(3000))
	}
	for i, b := range bufs {
		for _, n := range lens {
			for off := 0; off < 3 && off+n <= len(b); off++ {
				if got, want := Rolling(b[off:off+n]), plainRolling(b[off:off+n]); got != want {
					t.Fatalf("buffer %d, %d bytes at %d: %#x, want %#x", i, n, off, got, want)
				}
			}
		}
	}
}

func BenchmarkRolling(b *testing.B) {
	buf := make([]byte, 128<<10)
	for i := range buf {
		buf[i] = byte(i * i)
	}
	for _, n := range []int{700, 46336, 131072} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				Rolling(buf[:n])
			}
		})
	}
}
