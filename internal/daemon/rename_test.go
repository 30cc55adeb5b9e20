package daemon

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/control"
	"github.com/syncd/syncd/internal/rsynctest"
)

// noise is data that no algorithm makes smaller.
func noise(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 77))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func put(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// followed is a service over a relay that counts.
type followed struct {
	t                *testing.T
	src, dst, socket string
	relay            *rsynctest.Relay
	server           *rsynctest.Server
}

func followTree(t *testing.T, c rsynctest.Config, fill func(f *followed), edit ...func(*Config)) *followed {
	t.Helper()
	f := &followed{t: t, src: t.TempDir(), server: rsynctest.Daemon(t, c)}
	f.dst = filepath.Join(f.server.Dir("m"), "dest")
	fill(f)
	f.relay = rsynctest.Proxy(t, f.server.Addr(), rsynctest.Faults{})
	f.socket, _ = start(t, f.src, f.relay.URL("m/dest"), edit...)
	waitFor(t, "the socket is there", func() bool { return answers(f.socket) })
	f.settle()
	return f
}

// settle waits until the trees are equal. The destination must not change while it is compared.
func (f *followed) settle() {
	f.t.Helper()
	waitFor(f.t, "names are equal", func() bool { return slices.Equal(outline(f.src), outline(f.dst)) })
	settled(f.t, f.socket, f.src, f.dst)
}

// outline is what a tree looks like from afar.
func outline(dir string) (names []string) {
	filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it changes
		}
		if info, err := d.Info(); err == nil {
			names = append(names, fmt.Sprint(p[len(dir):], info.Mode(), info.ModTime().UnixNano()))
		}
		return nil
	})
	return names
}

func (f *followed) at(p string) string { return filepath.Join(f.src, p) }

func (f *followed) move(from, to string) {
	f.t.Helper()
	if err := os.Rename(f.at(from), f.at(to)); err != nil {
		f.t.Fatal(err)
	}
}

// sends returns how many bytes go to the server until what change does has arrived.
func (f *followed) sends(change func()) int64 {
	f.t.Helper()
	f.rest()
	before, _ := f.relay.Bytes()
	change()
	f.settle()
	f.rest()
	after, _ := f.relay.Bytes()
	return after - before
}

// rest waits until no session runs.
func (f *followed) rest() {
	f.t.Helper()
	waitFor(f.t, "no session runs", func() bool {
		return ask(f.t, f.socket, control.Request{Do: control.DoStatus}).Status.Sessions.Running == 0
	})
}

// cheaply fails the test if what do changes never costs at most limit bytes. Once it may: when both halves of a rename
// are not seen together, or the service is at work in the directory.
func (f *followed) cheaply(what string, limit int64, do, undo func()) {
	f.t.Helper()
	var n int64
	for range 5 {
		if n = f.sends(do); n <= limit {
			return
		}
		undo()
		f.settle()
	}
	f.t.Errorf("%s: %d bytes sent", what, n)
}

func (f *followed) movesCheaply(limit int64, from, to string) {
	f.t.Helper()
	f.cheaply(from+" to "+to, limit, func() { f.move(from, to) }, func() { f.move(to, from) })
}

func TestRenamedFileIsNotSent(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	f := followTree(t, rsynctest.Config{}, func(f *followed) {
		put(t, f.at("a/deep/big"), noise(1, size))
		put(t, f.at("b/other"), []byte("x"))
		put(t, f.at("c"), noise(3, 100_000))
		put(t, f.at("d"), noise(4, 150_000))
	})
	names := []string{"a/deep/big", "b/big", "a/deep/zz", "a/deep/aa", "top"}
	for i, to := range names[1:] {
		f.movesCheaply(size/40, names[i], to)
	}
	f.cheaply("over another", 90_000, func() { f.move("c", "d") }, func() {
		f.move("d", "c")
		put(t, f.at("d"), noise(4, 150_000))
	})
}

