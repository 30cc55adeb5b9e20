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

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/internal/treetest"
)

func TestFullCopyIsEqualAndSecondRunSendsNothing(t *testing.T) {
	src := t.TempDir()
	treetest.Hostile(t, src, 300)
	url, dst, _ := daemon(t, rsynctest.Config{})
	_, rec := pass(t, src, url, deleting)
	rec.clean(t)
	equal(t, src, dst)

	sum, rec := pass(t, src, url, deleting)
	rec.clean(t)
	if sum.TransferredFiles != 0 || len(rec.items) != 0 || len(rec.deleted) != 0 {
		t.Errorf("second run: %d files transferred, items %q, deleted %q", sum.TransferredFiles, rec.items, rec.deleted)
	}
	equal(t, src, dst)
}

func TestChangedTreeConverges(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 7))
			src := t.TempDir()
			treetest.Random(t, rng, src, 300)
			url, dst, _ := daemon(t, rsynctest.Config{})
			pass(t, src, url, deleting)
			equal(t, src, dst)
			for range 3 {
				treetest.Mutate(t, rng, src, 60)
				// A change that leaves size and time to the nanosecond as they were is what --checksum is for.
				_, rec := pass(t, src, url, func(c *Config) {
					c.Delete, c.Session.Checksum = true, true
					c.tuning.entries = 10 + int(seed)*40
				})
				rec.clean(t)
				equal(t, src, dst)
			}
		})
	}
}

func TestEveryProtocolAndForm(t *testing.T) {
	// Before 31 no nanoseconds travel, and before 30 no time outside of 32 unsigned bits.
	src := t.TempDir()
	rng := rand.New(rand.NewPCG(3, 3))
	treetest.Random(t, rng, src, 120)
	makeOld(t, src)
	for _, p := range []int{27, 28, 29, 30, 31, 32} {
		t.Run(fmt.Sprint("daemon", p), func(t *testing.T) {
			t.Parallel()
			url, dst, _ := daemon(t, rsynctest.Config{})
			set := func(c *Config) { c.Delete, c.Session.Protocol = true, p }
			sum, rec := pass(t, src, url, set)
			rec.clean(t)
			if sum.Protocol != p {
				t.Errorf("protocol %d, want %d", sum.Protocol, p)
			}
			treetest.Equal(t, src, dst, plain)
			write(t, filepath.Join(dst, "extra/deep/file"), "x")
			sum, rec = pass(t, src, url, set)
			rec.clean(t)
			if sum.TransferredFiles != 0 {
				t.Errorf("second run transferred %d files: %q", sum.TransferredFiles, rec.items)
			}
			treetest.Equal(t, src, dst, plain)
		})
		t.Run(fmt.Sprint("shell", p), func(t *testing.T) {
			t.Parallel()
			dst := filepath.Join(t.TempDir(), "dest")
			set := func(c *Config) {
				c.Delete = true
				c.Dialer.RemoteShell = rsynctest.Shell(t)
				c.Dialer.RsyncPath = fmt.Sprintf("rsync --protocol=%d", p)
			}
			_, rec := pass(t, src, "host:"+dst, set)
			rec.clean(t)
			treetest.Equal(t, src, dst, plain)
		})
	}
}

