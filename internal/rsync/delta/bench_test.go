package delta

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/rsync/wire"
)

const benchSize = 256 << 20

// benchHead is the head that a stock generator chooses for benchSize bytes (protocol 7.3).
var benchHead = headOf(benchSize, 16384, 3)

func benchFile() []byte { return randomBytes(newRand(1), benchSize) }

func benchSums(old []byte, h Head, c Checksum) []byte {
	s := newServer(nil, h, c, false)
	s.old, s.perRead = old, h.Count
	sums := make([]byte, int(h.Count)*int(4+h.SumLen))
	io.ReadFull(s, sums)
	return sums
}

// reportCPU adds the processor time that a run took, in nanoseconds per KiB: on a busy machine it says more than the
// wall clock does.
func reportCPU(b *testing.B, size int) func() {
	now := func() int64 {
		var u unix.Rusage
		unix.Getrusage(unix.RUSAGE_SELF, &u)
		return u.Utime.Nano() + u.Stime.Nano()
	}
	start := now()
	return func() { b.ReportMetric(float64(now()-start)/float64(b.N)/float64(size>>10), "cpu-ns/KiB") }
}

func BenchmarkSendWhole(b *testing.B) {
	file := benchFile()
	var scratch Scratch
	for _, c := range []Checksum{xxh, {Hash: MD5, Seed: 1, Protocol: 31}} {
		b.Run(c.Hash.String(), func(b *testing.B) {
			b.SetBytes(benchSize)
			b.ReportAllocs()
			w := wire.NewWriter(io.Discard)
			w.StartFraming()
			defer reportCPU(b, benchSize)()
			for b.Loop() {
				Send(w, nil, bytes.NewReader(file), benchSize, Head{}, c, false, &scratch)
			}
		})
	}
}

func BenchmarkSendSmall(b *testing.B) {
	file := benchFile()
	var scratch Scratch
	w := wire.NewWriter(io.Discard)
	w.StartFraming()
	for _, n := range []int{0, 1000, 20_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			var r bytes.Reader
			for b.Loop() {
				r.Reset(file[:n])
				Send(w, nil, &r, int64(n), Head{}, xxh, false, &scratch)
			}
		})
	}
}

func BenchmarkSendDelta(b *testing.B) {
	old := benchFile()
	zeros := make([]byte, benchSize)
	inserted := append(append(bytes.Clone(old[:benchSize/3]), "0123456789"...), old[benchSize/3:]...)
	md5 := Checksum{Hash: MD5, Seed: 1, Protocol: 31}
	for _, v := range []struct {
		name      string
		old, file []byte
		h         Head
		c         Checksum
	}{
		{"25places", old, changeEvery(old, benchSize/25), benchHead, xxh},
		{"25places-sum2", old, changeEvery(old, benchSize/25), headOf(benchSize, 16384, 2), xxh},
		{"25places-md5", old, changeEvery(old, benchSize/25), benchHead, md5},
		{"half-changed", old, changeEvery(old, 2*16384), benchHead, xxh},
		{"inserted", old, inserted, benchHead, xxh},
		{"nothing-in-common", randomBytes(newRand(2), benchSize), old, benchHead, xxh},
		{"zeros", zeros, zeros, benchHead, xxh},
		{"zeros-to-data", zeros, old, benchHead, xxh},
		{"data-to-zeros", old, zeros, benchHead, xxh},
	} {
		sums := benchSums(v.old, v.h, v.c)
		b.Run(v.name, func(b *testing.B) {
			var scratch Scratch
			w := wire.NewWriter(io.Discard)
			w.StartFraming()
			b.SetBytes(int64(len(v.file)))
			b.ReportAllocs()
			var st Stats
			defer reportCPU(b, len(v.file))()
			for b.Loop() {
				r := wire.NewReader(bytes.NewReader(sums))
				st, _ = Send(w, r, bytes.NewReader(v.file), int64(len(v.file)), v.h, v.c, false, &scratch)
			}
			b.ReportMetric(float64(st.Literal), "literal")
		})
	}
}