func TestRenamedDirectoryIsNotSent(t *testing.T) {
	t.Parallel()
	const files, size = 100, 10 << 10
	f := followTree(t, rsynctest.Config{}, func(f *followed) {
		for i := range files {
			put(t, f.at(fmt.Sprintf("a/dir/sub%d/deep%d/%d", i%7, i%3, i)), noise(uint64(i), size))
		}
		if err := os.Symlink("nowhere", f.at("a/dir/sub1/link")); err != nil {
			t.Fatal(err)
		}
		put(t, f.at("b/other"), []byte("x"))
	})
	// The last but one moves a directory that was renamed itself a moment ago.
	for _, m := range [][2]string{{"a/dir", "a/renamed"}, {"a/renamed", "b/moved"}, {"b", "new"}, {"new/moved", "top"}} {
		f.movesCheaply(files*size/10, m[0], m[1])
	}
}

// What logrotate does: each file takes the name of the next, all in no time.
func TestShiftedFilesAreNotSent(t *testing.T) {
	t.Parallel()
	const size, files = 500_000, 5
	f := followTree(t, rsynctest.Config{}, func(f *followed) {
		for i := range files {
			put(t, f.at(fmt.Sprint("log.", i)), noise(uint64(i), size))
		}
	})
	name := func(i int) string { return fmt.Sprint("log.", i) }
	f.cheaply("shifted", size/2, func() {
		for i := files - 1; i >= 0; i-- {
			f.move(name(i), name(i+1))
		}
		put(t, f.at("log.0"), []byte("a new one"))
	}, func() {
		for i := range files {
			f.move(name(i+1), name(i))
		}
	})
}

func TestRenamesInARowAreOne(t *testing.T) {
	t.Parallel()
	const size = 500_000
	f := followTree(t, rsynctest.Config{}, func(f *followed) { put(t, f.at("d/a"), noise(1, size)) })
	f.cheaply("in a row", size/2, func() {
		f.move("d/a", "d/b")
		f.move("d/b", "c")
		f.move("c", "d/e")
	}, func() { f.move("d/e", "d/a") })
	f.cheaply("there and back", size*3/2, func() {
		f.move("d/e", "d/f")
		f.move("d/f", "d/e")
	}, func() {})
}

// Each of two that change places is sent once.
func TestExchangedFilesAreSentOnce(t *testing.T) {
	t.Parallel()
	const size = 500_000
	f := followTree(t, rsynctest.Config{}, func(f *followed) {
		put(t, f.at("a"), noise(1, size))
		put(t, f.at("d/b"), noise(2, size))
		put(t, f.at("x/1"), noise(3, size))
		put(t, f.at("y/2"), noise(4, size))
	})
	for _, names := range [][2]string{{"a", "d/b"}, {"x", "y"}} {
		n := f.sends(func() {
			err := unix.Renameat2(unix.AT_FDCWD, f.at(names[0]), unix.AT_FDCWD, f.at(names[1]), unix.RENAME_EXCHANGE)
			if err != nil {
				t.Fatal(err)
			}
		})
		if n > 2*size*11/10 {
			t.Errorf("%v: %d bytes sent", names, n)
		}
	}
}

// Renames, and what is in the way of understanding them.
func TestRenamesOfAllKindsArrive(t *testing.T) {
	t.Parallel()
	f := followTree(t, rsynctest.Config{}, func(f *followed) {
		for i := range 6 {
			put(t, f.at(fmt.Sprint("a/", i)), noise(uint64(i), 100_000))
			put(t, f.at(fmt.Sprint("d/", i)), noise(uint64(10+i), 100_000))
		}
	})
	outside := filepath.Join(t.TempDir(), "out")
	if err := os.Rename(f.at("a/0"), outside); err != nil {
		t.Fatal(err)
	}
	f.settle()
	if err := os.Rename(outside, f.at("a/0")); err != nil {
		t.Fatal(err)
	}
	f.move("a/1", "a/2")
	f.settle()
	put(t, f.at("a/1"), noise(50, 100_000))
	f.move("d", "e")
	put(t, f.at("d/1"), noise(51, 100_000))
	put(t, f.at("e/2"), noise(52, 100_000))
	f.settle()
	f.move("a/3", "new")
	put(t, f.at("a/3"), noise(53, 100_000)) // the old name comes back
	f.move("e", "a/e")
	f.move("a", "b")
	f.move("b/e/4", "b/e/5")
	f.settle()
}

