package rsync_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsynctest"
)

var protocols = []int{27, 28, 29, 30, 31, 32}

// each runs a test in every protocol, over one daemon.
func each(t *testing.T, f func(t *testing.T, s *rsynctest.Server, d *rsync.Dialer, dst string, o rsync.Options)) {
	s := rsynctest.Daemon(t, rsynctest.Config{})
	group(t, protocols, func(t *testing.T, p int) {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			t.Parallel()
			sub := fmt.Sprint(p)
			dst := filepath.Join(s.Dir("m"), sub)
			if err := os.Mkdir(dst, 0o755); err != nil {
				t.Fatal(err)
			}
			o := archive()
			o.Protocol = p
			if p < 31 {
				o.ModifyWindow = 0 // no nanoseconds on the wire
			}
			f(t, s, dialer(t, s, "m/"+sub), dst, o)
		})
	})
	checkGoroutines(t)
}

// group waits for the parallel tests that f starts for each case: servers that fail take their time.
func group[C any](t *testing.T, cases []C, f func(*testing.T, C)) {
	t.Run("all", func(t *testing.T) {
		for _, c := range cases {
			f(t, c)
		}
	})
}

func noise(seed uint64, n int) string {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// TestTree sends a tree with every kind of entry, finds nothing to do in a second session, and sends deltas of what changed.
func TestTree(t *testing.T) {
	each(t, func(t *testing.T, s *rsynctest.Server, d *rsync.Dialer, dst string, o rsync.Options) {
		src := t.TempDir()
		big := noise(1, 300_000)
		write(t, filepath.Join(src, "big"), big)
		write(t, filepath.Join(src, "empty"), "")
		write(t, filepath.Join(src, "d/e/odd \"name\" \xff\n"), "odd")
		write(t, filepath.Join(src, "hard"), "hard")
		must(t, os.Link(filepath.Join(src, "hard"), filepath.Join(src, "d/link")))
		must(t, os.Symlink("d/e", filepath.Join(src, "sym")))
		must(t, syscall.Mkfifo(filepath.Join(src, "fifo"), 0o640))
		if os.Geteuid() == 0 {
			must(t, syscall.Mknod(filepath.Join(src, "dev"), syscall.S_IFCHR|0o600, 1<<8|3))
		}
		o.HardLinks, o.Acks = true, true
		b := treeBatch(t, src)
		r := send(t, d, o, b)
		if got := states(b, r); got != "" {
			t.Fatalf("not acked:\n%s", got)
		}
		if got := read(t, filepath.Join(dst, "big")); got != big {
			t.Error("big differs")
		}
		if got := read(t, filepath.Join(dst, "d/e/odd \"name\" \xff\n")); got != "odd" {
			t.Errorf("the odd name holds %q", got)
		}
		if a, b := inode(t, filepath.Join(dst, "hard")), inode(t, filepath.Join(dst, "d/link")); a != b {
			t.Errorf("inodes %d and %d of one file", a, b)
		}
		if got, err := os.Readlink(filepath.Join(dst, "sym")); got != "d/e" || err != nil {
			t.Errorf("symlink to %q, %v", got, err)
		}
		if want := int64(len(big) + 3 + 4); r.Stats.Literal != want || r.Stats.Files != 4 {
			t.Errorf("%d bytes of %d files sent, want %d of 4", r.Stats.Literal, r.Stats.Files, want)
		}

		rec := &recorder{entries: b.Entries}
		b.Events = rec
		r = send(t, d, o, b)
		if got := states(b, r); got != "" || r.Stats.Files != 0 || len(rec.items) != 0 {
			t.Errorf("second session: %d files, items %q, not acked:\n%s", r.Stats.Files, rec.items, got)
		}

		changed := big[:100_000] + "inserted" + big[100_000:200_000] + big[220_000:]
		write(t, filepath.Join(src, "big"), changed)
		b = treeBatch(t, src)
		r = send(t, d, o, b)
		if got := states(b, r); got != "" {
			t.Errorf("not acked:\n%s", got)
		}
		if got := read(t, filepath.Join(dst, "big")); got != changed {
			t.Error("big differs after the delta")
		}
		res := result(t, b, r, "big")
		if res.Literal > 5000 || res.Literal+res.Matched != int64(len(changed)) {
			t.Errorf("delta of %d bytes sent and %d matched, of %d", res.Literal, res.Matched, len(changed))
		}
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func inode(t testing.TB, name string) uint64 {
	t.Helper()
	fi, err := os.Lstat(name)
	must(t, err)
	return fi.Sys().(*syscall.Stat_t).Ino
}

// fakeFile is a file that may fail, change, or tell other bytes the first time.
type fakeFile struct {
	*bytes.Reader
	size    int64
	readErr error // after the content
	closed  error
}

func (f *fakeFile) Size() int64  { return f.size }
func (f *fakeFile) Close() error { return f.closed }
func (f *fakeFile) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if n == 0 && f.readErr != nil {
		return 0, f.readErr
	}
	return n, err
}

func fake(content string) *fakeFile {
	return &fakeFile{Reader: bytes.NewReader([]byte(content)), size: int64(len(content))}
}

// fakeBatch is a batch of regular files with these names.
func fakeBatch(open func(path string) (rsync.File, error), names ...string) *rsync.Batch {
	b := &rsync.Batch{}
	for _, n := range names {
		b.Entries = append(b.Entries, flist.Entry{Path: n, Mode: 0o100644, Size: 1000, Mtime: 1_600_000_000})
	}
	b.Open = func(i int) (rsync.File, error) { return open(b.Entries[i].Path) }
	return b
}

// TestSourceTrouble has files that vanish, fail to open, fail in the middle once and always, shrink, grow and change.
func TestSourceTrouble(t *testing.T) {
	each(t, func(t *testing.T, s *rsynctest.Server, d *rsync.Dialer, dst string, o rsync.Options) {
		for _, acks := range []bool{false, true} {
			o.Acks = acks
			broken := errors.New("broken disk")
			opened := make(map[string]int)
			b := fakeBatch(func(path string) (rsync.File, error) {
				opened[path]++
				f := fake(strings.Repeat("x", 1000))
				switch path {
				case "gone":
					return nil, fs.ErrNotExist
				case "locked":
					return nil, fs.ErrPermission
				case "once":
					if opened[path] == 1 {
						f = fake("part")
						f.size, f.readErr = 1000, broken
					}
				case "always":
					f.size, f.readErr = 2000, broken
				case "shrunk":
					f = fake("short")
					f.size = 1000
				case "grown":
					f = fake(strings.Repeat("y", 5000))
				case "changed":
					f.closed = fmt.Errorf("file: %w", rsync.ErrChanged)
				}
				return f, nil
			}, "always", "changed", "fine", "gone", "grown", "locked", "once", "shrunk")
			r := send(t, d, o, b)
			want := map[string]rsync.State{"always": rsync.NotSent, "changed": rsync.Changed, "fine": rsync.Acked,
				"gone": rsync.NotSent, "grown": rsync.Acked, "locked": rsync.NotSent, "once": rsync.Acked, "shrunk": rsync.Acked}
			got := make(map[string]rsync.State)
			for i, res := range r.Results {
				got[b.Entries[i].Path] = res.State
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("acks %v: states (-want +got):\n%s\n%s", acks, diff, states(b, r))
			}
			if err := result(t, b, r, "gone").Err; !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("gone: %v", err)
			}
			if err := result(t, b, r, "always").Err; !errors.Is(err, broken) {
				t.Errorf("always: %v", err)
			}
			if opened["once"] != 2 || opened["always"] != 2 {
				t.Errorf("opened %v", opened)
			}
			if got := read(t, filepath.Join(dst, "shrunk")); got != "short" {
				t.Errorf("shrunk holds %q", got)
			}
			if got := read(t, filepath.Join(dst, "grown")); len(got) != 5000 {
				t.Errorf("grown has %d bytes", len(got))
			}
			if got := read(t, filepath.Join(dst, "once")); len(got) != 1000 {
				t.Errorf("once has %d bytes", len(got))
			}
			for _, name := range []string{"gone", "locked", "always"} {
				if _, err := os.Stat(filepath.Join(dst, name)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s is there: %v", name, err)
				}
			}
			if r.ExitCode != 23 {
				t.Errorf("exit code %d, want 23", r.ExitCode)
			}
			must(t, os.RemoveAll(dst))
			must(t, os.Mkdir(dst, 0o755))
		}
	})
}

// TestManyRefused refuses more files than the server lets be outstanding with acknowledgements (7.8).
func TestManyRefused(t *testing.T) {
	each(t, func(t *testing.T, s *rsynctest.Server, d *rsync.Dialer, dst string, o rsync.Options) {
		o.Acks = true
		var names []string
		for i := range 200 {
			names = append(names, fmt.Sprintf("f%03d", i))
		}
		b := fakeBatch(func(string) (rsync.File, error) { return nil, fs.ErrNotExist }, append(names, "last")...)
		open := b.Open
		b.Open = func(i int) (rsync.File, error) {
			if b.Entries[i].Path == "last" {
				return fake("here"), nil
			}
			return open(i)
		}
		r := send(t, d, o, b)
		for i, res := range r.Results {
			if last := b.Entries[i].Path == "last"; last && res.State != rsync.Acked || !last && res.State != rsync.NotSent {
				t.Fatalf("%s: %v, %v", b.Entries[i].Path, res.State, res.Err)
			}
		}
		if o.Protocol >= 30 && r.ExitCode != 24 {
			t.Errorf("exit code %d, want 24", r.ExitCode)
		}
	})
}

// TestChangedBasis changes the server's file between the block sums and the end, so that the file is asked for again.
func TestChangedBasis(t *testing.T) {
	each(t, func(t *testing.T, s *rsynctest.Server, d *rsync.Dialer, dst string, o rsync.Options) {
		old := noise(2, 100_000)
		write(t, filepath.Join(dst, "f"), old)
		now := old[:50_000] + "new" + old[50_000:]
		opened := 0
		b := fakeBatch(func(string) (rsync.File, error) {
			if opened++; opened == 1 {
				// The server has read its file by now, and has it open; so change it in place.
				f, err := os.OpenFile(filepath.Join(dst, "f"), os.O_WRONLY, 0)
				must(t, err)
				_, err = f.WriteAt([]byte(noise(3, 1000)), 90_000)
				must(t, errors.Join(err, f.Close()))
			}
			return fake(now), nil
		}, "f")
		o.Acks = true
		r := send(t, d, o, b)
		if got := states(b, r); got != "" || opened != 2 {
			t.Errorf("opened %d times, not acked:\n%s", opened, got)
		}
		if got := read(t, filepath.Join(dst, "f")); got != now {
			t.Error("f differs")
		}
	})
}

// TestDelete deletes what is not listed in content directories, and nothing else.
func TestDelete(t *testing.T) {
	each(t, func(t *testing.T, s *rsynctest.Server, d *rsync.Dialer, dst string, o rsync.Options) {
		src := t.TempDir()
		for _, f := range []string{"keep", "a/keep", "a/b/keep", "a/b/sub/keep"} {
			write(t, filepath.Join(src, f), "x")
			write(t, filepath.Join(dst, f), "x")
		}
		for _, f := range []string{"extra", "a/extra", "a/b/extra", "a/b/gone/x/y", "a/b/sub/extra", "a/b/safe"} {
			write(t, filepath.Join(dst, f), "x")
		}
		b := treeBatch(t, src)
		for i := range b.Entries {
			if b.Entries[i].Path == "a/b" {
				b.Entries[i].Dir = flist.Content
			}
		}
		b.Filter = []string{"- safe"}
		rec := &recorder{entries: b.Entries}
		b.Events = rec
		o.Delete = true
		r := send(t, d, o, b)
		if got := states(b, r); got != "" {
			t.Errorf("not acked:\n%s", got)
		}
		want := []string{"a", "a/b", "a/b/keep", "a/b/safe", "a/b/sub", "a/b/sub/extra", "a/b/sub/keep", "a/extra", "a/keep", "extra", "keep"}
		if diff := cmp.Diff(want, tree(t, dst)); diff != "" {
			t.Errorf("destination (-want +got):\n%s", diff)
		}
		if o.Protocol < 29 {
			return
		}
		slices.Sort(rec.deleted)
		if diff := cmp.Diff([]string{"a/b/extra", "a/b/gone/", "a/b/gone/x/", "a/b/gone/x/y"}, rec.deleted); diff != "" {
			t.Errorf("deleted (-want +got):\n%s", diff)
		}
		if got := r.Stats.Deleted; got.Files != 2 || got.Dirs != 2 {
			t.Errorf("counts of deletions %+v", got)
		}
	})
}

// tree lists what is below a directory.
func tree(t testing.TB, root string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == root {
			return err
		}
		rel, err := filepath.Rel(root, name)
		names = append(names, rel)
		return err
	})
	must(t, err)
	slices.Sort(names)
	return names
}

