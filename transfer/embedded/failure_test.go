package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/treetest"
	"golang.org/x/sys/unix"
)

// fakeFile is a source file that behaves as told.
type fakeFile struct {
	io.Reader
	size  int64
	close error
}

func (f fakeFile) Size() int64  { return f.size }
func (f fakeFile) Close() error { return f.close }

func content(s string) rsync.File { return fakeFile{strings.NewReader(s), int64(len(s)), nil} }

// list makes a batch of the root and regular files, which open opens by name.
func list(open func(name string) (rsync.File, error), names ...string) *recorder {
	rec := &recorder{b: &rsync.Batch{Entries: []flist.Entry{{Path: ".", Mode: unix.S_IFDIR | 0o755, Mtime: 7}}}}
	for _, n := range names {
		rec.b.Entries = append(rec.b.Entries, flist.Entry{Path: n, Mode: unix.S_IFREG | 0o640, Size: 5, Mtime: 1e9, Nsec: 1})
	}
	rec.b.Open = func(i int) (rsync.File, error) { return open(rec.b.Entries[i].Path) }
	rec.b.Events = rec
	return rec
}

// clean fails the test when something of ours is left below dir.
func clean(t *testing.T, dir string) {
	t.Helper()
	for p := range treetest.Snapshot(t, dir, treetest.Options{}) {
		if strings.Contains(p, ".syncd-") {
			t.Errorf("left behind: %s", p)
		}
	}
}

