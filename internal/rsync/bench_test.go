package rsync_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/syncd/syncd/internal/rsynctest"
)

// BenchmarkSmallFiles sends one batch of new small files to a real daemon.
func BenchmarkSmallFiles(b *testing.B) {
	const files = 4000
	s := rsynctest.Daemon(b, rsynctest.Config{})
	src := b.TempDir()
	for i := range files {
		write(b, filepath.Join(src, fmt.Sprintf("d%02d", i%40), fmt.Sprint(i)), noise(uint64(i), 2000))
	}
	batch := treeBatch(b, src)
	for _, acks := range []bool{false, true} {
		b.Run(fmt.Sprintf("acks=%v", acks), func(b *testing.B) {
			b.ReportAllocs()
			o := archive()
			o.Acks, o.WholeFile = acks, true
			for i := 0; b.Loop(); i++ {
				path := fmt.Sprintf("%v%d", acks, i)
				sess, err := dialer(b, s, "m/"+path).Connect(b.Context(), o)
				if err != nil {
					b.Fatal(err)
				}
				r, err := sess.Send(b.Context(), batch)
				if err != nil || r.Stats.Files != files {
					b.Fatalf("%d files, %v", r.Stats.Files, err)
				}
				b.StopTimer()
				must(b, os.RemoveAll(filepath.Join(s.Dir("m"), path)))
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/files, "µs/file")
		})
	}
}

// BenchmarkBigFile sends one big file, whole and as a delta of itself.
func BenchmarkBigFile(b *testing.B) {
	const size = 256 << 20
	s := rsynctest.Daemon(b, rsynctest.Config{})
	src := b.TempDir()
	write(b, filepath.Join(src, "big"), noise(1, size))
	batch := treeBatch(b, src)
	for _, whole := range []bool{true, false} {
		b.Run(fmt.Sprintf("whole=%v", whole), func(b *testing.B) {
			b.SetBytes(size)
			o := archive()
			o.WholeFile, o.IgnoreTimes = whole, true
			for b.Loop() {
				sess, err := dialer(b, s, "m/big").Connect(b.Context(), o)
				must(b, err)
				r, err := sess.Send(b.Context(), batch)
				if err != nil || r.Stats.Files != 1 || (r.Stats.Literal == size) != whole {
					b.Fatalf("%+v, %v", r.Stats, err)
				}
			}
		})
	}
}