// A file in whose place another of the same size and time was, at the destination as well, is not taken for that one.
func TestRenameOverWhatLooksTheSame(t *testing.T) {
	t.Parallel()
	when := time.Unix(1_600_000_000, 0)
	for _, names := range [][2]string{{"a", "b"}, {"b", "a"}} {
		f := followTree(t, rsynctest.Config{}, func(f *followed) {
			for i, p := range names {
				put(t, f.at(p), noise(uint64(i), 100_000))
				if err := os.Chtimes(f.at(p), when, when); err != nil {
					t.Fatal(err)
				}
			}
		})
		f.move(names[0], names[1])
		f.settle()
	}
}

// Content that changes at once after a rename, and looks the same by size and time, arrives.
func TestRewrittenRightAfterRename(t *testing.T) {
	t.Parallel()
	when := time.Unix(1_600_000_000, 0)
	keep := func(p string, content []byte) {
		put(t, p, content)
		if err := os.Chtimes(p, when, when); err != nil {
			t.Fatal(err)
		}
	}
	f := followTree(t, rsynctest.Config{}, func(f *followed) {
		for i := range 20 {
			keep(f.at(fmt.Sprint("d/", i)), noise(uint64(i), 70_000))
			keep(f.at(fmt.Sprint("f/", i)), noise(uint64(i), 70_000))
		}
	})
	for i := range 20 {
		to := fmt.Sprint("f/to", i)
		f.move(fmt.Sprint("f/", i), to)
		keep(f.at(to), noise(uint64(1000+i), 70_000))
	}
	f.move("d", "e")
	for i := range 20 {
		keep(f.at(fmt.Sprint("e/", i)), noise(uint64(2000+i), 70_000))
	}
	f.settle()
}

func TestRenamesWithoutHardLinksAtTheDestination(t *testing.T) {
	t.Parallel()
	f := followTree(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Options: map[string]string{
		"refuse options": "hard-links"}}}}, func(f *followed) {
		put(t, f.at("a/x"), noise(1, 100_000))
		put(t, f.at("a/y"), noise(2, 100_000))
	})
	for _, m := range [][2]string{{"a/x", "z"}, {"a", "b"}, {"b/y", "b/x"}} {
		f.move(m[0], m[1])
		f.settle()
	}
}

func TestRenamesWhileTheDestinationIsAway(t *testing.T) {
	t.Parallel()
	f := followTree(t, rsynctest.Config{}, func(f *followed) {
		for i := range 10 {
			put(t, f.at(fmt.Sprint("a/", i)), noise(uint64(i), 70_000))
			put(t, f.at(fmt.Sprint("d/", i)), noise(uint64(i), 70_000))
		}
	})
	if err := f.server.Stop(); err != nil {
		t.Fatal(err)
	}
	f.move("a/1", "b")
	f.move("b", "c")
	f.move("a/2", "tmp")
	f.move("a/3", "a/2")
	f.move("tmp", "a/3")
	f.move("d", "e")
	put(t, f.at("d/1"), noise(99, 70_000))
	f.move("a/5", "a/6")
	waitFor(t, "the destination is missed", func() bool {
		return ask(t, f.socket, control.Request{Do: control.DoStatus}).Status.State != control.Live
	})
	if err := f.server.Restart(); err != nil {
		t.Fatal(err)
	}
	f.settle()
}
