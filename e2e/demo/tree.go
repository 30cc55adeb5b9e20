package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const largeSize = 8 << 20

// A builder makes a tree and keeps its first error.
type builder struct {
	root string
	rng  *rand.Rand
	err  error
}

func (b *builder) path(name string) string { return filepath.Join(b.root, name) }

func (b *builder) do(err error) {
	if b.err == nil {
		b.err = err
	}
}

func (b *builder) dir(name string, mode os.FileMode) {
	b.do(os.MkdirAll(b.path(name), 0o755))
	b.do(os.Chmod(b.path(name), mode))
}

func (b *builder) file(name string, size int, mode os.FileMode) {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(b.rng.Uint32())
	}
	b.do(os.WriteFile(b.path(name), data, 0o644))
	b.do(os.Chmod(b.path(name), mode))
}

func (b *builder) date(name string, t time.Time) { b.do(os.Chtimes(b.path(name), t, t)) }

// makeTree fills root with the same tree each time.
func makeTree(root string) error {
	b := &builder{root: root, rng: rand.New(rand.NewPCG(1, 2))}
	b.dir("", 0o755)
	for d := range 20 {
		dir := fmt.Sprintf("dir%02d/below", d)
		b.dir(dir, 0o755)
		for f := range 17 {
			b.file(fmt.Sprintf("%s/file%02d", dir, f), b.rng.IntN(20_000), 0o644)
		}
	}
	b.dir("odd", 0o750)
	for _, name := range []string{"a space", "new\nline", `back\slash "quotes" 'too'`, "-dash", "*", "\xff\xfe", "größe"} {
		b.file("odd/"+name, 100, 0o600)
	}
	b.file("empty", 0, 0o444)
	b.file("large", largeSize, 0o640)
	b.file("script", 30, 0o755)
	b.do(os.Symlink("large", b.path("link")))
	b.do(os.Symlink("/nowhere/at all", b.path("dangling")))
	b.do(syscall.Mkfifo(b.path("fifo"), 0o600))
	b.do(os.WriteFile(b.path("sparse"), nil, 0o644))
	b.do(os.Truncate(b.path("sparse"), 3<<20))
	b.date("script", time.Date(1968, 5, 1, 12, 0, 0, 123456789, time.UTC))
	b.date("empty", time.Date(2044, 5, 1, 12, 0, 0, 1, time.UTC))
	b.date("dir00", time.Date(2001, 1, 1, 0, 0, 0, 999999999, time.UTC))
	return b.err
}

// changeTree changes it in every way.
func changeTree(root string) error {
	b := &builder{root: root, rng: rand.New(rand.NewPCG(3, 4))}
	b.do(os.Rename(b.path("dir01"), b.path("renamed")))
	b.do(os.RemoveAll(b.path("dir02")))
	b.do(os.Remove(b.path("dir03/below/file00")))
	b.do(os.Remove(b.path("odd/new\nline")))
	b.file("dir04/below/file01", 5000, 0o644)
	b.file("dir04/below/new one", 77, 0o644)
	b.do(os.Chmod(b.path("dir05/below/file02"), 0o400))
	b.date("dir06/below/file03", time.Date(1999, 12, 31, 23, 59, 59, 5, time.UTC))
	b.do(os.Remove(b.path("script")))
	b.dir("script", 0o700)
	b.file("script/inside", 10, 0o600)
	b.do(os.RemoveAll(b.path("dir07")))
	b.do(os.Symlink("dir08", b.path("dir07")))
	b.do(os.Remove(b.path("link")))
	b.file("link", 1000, 0o644)

	f, err := os.OpenFile(b.path("large"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for range 5 {
		_, err := f.WriteAt([]byte("changed"), b.rng.Int64N(largeSize))
		b.do(err)
	}
	_, err = f.WriteAt([]byte("and grown"), largeSize)
	b.do(err)
	return b.err
}