// A source file that cannot be opened, read to its end, or that changes, concerns only itself.
func TestSourceTrouble(t *testing.T) {
	dst := treetest.TempDir(t)
	broken := errors.New("broken disk")
	open1 := func(name string) (rsync.File, error) {
		switch {
		case strings.HasPrefix(name, "gone"):
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		case strings.HasPrefix(name, "denied"):
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
		case strings.HasPrefix(name, "broken"):
			return fakeFile{io.MultiReader(strings.NewReader("he"), failing{broken}), 5, nil}, nil
		case strings.HasPrefix(name, "changed"):
			return fakeFile{strings.NewReader("hello"), 5, rsync.ErrChanged}, nil
		}
		return content("hello"), nil
	}
	rec := list(open1, "a", "broken1", "broken2", "changed", "denied", "f", "gone1", "gone2", "z")
	rep, err := open(t, dst).Send(t.Context(), rec.b, archive())
	if err != nil || !rep.Complete || rep.ExitCode != codePartial {
		t.Fatalf("complete %v, exit code %d, %v", rep.Complete, rep.ExitCode, err)
	}
	tree := treetest.Snapshot(t, dst, treetest.Options{})
	for i, r := range rep.Results {
		path := rec.b.Entries[i].Path
		want, why, there := rsync.Acked, error(nil), true
		switch strings.TrimRight(path, "12") {
		case "broken":
			want, why, there = rsync.NotSent, broken, false
		case "changed":
			want, why = rsync.Changed, rsync.ErrChanged
		case "denied":
			want, why, there = rsync.NotSent, fs.ErrPermission, false
		case "gone":
			want, why, there = rsync.NotSent, fs.ErrNotExist, false
		}
		if r.State != want || !errors.Is(r.Err, why) {
			t.Errorf("%s: %v %v, want %v %v", path, r.State, r.Err, want, why)
		}
		if got := tree[path].Mode != 0; got != there {
			t.Errorf("%s: is there: %v", path, got)
		}
	}
	if tree["."].Mtime != 7 || tree["a"].Nsec != 1 {
		t.Errorf("times: %v, %v", tree["."], tree["a"])
	}
	clean(t, dst)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// What the kernel refuses for one entry stops neither the others nor the data of files.
func TestDestinationTrouble(t *testing.T) {
	dst := treetest.TempDir(t)
	long := strings.Repeat("n", 300)
	rec := list(func(string) (rsync.File, error) { return content("hello"), nil },
		"a", long, long+"/below", "b", "../outside", "dir/missing-parent", "/absolute", "a/../c", "z")
	rec.b.Entries[3-1].Mode = unix.S_IFDIR | 0o755
	rec.b.Entries = append(rec.b.Entries, flist.Entry{Path: long + "2", Mode: unix.S_IFLNK | 0o777, Target: "x"},
		flist.Entry{Path: "l", Mode: unix.S_IFLNK | 0o777, Target: "x"})
	rep, err := open(t, dst).Send(t.Context(), rec.b, archive())
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rep.Results {
		path := rec.b.Entries[i].Path
		if ok := len(path) <= 3 && path != "./c"; ok != (r.State == rsync.Acked) || !ok && r.Err == nil {
			t.Errorf("%.20s: %v %v", path, r.State, r.Err)
		}
		if strings.HasPrefix(path, long) && !errors.Is(r.Err, unix.ENAMETOOLONG) {
			t.Errorf("%.20s: not the kernel's words: %v", path, r.Err)
		}
	}
	if _, err := os.Lstat(filepath.Join(dst, "../outside")); err == nil {
		t.Error("something was written outside the destination")
	}
	clean(t, dst)
}

// mount gives a small file system of its own, or skips the test.
func mount(t *testing.T, dir, options string) {
	t.Helper()
	need.Root(t)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		need.Lacking(t, "cannot mount: ", err) // root in a container without the capability
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
}

func TestDiskFull(t *testing.T) {
	big := bytes.Repeat([]byte("x"), 600<<10)
	for _, c := range []struct {
		name, options string
		entry         func(name string) flist.Entry
	}{
		{"bytes", "size=1m", func(n string) flist.Entry {
			return flist.Entry{Path: n, Mode: unix.S_IFREG | 0o644, Size: int64(len(big))}
		}},
		{"inodes", "nr_inodes=5", func(n string) flist.Entry {
			return flist.Entry{Path: n, Mode: unix.S_IFREG | 0o644, Size: int64(len(big))}
		}},
		{"inodes for directories", "nr_inodes=4", func(n string) flist.Entry {
			return flist.Entry{Path: n, Mode: unix.S_IFDIR | 0o755}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dst := t.TempDir()
			mount(t, dst, c.options)
			rec := list(func(string) (rsync.File, error) {
				return fakeFile{bytes.NewReader(big), int64(len(big)), nil}, nil
			})
			for k := range 6 {
				rec.b.Entries = append(rec.b.Entries, c.entry(fmt.Sprint("f", k)))
			}
			rep, err := open(t, dst).Send(t.Context(), rec.b, archive())
			e, ok := errors.AsType[*rsync.Error](err)
			if !ok || e.Kind != rsync.KindDiskFull || e.Hint == "" || !errors.Is(err, unix.ENOSPC) {
				t.Fatalf("got %v; %v", err, rep.Results)
			}
			if rep.Complete || rep.ExitCode != 11 {
				t.Errorf("complete %v, exit code %d", rep.Complete, rep.ExitCode)
			}
			count := make(map[rsync.State]int)
			for i, r := range rep.Results[1:] {
				count[r.State]++
				st, err := os.Lstat(filepath.Join(dst, rec.b.Entries[i+1].Path))
				if there := err == nil; there != (r.State == rsync.Acked) && !isDir(rec.b.Entries[i+1].Mode) {
					t.Errorf("%d: %v, but is there: %v", i, r.State, there)
				} else if there && !st.IsDir() && st.Size() != int64(len(big)) {
					t.Errorf("%d: half a file", i)
				}
			}
			if count[rsync.Failed] != 1 || count[rsync.Pending] == 0 {
				t.Errorf("states: %v", count)
			}
			clean(t, dst)
		})
	}
}

// A file that has grown since it was listed does not fill the memory.
func TestGrown(t *testing.T) {
	memory, dst := t.TempDir(), treetest.TempDir(t)
	mount(t, memory, "size=33m")
	d := open(t, dst)
	d.memory = memory
	rec := list(func(name string) (rsync.File, error) {
		size := int64(60 << 20) // more than there is
		return fakeFile{io.LimitReader(&endless{at: 1 << 40}, size), size, nil}, nil
	}, "f")
	rep, err := d.Send(t.Context(), rec.b, archive())
	if err != nil || rep.Results[1].State != rsync.Acked || stat(t, filepath.Join(dst, "f")).Size != 60<<20 {
		t.Errorf("%v, %v", rep.Results[1], err)
	}
	clean(t, memory)
}

// What does not fit into memory goes the other way.
func TestMemoryFull(t *testing.T) {
	memory, dst := t.TempDir(), treetest.TempDir(t)
	mount(t, memory, "nr_inodes=4")
	d := open(t, dst)
	d.memory = memory
	var names []string
	for k := range 20 {
		names = append(names, fmt.Sprint("f", k))
	}
	rec := list(func(name string) (rsync.File, error) { return content("hello " + name), nil }, names...)
	rep, err := d.Send(t.Context(), rec.b, archive())
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rep.Results[1:] {
		data, err := os.ReadFile(filepath.Join(dst, names[i]))
		if r.State != rsync.Acked || string(data) != "hello "+names[i] {
			t.Errorf("%s: %v %v; %q, %v", names[i], r.State, r.Err, data, err)
		}
	}
	clean(t, dst)
	clean(t, memory)
}

func TestReadOnly(t *testing.T) {
	dst := t.TempDir()
	mount(t, dst, "")
	if err := unix.Mount("", dst, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err) // it could be mounted
	}
	rec := list(func(string) (rsync.File, error) { return content("hello"), nil }, "a", "b")
	_, err := open(t, dst).Send(t.Context(), rec.b, archive())
	if e, ok := errors.AsType[*rsync.Error](err); !ok || e.Kind != rsync.KindReadOnly || e.Hint == "" {
		t.Errorf("got %v", err)
	}
}