// makeOld reduces the tree at dir to what protocol 27 can say: device numbers of 31 bits, and times of whole seconds,
// which are not those of the copy's making: the server corrects none that is equal to the second.
func makeOld(t *testing.T, dir string) {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		paths = append(paths, p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(paths)
	for _, p := range paths {
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			t.Fatal(err)
		}
		if st.Rdev > 0x7fffffff {
			if err := os.Remove(p); err != nil {
				t.Fatal(err)
			}
			continue
		}
		when := unix.Timespec{Sec: st.Mtim.Sec & 0x3fffffff}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBigFileGoesAsDelta(t *testing.T) {
	src := t.TempDir()
	data := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{1}).Read(data)
	write(t, filepath.Join(src, "d/big"), string(data))
	write(t, filepath.Join(src, "d/small"), "small")
	url, dst, s := daemon(t, rsynctest.Config{})
	big := func(c *Config) { c.Delete, c.BigFile = true, 1<<20 }
	pass(t, src, url, big)
	equal(t, src, dst)

	copy(data[3<<20:], "changed in the middle")
	write(t, filepath.Join(src, "d/big"), string(data))
	write(t, filepath.Join(dst, "d/extra"), "goes, although the directory's list is spread over sessions")
	relay := rsynctest.Proxy(t, s.Addr(), rsynctest.Faults{})
	sum, rec := pass(t, src, relay.URL("m/dest"), big)
	rec.clean(t)
	equal(t, src, dst)
	if up, _ := relay.Bytes(); up > 200_000 || sum.Literal > 100_000 {
		t.Errorf("sent %d bytes, %d of them literal, for a change of 21 in 8 MiB", up, sum.Literal)
	}
	if !slices.Equal(rec.deleted, []string{"d/extra"}) {
		t.Errorf("deleted %q", rec.deleted)
	}
}

func TestHugeDirectoryIsPrunedAsAWhole(t *testing.T) {
	src := t.TempDir()
	for i := range 150 {
		write(t, filepath.Join(src, "d", fmt.Sprintf("f%05d", i)), fmt.Sprint(i))
	}
	url, dst, _ := daemon(t, rsynctest.Config{})
	small := func(c *Config) {
		c.Delete = true
		c.tuning.entries = 100
	}
	pass(t, src, url, small)
	for _, p := range []string{"d/a-first", "d/f00120x", "d/zdir/file"} {
		write(t, filepath.Join(dst, p), "extra")
	}
	sum, rec := pass(t, src, url, small)
	rec.clean(t)
	if want := []string{"d/a-first", "d/f00120x", "d/zdir", "d/zdir/file"}; !slices.Equal(rec.deleted, want) {
		t.Errorf("deleted %q, want %q", rec.deleted, want)
	}
	if sum.TransferredFiles != 0 {
		t.Errorf("%d files transferred again", sum.TransferredFiles)
	}
	equal(t, src, dst)
}

func TestUnreadableDirectoryDeletesNothing(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "closed/kept"), "1")
	write(t, filepath.Join(src, "open/kept"), "2")
	url, dst, _ := daemon(t, rsynctest.Config{})
	pass(t, src, url, deleting)
	write(t, filepath.Join(dst, "closed/extra"), "must stay: nobody knows what is in closed")
	write(t, filepath.Join(dst, "open/extra"), "must go")
	write(t, filepath.Join(src, "open/new"), "3")

	if err := os.Chmod(filepath.Join(src, "closed"), 0); err != nil {
		t.Fatal(err)
	}
	asNobody(t, src, func() {
		c, rec := config(t, src, url, deleting)
		e, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := rec.failed["closed"]; !errors.Is(err, os.ErrPermission) || e.Summary().Unreadable != 1 {
			t.Errorf("failed %v, %d unreadable; want closed alone for its permission", rec.failed, e.Summary().Unreadable)
		}
	})
	for p, want := range map[string]bool{"closed/kept": true, "closed/extra": true, "open/new": true, "open/extra": false} {
		if exists(t, filepath.Join(dst, p)) != want {
			t.Errorf("%s exists: %v, want %v", p, !want, want)
		}
	}
}

func TestMaxDeleteIsOneLimitForAllSessions(t *testing.T) {
	src := t.TempDir()
	for i := range 20 {
		write(t, filepath.Join(src, fmt.Sprint("d", i), "kept"), "x")
	}
	url, dst, _ := daemon(t, rsynctest.Config{})
	pass(t, src, url, nil)
	for i := range 20 {
		write(t, filepath.Join(dst, fmt.Sprint("d", i), "extra"), "x")
	}
	sum, _ := pass(t, src, url, func(c *Config) { c.Delete, c.MaxDelete = true, 7 })
	if sum.Deleted != 7 || !sum.LimitHit {
		t.Errorf("deleted %d, limit hit %v; want 7, true", sum.Deleted, sum.LimitHit)
	}
	sum, _ = pass(t, src, url, func(c *Config) { c.Delete, c.MaxDelete = true, 0 })
	if sum.Deleted != 0 || !sum.LimitHit {
		t.Errorf("with a limit of 0 deleted %d, limit hit %v", sum.Deleted, sum.LimitHit)
	}
	sum, rec := pass(t, src, url, func(c *Config) { c.Delete, c.MaxDelete = true, 13 })
	rec.clean(t)
	if sum.Deleted != 13 || sum.LimitHit {
		t.Errorf("deleted %d, limit hit %v; want 13, false", sum.Deleted, sum.LimitHit)
	}
	equal(t, src, dst)
}

