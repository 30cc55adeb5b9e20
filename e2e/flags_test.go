package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// sameAsRsync fills two modules of one daemon, the first by syncd, the second by rsync, with the same flags: new ones at
// first, then after random changes. It returns the two directories and the one they came from.
func sameAsRsync(t *testing.T, seed uint64, prepare func(src string), flags ...string) (ours, theirs, src string) {
	t.Helper()
	rsync := rsynctest.Rsync(t)
	names := map[string]string{"use chroot": "no", "numeric ids": "no"} // in a chroot there are none
	s := rsynctest.Daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "a", Options: names}, {Name: "b", Options: names}}})
	rng := rand.New(rand.NewPCG(seed, 11))
	src = treetest.TempDir(t)
	treetest.Random(t, rng, src, 120)
	if prepare != nil {
		prepare(src)
	}
	for _, dir := range []string{s.Dir("a"), s.Dir("b")} {
		if err := os.Mkdir(filepath.Join(dir, ".tmp"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	flags = append([]string{"-a", "-@-1", "--delete", "--exclude=/.tmp"}, flags...)
	for round := range 3 {
		syncd(t, 0, append(append([]string{"--full"}, flags...), src, s.URL("a"))...)
		if out, err := exec.Command(rsync, append(flags, src+"/", s.URL("b"))...).CombinedOutput(); err != nil {
			t.Fatalf("rsync %q: %v\n%s", flags, err, out)
		}
		for _, dir := range []string{s.Dir("a"), s.Dir("b")} {
			if err := os.Chtimes(filepath.Join(dir, ".tmp"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
		}
		if t.Run(fmt.Sprintf("round%d", round), func(t *testing.T) { treetest.Equal(t, s.Dir("b"), s.Dir("a"), plain) }); t.Failed() {
			t.Fatalf("after %q", flags)
		}
		treetest.Mutate(t, rng, src, 40)
	}
	return s.Dir("a"), s.Dir("b"), src
}

// What syncd does with a flag is what rsync does with it.
func TestFlagsAreRsyncs(t *testing.T) {
	for i, flags := range []string{
		"-z", "-z --zc=lz4 -W", "--new-compress", "--old-compress", "--zc=zstd --zl=9 --inplace",
		"-S", "-S --inplace", "-S --inplace --no-whole-file", "--preallocate", "--fsync", "--temp-dir=.tmp", "-y",
		"--chown=1234:5678", "--usermap=0:77,*:78", "--groupmap=0-100:79 --numeric-ids", "--usermap=root:daemon,1-70000:nobody",
	} {
		t.Run(flags, func(t *testing.T) {
			sameAsRsync(t, uint64(i), nil, strings.Fields(flags)...)
		})
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
	holes := func(src string) {
		b := make([]byte, 4<<20)
		copy(b[1<<20:], "something")
		if err := os.WriteFile(filepath.Join(src, "image"), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for flags, sparse := range map[string]bool{"-S": true, "-z": false, "-S -z": true, "--preallocate": false} {
		ours, theirs, _ := sameAsRsync(t, 1, holes, strings.Fields(flags)...)
		got, want := blocks(t, filepath.Join(ours, "image")), blocks(t, filepath.Join(theirs, "image"))
		if got != want || (got < 2<<20) != sparse {
			t.Errorf("%s: the file takes %d bytes, with rsync %d", flags, got, want)
		}
	}
}

// A file of a similar name is the old one.
func TestFuzzy(t *testing.T) {
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
