package verify

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/treetest"
)

// sound is a tree with something for every corruption.
func sound(t testing.TB, dir string) {
	t.Helper()
	const then = 1_600_000_000
	at := treetest.Mtime(then, 123456789)
	entries := []treetest.Entry{
		treetest.File("flip", strings.Repeat("x", 70_000), at), treetest.File("empty", "", at),
		treetest.File("stale", "new", at), treetest.File("grown", "old", at), treetest.File("missing", "m", at),
		treetest.File("mode", "a", at), treetest.File("nano", "a", at), treetest.Symlink("link", "target", at),
		treetest.File("filewasdir", "f", at), treetest.File("dirwasfile/in", "f", at), treetest.Dir("dirwasfile", at),
		treetest.File("dirwaslink/in", "f", at), treetest.Dir("dirwaslink", at), treetest.Fifo("fifo", at),
		treetest.File("h1", "h", at), treetest.Link("h2", "h1"), treetest.Link("h3", "h1"),
		treetest.Dir("dirtime", at), treetest.Dir("dirmode", at), treetest.File("gone/deep/er", "g", at),
		treetest.Dir("gone/deep", at), treetest.Dir("gone", at),
		treetest.File("many/a", "a", at), treetest.File("many/b/c", "c", at), treetest.Dir("many/b", at), treetest.Dir("many", at),
		treetest.File("odd \"name\"\n\xff*?", "odd", at),
	}
	if os.Geteuid() == 0 {
		entries = append(entries, treetest.File("owner", "o", at), treetest.File("group", "g", at), treetest.Device("dev", 'c', 1, 5, at))
	}
	treetest.Write(t, dir, entries...)
	treetest.Write(t, dir, treetest.Dir(".", at))
}

