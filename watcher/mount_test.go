package watcher

import (
	"maps"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/need"
)

func TestBindMount(t *testing.T) {
	p := place{t, t.TempDir()}
	p.mkdir("in/mnt/hidden/x", "in/other", "out/shown/y")
	w := begin(t, p.at("in"))

	p.bind("out", "in/mnt")
	w.eventually("mounted tree", emitted("tree mnt"))
	w.sync()
	w.take()
	p.write("in/mnt/shown/y/f", "")
	w.sync()
	if got := names(w.take()); !slices.Equal(got, []string{"path mnt/shown/y/f"}) {
		t.Errorf("in the mounted tree: %q", got)
	}

	ok(t, unix.Unmount(p.at("in/mnt"), unix.MNT_DETACH))
	w.eventually("hidden tree", emitted("tree mnt"))
	w.sync()
	w.take()
	p.write("in/mnt/hidden/x/f", "")
	p.write("out/shown/y/no", "")
	w.sync()
	if got := names(w.take()); !slices.Equal(got, []string{"path mnt/hidden/x/f"}) {
		t.Errorf("in the tree that was hidden: %q", got)
	}
	if n := w.Stats().Rescans; n != 2 {
		t.Errorf("%d rescans, want 2", n)
	}
}

// The same directory at two places has one watch: what happens is reported at both.
func TestDirectoryAtTwoPlaces(t *testing.T) {
	p := place{t, t.TempDir()}
	p.mkdir("in/a/d", "in/b")
	w := begin(t, p.at("in"))
	p.bind("in/a", "in/b")
	w.eventually("mounted tree", emitted("tree b"))
	w.sync()
	w.take()
	p.write("in/a/d/f", "")
	p.mkdir("in/b/d/e")
	w.sync()
	want := []string{"path a/d/f", "path b/d/f", "tree a/d/e", "tree b/d/e"}
	if got := names(w.take()); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	ok(t, unix.Unmount(p.at("in/b"), unix.MNT_DETACH))
	w.eventually("hidden tree", emitted("tree b"))
	w.retireNow()
	w.take()
	p.write("in/a/d/g", "")
	w.sync()
	if got := names(w.take()); !slices.Equal(got, []string{"path a/d/g"}) {
		t.Errorf("after the unmount: %q", got)
	}
}

func TestFileSystemUnmounted(t *testing.T) {
	need.Root(t)
	p := place{t, t.TempDir()}
	p.mkdir("in/d/mnt/below")
	ok(t, unix.Mount("tmpfs", p.at("in/d/mnt"), "tmpfs", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(p.at("in/d/mnt"), unix.MNT_DETACH) })
	p.mkdir("in/d/mnt/x/y")
	w := begin(t, p.at("in"))
	ok(t, unix.Unmount(p.at("in/d/mnt"), 0))
	w.eventually("tree", emitted("tree d/mnt"))
	w.sync()
	w.take()
	p.write("in/d/mnt/below/f", "")
	w.sync()
	// The end of the file system is told after that of the mount.
	got := slices.DeleteFunc(names(w.take()), func(i string) bool { return i == "tree d/mnt" })
	if !slices.Equal(got, []string{"path d/mnt/below/f"}) {
		t.Errorf("%q", got)
	}
}

func TestOneFileSystem(t *testing.T) {
	need.Root(t)
	p := place{t, t.TempDir()}
	p.mkdir("in/mnt", "in/d")
	mount := func() { ok(t, unix.Mount("tmpfs", p.at("in/mnt"), "tmpfs", 0, "")) }
	mount()
	t.Cleanup(func() { _ = unix.Unmount(p.at("in/mnt"), unix.MNT_DETACH) })
	p.mkdir("in/mnt/x")
	w := begin(t, p.at("in"), func(w *Watcher) { w.config.OneFileSystem = true })
	p.write("in/mnt/x/f", "")
	p.write("in/d/f", "")
	w.sync()
	if got := names(w.take()); !slices.Equal(got, []string{"path d/f"}) {
		t.Errorf("%q", got)
	}
	ok(t, unix.Unmount(p.at("in/mnt"), 0))
	w.eventually("own directory", emitted("tree mnt"))
	w.sync()
	w.take()
	mount()
	w.eventually("mount point", emitted("path mnt"))
	if got := names(w.take()); !slices.Equal(got, []string{"path mnt"}) {
		t.Errorf("%q", got)
	}
}

func TestParseMounts(t *testing.T) {
	const table = `22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 8:2 / /srv rw - ext4 /dev/sdb1 rw
31 30 8:2 /a\040b /srv/data/x\040y\134z rw,relatime - ext4 /dev/sdb1 rw
32 31 0:5 / /srv/data/x\040y\134z rw - tmpfs none rw
33 30 0:6 / /srv/database rw - tmpfs none rw
34 30 0:7 / /srv/data rw - tmpfs none rw
`
	got, err := parseMounts(table, "/srv/data")
	ok(t, err)
	want := map[string]string{
		"..":    "22 8:1 \"/\"\n30 8:2 \"/\"\n",
		`x y\z`: "31 8:2 \"/a b\"\n32 0:5 \"/\"\n",
		".":     "34 0:7 \"/\"\n",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	whole, err := parseMounts(table, "/")
	ok(t, err)
	if whole[`srv/database`] == "" {
		t.Errorf("from the root: %q", whole)
	}
	delete(got, ".")
	got["new"] = "1"
	got["new/below"] = "2"
	if changed := differences(want, got); !slices.Equal(changed, []string{".", "new", "new/below"}) {
		t.Errorf("differences %q", changed)
	}
}
