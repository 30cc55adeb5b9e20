package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/delta"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/internal/treetest"
	"github.com/syncd/syncd/ratelimit"
)

// pair is a source and its mirror in a daemon's module.
func pair(t *testing.T, c rsynctest.Config, entries ...treetest.Entry) (src, dst, url string, s *rsynctest.Server) {
	t.Helper()
	src, s = treetest.TempDir(t), rsynctest.Daemon(t, c)
	treetest.Write(t, src, entries...)
	mirror(t, src, s.Dir("m"))
	return src, s.Dir("m"), s.URL("m"), s
}

func named(t testing.TB, rec *record, want ...string) {
	t.Helper()
	if diff := cmp.Diff((&record{found: want}).sorted(), rec.sorted()); diff != "" {
		t.Errorf("named, -want +got:\n%s", diff)
	}
}

// on calls f at the beginning of the session with this number, the first one of all being 1.
func on(f func(session int)) func(*Config) {
	var mu sync.Mutex
	n := 0
	return func(c *Config) {
		c.Sessions = 1
		c.Dialer.Wrap = func(rwc io.ReadWriteCloser) io.ReadWriteCloser {
			mu.Lock()
			defer mu.Unlock()
			n++
			f(n)
			return rwc
		}
	}
}

// What the server cannot read is neither equal nor different, and hides nothing else.
func TestUnreadableThere(t *testing.T) {
	need.Root(t) // to have files that the server cannot read
	src, dst, url, _ := pair(t,
		rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Options: map[string]string{"uid": "65534", "gid": "65534"}}}},
		treetest.File("a/open", "o"), treetest.File("b/in", "i"), treetest.Dir("b", treetest.Mode(0o700)),
		treetest.File("z/in", "i"),
		treetest.File("secret", "s", treetest.Mode(0o600)), treetest.File("other", "s", treetest.Mode(0o600)))
	check(t, os.Chown(dst, 65534, 65534))
	check(t, os.WriteFile(filepath.Join(dst, "zz"), nil, 0o644))
	check(t, os.MkdirAll(filepath.Join(dst, "c/d"), 0o755))
	check(t, os.WriteFile(filepath.Join(dst, "z/extra"), nil, 0o644)) // deletions come to b first
	check(t, os.Chmod(filepath.Join(dst, "other"), 0o644))
	_, rec := tree(t, src, url, func(c *Config) { c.Session.Owner, c.Session.Group, c.Session.Times = false, false, false })
	var got []string
	for _, line := range rec.sorted() {
		got = append(got, strings.SplitN(line, ": ", 2)[0])
	}
	want := []string{"*deleting   c/", "*deleting   c/d/", "*deleting   zz", "*deleting   z/extra", ".f...p..... other",
		"uncompared b", "uncompared b/in", "uncompared secret"}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("named, -want +got:\n%s\n%q", diff, rec.found)
	}
}

func TestChanging(t *testing.T) {
	src, dst, url, _ := pair(t, rsynctest.Config{}, treetest.File("always", "a"), treetest.File("once", "o"),
		treetest.File("still", "s"), treetest.Dir("d"), treetest.File("leaves", "l"))
	for _, name := range []string{"always", "once", "leaves"} { // a version that is equal is equal, whatever comes after it
		check(t, os.WriteFile(filepath.Join(dst, name), []byte("other"), 0o644))
	}
	check(t, os.WriteFile(filepath.Join(dst, "comes"), []byte("c"), 0o644))
	write := func(name string, n int) {
		check(t, os.WriteFile(filepath.Join(src, name), []byte(strings.Repeat("x", n)), 0o644))
	}
	_, rec := tree(t, src, url, on(func(session int) {
		if session == 1 {
			return // finds out what the server can do
		}
		write("always", session)
		if session == 2 {
			write("once", session)
			check(t, os.Remove(filepath.Join(src, "leaves")))
			check(t, os.WriteFile(filepath.Join(src, "comes"), []byte("c"), 0o644))
			mirrorTime(t, filepath.Join(dst, "comes"), filepath.Join(src, "comes"))
		}
	}))
	named(t, rec, "uncompared always: changed each time it was compared", "<fcst...... once", "*deleting   leaves", ".d..t...... ./")
	for _, p := range []string{"still", "comes", "d"} {
		if _, ok := rec.equal[p]; !ok {
			t.Errorf("%s is not equal", p)
		}
	}
}

