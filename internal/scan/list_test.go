package scan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// makeEveryKind fills dir and returns the names by kind.
func makeEveryKind(t *testing.T, dir string) {
	t.Helper()
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, at("file"), "content")
	write(t, at("empty"), "")
	ok(t, os.Link(at("file"), at("hardlink")))
	ok(t, os.Chmod(at("file"), 0o4751|os.ModeSetuid))
	ok(t, os.Truncate(at("empty"), 5<<30))
	ok(t, os.Mkdir(at("dir"), 0o1777|os.ModeSticky))
	ok(t, os.Symlink("file", at("link")))
	ok(t, os.Symlink("nowhere/"+strings.Repeat("x", 4000), at("dangling")))
	ok(t, os.Symlink("dir", at("dirlink")))
	ok(t, unix.Mkfifo(at("fifo"), 0o600))
	ok(t, unix.Mknod(at("socket"), unix.S_IFSOCK|0o755, 0))
	if os.Geteuid() == 0 {
		ok(t, unix.Mknod(at("char"), unix.S_IFCHR|0o666, int(unix.Mkdev(300, 70000))))
		ok(t, unix.Mknod(at("block"), unix.S_IFBLK|0o660, int(unix.Mkdev(7, 255))))
		ok(t, os.Lchown(at("link"), 4000000000, 4000000001))
	}
	for i, name := range []string{"file", "dir", "link", "fifo"} {
		times := []unix.Timespec{{Sec: 1}, {Sec: []int64{-1, -86400 * 365, 1 << 32, 0}[i], Nsec: 999999999}}
		ok(t, unix.UtimesNanoAt(unix.AT_FDCWD, at(name), times, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// check compares what scan says with what the kernel says by another call.
func check(t *testing.T, path string, s Stat, target string) {
	t.Helper()
	var st unix.Stat_t
	ok(t, unix.Lstat(path, &st))
	want := Stat{
		Mode: st.Mode, Size: st.Size, Mtime: st.Mtim.Sec, MtimeNsec: int32(st.Mtim.Nsec),
		Ctime: st.Ctim.Sec, CtimeNsec: int32(st.Ctim.Nsec), UID: st.Uid, GID: st.Gid,
		Dev: st.Dev, Ino: st.Ino, Nlink: uint64(st.Nlink), Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev),
	}
	if s != want {
		t.Errorf("%q is %+v, want %+v", path, s, want)
	}
	wantTarget, _ := os.Readlink(path)
	if target != wantTarget {
		t.Errorf("%q leads to %q, want %q", path, target, wantTarget)
	}
}

func TestEveryKind(t *testing.T) {
	dir := t.TempDir()
	makeEveryKind(t, dir)
	want, err := os.ReadDir(dir)
	ok(t, err)
	bothWays(t, dir, func(t *testing.T, r *Root) {
		l := list(t, r, ".", Options{})
		if len(l.Entries) != len(want) || l.Dir != "." {
			t.Fatalf("%q lists %q, want %v", l.Dir, names(l), want)
		}
		check(t, dir, l.Self, "")
		for _, e := range l.Entries {
			path := filepath.Join(dir, e.Name)
			check(t, path, e.Stat, e.Target)
			st, target, err := r.Stat(e.Name)
			ok(t, err)
			check(t, path, st, target)
			if e.MountPoint {
				t.Errorf("%q is a mount point", e.Name)
			}
		}
		st, _, err := r.Stat("")
		ok(t, err)
		check(t, dir, st, "")
	})
}

func TestHostileNames(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for c := 1; c < 256; c++ {
		if c != '/' {
			want = append(want, "same prefix "+string([]byte{byte(c)}))
			if c != '.' {
				want = append(want, string([]byte{byte(c)}))
			}
		}
	}
	want = append(want, "...", "..a", "-rf", "*", "same prefix ", "same prefix", "\xff\xfe", "a\nb", "same prefix 12345678",
		"same prefix 1234567", "same prefix 123456789", strings.Repeat("n", 255), strings.Repeat("n", 254)+"\xff")
	for _, name := range want {
		write(t, dir+"/"+name, "")
	}
	want = slices.Compact(sorted(want))
	bothWays(t, dir, func(t *testing.T, r *Root) {
		if got := names(list(t, r, ".", Options{})); !slices.Equal(got, want) {
			t.Errorf("listing is %q, want %q", got, want)
		}
		for _, name := range want {
			f, err := r.Open(name)
			ok(t, err)
			ok(t, f.Close())
		}
	})
}

// deep makes a chain of directories whose path is longer than the kernel takes, with a file at its end, and returns
// the path of the last directory.
func deep(t *testing.T, dir string, levels, length int) string {
	t.Helper()
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	ok(t, err)
	var path []string
	for i := range levels {
		name := fmt.Sprintf("%0*d", length, i)
		ok(t, unix.Mkdirat(at, name, 0o755))
		next, err := unix.Openat(at, name, unix.O_PATH|unix.O_DIRECTORY, 0)
		ok(t, err)
		unix.Close(at)
		at = next
		path = append(path, name)
	}
	fd, err := unix.Openat(at, "file", unix.O_CREAT|unix.O_WRONLY, 0o644)
	ok(t, err)
	_, err = unix.Write(fd, []byte("deep down"))
	ok(t, err)
	unix.Close(fd)
	unix.Close(at)
	return strings.Join(path, "/")
}

func TestDeepPaths(t *testing.T) {
	for _, c := range []struct{ levels, length int }{{2, 150}, {60, 1}, {60, 100}, {60, 255}, {2500, 1}} {
		t.Run(fmt.Sprintf("%dx%d", c.levels, c.length), func(t *testing.T) {
			dir := t.TempDir()
			last := deep(t, dir, c.levels, c.length)
			bothWays(t, dir, func(t *testing.T, r *Root) {
				l := list(t, r, last, Options{})
				if got := names(l); len(got) != 1 || got[0] != "file" {
					t.Fatalf("last directory lists %q", got)
				}
				st, _, err := r.Stat(last + "/file")
				ok(t, err)
				if st != l.Entries[0].Stat {
					t.Errorf("Stat is %+v, want as listed %+v", st, l.Entries[0].Stat)
				}
				if got := readAll(t, r, last+"/file"); got != "deep down" {
					t.Errorf("content is %q", got)
				}
				_, _, err = r.Stat(last + "/nothing")
				wantError(t, err, fs.ErrNotExist)
			})
			removeDeep(t, openRoot(t, dir), last)
		})
	}
}

// removeDeep removes what is too deep for os.RemoveAll in t.TempDir to be quick.
func removeDeep(t *testing.T, r *Root, last string) {
	t.Helper()
	for path := last; ; {
		fd, err := r.openDir(path)
		ok(t, err)
		l := list(t, r, path, Options{})
		for _, e := range l.Entries {
			flags := 0
			if e.Stat.IsDir() {
				flags = unix.AT_REMOVEDIR
			}
			ok(t, unix.Unlinkat(fd, e.Name, flags))
		}
		unix.Close(fd)
		if path == "." {
			return
		}
		if i := strings.LastIndexByte(path, '/'); i >= 0 {
			path = path[:i]
		} else {
			path = "."
		}
	}
}

func TestHugeDirectory(t *testing.T) {
	const n = 100_000
	dir := fastDir(t)
	fill(t, dir, n)
	r := openRoot(t, dir)
	l := list(t, r, ".", Options{})
	if len(l.Entries) != n {
		t.Fatalf("%d entries, want %d", len(l.Entries), n)
	}
	for i := range l.Entries {
		if want := fileName(i); l.Entries[i].Name != want || !l.Entries[i].Stat.IsRegular() {
			t.Fatalf("entry %d is %+v, want a file %q", i, l.Entries[i], want)
		}
	}
	for _, i := range []int{0, 1, n / 2, n - 1} {
		check(t, filepath.Join(dir, fileName(i)), l.Entries[i].Stat, "")
	}
	cancelled, cancel := context.WithCancel(context.Background())
	seen := 0
	_, err := r.List(cancelled, ".", Options{Skip: func(string, string, bool) bool {
		if seen++; seen == 10 {
			cancel()
		}
		return false
	}})
	if !errors.Is(err, context.Canceled) || seen > n/2 {
		t.Errorf("cancelled after 10 names: %v after %d", err, seen)
	}
}

func fileName(i int) string { return fmt.Sprintf("file-%06d.dat", i) }

func fill(t testing.TB, dir string, n int) {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	ok(t, err)
	defer unix.Close(fd)
	for i := range n {
		ok(t, unix.Mknodat(fd, fileName(i), unix.S_IFREG|0o644, 0))
	}
}

func TestListErrors(t *testing.T) {
	dir := t.TempDir()
	mkdirs(t, filepath.Join(dir, "dir"))
	write(t, filepath.Join(dir, "file"), "")
	ok(t, os.Symlink("dir", filepath.Join(dir, "link")))
	bothWays(t, dir, func(t *testing.T, r *Root) {
		for path, want := range map[string]error{
			"file": ErrNotDir, "link": ErrNotDir, "none": fs.ErrNotExist, "none/x": fs.ErrNotExist,
			"file/x": fs.ErrNotExist, "link/x": fs.ErrNotExist, "../x": fs.ErrInvalid,
		} {
			l, err := r.List(context.Background(), path, Options{})
			if l != nil {
				t.Errorf("%s: a listing with an error", path)
			}
			wantError(t, err, want)
		}
	})
}

func TestUnreadable(t *testing.T) {
	dir := sharedDir(t)
	if os.Getenv("SCAN_TEST_DIR") == "" {
		mkdirs(t, dir+"/closed/a", dir+"/noexec/a", dir+"/open")
		write(t, dir+"/noexec/b", "")
		write(t, dir+"/noread", "")
		ok(t, os.Chmod(dir+"/closed", 0))
		ok(t, os.Chmod(dir+"/noexec", 0o444))
		ok(t, os.Chmod(dir+"/noread", 0))
		t.Cleanup(func() { // or the owner could not remove them
			ok(t, errors.Join(os.Chmod(dir+"/noexec", 0o755), os.Chmod(dir+"/closed", 0o755)))
		})
	}
	if !unprivileged(t, dir) {
		return
	}
	bothWays(t, dir, func(t *testing.T, r *Root) {
		list(t, r, ".", Options{}) // only their parent's search permission counts for children
		_, err := r.List(context.Background(), "closed", Options{})
		wantError(t, err, fs.ErrPermission)
		_, err = r.Open("noread")
		wantError(t, err, fs.ErrPermission)
		l, err := r.List(context.Background(), "noexec", Options{})
		ok(t, err)
		if len(l.Entries) != 0 || len(l.Errors) != 2 {
			t.Fatalf("listing of noexec is %+v", l)
		}
		wantError(t, l.Err, ErrIncomplete)
		wantError(t, l.Err, fs.ErrPermission)
		for i, path := range []string{"noexec/a", "noexec/b"} {
			if l.Errors[i].Path != path || !errors.Is(l.Errors[i], fs.ErrPermission) {
				t.Errorf("error %d is %v, want one of %s", i, l.Errors[i], path)
			}
		}

		var got []string
		ok(t, Walk(context.Background(), r, ".", WalkOptions{}, func(l *Listing) error {
			got = append(got, fmt.Sprintf("%s %d %t", l.Dir, len(l.Entries), l.Err != nil))
			return nil
		}))
		if want := []string{". 4 false", "closed 0 true", "noexec 0 true", "open 0 false"}; !slices.Equal(got, want) {
			t.Errorf("walk is %q, want %q", got, want)
		}
		// Files of others: not even the owner's right to leave access times alone.
		if r.atime.Store(false); readable("/usr") {
			usr := openRoot(t, "/usr")
			list(t, usr, ".", Options{})
			if !usr.atime.Load() {
				t.Error("O_NOATIME is asked for again after EPERM")
			}
		}
	})
}

func readable(dir string) bool {
	st, err := os.Stat(dir)
	return err == nil && st.Mode().Perm()&5 == 5
}

func TestSkip(t *testing.T) {
	dir := t.TempDir()
	mkdirs(t, dir+"/sub/keep", dir+"/sub/drop")
	write(t, dir+"/sub/keep.o", "")
	write(t, dir+"/sub/drop.o", "")
	r := openRoot(t, dir)
	asked := map[string]bool{}
	o := Options{Skip: func(dir, name string, isDir bool) bool {
		if _, again := asked[name]; again || dir != "sub" {
			t.Errorf("asked for %q in %q, again: %t", name, dir, again)
		}
		asked[name] = isDir
		return strings.HasPrefix(name, "drop")
	}}
	check := func(l *Listing) {
		t.Helper()
		if got := names(l); !slices.Equal(got, []string{"keep", "keep.o"}) {
			t.Errorf("listing is %q", got)
		}
		if want := map[string]bool{"keep": true, "drop": true, "keep.o": false, "drop.o": false}; !mapsEqual(asked, want) {
			t.Errorf("asked for %v, want %v", asked, want)
		}
		clear(asked)
	}
	check(list(t, r, "sub", o))
	// The same from a directory that does not tell types.
	check(listTyped(t, r, "sub", o, unix.DT_UNKNOWN))
	// And from one that tells an old truth: those called files before count as directories now.
	o.Skip = func(_, _ string, isDir bool) bool { return isDir }
	if got := names(listTyped(t, r, "sub", o, unix.DT_REG)); !slices.Equal(got, []string{"drop.o", "keep.o"}) {
		t.Errorf("with stale types the listing is %q", got)
	}
}

func mapsEqual(a, b map[string]bool) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// listTyped lists dir as if the kernel had told typ for every name.
func listTyped(t *testing.T, r *Root, dir string, o Options, typ uint8) *Listing {
	t.Helper()
	fd, err := r.openDir(dir)
	ok(t, err)
	defer unix.Close(fd)
	l := &Listing{Dir: dir}
	s := new(scratch)
	ok(t, l.names(context.Background(), fd, s, Options{}, nil))
	for i := range s.refs {
		s.refs[i].typ = typ
	}
	ok(t, l.stats(context.Background(), fd, s, o, r.id.Dev))
	return l
}

func TestDuplicatesAndVanished(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/a", "")
	write(t, dir+"/c", "")
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	ok(t, err)
	defer unix.Close(fd)
	for _, told := range []string{"ac", "ca", "aaca", "cc", "b", "cbacaa", ""} {
		s := &scratch{}
		var want []string
		for i := range told {
			s.refs = append(s.refs, ref{name: (told[i:i+1] + "\x00")[:1], typ: unix.DT_REG})
			if name := told[i : i+1]; name != "b" && !slices.Contains(want, name) {
				want = append(want, name)
			}
		}
		l := &Listing{Dir: "."}
		ok(t, l.stats(context.Background(), fd, s, Options{}, 0))
		if got := names(l); !slices.Equal(got, sorted(want)) || l.Err != nil {
			t.Errorf("told %q, the listing is %q, %v", told, got, l.Err)
		}
	}
}

func TestRemovedDirectoryIsNotEmpty(t *testing.T) {
	dir := t.TempDir()
	mkdirs(t, dir+"/gone")
	r := openRoot(t, dir)
	fd, err := r.openDir("gone")
	ok(t, err)
	defer unix.Close(fd)
	ok(t, os.Remove(dir+"/gone"))
	l := &Listing{Dir: "gone"}
	wantError(t, l.names(context.Background(), fd, new(scratch), Options{}, nil), fs.ErrNotExist)
}

// What one listing leaves in memory must not show in the next.
func TestListInto(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	ok(t, os.Mkdir(first, 0o755))
	ok(t, os.Mkdir(second, 0o755))
	makeEveryKind(t, first)
	for _, name := range []string{"a", "b", "c"} {
		write(t, filepath.Join(second, name), name)
	}
	r := openRoot(t, dir)
	was, err := r.ListInto(t.Context(), "first", Options{}, nil)
	ok(t, err)
	want, err := r.List(t.Context(), "second", Options{})
	ok(t, err)
	got, err := r.ListInto(t.Context(), "second", Options{}, was.Entries)
	ok(t, err)
	if !slices.Equal(got.Entries, want.Entries) {
		t.Errorf("got %+v, want %+v", got.Entries, want.Entries)
	}
	if &got.Entries[0] != &was.Entries[0] {
		t.Error("the memory was not used again")
	}
	larger, err := r.ListInto(t.Context(), "first", Options{}, got.Entries[:1:1])
	ok(t, err)
	if whole, err := r.List(t.Context(), "first", Options{}); err != nil || !slices.Equal(larger.Entries, whole.Entries) {
		t.Errorf("in too little memory: %+v, want %+v, %v", larger.Entries, whole.Entries, err)
	}
}
