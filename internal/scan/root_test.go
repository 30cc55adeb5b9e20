package scan

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/need"
)

func TestOpenRoot(t *testing.T) {
	dir := t.TempDir()
	mkdirs(t, dir+"/dir/sub")
	write(t, dir+"/file", "")
	ok(t, os.Symlink("dir", dir+"/link"))
	ok(t, os.Symlink("none", dir+"/dangling"))
	for path, want := range map[string]error{
		"/file": ErrNotDir, "/none": fs.ErrNotExist, "/dangling": fs.ErrNotExist, "/file/x": unix.ENOTDIR,
	} {
		_, err := OpenRoot(dir + path)
		wantError(t, err, want)
	}
	if got := names(list(t, openRoot(t, dir+"/link"), ".", Options{})); len(got) != 1 || got[0] != "sub" {
		t.Errorf("a symlink given as root lists %q", got)
	}
	t.Chdir(dir)
	r := openRoot(t, "dir")
	t.Chdir("/")
	if err := r.Same(); err != nil {
		t.Errorf("a relative root is lost with the working directory: %v", err)
	}
}

func TestSame(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "root")
	mkdirs(t, path)
	r := openRoot(t, path)
	if other := openRoot(t, path); r.Same() != nil || other.ID() != r.ID() {
		t.Errorf("Same is %v, IDs %v and %v", r.Same(), r.ID(), other.ID())
	}
	ok(t, os.Rename(path, path+".old"))
	if err := r.Same(); !errors.Is(err, ErrRootChanged) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("renamed root: %v", err)
	}
	mkdirs(t, path)
	if err := r.Same(); !errors.Is(err, ErrRootChanged) {
		t.Errorf("replaced root: %v", err)
	}
	ok(t, os.Remove(path))
	write(t, path, "")
	if err := r.Same(); !errors.Is(err, ErrRootChanged) {
		t.Errorf("root replaced by a file: %v", err)
	}
	ok(t, os.Remove(path))
	ok(t, os.Rename(path+".old", path))
	ok(t, r.Same())
}

// mount puts an empty file system over dir.
func mount(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		need.Lacking(t, "mount: ", err)
	}
	t.Cleanup(func() { ok(t, unix.Unmount(dir, unix.MNT_DETACH)) })
}

func TestMountOverRoot(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	r := openRoot(t, dir)
	mount(t, dir)
	if err := r.Same(); !errors.Is(err, ErrRootChanged) {
		t.Errorf("mounted over: %v", err)
	}
}

func TestMountPoints(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	mkdirs(t, dir+"/a/mnt", dir+"/b")
	mount(t, dir+"/a/mnt")
	mkdirs(t, dir+"/a/mnt/inside")
	r := openRoot(t, dir)

	if e := find(t, list(t, r, "a", Options{OneFileSystem: true}), "mnt"); !e.MountPoint || e.Stat.Dev == r.ID().Dev {
		t.Errorf("mount point is listed as %+v", e)
	}
	if e := find(t, list(t, r, "a", Options{}), "mnt"); e.MountPoint {
		t.Errorf("without OneFileSystem it is listed as %+v", e)
	}
	list(t, r, "a/mnt", Options{})
	l, err := r.List(context.Background(), "a/mnt", Options{OneFileSystem: true})
	ok(t, err)
	wantError(t, l.Err, ErrOtherDevice)

	for one, want := range map[bool]int64{true: 3, false: 4} {
		o := Options{OneFileSystem: one}
		n := int64(0)
		ok(t, Walk(context.Background(), r, ".", WalkOptions{Options: o}, func(l *Listing) error {
			n += int64(len(l.Entries))
			return l.Err
		}))
		counted, err := r.Count(context.Background(), o, nil)
		ok(t, err)
		if n != want || counted != want {
			t.Errorf("one file system %t: walk has %d entries, count %d, want %d", one, n, counted, want)
		}
	}
}