// mirrorTime gives b the time of a.
func mirrorTime(t testing.TB, a, b string) {
	t.Helper()
	var st unix.Stat_t
	check(t, unix.Lstat(a, &st))
	check(t, unix.UtimesNanoAt(unix.AT_FDCWD, b, []unix.Timespec{{Nsec: unix.UTIME_OMIT}, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW))
}

// What comes with Equal is the version that was read, and its digest.
func TestProof(t *testing.T) {
	src, _, url, s := pair(t, rsynctest.Config{}, treetest.File("f", strings.Repeat("content", 50_000)), treetest.File("empty", ""),
		treetest.Symlink("l", "f"))
	root, err := scan.OpenRoot(src)
	check(t, err)
	defer root.Close()
	for _, dest := range []string{url, s.Dir("m")} {
		_, rec := tree(t, src, dest, nil)
		for _, name := range []string{"f", "empty", "l"} {
			p := rec.equal[name]
			st, _, err := root.Stat(name)
			check(t, err)
			if p.Version != st {
				t.Errorf("%s: version %+v, want %+v", name, p.Version, st)
			}
			if name == "l" {
				if p.Digest != nil {
					t.Errorf("a symlink has digest %x", p.Digest)
				}
				continue
			}
			b, err := os.ReadFile(filepath.Join(src, name))
			check(t, err)
			sum, err := delta.Checksum{Hash: p.Hash, Protocol: 32}.List(bytes.NewReader(b), nil)
			check(t, err)
			if p.Hash != delta.XXH128 || !bytes.Equal(sum, p.Digest) || p.Read.IsZero() {
				t.Errorf("%s: %v %x read at %v, want %x", name, p.Hash, p.Digest, p.Read, sum)
			}
		}
	}
}

// What is proven is not read again; its attributes are compared all the same.
func TestProven(t *testing.T) {
	src, dst, url, s := pair(t, rsynctest.Config{}, treetest.File("a", "a"), treetest.File("d/b", "b"), treetest.File("d/c", "c"))
	_, before := tree(t, src, url, nil)
	check(t, os.Chmod(filepath.Join(dst, "a"), 0o600))
	check(t, os.WriteFile(filepath.Join(dst, "d/extra"), nil, 0o600))
	mirrorTime(t, filepath.Join(src, "d"), filepath.Join(dst, "d"))
	for _, dest := range []string{url, s.Dir("m")} {
		sum, rec := tree(t, src, dest, func(c *Config) {
			c.Proven = func(p string, st *scan.Stat) bool { return p != "d/c" && before.equal[p].Version == *st }
		})
		named(t, rec, ".f...p..... a", "*deleting   d/extra")
		if sum.Proven != 2 || sum.Files != 1 {
			t.Errorf("%d known, %d read, want 2 and 1", sum.Proven, sum.Files)
		}
	}
}

// What the rules leave out is neither compared nor extra.
func TestFilter(t *testing.T) {
	src, dst, url, s := pair(t, rsynctest.Config{}, treetest.File("d/keep", "k"), treetest.File("d/x.tmp", "1"),
		treetest.File("d/.rules", "- *.bak\n"), treetest.File("d/e/y.bak", "1"), treetest.File("y.bak", "1"),
		treetest.File("cache/big", "1"), treetest.Dir("b"))
	for _, name := range []string{"d/x.tmp", "d/e/y.bak", "y.bak", "cache/big"} {
		check(t, os.WriteFile(filepath.Join(dst, name), []byte("22"), 0o644))
	}
	for _, name := range []string{"d/z.tmp", "d/e/z.bak", "cache/more"} {
		check(t, os.WriteFile(filepath.Join(dst, name), nil, 0o644))
	}
	for _, dest := range []string{url, s.Dir("m")} {
		_, rec := tree(t, src, dest, func(c *Config) {
			c.Session.OmitDirTimes, c.Session.Times = true, false
			c.Filter = new(filter.List)
			check(t, c.Filter.Exclude("*.tmp"))
			check(t, c.Filter.Exclude("/cache"))
			check(t, c.Filter.Filter(": .rules"))
		})
		for i, line := range rec.found {
			rec.found[i] = strings.Replace(line, "T", "t", 1)
		}
		named(t, rec, "<fcst...... y.bak")
	}
}

// A session that breaks is run again.
func TestBroken(t *testing.T) {
	var entries []treetest.Entry
	for i := range 200 {
		entries = append(entries, treetest.File(fmt.Sprintf("d%d/f%d", i%7, i), fmt.Sprint(i)))
	}
	src, dst, _, s := pair(t, rsynctest.Config{}, entries...)
	var want []string
	for i := range 300 {
		name := fmt.Sprintf("extra%d", i)
		check(t, os.WriteFile(filepath.Join(dst, name), nil, 0o644))
		want = append(want, "*deleting   "+name)
	}
	mirrorTime(t, src, dst)
	relay := rsynctest.Proxy(t, s.Addr(), rsynctest.Faults{})
	v, rec := verifier(t, src, relay.URL("m"), func(c *Config) { c.tuning.entries = 40 })
	_, err := v.Paths(t.Context(), slices.Values([]Item{{Path: "."}}), rec) // the first session is not to break
	check(t, err)
	for _, f := range []rsynctest.Faults{{CutUp: 600, Connections: 3}, {CutDown: 3000, Connections: 9}} {
		relay.Set(f)
		rec.found = nil
		sum, err := v.Tree(t.Context(), ".", rec)
		check(t, err)
		named(t, rec, want...) // each once
		if sum.Retries == 0 {
			t.Errorf("%+v: no session broke", f)
		}
	}
}

// A server with room for fewer sessions is served by fewer, however long each lasts.
func TestBusy(t *testing.T) {
	var entries []treetest.Entry
	for i := range 200 {
		entries = append(entries, treetest.File(fmt.Sprintf("d%d/f%d", i%7, i), fmt.Sprint(i)))
	}
	src, _, url, _ := pair(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Options: map[string]string{"max connections": "1"}}}},
		entries...)
	sum, rec := tree(t, src, url, func(c *Config) {
		c.tuning.entries, c.tuning.retryAfter, c.Sessions = 20, time.Millisecond, 6
	})
	named(t, rec)
	if sum.Equal != 208 || sum.Retries == 0 {
		t.Errorf("%+v", sum)
	}
}