func TestFilterProtectsAndChooses(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "a/.rules"), "- *.tmp\n")
	for _, p := range []string{"a/x", "a/x.tmp", "a/deep/er/y.tmp", "a/deep/er/y", "b/z.tmp", "b/keep.o"} {
		write(t, filepath.Join(src, p), p)
	}
	var rules filter.List
	if err := errors.Join(rules.Filter(": .rules"), rules.Exclude("*.o")); err != nil {
		t.Fatal(err)
	}
	url, dst, _ := daemon(t, rsynctest.Config{})
	set := func(c *Config) { c.Delete, c.Filter = true, &rules }
	pass(t, src, url, set)
	for _, p := range []string{"a/deep/er/there.tmp", "a/deep/er/extra", "b/there.tmp", "b/there.o", "a/deep/gone/there.tmp"} {
		write(t, filepath.Join(dst, p), "there")
	}
	_, rec := pass(t, src, url, set)
	rec.clean(t)
	want := map[string]bool{
		"a/x": true, "a/x.tmp": false, "a/deep/er/y.tmp": false, "a/deep/er/y": true, "b/z.tmp": true, "b/keep.o": false,
		"a/deep/er/there.tmp": true, "a/deep/er/extra": false, "b/there.tmp": false, "b/there.o": true,
		"a/deep/gone/there.tmp": true,
	}
	for p, want := range want {
		if exists(t, filepath.Join(dst, p)) != want {
			t.Errorf("%s exists there: %v, want %v", p, !want, want)
		}
	}
}

func TestDryRunSaysWhatTheRunThenDoes(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 11))
	src := t.TempDir()
	treetest.Random(t, rng, src, 150)
	url, dst, _ := daemon(t, rsynctest.Config{})
	pass(t, src, url, deleting)
	treetest.Mutate(t, rng, src, 40)
	before := treetest.Snapshot(t, dst, plain)
	set := func(c *Config) { c.Delete, c.Sessions = true, 1 }
	_, dry := pass(t, src, url, func(c *Config) { set(c); c.Session.DryRun = true })
	if diff := treetest.Diff(before, treetest.Snapshot(t, dst, plain)); diff != "" {
		t.Fatalf("the dry run changed:\n%s", diff)
	}
	_, wet := pass(t, src, url, set)
	if !slices.Equal(dry.items, wet.items) {
		t.Errorf("dry run and run itemize differently:\n%s\n---\n%s", strings.Join(dry.items, "\n"), strings.Join(wet.items, "\n"))
	}
	if !slices.Equal(dry.deleted, wet.deleted) {
		t.Errorf("dry run would delete %q, the run deleted %q", dry.deleted, wet.deleted)
	}
}

func TestRootReplacedDeletesNothing(t *testing.T) {
	base := t.TempDir()
	src := filepath.Join(base, "src")
	write(t, filepath.Join(src, "file"), "x")
	url, dst, _ := daemon(t, rsynctest.Config{})
	pass(t, src, url, nil)
	c, _ := config(t, src, url, deleting)
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(src, src+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(src, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := e.Run(context.Background()); !errors.Is(err, scan.ErrRootChanged) {
		t.Errorf("Run: %v, want ErrRootChanged", err)
	}
	if !exists(t, filepath.Join(dst, "file")) {
		t.Error("deleted although the source was not there")
	}
}

func TestEmbeddedDestination(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	src, dst := t.TempDir(), filepath.Join(t.TempDir(), "dest")
	treetest.Random(t, rng, src, 200)
	_, rec := pass(t, src, dst, deleting)
	rec.clean(t)
	equal(t, src, dst)
	treetest.Mutate(t, rng, src, 50)
	_, rec = pass(t, src, dst, func(c *Config) { c.Delete, c.Session.Checksum = true, true })
	rec.clean(t)
	equal(t, src, dst)
	sum, rec := pass(t, src, dst, deleting)
	if sum.TransferredFiles != 0 || len(rec.items) != 0 {
		t.Errorf("third run: %d files, items %q", sum.TransferredFiles, rec.items)
	}
}

var _ = rsync.ErrChanged
