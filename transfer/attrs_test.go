package transfer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/attr"
	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// withAttrs is -AX.
func withAttrs(c *Config) { c.Session.Xattrs, c.Session.ACLs, c.Session.HardLinks = true, true, true }

// attrsTree has attributes on entries of all kinds, and returns a function that changes them.
func attrsTree(t testing.TB, dir string) (change func()) {
	need.Root(t)
	named := func(perm uint8) string {
		a := attr.ACL{User: 7, Group: 5, Other: 0, Mask: 7, Names: []attr.ACE{{ID: 1000, Perm: perm}}}
		return string(a.Bytes())
	}
	const access, dflt = "system.posix_acl_access", "system.posix_acl_default"
	long := strings.Repeat("a long value ", 500)
	for i := range 30 {
		d := fmt.Sprintf("d%d", i)
		treetest.Write(t, dir,
			treetest.Dir(d, treetest.Xattr("user.dir", d), treetest.Xattr(dflt, named(uint8(i%8)))),
			treetest.File(d+"/long", d, treetest.Xattr("user.long", long), treetest.Xattr("trusted.t", d)),
			treetest.File(d+"/own", d, treetest.Xattr("user.own", long+d), treetest.Xattr(access, named(5))),
			treetest.Link(d+"/zz", d+"/own"),
			treetest.Symlink(d+"/link", d, treetest.Xattr("security.s", d)),
		)
	}
	return func() {
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		at := func(path string) string { return filepath.Join(dir, path) }
		must(unix.Setxattr(at("d1/long"), "user.long", []byte(long+"!"), 0))
		must(unix.Removexattr(at("d2/long"), "user.long"))
		must(unix.Removexattr(at("d3/own"), access))
		must(unix.Setxattr(at("d4"), dflt, []byte(named(1)), 0))
		must(unix.Removexattr(at("d5"), dflt))
		must(unix.Setxattr(at("d6"), "user.new", nil, 0))
		must(unix.Lsetxattr(at("d7/link"), "trusted.new", []byte(long), 0))
		must(unix.Setxattr(dir, "user.of the root", []byte("x"), 0))
	}
}

func TestAttributesArrive(t *testing.T) {
	for name, dest := range map[string]func(t *testing.T) (string, string){
		"daemon": func(t *testing.T) (string, string) {
			url, dst, _ := daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Path: treetest.TempDir(t)}}})
			return url, dst
		},
		"local": func(t *testing.T) (string, string) {
			dst := filepath.Join(treetest.TempDir(t), "dest")
			return dst, dst
		},
	} {
		t.Run(name, func(t *testing.T) {
			src := treetest.TempDir(t)
			change := attrsTree(t, src)
			url, dst := dest(t)
			check := func(wantItems ...string) {
				t.Helper()
				sum, rec := pass(t, src, url, func(c *Config) { withAttrs(c); deleting(c) })
				rec.clean(t)
				treetest.Equal(t, src, dst, treetest.Options{})
				if wantItems == nil {
					return
				}
				if !slices.Equal(rec.items, wantItems) {
					t.Errorf("changed %q, want %q", rec.items, wantItems)
				}
				if sum.TransferredFiles > 0 {
					t.Errorf("the data of %d files was sent", sum.TransferredFiles)
				}
			}
			check()
			check([]string{}...)
			change()
			check(".L........x d7/link", ".d........x .", ".d........x d6", ".d.......a. d4", ".d.......a. d5",
				".f........x d1/long", ".f........x d2/long", ".f.......a. d3/own")
		})
	}
}