// A real ssh.
func TestSSH(t *testing.T) {
	shell, src, dst := rsynctest.SSHD(t), treetest.TempDir(t), treetest.TempDir(t)
	sound(t, src)
	mirror(t, src, dst)
	want := plant(t, dst)
	_, rec := tree(t, src, "host:"+dst, func(c *Config) { c.Dialer.RemoteShell = shell })
	named(t, rec, want...)
}

// What is here and could not be listed is not called extra, nor what is in it.
func TestHidden(t *testing.T) {
	v, rec := verifier(t, t.TempDir(), t.TempDir(), nil)
	b := newBatch(false, nil)
	b.hide("d/x")
	heard := &extras{r: &run{v: v, sink: rec}, b: b}
	for _, p := range []string{"d/x", "d/x/y/z", "d/xy"} {
		heard.Deleted(p, false)
	}
	named(t, rec, "*deleting   d/xy")
}

// A file that changes while it is read is read again, and its digest is that of one version.
func TestChangedWhileRead(t *testing.T) {
	src, dst, url, _ := pair(t, rsynctest.Config{}, treetest.File("always", "a"), treetest.File("once", "o"))
	first := true
	var mu sync.Mutex
	_, rec := tree(t, src, url, func(c *Config) {
		c.afterRead = func(p string) {
			mu.Lock()
			defer mu.Unlock()
			f, err := os.OpenFile(filepath.Join(src, p), os.O_WRONLY|os.O_APPEND, 0)
			check(t, err)
			defer f.Close()
			if p == "always" || p == "once" && first {
				_, err = f.WriteString("x")
				check(t, err)
			}
			if p == "once" && first {
				first = false
				check(t, os.WriteFile(filepath.Join(dst, p), []byte("ox"), 0o644))
				mirrorTime(t, filepath.Join(src, p), filepath.Join(dst, p))
			}
		}
	})
	named(t, rec, "uncompared always: changed each time it was compared")
	if p := rec.equal["once"]; p.Version.Size != 2 {
		t.Errorf("once: %+v", p)
	}
}

