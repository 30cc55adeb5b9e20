package treetest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Random adds n entries of all kinds to dir, chosen by rng only: the same seed gives the same tree, but that some entries,
// and all directories that got one, have the time of their making. As root, it makes owners and modes of all kinds too.
func Random(t testing.TB, rng *rand.Rand, dir string, n int) {
	t.Helper()
	r := newRandom(t, rng, dir)
	for range n {
		r.create()
	}
}

// random changes a tree at random.
type random struct {
	t    testing.TB
	rng  *rand.Rand
	dir  string
	root bool
	// What is there, as paths from dir. Dirs has "." first.
	dirs, others []string
	log          []string
}

func newRandom(t testing.TB, rng *rand.Rand, dir string) *random {
	t.Helper()
	r := &random{t: t, rng: rng, dir: dir, root: os.Geteuid() == 0}
	r.look()
	return r
}

// look takes stock of the tree.
func (r *random) look() {
	r.t.Helper()
	r.dirs, r.others = r.dirs[:0], r.others[:0]
	check(r.t, filepath.WalkDir(r.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(r.dir, path)
		if d.IsDir() {
			r.dirs = append(r.dirs, rel)
		} else {
			r.others = append(r.others, rel)
		}
		return err
	}))
}

// forget takes one entry that is no directory out of the stock: looking again would read the whole tree.
func (r *random) forget(path string) {
	if i := slices.Index(r.others, path); i >= 0 {
		r.others = slices.Delete(r.others, i, i+1)
	}
}

func pick[T any](rng *rand.Rand, s []T) T { return s[rng.IntN(len(s))] }

// at is the full path, without cleaning: names may look like anything.
func (r *random) at(path string) string { return r.dir + "/" + path }

// name is one of few and short ones, so that entries meet, or a hostile one.
func (r *random) name() string {
	switch r.rng.IntN(10) {
	case 0:
		odd := []string{" ", "\n", "\\", "*", "?[a]", "\xff", "-", ".", "é", "~", "\x01"}
		return string(pick(r.rng, []rune("abc"))) + pick(r.rng, odd)
	case 1:
		return pick(r.rng, []string{"-", ".", "#", "+ ", "é"}) + fmt.Sprint(r.rng.IntN(100))
	}
	return string(pick(r.rng, []rune("abcdefg"))) + fmt.Sprint(r.rng.IntN(50))
}

// free is a path where nothing is.
func (r *random) free() string {
	for {
		path := r.name()
		if parent := pick(r.rng, r.dirs); parent != "." {
			path = parent + "/" + path
		}
		if _, err := os.Lstat(r.at(path)); err != nil && len(path) < 1000 {
			return path
		}
	}
}

func (r *random) perm(dir bool) uint32 {
	perm := r.rng.Uint32N(0o10000)
	if r.rng.IntN(3) > 0 {
		perm = pick(r.rng, []uint32{0o644, 0o600, 0o755, 0o444})
	}
	if !r.root {
		perm |= 0o600
		if dir {
			perm |= 0o700
		}
	}
	return perm
}

// attrs are some attributes, of all those that an entry may have.
func (r *random) attrs(dir bool) []Attr {
	attrs := []Attr{Mode(r.perm(dir))}
	if r.root && r.rng.IntN(3) == 0 {
		attrs = append(attrs, Owner(r.id(), r.id()))
	}
	if r.rng.IntN(3) > 0 {
		attrs = append(attrs, r.mtime())
	}
	return attrs
}

func (r *random) id() uint32 { return pick(r.rng, []uint32{0, 1, 1000, 65534, 70000, 4000000000}) }

// mtime never comes twice: a file of the same size and time would be taken for the same by every quick check.
func (r *random) mtime() Attr {
	return Mtime(r.rng.Int64N(4<<30)-1<<30, r.rng.Int32N(1_000_000_000))
}

// content is mostly small.
func (r *random) content() string {
	n := r.rng.IntN(3000)
	switch r.rng.IntN(12) {
	case 0:
		n = 0
	case 1:
		n = r.rng.IntN(300_000)
	}
	return string(randomBytes(r.rng, n))
}

func randomBytes(rng *rand.Rand, n int) []byte {
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, rng.Uint64())
	}
	return b[:n]
}

// create adds one entry and returns its path.
func (r *random) create() string {
	r.t.Helper()
	path := r.free()
	switch k := r.rng.IntN(20); {
	case k < 4:
		r.write(Dir(path, r.attrs(true)...))
		r.dirs = append(r.dirs, path)
		return path
	case k < 6:
		target := pick(r.rng, []string{"a1", "../b", "/etc/passwd", ".", "no\nwhere", "\xff", pick(r.rng, r.dirs)})
		r.write(Symlink(path, target, r.attrs(false)...))
	case k == 6 && len(r.others) > 0:
		other := pick(r.rng, r.others)
		check(r.t, os.Link(r.at(other), r.at(path)))
	case k == 7:
		r.write(Fifo(path, r.attrs(false)...))
	case k == 8:
		r.write(Socket(path, r.attrs(false)...))
	case k == 9 && r.root:
		r.write(Device(path, "bc"[r.rng.IntN(2)], r.rng.Uint32N(4096), r.rng.Uint32N(1<<20), r.attrs(false)...))
	default:
		r.write(File(path, r.content(), r.attrs(false)...))
	}
	r.others = append(r.others, path)
	return path
}

// write makes one entry, and closes no gap: its parent is there.
func (r *random) write(e Entry) {
	r.t.Helper()
	path := r.at(e.path)
	if e.mode&unix.S_IFMT == unix.S_IFDIR {
		check(r.t, os.Mkdir(path, 0o755))
	} else {
		e.make(r.t, path)
	}
	e.setAttrs(r.t, path)
}
