package transfer

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/rsynctest"
)

// reads counts how often files in dir are read from.
func reads(t *testing.T, dir string) (count func() int) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_ACCESS); err != nil {
		t.Fatal(err)
	}
	return func() int {
		n, b := 0, make([]byte, 1<<16)
		for {
			size, err := unix.Read(fd, b)
			if err != nil {
				return n
			}
			n += bytes.Count(b[:size], []byte("file"))
		}
	}
}

// What a renamed directory has that was known by its old name is known by the new one: nothing of it is read, here or there.
func TestRenamedDirectoryIsKnown(t *testing.T) {
	src := t.TempDir()
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprint("old/file", i))
	}
	noise(t, src, names, 10_000)
	url, dst, _ := daemon(t, rsynctest.Config{})
	old(t)
	f, w := watchedFollower(t, src, url, remembering(t, t.TempDir()))
	count := reads(t, filepath.Join(src, "old"))
	n, _ := f.sends(t, w, func() { move(t, src, "old", "new") })
	if got := count(); got > 0 || n > 20_000 {
		t.Errorf("%d reads, %d bytes are sent", got, n)
	}
	equal(t, src, dst)
	if _, err := os.ReadFile(filepath.Join(src, "new/file0")); err != nil || count() == 0 {
		t.Errorf("a read does not count: %v", err)
	}
}