func TestHardLinksApart(t *testing.T) {
	var entries []treetest.Entry
	for i := range 9 {
		entries = append(entries, treetest.Dir(fmt.Sprintf("d%d", i)))
		for j := range 9 {
			entries = append(entries, treetest.File(fmt.Sprintf("d%d/f%d", i, j), "f"))
		}
	}
	for i := range 9 {
		if i > 0 {
			entries = append(entries, treetest.Link(fmt.Sprintf("d%d/h", i), "d0/h"))
		} else {
			entries = append(entries, treetest.File("d0/h", "h"))
		}
	}
	src, dst, url, _ := pair(t, rsynctest.Config{}, entries...)
	small := func(c *Config) { c.tuning.entries = 13 }
	_, rec := tree(t, src, url, small)
	named(t, rec)
	still(t, func() {
		check(t, os.Remove(filepath.Join(dst, "d5/h")))
		check(t, os.WriteFile(filepath.Join(dst, "d5/h"), []byte("h"), 0o644))
		mirrorTime(t, filepath.Join(src, "d5/h"), filepath.Join(dst, "d5/h"))
	}, filepath.Join(dst, "d5"))
	_, rec = tree(t, src, url, small)
	named(t, rec, "hf          d5/h")
}

func TestPaths(t *testing.T) {
	src, dst, url, s := pair(t, rsynctest.Config{}, treetest.File("same", "s"), treetest.File("flip", "s"),
		treetest.File("d/a", "a"), treetest.File("d/b", "b"), treetest.File("far/away", "b"), treetest.Dir("e"))
	still(t, func() {
		check(t, os.WriteFile(filepath.Join(dst, "flip"), []byte("t"), 0o644))
		mirrorTime(t, filepath.Join(src, "flip"), filepath.Join(dst, "flip"))
		check(t, os.WriteFile(filepath.Join(dst, "gone"), nil, 0o644))
		check(t, os.MkdirAll(filepath.Join(dst, "lost/deep"), 0o755))
		check(t, os.WriteFile(filepath.Join(dst, "lost/deep/f"), nil, 0o644))
		check(t, os.WriteFile(filepath.Join(dst, "d/extra"), nil, 0o644))
		check(t, os.WriteFile(filepath.Join(dst, "far/extra"), nil, 0o644)) // nobody asks
		check(t, os.Chmod(filepath.Join(dst, "d/b"), 0o600))
	}, filepath.Join(dst, "d"), dst, filepath.Join(dst, "far"))
	items := []Item{{Path: "same"}, {Path: "flip"}, {Path: "gone"}, {Path: "nowhere"}, {Path: "lost/deep/f"}, {Path: "lost/deep/g"},
		{Path: "d", Names: true}, {Path: "d/a"}, {Path: "far/away"}, {Path: "e"}, {Path: "."}, {Path: "same"}}
	for _, dest := range []string{url, s.Dir("m")} {
		v, rec := verifier(t, src, dest, nil)
		sum, err := v.Paths(t.Context(), slices.Values(items), rec)
		check(t, err)
		named(t, rec, "<fc........ flip", "*deleting   gone", "*deleting   lost/", "*deleting   lost/deep/", "*deleting   lost/deep/f",
			"*deleting   d/extra", ".f...p..... d/b")
		for _, p := range []string{"same", "nowhere", "lost/deep/g", "d", "d/a", "far/away", "e", "."} {
			if _, ok := rec.equal[p]; !ok {
				t.Errorf("%s: %s is not equal", dest, p)
			}
		}
		if len(rec.equal) != 8 || sum.Compared != 11 {
			t.Errorf("%s: %d equal, %d compared", dest, len(rec.equal), sum.Compared)
		}
	}
}

// Where extra names do not count, nobody asks for them.
func TestNoExtra(t *testing.T) {
	src, dst, url, _ := pair(t, rsynctest.Config{}, treetest.File("d/a", "a"))
	still(t, func() { check(t, os.WriteFile(filepath.Join(dst, "d/extra"), nil, 0o644)) }, filepath.Join(dst, "d"))
	for _, dest := range []string{url, dst} {
		v, rec := verifier(t, src, dest, func(c *Config) { c.NoExtra = true })
		_, err := v.Tree(t.Context(), ".", rec)
		check(t, err)
		_, err = v.Paths(t.Context(), slices.Values([]Item{{Path: "d/extra"}, {Path: "d", Names: true}}), rec)
		check(t, err)
		named(t, rec)
		if _, ok := rec.equal["d/extra"]; !ok {
			t.Errorf("%s: what is gone is not answered", dest)
		}
	}
}

