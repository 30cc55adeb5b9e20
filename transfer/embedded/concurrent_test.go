package embedded

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/treetest"
)

// Sends of disjoint batches with parents in common: everything arrives, and the parents end with their own times and
// modes, whoever was in them last.
func TestConcurrentSends(t *testing.T) {
	dir := treetest.TempDir(t)
	src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
	if err := os.Mkdir(src, 0o755); err != nil {
		t.Fatal(err)
	}
	var tree []treetest.Entry
	for k := range 5 {
		p := fmt.Sprint("d", k)
		tree = append(tree, treetest.Dir(p), treetest.Dir(p+"/e"))
		for n := range 20 {
			tree = append(tree, treetest.File(fmt.Sprint(p, "/e/f", n), fmt.Sprint(k, n)),
				treetest.Symlink(fmt.Sprint(p, "/l", n), p))
		}
		tree = append(tree, treetest.Dir(p+"/e", treetest.Mtime(int64(k), 77)))
	}
	for _, e := range tree {
		treetest.Write(t, src, e)
	}
	chmod := func(mode os.FileMode, trees ...string) {
		for _, tree := range trees {
			for k := range 5 {
				for _, p := range []string{"", "/e"} {
					if err := os.Chmod(filepath.Join(tree, fmt.Sprint("d", k)+p), mode); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	chmod(0o500, src)
	t.Cleanup(func() { chmod(0o700, src, dst) }) // or it could not be removed
	d := open(t, dst)
	for round := range 2 { // the second meets read-only directories, with other content
		all := batch(t, src, archive(), nil)
		if round == 1 {
			for i := range all.Entries {
				if all.Entries[i].IsRegular() {
					all.Entries[i].Mtime++
				}
			}
		}
		var wg sync.WaitGroup
		for part := range 4 {
			b, o := share(all, part, 4), archive()
			wg.Go(func() {
				rep, err := d.Send(t.Context(), b, o)
				if err != nil {
					t.Error(err)
				}
				for i, r := range rep.Results {
					if r.State != rsync.Acked {
						t.Errorf("round %d: %s: %v %v", round, b.Entries[i].Path, r.State, r.Err)
					}
				}
			})
		}
		wg.Wait()
		ignore := treetest.Field(0)
		if round == 1 {
			ignore = treetest.FileMtime
		}
		treetest.Equal(t, src, dst, treetest.Options{Ignore: ignore})
	}
	if len(d.loose) > 0 || len(d.stages) > 0 {
		t.Errorf("kept: %v, %v", d.loose, d.stages)
	}
}

// share takes every n-th entry that is no directory, with all directories.
func share(all *rsync.Batch, part, n int) *rsync.Batch {
	var pick []int
	for i := range all.Entries {
		if all.Entries[i].IsDir() || i%n == part {
			pick = append(pick, i)
		}
	}
	b := &rsync.Batch{Entries: make([]flist.Entry, len(pick))}
	for k, i := range pick {
		b.Entries[k] = all.Entries[i]
	}
	b.Open = func(k int) (rsync.File, error) { return all.Open(pick[k]) }
	return b
}

// Trees with everything there is arrive whole, and a second run finds nothing to do.
func TestHostileTree(t *testing.T) {
	dir := treetest.TempDir(t)
	src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
	if err := os.Mkdir(src, 0o755); err != nil {
		t.Fatal(err)
	}
	treetest.Hostile(t, src, 1000)
	o := archive()
	o.HardLinks, o.Delete = true, true
	for round := range 2 {
		rep, rec := sendTree(t, src, dst, o)
		for i, r := range rep.Results {
			if r.State != rsync.Acked {
				t.Errorf("%.80q: %v %v", rec.b.Entries[i].Path, r.State, r.Err)
			}
		}
		if round == 1 && (len(rec.lines) > 0 || rec.sent > 0) {
			t.Errorf("second run: %d bytes, %.200q", rec.sent, rec.lines)
		}
		treetest.Equal(t, src, dst, treetest.Options{})
	}
	clean(t, dst)
}

// Wrap sees the data on its way.
func TestWrap(t *testing.T) {
	dst := treetest.TempDir(t)
	d := open(t, dst)
	var seen counter
	d.Wrap = func(c io.ReadWriteCloser) io.ReadWriteCloser { seen.ReadWriteCloser = c; return &seen }
	rec := list(func(string) (rsync.File, error) { return content("hello"), nil }, "a", "b")
	if _, err := d.Send(t.Context(), rec.b, archive()); err != nil || seen.n < 10 {
		t.Errorf("saw %d bytes, %v", seen.n, err)
	}
}

type counter struct {
	io.ReadWriteCloser
	n int
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += len(p)
	return c.ReadWriteCloser.Write(p)
}

const asNobody = "SYNCD_TEST_AS_NOBODY"

// The tests that concern it run once more without privilege.
func TestUnprivileged(t *testing.T) {
	if os.Getenv(asNobody) != "" {
		return
	}
	need.Root(t)
	dir := t.TempDir()
	for d := dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "embedded.test")
	if out, err := exec.Command("cp", self, exe).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	const nobody = 65534
	const run = "^Test(LikeRsync|ConcurrentSends|HostileTree|Obstacles|Protection|Cancel|LargeFiles|NotMine)$"
	cmd := exec.Command(exe, "-test.run", run, "-seeds=2")
	cmd.Env = append(os.Environ(), asNobody+"=1", "TMPDIR="+filepath.Join(dir, "tmp"), "HOME="+dir)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Without privilege, directories of others that cannot be written to fail what is in them, in the kernel's words; those
// that can be written to are used though the destination itself cannot.
func TestNotMine(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("runs as a part of TestUnprivileged")
	}
	rec := list(func(string) (rsync.File, error) { return content("hello"), nil }, "f")
	rep, err := open(t, "/usr").Send(t.Context(), rec.b, rsync.Options{MaxDelete: -1})
	if err != nil || rep.Results[1].State != rsync.Failed {
		t.Errorf("in /usr: %v, %v", rep.Results, err)
	}
	dir := treetest.TempDir(t)
	treetest.Write(t, dir, treetest.Dir("d"))
	o := rsync.Options{MaxDelete: -1}
	rec = list(func(string) (rsync.File, error) { return content("hello"), nil }, "d/f")
	rec.b.Entries[0].Path = "d"
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o755)
	rep, err = open(t, dir).Send(t.Context(), rec.b, o)
	if err != nil || rep.Results[1].State != rsync.Acked {
		t.Errorf("below a read-only destination: %v, %v", rep.Results, err)
	}
}
