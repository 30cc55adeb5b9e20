package attr

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/need"
)

// both runs a test with the kernel's newer calls and without them.
func both(t *testing.T, f func(t *testing.T)) {
	ours := calls
	t.Cleanup(func() { calls = ours })
	if ours() {
		t.Run("calls", f)
	}
	calls = func() bool { return false }
	t.Run("proc", f)
}

func open(t testing.TB, dir string) int {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// read is what a fresh Reader finds.
func read(t *testing.T, dir int, name string, mode uint32) *Attrs {
	t.Helper()
	var r Reader
	a, err := r.Read(dir, name, mode, Which{Xattrs: true, ACLs: true})
	must(t, err)
	return a
}

var long = strings.Repeat("0123456789", 100)

func TestRead(t *testing.T) {
	both(t, func(t *testing.T) {
		need.Root(t)
		path := t.TempDir()
		dir := open(t, path)
		file := filepath.Join(path, "f\xff")
		must(t, os.WriteFile(file, nil, 0o644))
		must(t, os.Symlink("f\xff", filepath.Join(path, "l")))
		acl := &ACL{User: 6, Group: 4, Other: 4, Mask: 6, Names: []ACE{{ID: 7, Perm: 6}, {ID: 3, Group: true, Perm: 4}}}
		must(t, Put(dir, "f\xff", "user.z", nil))
		must(t, Put(dir, "f\xff", "user.a\n\xff", []byte(long)))
		must(t, Put(dir, "f\xff", "user.rsync.%stat", []byte("x")))
		must(t, Put(dir, "f\xff", "trusted.t", []byte(long[:32])))
		must(t, Put(dir, "f\xff", "trusted.u", []byte(long[:33])))
		must(t, PutACL(dir, "f\xff", false, acl))
		must(t, Put(dir, "l", "trusted.link", []byte("itself")))
		must(t, PutACL(dir, ".", true, acl))
		must(t, Put(dir, ".", "user.dir", []byte("d")))

		want := &Attrs{Access: acl, Set: Set{
			New("trusted.t", []byte(long[:32])), New("trusted.u", []byte(long[:33])),
			New("user.a\n\xff", []byte(long)), New("user.z", nil),
		}}
		if diff := cmp.Diff(want, read(t, dir, "f\xff", unix.S_IFREG)); diff != "" {
			t.Errorf("file (-want +got):\n%s", diff)
		}
		want = &Attrs{Set: Set{New("trusted.link", []byte("itself"))}}
		if diff := cmp.Diff(want, read(t, dir, "l", unix.S_IFLNK)); diff != "" {
			t.Errorf("symlink (-want +got):\n%s", diff)
		}
		want = &Attrs{Default: acl, Set: Set{New("user.dir", []byte("d"))}}
		if diff := cmp.Diff(want, read(t, dir, ".", unix.S_IFDIR)); diff != "" {
			t.Errorf("directory (-want +got):\n%s", diff)
		}
		if v, err := Get(dir, "f\xff", "user.a\n\xff"); err != nil || string(v) != long {
			t.Errorf("Get: %q, %v", v, err)
		}

		must(t, PutACL(dir, "f\xff", false, nil))
		must(t, PutACL(dir, ".", true, nil))
		must(t, PutACL(dir, ".", true, nil))
		must(t, Remove(dir, ".", "user.dir"))
		if a := read(t, dir, ".", unix.S_IFDIR); a != nil {
			t.Errorf("directory after removal: %+v", a)
		}
		if a := read(t, dir, "f\xff", unix.S_IFREG); a == nil || a.Access != nil {
			t.Errorf("file after removal of its ACL: %+v", a)
		}
		if _, err := Get(dir, ".", "user.dir"); err != unix.ENODATA {
			t.Errorf("Get of none: %v", err)
		}
		var r Reader
		if _, err := r.Read(dir, "nope", unix.S_IFREG, Which{Xattrs: true}); !errors.Is(err, unix.ENOENT) {
			t.Errorf("Read of nothing: %v", err)
		}
	})
}

// What finds no room at the first try is read in full at the second.
func TestReadMuch(t *testing.T) {
	both(t, func(t *testing.T) {
		path := t.TempDir()
		dir := open(t, path)
		must(t, os.WriteFile(filepath.Join(path, "f"), nil, 0o644))
		for _, n := range []int{usual - 1, usual, usual + 1, 2 * usual} {
			value := []byte(strings.Repeat("v", n))
			must(t, Put(dir, "f", "user.v", value))
			if got, err := Get(dir, "f", "user.v"); err != nil || string(got) != string(value) {
				t.Errorf("value of %d bytes: %d, %v", n, len(got), err)
			}
			if diff := cmp.Diff(&Attrs{Set: Set{New("user.v", value)}}, read(t, dir, "f", unix.S_IFREG)); diff != "" {
				t.Errorf("value of %d bytes (-want +got):\n%s", n, diff)
			}
		}
		must(t, Remove(dir, "f", "user.v"))
		var want Set
		for length := 0; length <= 2*usual; {
			name := fmt.Sprintf("user.%0100d", len(want))
			must(t, Put(dir, "f", name, nil))
			want = append(want, New(name, nil))
			length += len(name) + 1
		}
		if diff := cmp.Diff(&Attrs{Set: want}, read(t, dir, "f", unix.S_IFREG)); diff != "" {
			t.Errorf("many names (-want +got):\n%s", diff)
		}
	})
}

// Entries with the same attributes share one Attrs.
func TestReaderShares(t *testing.T) {
	path := t.TempDir()
	dir := open(t, path)
	var r Reader
	var got [3]*Attrs
	for i := range got {
		name := fmt.Sprint(i)
		must(t, os.WriteFile(filepath.Join(path, name), nil, 0o644))
		must(t, Put(dir, name, "user.a", []byte(long)))
		if i == 2 {
			must(t, Put(dir, name, "user.b", nil))
		}
		a, err := r.Read(dir, name, unix.S_IFREG, Which{Xattrs: true})
		must(t, err)
		got[i] = a
	}
	if got[0] != got[1] || got[1] == got[2] || len(got[2].Set) != 2 {
		t.Errorf("shared: %p %p %p", got[0], got[1], got[2])
	}
}

// What a value is, a digest tells as well as the value.
func TestIs(t *testing.T) {
	for _, n := range []int{0, 1, Inline, Inline + 1, 1000} {
		x := New("user.x", []byte(long[:n]))
		if !x.Is([]byte(long[:n])) || x.Is([]byte(long[:n]+"x")) || x.Size != n {
			t.Errorf("%d bytes: %+v", n, x)
		}
		if n > 0 && x.Is([]byte("x"+long[1:n])) {
			t.Errorf("%d bytes: another value is the same", n)
		}
		if x.Inlined() != (n <= 32) || len(x.Data) > 32 {
			t.Errorf("%d bytes: %d held", n, len(x.Data))
		}
	}
}

func TestEqual(t *testing.T) {
	acl := func() *ACL { return &ACL{User: 7, Mask: 5, Names: []ACE{{ID: 1, Perm: 5}}} }
	full := func() *Attrs { return &Attrs{Set: Set{New("user.a", []byte("1"))}, Access: acl(), Default: acl()} }
	if !full().Equal(full()) || !(*Attrs)(nil).Equal(&Attrs{}) || !(&Attrs{}).Equal(nil) {
		t.Error("what is equal is not")
	}
	for i, change := range []func(a *Attrs){
		func(a *Attrs) { a.Set[0].Name = "user.b" },
		func(a *Attrs) { a.Set = append(a.Set, New("user.z", nil)) },
		func(a *Attrs) { a.Set[0] = New("user.a", []byte("2")) },
		func(a *Attrs) { a.Access = nil },
		func(a *Attrs) { a.Default.Other = 1 },
		func(a *Attrs) { a.Default.Mask = NoMask },
		func(a *Attrs) { a.Access.Names[0].Group = true },
	} {
		other := full()
		change(other)
		if full().Equal(other) || other.Equal(full()) {
			t.Errorf("change %d: still equal", i)
		}
	}
}
