package catalogue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"golang.org/x/sys/unix"
)

var directory = Version{Mtime: 1, Ctime: 1, Ino: 3, Mode: unix.S_IFDIR | 0o755}

const (
	bigDirs  = 3
	bigFiles = 700 // each
)

// bigLimits make a large tree of that.
var bigLimits = limits{deletes: 100, entries: 500, moved: 500}

func bigVersion(dir, i int) Version {
	v := file
	v.Ino = uint64(1000 + dir*bigFiles + i)
	return v
}

// bigTree makes records for a complete tree at path.
func bigTree(t *testing.T, s *Store, path string) {
	t.Helper()
	changes := []Change{Put(path, directory, false), Complete(path, true)}
	for d := range bigDirs {
		dir := fmt.Sprintf("%s/%d", path, d)
		changes = append(changes, Put(dir, directory, false), Complete(dir, true))
		for i := range bigFiles {
			changes = append(changes, Put(fmt.Sprintf("%s/%d", dir, i), bigVersion(d, i), false))
		}
	}
	mustApply(t, s, changes...)
}

// bigTreeAt checks that what is known of a tree at path is true, and tells whether it is all known.
func bigTreeAt(t *testing.T, s *Store, path string) (whole bool) {
	t.Helper()
	own, found, err := s.Get(path)
	if err != nil {
		t.Fatal(err)
	}
	whole = found && own.State == Known
	for d := range bigDirs {
		dir := fmt.Sprintf("%s/%d", path, d)
		records, complete, err := s.Dir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if (complete || whole) && len(records) != bigFiles || whole && !complete {
			t.Fatalf("%s: complete %v, %d records; whole: %v", dir, complete, len(records), whole)
		}
		for _, r := range records {
			var i int
			if _, err := fmt.Sscan(r.Name, &i); err != nil || r.State != Known || r.Version != bigVersion(d, i) {
				t.Fatalf("%s: %+v, %v", dir, r, err)
			}
		}
		if !found && (complete || len(records) > 0) {
			t.Fatalf("%s: complete %v, %d records without %s", dir, complete, len(records), path)
		}
	}
	return whole
}

func TestLargeTreeIsMovedAndForgotten(t *testing.T) {
	s, _ := mustOpen(t, tempDir(t), nil, Options{limits: bigLimits})
	bigTree(t, s, "old")
	bigTree(t, s, "new/place")
	before := s.Counts()
	mustApply(t, s, Moved("old", "new/place"), MarkDoubt("after"))
	if bigTreeAt(t, s, "old") || !bigTreeAt(t, s, "new/place") {
		t.Error("it is not moved")
	}
	want := before
	want.Files, want.Bytes = before.Files/2, before.Bytes/2
	if got := s.Counts(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	ino := bigVersion(2, 699).Ino
	for range 2 {
		if paths, err := s.Paths(ino); err != nil || len(paths) != 1 || paths[0] != "new/place/2/699" {
			t.Errorf("moved: %q, %v", paths, err)
		}
	}
	if _, found, err := s.Get("after"); err != nil || !found {
		t.Errorf("what came after in the same Apply: %v, %v", found, err)
	}

	mustApply(t, s, Forget("new"))
	if bigTreeAt(t, s, "new/place") || s.Counts() != (Counts{}) {
		t.Errorf("not forgotten: %+v", s.Counts())
	}
	for d := range bigDirs {
		for i := range bigFiles {
			if paths, err := s.Paths(bigVersion(d, i).Ino); err != nil || len(paths) > 0 {
				t.Fatalf("forgotten: %q, %v", paths, err)
			}
		}
	}
	it, err := s.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for valid := it.SeekGE([]byte{keyInode}); valid && it.Key()[0] == keyInode; valid = it.Next() {
		t.Fatalf("the index keeps %q", it.Key())
	}
}

// A large move takes several steps. Wherever a kill comes, what is left is true.
func TestKillDuringALargeMove(t *testing.T) {
	whole := tempDir(t)
	s, _ := mustOpen(t, whole, nil, Options{})
	bigTree(t, s, "old")
	mustClose(t, s)
	seen := map[string]int{}
	for n := int32(0); seen["done"] == 0; n++ {
		dir := tempDir(t)
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		var armed atomic.Bool
		var left atomic.Int32
		left.Store(n)
		inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind != errorfs.OpFileWrite || !armed.Load() || left.Add(-1) >= 0 {
				return nil
			}
			return syscall.EIO
		})
		s, _ := mustOpen(t, dir, nil, Options{limits: bigLimits, fs: errorfs.Wrap(vfs.Default, inject)})
		armed.Store(true)
		err := s.Apply(Moved("old", "new"))
		armed.Store(false)
		if err == nil {
			seen["done"]++
			if bigTreeAt(t, s, "old") || !bigTreeAt(t, s, "new") {
				t.Error("done, and it is not moved")
			}
		} else if !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		kill(s)
		// A process that was killed would not have said that the store failed.
		if err := os.WriteFile(filepath.Join(dir, intactName), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s, opened := mustOpen(t, dir, nil, Options{})
		if opened != (Opened{}) {
			t.Fatalf("%+v", opened)
		}
		old, now := bigTreeAt(t, s, "old"), bigTreeAt(t, s, "new")
		_, found, err := s.Get("new")
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case old && !found:
			seen["before"]++
		case now && !old:
			seen["after"]++
		case found && !old:
			seen["between"]++
		default:
			t.Errorf("after %d writes: old %v, new %v, found %v", n, old, now, found)
		}
		mustClose(t, s)
	}
	if seen["before"] == 0 || seen["between"] < 2 || seen["after"] == 0 {
		t.Errorf("%v", seen)
	}
}