// What the destination cannot have is an error before anything is there, unless the operator lets it go.
func TestUnsupportedAttributes(t *testing.T) {
	need.Root(t)
	bare := filepath.Join(t.TempDir(), "ramfs")
	if err := os.Mkdir(bare, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("ramfs", bare, "ramfs", 0, ""); err != nil {
		need.Lacking(t, "a file system without attributes cannot be mounted: "+err.Error())
	}
	t.Cleanup(func() { unix.Unmount(bare, unix.MNT_DETACH) })
	refusing := func(option string) func(t *testing.T) (string, string) {
		return func(t *testing.T) (string, string) {
			url, dst, _ := daemon(t, rsynctest.Config{Modules: []rsynctest.Module{
				{Name: "m", Path: treetest.TempDir(t), Options: map[string]string{"refuse options": option}}}})
			return url, dst
		}
	}
	for _, c := range []struct {
		name         string
		dest         func(t *testing.T) (string, string)
		edit         func(c *Config)
		op           string
		xattrs, acls bool // arrive with IgnoreUnsupported
	}{
		{"refused xattrs", refusing("xattrs"), nil, "--xattrs", false, true},
		{"refused acls", refusing("acls"), nil, "--acls", true, false},
		{"old protocol", refusing("none"), func(c *Config) { c.Session.Protocol = 29 }, "--xattrs", false, false},
		{"file system", func(t *testing.T) (string, string) {
			url, dst, _ := daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Path: bare}}})
			return url, dst
		}, nil, "--xattrs", false, false},
		{"local file system", func(t *testing.T) (string, string) {
			dst := filepath.Join(bare, "local")
			return dst, dst
		}, nil, "--acls", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := treetest.TempDir(t)
			treetest.Write(t, src, treetest.File("f", "x", treetest.Xattr("user.a", "1")), treetest.Dir("d", treetest.Xattr(
				"system.posix_acl_default", string((&attr.ACL{User: 7, Mask: attr.NoMask}).Bytes()))))
			url, dst := c.dest(t)
			edit := func(conf *Config) {
				withAttrs(conf)
				if c.edit != nil {
					c.edit(conf)
				}
			}
			conf, _ := config(t, src, url, edit)
			engine, err := New(conf)
			if err != nil {
				t.Fatal(err)
			}
			err = engine.Run(context.Background())
			var e *rsync.Error
			if !errors.As(err, &e) || e.Kind != rsync.KindRefused || !strings.Contains(e.Op, c.op) ||
				!strings.Contains(e.Hint, "--ignore-unsupported") {
				t.Fatalf("Run: %v, want a refusal of %s", err, c.op)
			}
			if exists(t, filepath.Join(dst, "f")) {
				t.Error("work was begun")
			}
			sum, rec := pass(t, src, url, func(conf *Config) { edit(conf); conf.IgnoreUnsupported = true })
			rec.clean(t)
			if sum.Failed > 0 || len(rec.notes) == 0 || !strings.Contains(rec.notes[0], "not copied") {
				t.Errorf("%d paths failed, notes %q", sum.Failed, rec.notes)
			}
			got := attrsOf(t, dst, "f").XattrSet()
			if (len(got) > 0) != c.xattrs {
				t.Errorf("extended attributes arrived: %v", got)
			}
			if acl := attrsOf(t, dst, "d").ACL(true); (acl != nil) != c.acls {
				t.Errorf("default ACL arrived: %v", acl)
			}
			if left := attrsOf(t, dst, "."); left != nil {
				t.Errorf("the probe is still there: %+v", left)
			}
		})
	}
}

// What was remembered while the destination did not have attributes says nothing once it has them.
func TestUnsupportedAttributesAreNotRemembered(t *testing.T) {
	src, state := treetest.TempDir(t), t.TempDir()
	treetest.Write(t, src, treetest.File("d/f", "x", treetest.Xattr("user.a", "1")))
	url, dst, _ := daemon(t, rsynctest.Config{Modules: []rsynctest.Module{
		{Name: "m", Path: treetest.TempDir(t), Options: map[string]string{"refuse options": "xattrs"}},
		{Name: "with", Path: treetest.TempDir(t)}}})
	run := func(dest string) (opened catalogue.Opened) {
		t.Helper()
		var store *catalogue.Store
		_, rec := pass(t, src, dest, func(c *Config) {
			c.Session.Xattrs, c.IgnoreUnsupported = true, true
			var err error
			if opened, err = c.Remember(state, false); err != nil {
				t.Fatal(err)
			}
			store = c.Catalogue
		})
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		rec.clean(t)
		return opened
	}
	run(url)
	if !exists(t, filepath.Join(dst, "d/f")) {
		t.Fatal("nothing was copied")
	}
	if opened := run(url); !opened.Fresh {
		t.Errorf("believed of a destination without attributes: %+v", opened)
	}
	with := strings.Replace(url, "/m/", "/with/", 1)
	run(with)
	if opened := run(with); opened.Fresh {
		t.Errorf("not believed of a destination with attributes: %+v", opened)
	}
}

