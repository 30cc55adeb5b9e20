package queue

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

func distinct(n int) []string {
	paths := make([]string, n)
	for i := range paths {
		paths[i] = fmt.Sprintf("srv/data/%03d/%03d/file-%07d.dat", i/50000, i/100%500, i)
	}
	return paths
}

// One operation is one path added, taken and done, in turns as batches would have it.
func BenchmarkDistinctPaths(b *testing.B) {
	paths := distinct(1_000_000)
	now := time.Now()
	q := New[int](backoff)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p := paths[i%len(paths)]
		q.Add(Item{Path, p}, now)
		if i%256 == 255 {
			for {
				it, ok := q.Take(now)
				if !ok {
					break
				}
				q.Done(it.Path)
			}
		}
	}
}

func BenchmarkMillionPaths(b *testing.B) {
	paths := distinct(1_000_000)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		q := New[int](backoff)
		q.MaxPending = -1
		for _, p := range paths {
			q.Add(Item{Path, p}, now)
		}
		for range paths {
			it, ok := q.Take(now)
			if !ok {
				b.Fatal("not all taken")
			}
			q.Done(it.Path)
		}
	}
}

func BenchmarkFewPaths(b *testing.B) {
	paths := distinct(20)
	now := time.Now()
	q := New[int](backoff)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		q.Add(Item{Path, paths[i%len(paths)]}, now)
		if i%1000 == 999 {
			for it, ok := q.Take(now); ok; it, ok = q.Take(now) {
				q.Done(it.Path)
			}
		}
	}
}

// One operation is a Take and a Done with 100,000 items pending, most of them blocked by 300 in flight.
func BenchmarkTakeBesideFlights(b *testing.B) {
	now := time.Now()
	q := New[int](backoff)
	q.MaxPending = -1
	for i := range 300 {
		q.Add(Item{Dir, fmt.Sprintf("busy/%d", i)}, now)
		if _, ok := q.Take(now); !ok {
			b.Fatal("not taken")
		}
	}
	for i := range 100_000 {
		q.Add(Item{Path, fmt.Sprintf("busy/%d/%d", i%300, i)}, now)
	}
	free := distinct(1000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		q.Add(Item{Path, free[i%1000]}, now)
		it, ok := q.Take(now)
		if !ok {
			b.Fatal("not taken")
		}
		q.Done(it.Path)
	}
}

func BenchmarkCollapse(b *testing.B) {
	paths := distinct(1_000_000)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		q := New[int](backoff)
		for _, p := range paths {
			q.Add(Item{Path, p}, now)
		}
	}
}

// TestMemory keeps the price of a pending path from growing unseen.
func TestMemory(t *testing.T) {
	const n = 100_000
	paths := distinct(n)
	now := time.Now()
	q := New[int](backoff)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for _, p := range paths {
		q.Add(Item{Path, p}, now)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if q.Counts().Live != n {
		t.Fatalf("%d pending, want %d", q.Counts().Live, n)
	}
	each := int64(after.HeapAlloc-before.HeapAlloc) / n
	t.Logf("%d bytes for each path beside its name", each)
	if each > 180 {
		t.Errorf("a pending path takes %d bytes", each)
	}
	runtime.KeepAlive(q)
	runtime.KeepAlive(paths)
}
