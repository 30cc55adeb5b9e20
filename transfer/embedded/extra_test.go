package embedded

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/treetest"
)

func withAttrs() rsync.Options {
	o := archive()
	o.ACLs, o.Xattrs, o.HardLinks, o.Delete = true, true, true, true
	return o
}

// All that an entry may have arrives, by memory and by the file system, and is not set again.
func TestHostileAttributes(t *testing.T) {
	src, dst := treetest.TempDir(t), treetest.TempDir(t)
	treetest.HostileAttrs(t, src)
	treetest.Write(t, src, treetest.File("large", "", treetest.Size(smallFile+1), treetest.Xattr("user.a", "1")))
	for range 2 {
		rep, rec := sendTree(t, src, dst, withAttrs())
		for i, r := range rep.Results {
			if r.State != rsync.Acked {
				t.Errorf("%s is %v: %v", rec.b.Entries[i].Path, r.State, r.Err)
			}
		}
		treetest.Equal(t, src, dst, treetest.Options{})
	}
	if _, rec := sendTree(t, src, dst, withAttrs()); len(rec.lines) > 0 {
		t.Errorf("changed again: %q", rec.lines)
	}
}

// A value that is not what was listed leaves its entry Changed, one that cannot be set Failed, and the rest goes on.
func TestAttributesThatCannotBeSet(t *testing.T) {
	src := treetest.TempDir(t)
	long := strings.Repeat("v", 100)
	treetest.Write(t, src, treetest.File("changed", "x", treetest.Xattr("user.a", long)),
		treetest.File("gone", "x", treetest.Xattr("user.a", long)), treetest.File("fine", "x", treetest.Xattr("user.a", long)))
	dst := t.TempDir()
	d, err := Open(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	o := withAttrs()
	b := batch(t, src, o, nil)
	read := b.Xattr
	b.Xattr = func(i int, name string) ([]byte, error) {
		switch b.Entries[i].Path {
		case "changed":
			return []byte("another"), nil
		case "gone":
			return nil, unix.ENODATA
		}
		return read(i, name)
	}
	check := func(want map[string]rsync.State) {
		t.Helper()
		rep, err := d.Send(t.Context(), b, o)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range b.Entries {
			if r := rep.Results[i]; r.State != want[e.Path] || r.State == rsync.Changed && !errors.Is(r.Err, rsync.ErrChanged) {
				t.Errorf("%s is %v: %v, want %v", e.Path, r.State, r.Err, want[e.Path])
			}
		}
	}
	check(map[string]rsync.State{".": rsync.Acked, "changed": rsync.Changed, "gone": rsync.Changed, "fine": rsync.Acked})

	if err := unix.Mount("ramfs", dst, "ramfs", 0, ""); err != nil {
		t.Logf("a file system without attributes cannot be mounted: %v", err)
		return
	}
	defer unix.Unmount(dst, unix.MNT_DETACH)
	bare, err := Open(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	d, b.Xattr = bare, read
	check(map[string]rsync.State{".": rsync.Acked, "changed": rsync.Failed, "gone": rsync.Failed, "fine": rsync.Failed})
	if _, err := os.Stat(filepath.Join(dst, "fine")); err != nil {
		t.Errorf("the file itself: %v", err)
	}
}
