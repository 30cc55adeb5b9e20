package flist

import (
	"io"
	"math/rand/v2"
	"testing"

	"github.com/syncd/syncd/internal/rsync/wire"
)

// The cost of a list must not be in the garbage collector: a batch of thousands of entries makes a handful of
// allocations, whatever its length.
func TestAllocations(t *testing.T) {
	list := walked(4000)
	w := wire.NewWriter(io.Discard)
	w.StartFraming()
	for protocol := 27; protocol <= 32; protocol++ {
		o := at(protocol)
		if n := testing.AllocsPerRun(5, func() {
			if err := Encode(w, list, o, rootNames{}, 0); err != nil {
				t.Fatal(err)
			}
		}); n > 8 {
			t.Errorf("protocol %d: Encode of %d entries allocates %v times", protocol, len(list), n)
		}
		if n := testing.AllocsPerRun(5, func() { Order(list, protocol) }); n > 8 {
			t.Errorf("protocol %d: Order of %d entries allocates %v times", protocol, len(list), n)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	list := walked(4000)
	w := wire.NewWriter(io.Discard)
	w.StartFraming()
	b.ReportAllocs()
	for b.Loop() {
		if err := Encode(w, list, stock, rootNames{}, 0); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(list)), "ns/entry")
}

func BenchmarkOrder(b *testing.B) {
	list := walked(4000)
	b.Run("walked", func(b *testing.B) { benchmarkOrder(b, list) })
	shuffled := append([]Entry(nil), list...)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	b.Run("shuffled", func(b *testing.B) { benchmarkOrder(b, shuffled) })
}

func benchmarkOrder(b *testing.B, list []Entry) {
	b.ReportAllocs()
	for b.Loop() {
		Order(list, 32)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(list)), "ns/entry")
}
