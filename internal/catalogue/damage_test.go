package catalogue

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// tables makes a store with two tables, and something in its log.
func tables(t *testing.T, dir string) {
	s, _ := mustOpen(t, dir, nil, Options{})
	for _, from := range []int{0, 1000} {
		var changes []Change
		for i := from; i < from+1000; i++ {
			v := file
			v.Ino = uint64(i)
			changes = append(changes, Put(strings.Repeat("d", i%9+1)+"/"+strings.Repeat("x", i/9%200+1), v, false))
		}
		mustApply(t, s, changes...)
		if from == 0 {
			if err := s.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	kill(s)
}

// readAll reads what can be read.
func readAll(s *Store) error {
	for i := range 9 {
		if _, _, err := s.Dir(strings.Repeat("d", i+1)); err != nil {
			return err
		}
	}
	for i := range uint64(200) {
		if _, err := s.Paths(10 * i); err != nil {
			return err
		}
	}
	return nil
}

// Whatever has happened to the files: Open begins afresh and says so, or a method says later that data is damaged, after
// which the next Open begins afresh; or the damage is where nothing is read.
func TestDamagedStoreIsSetAside(t *testing.T) {
	whole := tempDir(t)
	tables(t, whole)
	entries, err := os.ReadDir(filepath.Join(whole, dbName))
	if err != nil {
		t.Fatal(err)
	}
	damages := map[string]func([]byte) []byte{
		"empty": func(b []byte) []byte { return nil },
		"half":  func(b []byte) []byte { return b[:len(b)/2] },
		"a bit": func(b []byte) []byte { b[len(b)/4] ^= 4; return b },
		"front": func(b []byte) []byte { b[0] ^= 0xff; return b },
		"zeros": func(b []byte) []byte { clear(b[len(b)*2/3 : len(b)*3/4]); return b },
		"end":   func(b []byte) []byte { b[len(b)-3] ^= 0x10; return b },
		"gone":  nil,
	}
	noticed := map[string]int{}
	for _, e := range entries {
		for name, damage := range damages {
			dir := tempDir(t)
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, dbName, e.Name())
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if damage == nil {
				err = os.Remove(path)
			} else if len(b) > 3 {
				err = os.WriteFile(path, damage(b), 0o600)
			} else {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			s, opened, err := Open(dir, nil, Options{})
			if err != nil {
				t.Fatalf("%s, %s: %v", e.Name(), name, err)
			}
			if err := readAll(s); err != nil {
				noticed["later"]++
				if !pebble.IsCorruptionError(err) && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s, %s: %v", e.Name(), name, err)
				}
				if again := s.Apply(MarkDoubt("a")); !errors.Is(again, err) {
					t.Errorf("%s, %s: first %v, then %v", e.Name(), name, err, again)
				}
				s.Close()
				s, opened, err = Open(dir, nil, Options{})
				if err != nil || !opened.Fresh {
					t.Fatalf("%s, %s: %+v, %v", e.Name(), name, opened, err)
				}
			}
			if opened.Fresh {
				noticed["by Open"]++
				aside, _ := filepath.Glob(filepath.Join(dir, asideName+"*"))
				if len(aside) != 1 && !strings.Contains(opened.Reason, "failed") {
					t.Errorf("%s, %s: set aside %q, %+v", e.Name(), name, aside, opened)
				}
				if err := readAll(s); err != nil {
					t.Errorf("%s, %s: afresh: %v", e.Name(), name, err)
				}
			}
			mustApply(t, s, Put("a", file, false))
			mustClose(t, s)
		}
	}
	// What is not noticed is the end of a log, which a kill leaves torn too, and files without meaning.
	if noticed["by Open"] < 10 {
		t.Errorf("noticed: %v", noticed)
	}
}

// Data that goes bad under an open store is an error of a method, nothing else.
func TestDamageFoundWhileReading(t *testing.T) {
	dir := tempDir(t)
	s, _ := mustOpen(t, dir, nil, Options{})
	for i := range 20 {
		var changes []Change
		for j := range 1000 {
			v := file
			v.Ino, v.Mtime = uint64(1000*i+j), int64(i*j)*0x1e3779b97f4a7c15
			changes = append(changes, Put(fmt.Sprintf("dir%02d/%08d", i, j), v, false))
		}
		mustApply(t, s, changes...)
	}
	mustClose(t, s)
	s, _ = mustOpen(t, dir, nil, Options{CacheBytes: 1})
	tables, err := filepath.Glob(filepath.Join(dir, dbName, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	for _, name := range tables {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		st, _ := f.Stat()
		if _, err := f.WriteAt(make([]byte, st.Size()/4), st.Size()/2); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	for i := range 20 {
		if _, _, err = s.Dir(fmt.Sprintf("dir%02d", i)); err != nil {
			break
		}
	}
	if !pebble.IsCorruptionError(err) {
		t.Fatalf("%v", err)
	}
	if _, _, again := s.Get("other"); !errors.Is(again, err) {
		t.Errorf("first %v, then %v", err, again)
	}
	if got := s.Close(); !errors.Is(got, err) {
		t.Errorf("Close: %v", got)
	}
	_, opened := mustOpen(t, dir, nil, Options{})
	if !opened.Fresh || !strings.Contains(opened.Reason, "set aside") || strings.Contains(opened.Reason, "\n") {
		t.Errorf("%+v", opened)
	}
}

// A disk that is full ends the store and nothing else, wherever it happens; and what was applied before is not trusted
// later, because of what was sent since.
func TestDiskFull(t *testing.T) {
	for n := int32(0); n < 240; n += 7 {
		dir := tempDir(t)
		var left atomic.Int32
		left.Store(n)
		inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
				return nil
			}
			if left.Add(-1) >= 0 {
				return nil
			}
			return &fs.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
		})
		s, _, err := Open(dir, nil, Options{fs: errorfs.Wrap(vfs.Default, inject)})
		for i := 0; err == nil && i < 400; i++ {
			v := file
			v.Ino = uint64(i)
			err = s.Apply(Put(fmt.Sprintf("d/%0200d", i), v, false))
			if err == nil && i%100 == 99 {
				err = s.use(s.db.Flush)
			}
		}
		if s != nil {
			err = s.Close()
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("after %d writes: %v", n, err)
		}
		s, opened := mustOpen(t, dir, nil, Options{})
		if !opened.Fresh {
			t.Fatalf("after %d writes, and a restart: %+v", n, opened)
		}
		mustApply(t, s, Put("a", file, false))
		mustClose(t, s)
	}
}

// What a machine that crashes leaves is usable, though not trusted: the log is not synced when Pebble asks for it.
func TestCrashOfTheMachineIsNoDamage(t *testing.T) {
	for seed := range uint64(20) {
		mem := vfs.NewCrashableMem()
		dir := tempDir(t)
		s, _, err := Open(dir, nil, Options{fs: mem, bootID: "1"})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 300 {
			mustApply(t, s, Put(fmt.Sprintf("d/%0300d", i), file, false))
			if i == 100 {
				s.fs.syncLogs()
			}
			if seed%2 == 0 && i == 200 {
				if err := s.db.Flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
		after := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(seed, 1))})
		kill(s)
		s, opened, err := Open(dir, nil, Options{fs: after, bootID: "2"})
		if err != nil || !opened.Unclean || opened.Fresh {
			t.Fatalf("seed %d: %+v, %v", seed, opened, err)
		}
		records, _, err := s.Dir("d")
		if err != nil || len(records) < 101 || records[0].State != Doubt {
			t.Fatalf("seed %d: %d records, %v", seed, len(records), err)
		}
		mustClose(t, s)
	}
}