// TestDeleteMissing deletes single paths, and respects the limit.
func TestDeleteMissing(t *testing.T) {
	each(t, func(t *testing.T, s *rsynctest.Server, d *rsync.Dialer, dst string, o rsync.Options) {
		for _, f := range []string{"file", "full/x/y", "other"} {
			write(t, filepath.Join(dst, f), "x")
		}
		must(t, os.Symlink("other", filepath.Join(dst, "link")))
		var entries []flist.Entry
		for _, p := range []string{"file", "full", "link", "never", "no/parent"} {
			entries = append(entries, flist.Entry{Path: p})
		}
		b := &rsync.Batch{Entries: append(entries, flist.Entry{Path: "no"})}
		o.DeleteMissing = true
		r := send(t, d, o, b)
		if got := states(b, r); got != "" {
			t.Errorf("not acked:\n%s", got)
		}
		if diff := cmp.Diff([]string{"other"}, tree(t, dst)); diff != "" {
			t.Errorf("destination (-want +got):\n%s", diff)
		}

		o.MaxDelete = 0
		b = &rsync.Batch{Entries: []flist.Entry{{Path: "other"}}}
		r, err := trySend(t, d, o, b)
		must(t, err)
		if !r.LimitHit || r.ExitCode != 25 {
			t.Errorf("limit hit %v, exit code %d; loose %q", r.LimitHit, r.ExitCode, r.Loose)
		}
		if got := result(t, b, r, "other").State; got == rsync.Acked {
			t.Error("a deletion over the limit is acked")
		}
		if diff := cmp.Diff([]string{"other"}, tree(t, dst)); diff != "" {
			t.Errorf("destination after no deletions (-want +got):\n%s", diff)
		}
	})
}
