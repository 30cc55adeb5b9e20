package scan

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// perEntry reports the cost of n entries per round.
func perEntry(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/entry")
	b.ReportAllocs()
}

func BenchmarkList(b *testing.B) {
	for _, n := range []int{100, 1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := b.TempDir()
			fill(b, dir, n)
			r := openRoot(b, dir)
			for b.Loop() {
				list(b, r, ".", Options{})
			}
			perEntry(b, n)
		})
	}
}

// BenchmarkStat compares the ways to ask the kernel for one entry.
func BenchmarkStat(b *testing.B) {
	dir := b.TempDir()
	fill(b, dir, 1)
	r := openRoot(b, dir)
	name := fileName(0)
	b.Run("lstatat", func(b *testing.B) {
		var st unix.Stat_t
		name := (name + "\x00")[:len(name)]
		for b.Loop() {
			ok(b, lstatat(r.fd, name, &st))
		}
	})
	b.Run("fstatat", func(b *testing.B) {
		var st unix.Stat_t
		for b.Loop() {
			ok(b, unix.Fstatat(r.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW))
		}
	})
	b.Run("statx", func(b *testing.B) {
		var st unix.Statx_t
		for b.Loop() {
			ok(b, unix.Statx(r.fd, name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &st))
		}
	})
}

func BenchmarkWalk(b *testing.B) {
	const dirs, files = 1000, 100
	dir := b.TempDir()
	for i := range dirs {
		sub := fmt.Sprintf("%s/%02d/%02d", dir, i/100, i%100)
		mkdirs(b, sub)
		fill(b, sub, files)
	}
	r := openRoot(b, dir)
	for _, workers := range []int{1, 2, 4, 8} {
		b.Run(fmt.Sprint("workers=", workers), func(b *testing.B) {
			for b.Loop() {
				ok(b, Walk(context.Background(), r, ".", WalkOptions{Workers: workers}, func(*Listing) error { return nil }))
			}
			perEntry(b, dirs*files)
		})
	}
	b.Run("count", func(b *testing.B) {
		for b.Loop() {
			_, err := r.Count(context.Background(), Options{}, nil)
			ok(b, err)
		}
		perEntry(b, dirs*files)
	})
	b.Run("filepath.WalkDir", func(b *testing.B) {
		for b.Loop() {
			ok(b, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
				if err == nil {
					_, err = d.Info()
				}
				return err
			}))
		}
		perEntry(b, dirs*files)
	})
}

func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	mkdirs(b, dir+"/a/b/c")
	write(b, dir+"/a/b/c/file", "x")
	r := openRoot(b, dir)
	buf := make([]byte, 4096)
	for b.Loop() {
		f, err := r.Open("a/b/c/file")
		ok(b, err)
		_, err = f.Read(buf)
		ok(b, err)
		ok(b, f.Close())
	}
	b.ReportAllocs()
}
