package compress

import (
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/rsync/wire"
)

// sourceText is Go's library, a file each.
func sourceText(b *testing.B) (files [][]byte, size int) {
	root, err := exec.CommandContext(b.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		need.Lacking(b, "no source text of Go's library: ", err)
	}
	filepath.WalkDir(filepath.Join(strings.TrimSpace(string(root)), "src"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		file, err := os.ReadFile(path)
		files, size = append(files, file), size+len(file)
		return err
	})
	if size < 50<<20 {
		need.Lacking(b, "no source text of Go's library")
	}
	return files, size
}

func benchmark(b *testing.B, m Method, level int, files [][]byte, size int) {
	now := func() int64 {
		var u unix.Rusage
		unix.Getrusage(unix.RUSAGE_SELF, &u)
		return u.Utime.Nano() + u.Stime.Nano()
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	w := wire.NewWriter(io.Discard)
	start := now()
	var sent int64
	for b.Loop() {
		s := NewStream(w, m, level, 32)
		for _, f := range files {
			s.Begin(int64(len(f)), false)
			s.Literal(f)
			s.End()
		}
		sent = s.out.total
		s.Release()
	}
	b.ReportMetric(float64(now()-start)/float64(b.N)/float64(size>>10), "cpu-ns/KiB")
	b.ReportMetric(float64(sent)/float64(size), "ratio")
}

func BenchmarkText(b *testing.B) {
	files, size := sourceText(b)
	for _, m := range Methods {
		b.Run(m.String(), func(b *testing.B) { benchmark(b, m, 0, files, size) })
	}
	b.Run("zstd-3", func(b *testing.B) { benchmark(b, Zstd, 3, files, size) })
}

func BenchmarkNoise(b *testing.B) {
	var small [][]byte
	for i := range 500 {
		small = append(small, noise(uint64(i), 40_000))
	}
	large := [][]byte{noise(1, 64<<20)}
	for _, m := range Methods {
		b.Run(m.String()+"-small", func(b *testing.B) { benchmark(b, m, 0, small, 500*40_000) })
		b.Run(m.String()+"-large", func(b *testing.B) { benchmark(b, m, 0, large, 64<<20) })
	}
}