// Below the destination another file system may lack what its top has: each path is told, and none is taken for equal.
func TestAttributesThatOnePathCannotHave(t *testing.T) {
	need.Root(t)
	src, module := treetest.TempDir(t), treetest.TempDir(t)
	acl := treetest.ACL(0o644, []uint32{1}, nil, 4)
	treetest.Write(t, src, treetest.File("top", "x", acl, treetest.Xattr("user.a", "1")), treetest.Dir("sub/dir"),
		treetest.File("sub/plain", "x"), treetest.File("sub/acl", "x", acl), treetest.File("sub/dir/x", "x", treetest.Xattr("user.a", "1")),
		treetest.Dir("sub/default", treetest.DefaultACL(0o755, nil, nil, 5)))
	url, dst, _ := daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Path: module}}})
	bare := filepath.Join(dst, "sub")
	if err := os.MkdirAll(bare, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("ramfs", bare, "ramfs", 0, ""); err != nil {
		need.Lacking(t, "a file system without attributes cannot be mounted: "+err.Error())
	}
	t.Cleanup(func() { unix.Unmount(bare, unix.MNT_DETACH) })
	for _, dest := range []string{url, dst} {
		_, rec := pass(t, src, dest, withAttrs)
		var failed []string
		for p, err := range rec.failed {
			failed = append(failed, p)
			if !words(err, "not supported") {
				t.Errorf("%s: %v", p, err)
			}
		}
		slices.Sort(failed)
		if want := []string{"sub/acl", "sub/default", "sub/dir/x"}; !slices.Equal(failed, want) {
			t.Errorf("failed: %q, want %q", failed, want)
		}
		treetest.Equal(t, src, dst, treetest.Options{Ignore: treetest.Xattrs | treetest.RootDir})
	}
}

func attrsOf(t testing.TB, dir, name string) *attr.Attrs {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var r attr.Reader
	a, err := r.Read(fd, name, unix.S_IFDIR, attr.Which{Xattrs: true, ACLs: true})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// While following, a change of attributes alone arrives, and moves no data.
func TestFollowAttributes(t *testing.T) {
	src := treetest.TempDir(t)
	change := attrsTree(t, src)
	url, dst, _ := daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Path: treetest.TempDir(t)}}})
	f := follow(t, src, url, withAttrs)
	settlesAttrs(t, src, dst)
	before := f.Summary().Literal
	change()
	for _, p := range []string{"d1/long", "d2/long", "d3/own", "d4", "d5", "d6", "d7/link", "."} {
		kind := queue.Path
		if !strings.Contains(p, "/") {
			kind = queue.Self
		}
		f.Changed(queue.Item{Kind: kind, Path: p})
	}
	settlesAttrs(t, src, dst)
	if sent := f.Summary().Literal - before; sent > 0 {
		t.Errorf("%d bytes of data were sent", sent)
	}
}

// settlesAttrs waits until the destination equals the source with all metadata.
func settlesAttrs(t *testing.T, src, dst string) {
	t.Helper()
	settles(t, src, dst)
	paths := treetest.Snapshot(t, src, treetest.Options{Ignore: treetest.Content})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
		equal := true
		for p := range paths {
			equal = equal && attrsOf(t, src, p).Equal(attrsOf(t, dst, p))
		}
		if equal {
			break
		}
	}
	treetest.Equal(t, src, dst, treetest.Options{Ignore: treetest.HardLinks})
}

// Values that change while they are asked for, on files that share them: in the end every file has its own.
func TestFollowAttributesThatChangeWhileTheyAreSent(t *testing.T) {
	src := treetest.TempDir(t)
	rng := rand.New(rand.NewPCG(1, 2))
	values := []string{strings.Repeat("one", 50), strings.Repeat("two", 500), strings.Repeat("three", 3000), "short"}
	var paths []string
	for i := range 60 {
		p := fmt.Sprintf("d%d/f%d", i%5, i)
		treetest.Write(t, src, treetest.File(p, "x", treetest.Xattr("user.a", values[0]), treetest.Xattr("user.b", values[1])))
		paths = append(paths, p)
	}
	url, dst, _ := daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Path: treetest.TempDir(t)}}})
	f := follow(t, src, url, withAttrs)
	pace := time.NewTicker(2 * time.Millisecond) // while sessions run
	defer pace.Stop()
	for i := range 3000 {
		if i%10 == 0 {
			<-pace.C
		}
		p := paths[rng.IntN(len(paths))]
		name := []string{"user.a", "user.b", "user.c"}[rng.IntN(3)]
		var err error
		if rng.IntN(5) == 0 {
			err = unix.Removexattr(filepath.Join(src, p), name)
		} else {
			err = unix.Setxattr(filepath.Join(src, p), name, []byte(values[rng.IntN(len(values))]), 0)
		}
		if err != nil && err != unix.ENODATA {
			t.Fatal(err)
		}
		f.Changed(queue.Item{Kind: queue.Path, Path: p})
	}
	settlesAttrs(t, src, dst)
}
