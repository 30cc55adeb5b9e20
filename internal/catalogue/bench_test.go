package catalogue

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pathsEnv is the number of paths of the benchmark.
const pathsEnv = "SYNCD_CATALOGUE_PATHS"

// benchDirs calls f for directories of 1000 files each, in the order of a walk, until there are n files.
func benchDirs(n int, f func(dir string, files []Version) error) error {
	const perDir = 1000
	files := make([]Version, perDir)
	for i := 0; i*perDir < n; i++ {
		dir := fmt.Sprintf("img/%02x/%02x", i>>8, i&0xff)
		for j := range files {
			k := int64(i*perDir + j)
			h := uint64(k) * 0x9e3779b97f4a7c15 // what differs from file to file without any order
			mtime := 1.6e18 + int64(h>>5)%1e17
			files[j] = Version{
				Size: int64(h >> 44), Mtime: mtime, Ctime: 1.7e18 + k*1e6 + int64(h>>50), Ino: uint64(5e6 + k ^ 0x155),
				Mode: unix.S_IFREG | 0o644, UID: 1001, GID: 1001,
			}
		}
		if err := f(dir, files[:min(perDir, n-i*perDir)]); err != nil {
			return err
		}
	}
	return nil
}

func benchName(j int) string { return fmt.Sprintf("IMG_%06d.jpg", j) }

// resident is the memory of this process, in bytes.
func resident() (rss, peak int64) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			rss = kib << 10
		}
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			peak = kib << 10
		}
	}
	return rss, peak
}

// meter measures a part of the benchmark: by the clock, and, as other work may share the machine, by processor time of all
// goroutines.
type meter struct {
	clock time.Time
	cpu   time.Duration
}

func cpuTime() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func startMeter() meter { return meter{time.Now(), cpuTime()} }

func (m meter) report(b *testing.B, n int, what string) {
	b.ReportMetric(float64(n)/time.Since(m.clock).Seconds(), what+"/s")
	b.ReportMetric(float64(n)/(cpuTime()-m.cpu).Seconds(), what+"/cpu-s")
}

func diskUsage(b *testing.B, dir string) (n int64) {
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		n += st.Size()
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkPass is a first pass (Doubt, then Put for each path, 4000 at a time), a restart, and a pass that finds nothing
// changed. SYNCD_CATALOGUE_PATHS says how many paths there are.
func BenchmarkPass(b *testing.B) {
	n, err := strconv.Atoi(os.Getenv(pathsEnv))
	if err != nil {
		n = 20_000
	}
	for b.Loop() {
		dir := tempDir(b)
		s, _, err := Open(dir, nil, Options{})
		if err != nil {
			b.Fatal(err)
		}
		m := startMeter()
		var doubts, puts []Change
		flush := func() error {
			err := s.Apply(doubts...)
			if err == nil {
				err = s.Apply(puts...)
			}
			doubts, puts = doubts[:0], puts[:0]
			return err
		}
		err = benchDirs(n, func(dir string, files []Version) error {
			for j, v := range files {
				path := dir + "/" + benchName(j)
				doubts = append(doubts, MarkDoubt(path))
				puts = append(puts, Put(path, v, false))
			}
			puts = append(puts, Complete(dir, true))
			if len(doubts) < 4000 {
				return nil
			}
			return flush()
		})
		if err == nil {
			err = flush()
		}
		if err != nil {
			b.Fatal(err)
		}
		m.report(b, n, "applied")
		_, peak := resident()
		b.ReportMetric(float64(peak)/(1<<20), "MiB-peak-apply")

		start := time.Now()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(start).Seconds(), "s-close")
		start = time.Now()
		if s, _, err = Open(dir, nil, Options{}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(start).Seconds(), "s-open")
		for _, name := range []string{"loaded", "again"} {
			m := startMeter()
			err = benchDirs(n, func(dir string, files []Version) error {
				records, complete, err := s.Dir(dir)
				if err == nil && (!complete || len(records) != len(files) || records[len(files)-1].Version != files[len(files)-1]) {
					err = fmt.Errorf("%s: %d records, complete %v", dir, len(records), complete)
				}
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
			m.report(b, n, name)
		}
		rss, peak := resident()
		b.ReportMetric(float64(rss)/(1<<20), "MiB-loaded")
		b.ReportMetric(float64(peak)/(1<<20), "MiB-peak")
		b.ReportMetric(float64(diskUsage(b, dir))/float64(n), "B/path-closed")
		start = time.Now()
		if err := s.db.Compact(b.Context(), []byte{0}, []byte{0xff}, false); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(start).Seconds(), "s-compact")
		m = startMeter()
		err = benchDirs(n, func(dir string, _ []Version) error {
			_, _, err := s.Dir(dir)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		m.report(b, n, "compacted-loaded")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(diskUsage(b, dir))/float64(n), "B/path-compacted")
		if err := os.RemoveAll(dir); err != nil {
			b.Fatal(err)
		}
	}
}