// plant spoils a destination and returns what is to be named.
func plant(t testing.TB, dir string) []string {
	t.Helper()
	p := func(path string) string { return filepath.Join(dir, path) }
	put := func(path, content string) { check(t, os.WriteFile(p(path), []byte(content), 0o644)) }
	var times []string
	var want []string
	for _, d := range []string{"", "many", "many/b"} {
		times = append(times, p(d))
	}
	still(t, func() {
		b, err := os.ReadFile(p("flip"))
		check(t, err)
		b[len(b)/2] ^= 1
		for _, rewrite := range []struct{ path, content, flags string }{
			{"flip", string(b), "<fc........"},
			{"stale", "old", "<fc.t......"},
			{"grown", "old and more", "<fcs......."},
		} {
			var st unix.Stat_t
			check(t, unix.Lstat(p(rewrite.path), &st))
			put(rewrite.path, rewrite.content)
			if rewrite.path == "stale" {
				st.Mtim.Sec -= 3600
			}
			check(t, unix.UtimesNanoAt(unix.AT_FDCWD, p(rewrite.path), []unix.Timespec{{Nsec: unix.UTIME_OMIT}, st.Mtim}, 0))
			want = append(want, rewrite.flags+" "+rewrite.path)
		}
		put("extra", "")
		check(t, os.MkdirAll(p("many/b/extra/dir"), 0o755))
		put("many/b/extra/dir/file", "")
		put("many/odd \nextra", "")
		check(t, os.Remove(p("missing")))
		check(t, os.RemoveAll(p("gone")))
		check(t, os.Chmod(p("mode"), 0o600))
		check(t, os.Chmod(p("dirmode"), 0o700))
		check(t, os.Remove(p("link")))
		check(t, os.Symlink("targer", p("link")))
		bump(t, p("link"), 0)
		check(t, unix.UtimesNanoAt(unix.AT_FDCWD, p("link"), []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: 1_600_000_000, Nsec: 123456789}},
			unix.AT_SYMLINK_NOFOLLOW))
		check(t, os.Remove(p("filewasdir")))
		check(t, os.MkdirAll(p("filewasdir/sub"), 0o755))
		put("filewasdir/sub/extra", "")
		check(t, os.RemoveAll(p("dirwasfile")))
		put("dirwasfile", "f")
		check(t, os.RemoveAll(p("dirwaslink")))
		check(t, os.Symlink("many", p("dirwaslink")))
		check(t, os.Remove(p("fifo")))
		put("fifo", "no fifo")
		check(t, os.Remove(p("h2")))
		put("h2", "h")
		check(t, unix.UtimesNanoAt(unix.AT_FDCWD, p("h2"), []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: 1_600_000_000, Nsec: 123456789}}, 0))
		put("odd \"name\"\n\xff*?", "od\xff")
		bump(t, p("odd \"name\"\n\xff*?"), 0)
		check(t, unix.UtimesNanoAt(unix.AT_FDCWD, p("odd \"name\"\n\xff*?"), []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: 1_600_000_000, Nsec: 123456789}}, 0))
		if os.Geteuid() == 0 {
			check(t, os.Chown(p("owner"), 5, -1))
			check(t, os.Chown(p("group"), -1, 5))
			var st unix.Stat_t
			check(t, unix.Lstat(p("dev"), &st))
			check(t, os.Remove(p("dev")))
			check(t, unix.Mknod(p("dev"), st.Mode, int(unix.Mkdev(1, 6))))
			check(t, unix.Chmod(p("dev"), st.Mode&0o7777))
			check(t, unix.UtimesNanoAt(unix.AT_FDCWD, p("dev"), []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: 1_600_000_000, Nsec: 123456789}}, 0))
			want = append(want, ".f....o.... owner", ".f.....g... group", "cDc........ dev")
		}
		check(t, os.MkdirAll(p("many/.syncd-partial"), 0o700)) // what a transfer that was cut off keeps is not extra
		put("many/.syncd-partial/big", "part")
	}, times...)
	bump(t, p("nano"), 1)
	bump(t, p("dirtime"), 1)
	return append(want,
		"*deleting   extra", "*deleting   many/b/extra/", "*deleting   many/b/extra/dir/", "*deleting   many/b/extra/dir/file",
		"*deleting   many/odd \nextra", "<f+++++++++ missing",
		"cd+++++++++ gone/", "cd+++++++++ gone/deep/", "<f+++++++++ gone/deep/er",
		".f...p..... mode", ".d...p..... dirmode/", ".f..t...... nano", ".d..t...... dirtime/", "cLc........ link",
		"<f+++++++++ filewasdir", "*deleting   filewasdir/sub/extra", "*deleting   filewasdir/sub/",
		"cd+++++++++ dirwasfile/", "<f+++++++++ dirwasfile/in", "cd+++++++++ dirwaslink/", "<f+++++++++ dirwaslink/in",
		"cS+++++++++ fifo", "hf          h2", "<fc........ odd \"name\"\n\xff*?")
}

// Every corruption is named and nothing else, whatever kind of destination it is.
func TestPlanted(t *testing.T) {
	src := treetest.TempDir(t)
	sound(t, src)
	for name, at := range places(t) {
		t.Run(name, func(t *testing.T) {
			check(t, os.Mkdir(at.dir, 0o755))
			mirror(t, src, at.dir)
			sum, rec := tree(t, src, at.dest, at.edit)
			if len(rec.found) > 0 || sum.Different()+sum.Uncompared > 0 || sum.Compared != int64(len(rec.equal)) {
				t.Fatalf("a good copy: %+v, %q", sum, rec.found)
			}
			want := plant(t, at.dir)
			if name == "protocol 29" || name == "protocol 30" { // no nanoseconds
				want = slices.DeleteFunc(want, func(s string) bool {
					return strings.HasSuffix(s, " nano") || strings.HasSuffix(s, " dirtime/")
				})
			}
			before := treetest.Snapshot(t, at.dir, treetest.Options{})
			sum, rec = tree(t, src, at.dest, at.edit)
			if diff := cmp.Diff((&record{found: want}).sorted(), rec.sorted()); diff != "" {
				t.Errorf("named, -want +got:\n%s", diff)
			}
			if got := int(sum.Different()); got != len(want) {
				t.Errorf("%d differences counted, want %d: %+v", got, len(want), sum)
			}
			if diff := treetest.Diff(before, treetest.Snapshot(t, at.dir, treetest.Options{})); diff != "" {
				t.Errorf("the destination was changed:\n%s", diff)
			}
		})
	}
}