func TestCancel(t *testing.T) {
	var entries []treetest.Entry
	for i := range 300 {
		entries = append(entries, treetest.File(fmt.Sprintf("d%d/f%d", i%7, i), strings.Repeat("x", 10_000)))
	}
	src, _, url, s := pair(t, rsynctest.Config{}, entries...)
	stop := errors.New("stop")
	for _, dest := range []string{url, s.Dir("m")} {
		ctx, cancel := context.WithCancelCause(t.Context())
		v, rec := verifier(t, src, dest, func(c *Config) {
			c.tuning.entries = 30
			c.Reads = ratelimit.New(1 << 20)
		})
		rec.on = func(string) { cancel(stop) }
		if sum, err := v.Tree(ctx, ".", rec); !errors.Is(err, stop) || sum.Equal == 0 || sum.Files == 300 {
			t.Errorf("%s: %v after %d equal", dest, err, sum.Equal)
		}
		named(t, rec)
		cancel(nil)
	}
}

func TestTooOld(t *testing.T) {
	src, _, url, _ := pair(t, rsynctest.Config{}, treetest.File("f", "f"))
	for p := 27; p <= 28; p++ {
		v, rec := verifier(t, src, url, func(c *Config) { c.Session.Protocol = p })
		_, err := v.Tree(t.Context(), ".", rec)
		var session *rsync.Error
		if !errors.As(err, &session) || session.Kind != rsync.KindProtocol || session.Hint == "" || len(rec.found) > 0 {
			t.Errorf("protocol %d: %v, %q", p, err, rec.found)
		}
	}
}

// A destination that is not there lacks everything, and is not made.
func TestNoDestination(t *testing.T) {
	src, dst, url, _ := pair(t, rsynctest.Config{}, treetest.File("d/f", "f"))
	for _, dest := range []string{url + "/none", filepath.Join(dst, "none")} {
		_, rec := tree(t, src, dest, nil)
		named(t, rec, "cd+++++++++ ./", "cd+++++++++ d/", "<f+++++++++ d/f")
	}
	if _, err := os.Lstat(filepath.Join(dst, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
}

// With -A and -X extended attributes and ACLs are compared, also values of which only a digest is listed.
func TestAttrs(t *testing.T) {
	long := strings.Repeat("v", 1000)
	src, dst, url, _ := pair(t, rsynctest.Config{}, treetest.File("xattr", "x", treetest.Xattr("user.a", "b")),
		treetest.File("long", "x", treetest.Xattr("user.a", long)), treetest.File("gone", "x", treetest.Xattr("user.a", "b")),
		treetest.File("more", "x"), treetest.File("acl", "x"), treetest.Dir("d", treetest.Xattr("user.a", "b")), treetest.File("same", "x"))
	with := func(c *Config) { c.Session.Xattrs, c.Session.ACLs = true, true }
	_, rec := tree(t, src, url, with)
	named(t, rec)
	set := func(name, value string) {
		check(t, unix.Lsetxattr(filepath.Join(dst, name), "user.a", []byte(value), 0))
	}
	set("xattr", "c")
	set("long", long[1:]+"w")
	set("more", "b")
	set("d", "bb")
	check(t, unix.Lremovexattr(filepath.Join(dst, "gone"), "user.a"))
	need.Program(t, "setfacl")
	if out, err := exec.Command("setfacl", "-m", "u:5:r", filepath.Join(dst, "acl")).CombinedOutput(); err != nil {
		t.Fatalf("setfacl: %v: %s", err, out)
	}
	for _, dest := range []string{url, dst} {
		_, rec = tree(t, src, dest, with)
		named(t, rec, ".f........x xattr", ".f........x long", ".f........x more", ".f........x gone", ".d........x d/",
			".f.......a. acl")
	}
}

// A comparison does not wait until the server has closed its connections. The end of the verifier does.
func TestConnectionsEndWithTheVerifier(t *testing.T) {
	src, _, url, _ := pair(t, rsynctest.Config{}, treetest.File("a", "1"), treetest.File("dir/b", "2"))
	v, rec := verifier(t, src, url, nil)
	if _, err := v.Tree(t.Context(), ".", rec); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	if n := v.dest.(remote).Ending(); n > 0 {
		t.Errorf("%d connections are left", n)
	}
}