// large is too much to go through memory.
var large = strings.Repeat("large file ", 2*smallFile/11)

// A mount inside the destination is no obstacle, though nothing can be renamed into it.
func TestMountInside(t *testing.T) {
	dst := t.TempDir()
	if err := os.Mkdir(filepath.Join(dst, "m"), 0o755); err != nil {
		t.Fatal(err)
	}
	mount(t, filepath.Join(dst, "m"), "")
	src := t.TempDir()
	treetest.Write(t, src, treetest.Dir("m", treetest.Mtime(5, 6)), treetest.File("m/f", "hello", treetest.Mode(0o4751),
		treetest.Owner(3, 4), treetest.Mtime(7, 8)), treetest.Symlink("m/l", "x"),
		treetest.File("m/large", large, treetest.Mode(0o4751), treetest.Owner(3, 4), treetest.Mtime(7, 8)))
	rep, _ := sendTree(t, src, dst, archive())
	for i, r := range rep.Results {
		if r.State != rsync.Acked {
			t.Errorf("%d: %v %v", i, r.State, r.Err)
		}
	}
	treetest.Equal(t, src, dst, treetest.Options{})
}

// Cancelled in the middle of a file, Send leaves neither half a file nor a temporary one, nor, which is what the bubble
// is for, a goroutine that does not end.
func TestCancel(t *testing.T) {
	for _, c := range []struct{ size, at int64 }{
		{smallFile, smallFile / 2}, // through memory
		{1 << 40, 2 << 20},         // through the destination's file system
	} {
		dst := treetest.TempDir(t)
		treetest.Write(t, dst, treetest.File("old", "as it was"))
		synctest.Test(t, func(t *testing.T) {
			cause := errors.New("stop")
			ctx, cancel := context.WithCancelCause(t.Context())
			source := &endless{at: c.at, hook: func() { cancel(cause) }}
			rec := list(func(name string) (rsync.File, error) { return fakeFile{source, c.size, nil}, nil }, "old", "z")
			for i := range rec.b.Entries {
				rec.b.Entries[i].Size = c.size
			}
			rep, err := open(t, dst).Send(ctx, rec.b, archive())
			if !errors.Is(err, cause) || rep.Complete || rep.ExitCode != codeInterrupted {
				t.Errorf("got %v, complete %v, exit code %d", err, rep.Complete, rep.ExitCode)
			}
			if len(rep.Loose) > 0 { // what could not be cleaned up
				t.Error(rep.Loose)
			}
			if got := rep.Results[1]; got.State != rsync.Pending {
				t.Errorf("the file under way is %v: %v", got.State, got.Err)
			}
		})
		if data, err := os.ReadFile(filepath.Join(dst, "old")); err != nil || string(data) != "as it was" {
			t.Errorf("old file: %q, %v", data, err)
		}
		clean(t, dst)
	}
}

// A server that is stuck in the kernel does not hold up a Send that was cancelled.
func TestStuckServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &stageServer{pipe: newPipe(1), done: make(chan struct{})}
		cause := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Hour, func() { cancel(cause) })
		start := time.Now()
		if err := v.wait(ctx); !errors.Is(err, cause) || time.Since(start) != time.Hour+lastBreath {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

// endless is a source that calls a hook once it has been read so far.
type endless struct {
	read, at int64
	hook     func()
}

func (e *endless) Read(p []byte) (int, error) {
	e.read += int64(len(p))
	if e.read > e.at {
		e.hook()
	}
	return len(p), nil
}

// Cancelled before it begins, Send changes nothing.
func TestCancelledBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dst := treetest.TempDir(t)
	rec := list(func(string) (rsync.File, error) { return content("hello"), nil }, "a")
	rep, err := open(t, dst).Send(ctx, rec.b, archive())
	if !errors.Is(err, context.Canceled) || rep.Results[1].State != rsync.Pending {
		t.Errorf("got %v, %v", err, rep.Results)
	}
	if all, _ := os.ReadDir(dst); len(all) > 0 {
		t.Errorf("created %v", all)
	}
}

