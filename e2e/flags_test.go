package e2e

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// What syncd does with a flag is what rsync does with it.
func TestFlagsAreRsyncs(t *testing.T) {
	t.Parallel()
	for i, flags := range []string{
		"-z", "-z --zc=lz4 -W", "--new-compress", "--old-compress", "--zc=zstd --zl=9 --inplace",
		"-S", "-S --inplace", "-S --inplace --no-whole-file", "--preallocate", "--fsync", "--temp-dir=.tmp", "-y",
		"--chown=1234:5678", "--usermap=0:77,*:78", "--groupmap=0-100:79 --numeric-ids", "--usermap=root:daemon,1-70000:nobody",
		"--chmod=Dg+s,ug+w,Fo-w,+X", "--chmod=D755,F640 --no-p", "--chmod=a=,u+s",
		"-u", "--existing", "-u --existing", "--min-size=700 --max-size=2k", "--max-size=1",
	} {
		t.Run(flags, func(t *testing.T) {
			t.Parallel()
			w := newTwins(t, uint64(i), strings.Fields(flags)...)
			treetest.Random(t, w.rng, w.src, 120)
			w.changes(t, true)
		})
	}
}

// What is replaced and deleted is kept as rsync keeps it.
func TestBackup(t *testing.T) {
	t.Parallel()
	for i, flags := range []string{"-b", "-b --suffix=.old --inplace", "--backup-dir=../aside --exclude=/aside", "--backup-dir=.tmp/aside --suffix=.1"} {
		t.Run(flags, func(t *testing.T) {
			t.Parallel()
			w := newTwins(t, uint64(i), strings.Fields(flags)...)
			w.options.Ignore |= treetest.DirMtime
			treetest.Random(t, w.rng, w.src, 120)
			w.changes(t, true)
			kept := 0
			err := filepath.WalkDir(w.ours, func(p string, d os.DirEntry, err error) error {
				if err == nil && !d.IsDir() && (strings.Contains(p, "aside/") || strings.HasSuffix(p, "~") || strings.HasSuffix(p, ".old")) {
					kept++
				}
				return err
			})
			if err != nil || kept == 0 {
				t.Errorf("%d old files (%v)", kept, err)
			}
		})
	}
}

// What is there stays, but for what is to be deleted. No file stands where a directory belongs: what comes of what is
// below depends, in rsync, on the order of its work.
func TestIgnoreExisting(t *testing.T) {
	t.Parallel()
	w := newTwins(t, 1, "--ignore-existing")
	for _, dir := range []string{w.ours, w.theirs} {
		treetest.Write(t, dir, treetest.File("changed", "old", treetest.Mtime(1, 0)), treetest.File("dir/mode", "same", treetest.Mtime(2, 0)),
			treetest.Symlink("link", "old", treetest.Mtime(3, 0)), treetest.File("gone", ""), treetest.Dir("attributes", treetest.Mode(0o700)),
			treetest.File("dir/gone/below", ""), treetest.Fifo("fifo", treetest.Mode(0o600), treetest.Mtime(4, 0)), treetest.File("kind", "", treetest.Mtime(5, 0)))
	}
	treetest.Write(t, w.src, treetest.File("changed", "new content"), treetest.File("dir/mode", "same", treetest.Mode(0o600), treetest.Mtime(2, 0)),
		treetest.Symlink("link", "new"), treetest.Dir("attributes", treetest.Mode(0o750), treetest.Mtime(6, 5)), treetest.File("dir/new/file", "new"),
		treetest.Fifo("fifo", treetest.Mode(0o640)), treetest.Symlink("kind", "elsewhere"), treetest.File("new", "new"))
	for range 2 {
		if !w.run(t) {
			t.Error("not all was done")
		}
	}
	if b, err := os.ReadFile(filepath.Join(w.ours, "changed")); err != nil || string(b) != "old" {
		t.Errorf("the file that is there: %q, %v", b, err)
	}
}

// blocks is the room that a file takes, in bytes.
func blocks(t *testing.T, name string) int64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(name, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// Holes are holes, or room that is there.
func TestHoles(t *testing.T) {
	t.Parallel()
	image := make([]byte, 4<<20)
	copy(image[1<<20:], "something")
	for flags, sparse := range map[string]bool{"-S": true, "-z": false, "-S -z": true, "--preallocate": false} {
		w := newTwins(t, 1, strings.Fields(flags)...)
		treetest.Write(t, w.src, treetest.File("image", string(image)))
		w.run(t)
		got, want := blocks(t, filepath.Join(w.ours, "image")), blocks(t, filepath.Join(w.theirs, "image"))
		if got != want || (got < 2<<20) != sparse {
			t.Errorf("%s: the file takes %d bytes, with rsync %d", flags, got, want)
		}
	}
}

// A file of a similar name is the old one.
func TestFuzzy(t *testing.T) {
	t.Parallel()
	rsynctest.Rsync(t)
	s := rsynctest.Daemon(t, rsynctest.Config{})
	src := t.TempDir()
	b := make([]byte, 1<<20)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	for name, content := range map[string][]byte{
		filepath.Join(s.Dir("m"), "backup-2026-01.tar"): b, filepath.Join(src, "backup-2026-02.tar"): append(b[5000:], "more"...),
	} {
		if err := os.WriteFile(name, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	literal := regexp.MustCompile(`Literal data: ([0-9,]+)`)
	out := syncd(t, 0, "--full", "-ay", "--stats", src, s.URL("m"))
	if m := literal.FindStringSubmatch(out); m == nil || len(m[1]) > len("20,000") {
		t.Errorf("-y: %q for a file of 1 MiB that has moved by 5000 bytes", m)
	}
}

// New files are made in the directory that was named, so none can be if there is none.
func TestTempDir(t *testing.T) {
	t.Parallel()
	rsynctest.Rsync(t)
	s := rsynctest.Daemon(t, rsynctest.Config{})
	src := t.TempDir()
	if err := os.WriteFile(filepath.Join(src, "f"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command(program, "--full", "-a", "--temp-dir=none", src, s.URL("m")).Run(); err == nil {
		t.Error("no error without the directory")
	}
	if _, err := os.Stat(filepath.Join(s.Dir("m"), "f")); err == nil {
		t.Error("the file is there")
	}
}
