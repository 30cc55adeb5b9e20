package scan

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/need"
)

func readAll(t *testing.T, r *Root, path string) string {
	t.Helper()
	f, err := r.Open(path)
	ok(t, err)
	defer f.Close()
	b, err := io.ReadAll(f)
	ok(t, err)
	return string(b)
}

func TestOpenReadsWhole(t *testing.T) {
	dir := t.TempDir()
	mkdirs(t, dir+"/sub")
	big := bytes.Repeat([]byte("0123456789abcdef"), 2*bigFile/16)
	write(t, dir+"/sub/big", string(big))
	write(t, dir+"/empty", "")
	bothWays(t, dir, func(t *testing.T, r *Root) {
		if got := readAll(t, r, "sub/big"); got != string(big) {
			t.Errorf("read %d bytes, want the %d written", len(got), len(big))
		}
		if got := readAll(t, r, "empty"); got != "" {
			t.Errorf("empty file has %q", got)
		}
		f, err := r.Open("sub/big")
		ok(t, err)
		if n, err := f.Read(nil); n != 0 || err != nil {
			t.Errorf("reading nothing gives %d, %v", n, err)
		}
		before, err := f.Stat()
		ok(t, err)
		check(t, dir+"/sub/big", before, "")
		ok(t, os.Chmod(dir+"/sub/big", 0o600))
		after, err := f.Stat()
		ok(t, err)
		if before == after {
			t.Error("a change of mode does not show in Stat")
		}
		ok(t, os.Chmod(dir+"/sub/big", 0o644))
		ok(t, f.Close())
		ok(t, f.Close())
		if _, err := f.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("reading a closed file gives %v", err)
		}
		if _, err := f.Stat(); err == nil {
			t.Error("Stat of a closed file succeeds")
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	makeEveryKind(t, dir)
	want := map[string]error{
		"dir": ErrNotRegular, ".": ErrNotRegular, "link": ErrNotRegular, "dangling": ErrNotRegular, "fifo": ErrNotRegular,
		"socket": ErrNotRegular, "none": fs.ErrNotExist, "dir/none": fs.ErrNotExist, "file/x": fs.ErrNotExist,
		"dirlink/x": fs.ErrNotExist, "../x": fs.ErrInvalid, "a\x00b": fs.ErrInvalid,
	}
	if os.Geteuid() == 0 {
		want["char"] = ErrNotRegular
	}
	bothWays(t, dir, func(t *testing.T, r *Root) {
		fds := openFiles(t)
		for path, err := range want {
			f, got := r.Open(path)
			wantError(t, got, err)
			if f != nil {
				t.Errorf("Open(%q) returns a file as well", path)
			}
		}
		if now := openFiles(t); now != fds {
			t.Errorf("%d descriptors are open, %d before", now, fds)
		}
	})
}

func openFiles(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	ok(t, err)
	return len(fds)
}

func TestLeasedFileIsBusy(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/file", "x")
	fd, err := unix.Open(dir+"/file", unix.O_RDWR, 0)
	ok(t, err)
	defer unix.Close(fd)
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		need.Lacking(t, fmt.Sprintf("no leases on this file system: %v", err))
	}
	r := openRoot(t, dir)
	_, err = r.Open("file")
	wantError(t, err, ErrBusy)
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
	ok(t, err)
	if got := readAll(t, r, "file"); got != "x" {
		t.Errorf("content is %q", got)
	}
}

func TestAccessTimesStay(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/file", "x")
	old := []unix.Timespec{{Sec: 1}, {Sec: 2}} // older than the last change: relatime would update it
	ok(t, unix.UtimesNanoAt(unix.AT_FDCWD, dir+"/file", old, 0))
	ok(t, unix.UtimesNanoAt(unix.AT_FDCWD, dir, old, 0))
	r := openRoot(t, dir)
	list(t, r, ".", Options{})
	readAll(t, r, "file")
	for _, path := range []string{dir, dir + "/file"} {
		var st unix.Stat_t
		ok(t, unix.Stat(path, &st))
		if st.Atim.Sec != 1 {
			t.Errorf("access time of %s is %d, want 1", path, st.Atim.Sec)
		}
	}
}

func TestOpenInDirectory(t *testing.T) {
	dir := t.TempDir()
	mkdirs(t, dir+"/some/sub")
	makeEveryKind(t, dir+"/some/sub")
	write(t, dir+"/top", "top")
	write(t, dir+"/some/beside", "beside")
	want := map[string]error{
		"dir": ErrNotRegular, "link": ErrNotRegular, "dangling": ErrNotRegular, "fifo": ErrNotRegular, "socket": ErrNotRegular,
		"none": fs.ErrNotExist, ".": fs.ErrInvalid, "..": fs.ErrInvalid, "": fs.ErrInvalid, "dir/x": fs.ErrInvalid,
		"../beside": fs.ErrInvalid, "dirlink/x": fs.ErrInvalid,
	}
	r := openRoot(t, dir)
	fds := openFiles(t)
	d, err := r.OpenDir("some/sub")
	ok(t, err)
	for name, err := range want {
		f, got := d.Open("some/sub/" + name)
		wantError(t, got, err)
		if f != nil {
			t.Errorf("Open(%q) returns a file as well", name)
		}
	}
	for _, path := range []string{"some/beside", "top", "file", "/file", "some/su/file"} {
		_, err := d.Open(path)
		wantError(t, err, fs.ErrInvalid)
	}
	read := func(d *Dir, path, want string) {
		t.Helper()
		f, err := d.Open(path)
		ok(t, err)
		defer f.Close()
		if b, err := io.ReadAll(f); err != nil || string(b) != want {
			t.Errorf("read %q, %v", b, err)
		}
		if now, err := f.Stat(); err != nil || now != f.Opened() {
			t.Errorf("%+v when it was opened, %+v now, %v", f.Opened(), now, err)
		}
	}
	read(d, "some/sub/file", "content")
	ok(t, os.Rename(dir+"/some/sub", dir+"/some/moved"))
	read(d, "some/sub/file", "content")
	ok(t, d.Close())
	top, err := r.OpenDir(".")
	ok(t, err)
	read(top, "top", "top")
	ok(t, top.Close())
	if now := openFiles(t); now != fds {
		t.Errorf("%d descriptors are open, %d before", now, fds)
	}
}

func TestSplit(t *testing.T) {
	for path, want := range map[string][2]string{"a": {".", "a"}, "a/b": {"a", "b"}, "a/b/c": {"a/b", "c"}, ".": {".", "."}} {
		dir, name := Split(path)
		if dir != want[0] || name != want[1] {
			t.Errorf("%q: %q, %q", path, dir, name)
		}
	}
}