// What a killed process left goes; what a living one needs stays.
func TestSweep(t *testing.T) {
	dst := treetest.TempDir(t)
	treetest.Write(t, dst, treetest.Dir(stagePrefix+"dead"), treetest.File(stagePrefix+"dead/.1000000000123", "half"),
		treetest.File("f", ""))
	if err := setMtime(unix.AT_FDCWD, dst, 9, 9); err != nil {
		t.Fatal(err)
	}
	d := open(t, dst)
	clean(t, dst)
	if st := stat(t, dst); st.Mtim.Sec != 9 || st.Mtim.Nsec != 9 {
		t.Error("sweeping changed the directory's time")
	}
	root := dirs{root: d.fd}
	defer root.close()
	g, err := d.newStage(&root, ".")
	if err != nil {
		t.Fatal(err)
	}
	open(t, dst)
	if _, err := os.Stat(g.abs); err != nil {
		t.Error("a second process removed what the first is using:", err)
	}
	if err := d.removeStage(&root, g); err != nil {
		t.Error(err)
	}
	clean(t, dst)
}

// The staging directory of one Send is no extraneous entry for another that deletes.
func TestStageIsNotDeleted(t *testing.T) {
	dst := treetest.TempDir(t)
	d := open(t, dst)
	o := archive()
	o.Delete = true
	prune := &rsync.Batch{Entries: []flist.Entry{
		{Path: ".", Mode: unix.S_IFDIR | 0o755, Dir: flist.Content}, {Path: "a", Mode: unix.S_IFREG | 0o644, Size: 5},
	}}
	var pruned atomic.Bool
	rec := list(func(string) (rsync.File, error) {
		p := o
		p.Existing, p.IgnoreExisting = true, true
		_, err := d.Send(t.Context(), prune, p)
		pruned.Store(err == nil)
		return content("hello"), err
	}, "a")
	rep, err := d.Send(t.Context(), rec.b, archive())
	if err != nil || !pruned.Load() || rep.Results[1].State != rsync.Acked {
		t.Errorf("pruned %v, %v, %v", pruned.Load(), rep.Results, err)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	treetest.Write(t, dir, treetest.File("file", ""), treetest.Dir("real"), treetest.Symlink("link", "real"))
	send := func(path string, o rsync.Options) error {
		d, err := Open(filepath.Join(dir, path))
		if err != nil {
			return err
		}
		defer d.Close()
		_, err = d.Send(t.Context(), &rsync.Batch{}, o)
		return err
	}
	dry, mkpath := archive(), archive()
	dry.DryRun, mkpath.Mkpath = true, true
	for _, c := range []struct {
		path string
		o    rsync.Options
		want error
	}{
		{"file", archive(), unix.ENOTDIR}, {"file/x", archive(), unix.ENOTDIR}, {"file/x", mkpath, unix.ENOTDIR},
		{"no/such", archive(), fs.ErrNotExist}, {"no/such", dry, fs.ErrNotExist},
	} {
		err := send(c.path, c.o)
		if e, ok := errors.AsType[*rsync.Error](err); !ok || !errors.Is(err, c.want) || e.Hint == "" ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", c.path, err)
		}
	}
	if err := send("no/such", mkpath); err != nil {
		t.Error(err)
	}
	rec := list(func(string) (rsync.File, error) { return content("hello"), nil }, "f")
	if _, err := open(t, filepath.Join(dir, "link")).Send(t.Context(), rec.b, archive()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "real/f")); err != nil {
		t.Error(err)
	}
}

// The last component is created, but not by a dry run.
func TestNewDestination(t *testing.T) {
	dir := treetest.TempDir(t)
	src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
	if err := os.Mkdir(src, 0o750); err != nil {
		t.Fatal(err)
	}
	treetest.Write(t, src, treetest.File("f", "x"), treetest.Dir("d"))
	dry := archive()
	dry.DryRun = true
	want := []string{"cd+++++++++ ./", "<f+++++++++ f", "cd+++++++++ d/"}
	_, rec := sendTree(t, src, dst, dry)
	if diff := sameLines(want, rec.lines); diff != "" {
		t.Errorf("dry run:\n%s", diff)
	}
	if _, err := os.Lstat(dst); err == nil {
		t.Fatal("the dry run made the destination")
	}
	_, rec = sendTree(t, src, dst, archive())
	if diff := sameLines(want, rec.lines); diff != "" {
		t.Errorf("run:\n%s", diff)
	}
	treetest.Equal(t, src, dst, treetest.Options{})
}
