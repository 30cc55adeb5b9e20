package scan

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSubdirs(t *testing.T) {
	dir := t.TempDir()
	mkdirs(t, dir+"/d/one", dir+"/d/two/below", dir+"/d/skipped")
	write(t, dir+"/d/file", "")
	ok(t, os.Symlink("one", dir+"/d/link"))
	r := openRoot(t, dir)
	d, err := r.OpenDir("d")
	ok(t, err)
	defer d.Close()
	var got []string
	skip := func(dir, name string, isDir bool) bool { return dir == "d" && name == "skipped" && isDir }
	ok(t, d.Subdirs(skip, func(names []string) { got = append(got, names...) }))
	slices.Sort(got)
	if !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("subdirectories %q", got)
	}
	if other, err := d.OtherDevice(); err != nil || other {
		t.Errorf("on another device: %v, %v", other, err)
	}
	for path, want := range map[string]error{"none": fs.ErrNotExist, "d/file": ErrNotDir, "d/link": ErrNotDir, "../d": fs.ErrInvalid} {
		if _, err := r.OpenDir(path); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}

func TestSubdirsOfARemovedDirectory(t *testing.T) {
	dir := t.TempDir()
	mkdirs(t, dir+"/d")
	d, err := openRoot(t, dir).OpenDir("d")
	ok(t, err)
	defer d.Close()
	ok(t, os.Remove(dir+"/d"))
	if err := d.Subdirs(nil, func(names []string) { t.Errorf("names %q", names) }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestWritten(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/f", "content")
	f, err := openRoot(t, dir).Open("f")
	ok(t, err)
	defer f.Close()
	want := func(written bool, when string) {
		t.Helper()
		if got, err := f.Written(); err != nil || got != written {
			t.Errorf("%s: written %v, %v", when, got, err)
		}
	}
	want(false, "nobody")
	reader, err := os.Open(dir + "/f")
	ok(t, err)
	defer reader.Close()
	want(false, "a reader")
	writer, err := os.OpenFile(dir+"/f", os.O_RDWR, 0)
	ok(t, err)
	want(true, "a writer")
	mem, err := unix.Mmap(int(writer.Fd()), 0, 7, unix.PROT_WRITE, unix.MAP_SHARED)
	ok(t, err)
	ok(t, writer.Close())
	want(true, "a mapping")
	ok(t, unix.Munmap(mem))
	want(false, "nobody any more")
	// The lease was given back: otherwise this would wait for it.
	again, err := os.OpenFile(dir+"/f", os.O_WRONLY|unix.O_NONBLOCK, 0)
	ok(t, err)
	ok(t, again.Close())
}
