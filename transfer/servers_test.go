package transfer

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// kindsTree has an entry of every kind.
func kindsTree(t *testing.T) string {
	src := treetest.TempDir(t)
	treetest.Write(t, src,
		treetest.File("d/owned", "content", treetest.Owner(7, 8), treetest.Mode(0o4751)), treetest.File("d/other", "more", treetest.Mode(0o666)),
		treetest.Link("d/link", "d/other"), treetest.Symlink("absolute", "/etc/passwd"), treetest.Symlink("relative", "../../x"),
		treetest.Symlink("near", "d/other"), treetest.Fifo("fifo"), treetest.Device("null", 'c', 1, 3))
	return src
}

// Each odd server, with what is said of it, in order, and what differs there for good. Whatever it is, a second pass has
// nothing to send, changes arrive, and nothing is left behind.
func TestOddServers(t *testing.T) {
	need.Root(t)
	module := func(options ...string) func(*testing.T) rsynctest.Module {
		return func(t *testing.T) rsynctest.Module {
			m := rsynctest.Module{Name: "m", Path: treetest.TempDir(t), Options: map[string]string{}}
			for i := 0; i < len(options); i += 2 {
				m.Options[options[i]] = options[i+1]
			}
			must(t, os.Chmod(m.Path, 0o777))
			return m
		}
	}
	targets := func(n *treetest.Node) { n.Target = "" }
	subsecond := func(n *treetest.Node) { n.Nsec = 0 }
	forced := func(protocol int) func(*Config) { return func(c *Config) { c.Session.Protocol = protocol } }
	for _, c := range []struct {
		name   string
		module func(*testing.T) rsynctest.Module
		edit   func(*Config)
		notes  []string
		lost   func(*treetest.Node) // makes equal what is not kept
		failed string               // path
	}{
		{name: "stock", module: module()},
		{name: "without chroot", module: module("use chroot", "no", "munge symlinks", "no"), notes: []string{"targets of symlinks are changed"}, lost: targets},
		{name: "munging", module: module("munge symlinks", "yes"), notes: []string{"symlinks lead nowhere"}, lost: targets},
		{name: "munging without chroot", module: module("use chroot", "no", "munge symlinks", "yes"), notes: []string{"symlinks lead nowhere"}, lost: targets},
		{name: "nobody", module: module("uid", "nobody", "gid", "nogroup", "use chroot", "no", "munge symlinks", "no"),
			notes: []string{"owners are not kept, nor groups that the server's user is not in, nor devices", "targets of symlinks"},
			lost:  func(n *treetest.Node) { targets(n); n.UID, n.GID = 0, 0 }, failed: "null"},
		{name: "incoming chmod", module: module("incoming chmod", "Dg+s,Fo-w"), notes: []string{"bits 0002 of files and 2000 of directories"}, lost: func(n *treetest.Node) { n.Mode &^= 0o2002 }},
		{name: "one connection", module: module("max connections", "1")},
		{name: "two seconds", module: module("timeout", "2")},
		{name: "numeric ids", module: module("numeric ids", "yes")},
		{name: "names", module: module("numeric ids", "no"), edit: func(c *Config) { c.Session.NumericIDs = false }},
		{name: "no checksums", module: module("refuse options", "checksum delete-missing-args"), notes: []string{"--checksum"}},
		{name: "whole seconds", module: wholeSeconds, notes: []string{"times are kept to the second only"}, lost: subsecond},
		{name: "protocol 31", module: module(), edit: forced(31)},
		{name: "protocol 30", module: module(), edit: forced(30), lost: subsecond},
		{name: "protocol 29", module: module(), edit: forced(29), lost: subsecond},
		{name: "protocol 28", module: module(), edit: forced(28), lost: subsecond},
		{name: "protocol 27", module: module(), edit: forced(27), lost: subsecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url, dst, _ := daemon(t, rsynctest.Config{Modules: []rsynctest.Module{c.module(t)}})
			src := kindsTree(t)
			conf, rec := config(t, src, url, func(conf *Config) {
				deleting(conf)
				conf.Session.HardLinks = true
				if c.edit != nil {
					c.edit(conf)
				}
			})
			run := func() {
				e, err := New(conf)
				must(t, err)
				f := following(t, e)
				arrives := func(p, content string) {
					t.Helper()
					waitFor(t, func() bool {
						s, err := f.Snapshot(context.Background())
						return err == nil && !s.Passing && has(filepath.Join(dst, p), content)
					})
				}
				arrives("d/owned", "content")
				write(t, filepath.Join(src, "d/new"), "live")
				must(t, os.Remove(filepath.Join(src, "d/link")))
				e.Changed(queue.Item{Path: "d/new"}, queue.Item{Path: "d/link"}, queue.Item{Path: "d"})
				arrives("d/new", "live")
				waitFor(t, func() bool { return !exists(t, filepath.Join(dst, "d/link")) })
				f.end()
			}
			run()
			if len(rec.notes) != len(c.notes) {
				t.Errorf("notes: %q, want %q", rec.notes, c.notes)
			}
			for i, want := range c.notes[:min(len(c.notes), len(rec.notes))] {
				if !strings.Contains(rec.notes[i], want) {
					t.Errorf("note %q, want %q", rec.notes[i], want)
				}
			}
			sum, second := pass(t, src, url, func(again *Config) { *again = conf; again.Observer = rec })
			if sum.TransferredFiles > 0 || sum.Failed > 0 && rec.failed[c.failed] == nil || sum.Failed > 1 {
				t.Errorf("the second pass sent %d files, items %q, failed %v", sum.TransferredFiles, second.items, rec.failed)
			}
			want, got := treetest.Snapshot(t, src, treetest.Options{}), treetest.Snapshot(t, dst, treetest.Options{})
			delete(want, c.failed)
			for _, tree := range []treetest.Tree{want, got} {
				for p, n := range tree {
					if c.lost != nil {
						c.lost(&n)
						tree[p] = n
					}
				}
			}
			if diff := treetest.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// wholeSeconds is a module on a file system that knows no smaller times.
func wholeSeconds(t *testing.T) rsynctest.Module {
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 2<<20))
	if out, err := exec.Command(need.Program(t, "mkfs.ext4"), "-q", "-I", "128", "-O", "^has_journal", image).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command(need.Program(t, "mount"), "-o", "loop", image, dir).CombinedOutput(); err != nil {
		need.Lacking(t, "no file system can be mounted from a file: "+string(out))
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return rsynctest.Module{Name: "m", Path: dir}
}

// A destination that is mounted read-only is an error before any work, in a pass and as the reason why a service waits.
func TestReadOnlyFileSystem(t *testing.T) {
	need.Root(t)
	module := t.TempDir()
	must(t, os.Mkdir(filepath.Join(module, "dest"), 0o755))
	must(t, unix.Mount("tmpfs", module, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { unix.Unmount(module, unix.MNT_DETACH) })
	must(t, os.Mkdir(filepath.Join(module, "dest"), 0o755))
	must(t, unix.Mount("", module, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	url, _, _ := daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Path: module}}})
	src := kindsTree(t)
	conf, _ := config(t, src, url, nil)
	e, err := New(conf)
	must(t, err)
	if err := e.Run(context.Background()); kindOf(err) != rsync.KindReadOnly || !words(err, "Read-only file system") {
		t.Errorf("Run: %v", err)
	}
	f := follow(t, src, url, nil)
	waitFor(t, func() bool {
		s, err := f.Snapshot(context.Background())
		return err == nil && kindOf(s.Trouble) == rsync.KindReadOnly
	})
	must(t, unix.Mount("", module, "", unix.MS_REMOUNT, ""))
	waitFor(t, func() bool { return has(filepath.Join(module, "dest/d/owned"), "content") })
}

// What a run that was killed left of its probe is gone after the next one; what else is at the destination stays.
func TestProbeThatWasLeftBehind(t *testing.T) {
	need.Root(t)
	src := kindsTree(t)
	url, dst, _ := daemon(t, rsynctest.Config{})
	conf, rec := config(t, src, url, nil)
	e, err := New(conf)
	must(t, err)
	left := filepath.Join(dst, e.probeName())
	treetest.Write(t, dst, treetest.File("there", "already"), treetest.File(e.probeName()+"/file", "", treetest.Mode(0)),
		treetest.File(e.probeName()+"/dirmode3/deep", ""))
	must(t, e.Run(context.Background()))
	rec.clean(t)
	if exists(t, left) || !has(filepath.Join(dst, "there"), "already") {
		t.Errorf("%s is still there, or what was there before is not", left)
	}
	if len(rec.notes) > 0 {
		t.Errorf("%q", rec.notes)
	}
}

// A run that ends while it tries the destination leaves nothing there.
func TestProbeOfAnInterruptedRun(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "file"), "content")
	url, dst, _ := daemon(t, rsynctest.Config{})
	conf, _ := config(t, src, url, nil)
	e, err := New(conf)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	e.dest = meddler{e.dest, func() {
		if made, _ := filepath.Glob(filepath.Join(dst, ProbePrefix+"*")); len(made) > 0 {
			cancel()
		}
	}}
	if err := e.Run(ctx); ctx.Err() == nil || err == nil {
		t.Fatalf("Run: %v, and it was not interrupted", err)
	}
	if left, _ := os.ReadDir(dst); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
