package catalogue

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var file = Version{Size: 5, Mtime: 1e9, Ctime: 2e9, Ino: 7, Mode: unix.S_IFREG | 0o644, UID: 1, GID: 2}

// tempDir is a directory where syncing costs nothing, if there is one.
func tempDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "catalogue")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func mustOpen(t *testing.T, dir string, id Identity, o Options) (*Store, Opened) {
	t.Helper()
	s, opened, err := Open(dir, id, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, opened
}

func mustApply(t *testing.T, s *Store, changes ...Change) {
	t.Helper()
	if err := s.Apply(changes...); err != nil {
		t.Fatal(err)
	}
}

func mustClose(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenMakesItsDirectoryForUsAlone(t *testing.T) {
	dir := filepath.Join(tempDir(t), "state", "catalogue")
	s, opened := mustOpen(t, dir, nil, Options{})
	if opened != (Opened{Fresh: true}) {
		t.Errorf("new: %+v", opened)
	}
	mustClose(t, s)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s, opened = mustOpen(t, dir, nil, Options{})
	defer mustClose(t, s)
	if opened != (Opened{}) {
		t.Errorf("again: %+v", opened)
	}
	st, err := os.Stat(dir)
	if err != nil || st.Mode() != fs.ModeDir|0o700 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

func TestAnotherIdentityBeginsAfresh(t *testing.T) {
	id := Identity{{"destination", "host::\xffmodule"}, {"source", "/srv"}, {"owner", "true"}}
	for _, test := range []struct {
		now    Identity
		reason string
	}{
		{Identity{{"destination", "host::\xffmodule"}, {"source", "/srv"}, {"owner", "true"}}, ""},
		{Identity{{"destination", "host::\xfemodule"}, {"source", "/srw"}, {"owner", "true"}},
			`destination is "host::\xfemodule" and was "host::\xffmodule"`},
		{Identity{{"destination", "host::\xffmodule"}, {"source", "/srv"}}, `owner was "true" and is not set`},
		{Identity{{"destination", "host::\xffmodule"}, {"source", "/srv"}, {"owner", "true"}, {"group", "no"}},
			`group is "no" and was not set`},
		{Identity{{"destination", "host::\xffmodule"}, {"root", "/srv"}}, `root is "/srv" where source was "/srv"`},
	} {
		dir := tempDir(t)
		s, _ := mustOpen(t, dir, id, Options{})
		mustApply(t, s, Put("a", file, false))
		mustClose(t, s)
		s, opened := mustOpen(t, dir, test.now, Options{})
		fresh := test.reason != ""
		if want := (Opened{Fresh: fresh, Reason: test.reason}); opened != want {
			t.Errorf("%+v, want %+v", opened, want)
		}
		if _, found, err := s.Get("a"); err != nil || found == fresh {
			t.Errorf("%v: found %v, %v", test.now, found, err)
		}
		if got := s.Counts().Files == 0; got != fresh {
			t.Errorf("%v: %+v", test.now, s.Counts())
		}
		mustClose(t, s)
		s, opened = mustOpen(t, dir, test.now, Options{})
		if opened != (Opened{}) {
			t.Errorf("again: %+v", opened)
		}
		mustClose(t, s)
	}
}

func TestAnotherFormatBeginsAfresh(t *testing.T) {
	dir := tempDir(t)
	s, _ := mustOpen(t, dir, nil, Options{})
	m, err := readMeta(s.db)
	if err != nil {
		t.Fatal(err)
	}
	m.Format++
	if err := m.write(s.db); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	_, opened := mustOpen(t, dir, nil, Options{})
	if !opened.Fresh || opened.Reason != "its format is 1 and was 2" {
		t.Errorf("%+v", opened)
	}
}

func TestAfterACrashOfTheMachineAllIsDoubt(t *testing.T) {
	proven := Verified("d/a", file, 9, [16]byte{1}, MD5)
	for _, test := range []struct {
		name  string
		boot  string
		clean bool
		want  Opened
	}{
		{name: "killed", boot: "1"},
		{name: "stopped and started", boot: "2", clean: true},
		{name: "crashed", boot: "2", want: Opened{Unclean: true, Reason: "the machine stopped while it was open"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := tempDir(t)
			s, _ := mustOpen(t, dir, nil, Options{bootID: "1"})
			mustApply(t, s, Put("d/a", file, false), proven, Complete("d", true), Complete(".", true))
			if test.clean {
				mustClose(t, s)
			} else {
				kill(s)
			}
			s, opened := mustOpen(t, dir, nil, Options{bootID: test.boot})
			if opened != test.want {
				t.Fatalf("%+v", opened)
			}
			want := proven.record
			want.State, want.Name = Known, "a"
			counts := Counts{1, 5, 1, 5}
			if opened.Unclean {
				want = Record{Name: "a", Version: file}
				counts = Counts{}
			}
			records, complete, err := s.Dir("d")
			if err != nil || len(records) != 1 || records[0] != want || complete == opened.Unclean || s.Counts() != counts {
				t.Errorf("%+v, complete %v, %v, %+v", records, complete, err, s.Counts())
			}
			if !opened.Unclean {
				return
			}
			// What is learned now holds.
			mustApply(t, s, Put("d/a", file, false), Complete("d", true))
			kill(s)
			s, opened = mustOpen(t, dir, nil, Options{bootID: test.boot})
			records, complete, err = s.Dir("d")
			if err != nil || opened != (Opened{}) || !complete || records[0].State != Known || s.Counts().Files != 1 {
				t.Errorf("later: %+v, %+v, complete %v, %v", opened, records, complete, err)
			}
		})
	}
}

func TestOnlyOneProcessHasAStore(t *testing.T) {
	dir := tempDir(t)
	s, _ := mustOpen(t, dir, nil, Options{})
	_, _, err := Open(dir, nil, Options{})
	var locked *LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() || locked.Dir != dir {
		t.Fatalf("%v", err)
	}
	if !strings.Contains(err.Error(), "--state-dir") {
		t.Errorf("no remedy in %q", err)
	}
	mustClose(t, s)
	s, _ = mustOpen(t, dir, nil, Options{})
	mustClose(t, s)
}

func TestClosedStore(t *testing.T) {
	s, _ := mustOpen(t, tempDir(t), nil, Options{})
	mustClose(t, s)
	mustClose(t, s)
	_, _, err := s.Dir(".")
	_, _, gerr := s.Get("a")
	_, perr := s.Paths(1)
	_, _, uerr := s.Unproven(t.Context(), "", 0, 1)
	for _, err := range []error{err, gerr, perr, uerr, s.Apply(MarkDoubt("a"))} {
		if !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
}

// A guest uses what is there, or makes a store, and leaves alone what it cannot use.
func TestGuest(t *testing.T) {
	dir, id := t.TempDir(), Identity{{"destination", "a"}}
	guest := Options{Guest: true}
	open := func(id Identity, o Options) (*Store, Opened, error) {
		t.Helper()
		s, opened, err := Open(dir, id, o)
		if err == nil {
			t.Cleanup(func() { s.Close() })
		}
		return s, opened, err
	}
	s, opened, err := open(id, guest)
	if err != nil || !opened.Fresh {
		t.Fatalf("of nothing: %+v, %v", opened, err)
	}
	if err := errors.Join(s.Apply(Put("a", Version{Mode: 0o100644}, false)), s.Close()); err != nil {
		t.Fatal(err)
	}
	var unfit *UnfitError
	if _, _, err := open(Identity{{"destination", "b"}}, guest); !errors.As(err, &unfit) ||
		unfit.Reason != `destination is "b" and was "a"` {
		t.Errorf("of another identity: %v", err)
	}
	s, opened, err = open(id, guest)
	if err != nil || opened != (Opened{}) || s.Counts().Files != 1 {
		t.Fatalf("after that: %+v, %v", opened, err)
	}
	s.fail(errRecord)
	s.Close()
	if _, _, err := open(id, guest); !errors.As(err, &unfit) {
		t.Errorf("of one that failed: %v", err)
	}
	if _, opened, err := open(id, Options{}); err != nil || !opened.Fresh || opened.Reason == "" {
		t.Errorf("who is no guest begins afresh: %+v, %v", opened, err)
	}
}

// A start and an end with nothing in between must not cost what a large store costs: to replay a log, to write tables anew.
func TestRestartLeavesTablesAlone(t *testing.T) {
	dir := tempDir(t)
	s, _ := mustOpen(t, dir, nil, Options{})
	for i := range 1000 {
		mustApply(t, s, Put(fmt.Sprintf("dir/file%04d", i), file, false))
	}
	if err := s.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	largest := func() (name string, tables int, size int64) {
		names, err := filepath.Glob(filepath.Join(dir, dbName, "*.sst"))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			if st, err := os.Stat(n); err == nil && st.Size() > size {
				name, size = n, st.Size()
			}
		}
		return name, len(names), size
	}
	was, before, _ := largest()
	for range 2 {
		s, _ = mustOpen(t, dir, nil, Options{})
		mustClose(t, s)
	}
	name, tables, _ := largest()
	if name != was || tables > before+2 {
		t.Errorf("the largest of %d tables is %s, and was %s of %d", tables, filepath.Base(name), filepath.Base(was), before)
	}
}
