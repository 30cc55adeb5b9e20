package watcher

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/internal/treetest"
)

// benchWatch runs a Watcher whose items go to a slice, as they would to a queue.
func benchWatch(b testing.TB, dir string) (*Watcher, *[]queue.Item) {
	b.Helper()
	root, err := scan.OpenRoot(dir)
	ok(b, err)
	w, err := New(Config{Root: root, Path: dir})
	ok(b, err)
	items := new([]queue.Item)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { _ = w.Run(ctx, func(i queue.Item) { *items = append(*items, i) }) }()
	b.Cleanup(func() {
		cancel()
		<-w.ended
		root.Close()
	})
	select {
	case <-w.Ready():
	case <-w.ended:
		b.Fatal("Run ended")
	}
	return w, items
}

// TestWriteFiles is the other process of BenchmarkEvents.
func TestWriteFiles(t *testing.T) {
	dir := os.Getenv("WATCHER_WRITE")
	if dir == "" {
		t.Skip("part of BenchmarkEvents")
	}
	n, err := strconv.Atoi(os.Getenv("WATCHER_COUNT"))
	ok(t, err)
	for i := range n {
		fd, err := unix.Open(fmt.Sprintf("%s/%d/file%d", dir, i%100, i%5000), unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
		ok(t, err)
		_, err = unix.Write(fd, []byte("x"))
		ok(t, errors.Join(err, unix.Close(fd)))
	}
}

// BenchmarkEvents has another process write small files as fast as it can, two or three events each. What matters is
// the rate, and that nothing was dropped.
func BenchmarkEvents(b *testing.B) {
	dir := treetest.TempDir(b)
	for i := range 100 {
		ok(b, os.Mkdir(filepath.Join(dir, strconv.Itoa(i)), 0o755))
	}
	w, items := benchWatch(b, dir)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestWriteFiles$")
	cmd.Env = append(os.Environ(), "WATCHER_WRITE="+dir, "WATCHER_COUNT="+strconv.Itoa(b.N))
	b.ResetTimer()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	ok(b, w.Sync(context.Background()))
	s := w.Stats()
	b.ReportMetric(float64(s.Events)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(s.Overflows), "overflows")
	b.ReportMetric(float64(len(*items))/float64(b.N), "items/op")
}

// BenchmarkReader decodes and handles a full queue that is held back until then: what the reader can do at best.
func BenchmarkReader(b *testing.B) {
	dir := treetest.TempDir(b)
	w, items := benchWatch(b, dir)
	names := []string{filepath.Join(dir, "some-file-name-0001"), filepath.Join(dir, "some-file-name-0002")}
	for _, n := range names {
		ok(b, os.WriteFile(n, nil, 0o644))
	}
	ok(b, w.Sync(context.Background()))
	limit := sysctl("fs.inotify.max_queued_events") / 2
	var events int64
	var spent time.Duration
	for b.Loop() {
		*items = (*items)[:0]
		w.mu.Lock() // the reader waits
		for i := range limit {
			ok(b, unix.Chmod(names[i%2], 0o600))
		}
		before, start := w.stats.Events, time.Now()
		w.mu.Unlock()
		ok(b, w.Sync(context.Background()))
		spent += time.Since(start)
		events += w.Stats().Events - before
	}
	b.ReportMetric(float64(events)/spent.Seconds(), "events/s")
}

// BenchmarkStart watches a tree of 100,000 directories, and tells what they take here.
func BenchmarkStart(b *testing.B) {
	dir := treetest.TempDir(b)
	const wide = 100_000
	for i := range wide / 100 {
		for j := range 99 {
			ok(b, os.MkdirAll(fmt.Sprintf("%s/directory-%d/sub-directory-%d", dir, i, j), 0o755))
		}
	}
	for b.Loop() {
		before := heapInUse()
		start := time.Now()
		w, _ := benchWatch(b, dir)
		b.ReportMetric(time.Since(start).Seconds()*1e9/float64(w.Stats().Watches), "ns/dir")
		b.ReportMetric(float64(heapInUse()-before)/float64(w.Stats().Watches), "B/dir")
	}
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMemory keeps the bookkeeping small: 100,000 directories within 60 MiB, Go's own needs included.
func TestMemory(t *testing.T) {
	p := place{t, treetest.TempDir(t)}
	const dirs = 3000
	for i := range dirs {
		p.mkdir(fmt.Sprintf("directory-%d/sub-directory-%d", i%100, i))
	}
	before := heapInUse()
	w, _ := benchWatch(t, p.dir)
	if per := (heapInUse() - before) / int64(w.Stats().Watches); per > 400 {
		t.Errorf("%d bytes for each directory", per)
	}
}
