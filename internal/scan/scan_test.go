package scan

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/need"
)

// bothWays runs f with the kernel's path resolution and with our own.
func bothWays(t *testing.T, dir string, f func(t *testing.T, r *Root)) {
	t.Helper()
	for _, way := range []string{"openat2", "steps"} {
		t.Run(way, func(t *testing.T) {
			r := openRoot(t, dir)
			if way == "openat2" && !r.openat2 {
				need.Lacking(t, "this kernel or sandbox has no openat2")
			}
			r.openat2 = way == "openat2"
			f(t, r)
		})
	}
}

func openRoot(t testing.TB, dir string) *Root {
	t.Helper()
	r, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path, content string) {
	t.Helper()
	ok(t, os.WriteFile(path, []byte(content), 0o644))
}

func mkdirs(t testing.TB, paths ...string) {
	t.Helper()
	for _, p := range paths {
		ok(t, os.MkdirAll(p, 0o755))
	}
}

// list lists a directory that must be complete.
func list(t testing.TB, r *Root, dir string, o Options) *Listing {
	t.Helper()
	l, err := r.List(context.Background(), dir, o)
	ok(t, err)
	if l.Err != nil || len(l.Errors) > 0 {
		t.Fatalf("listing of %q: %v, %v", dir, l.Err, l.Errors)
	}
	return l
}

func names(l *Listing) []string {
	var names []string
	for _, e := range l.Entries {
		names = append(names, e.Name)
	}
	return names
}

func find(t testing.TB, l *Listing, name string) Entry {
	t.Helper()
	for _, e := range l.Entries {
		if e.Name == name {
			return e
		}
	}
	t.Fatalf("no entry %q in listing of %q: %q", name, l.Dir, names(l))
	return Entry{}
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	var pe *PathError
	if !errors.Is(err, want) || !errors.As(err, &pe) {
		t.Errorf("error is %v, want a PathError for %v", err, want)
	}
}

// unprivileged runs the test that calls it again in a process that owns dir but has no privileges, and reports true
// there. The parent gets false when the child has passed.
func unprivileged(t *testing.T, dir string) (child bool) {
	t.Helper()
	if os.Geteuid() != 0 {
		return true
	}
	const nobody = 65534
	// t.TempDir's parent, made by os.MkdirTemp, is closed to others; so is the directory of the test binary.
	ok(t, os.Chmod(filepath.Dir(dir), 0o755))
	ok(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, nobody, nobody))
	}))
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "SCAN_TEST_DIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("as uid %d: %v\n%s", nobody, err, out)
	}
	return false
}

// fastDir is a temporary directory in memory, where there is one: for trees of many files.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "scan-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { ok(t, os.RemoveAll(dir)) })
	return dir
}

// sharedDir is a temporary directory that a child made by unprivileged finds again.
func sharedDir(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("SCAN_TEST_DIR"); dir != "" {
		return dir
	}
	return t.TempDir()
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}

func TestErrorsAreOneLine(t *testing.T) {
	r := openRoot(t, t.TempDir())
	_, _, err := r.Stat("a\nb\xff")
	if got, want := err.Error(), `stat "a\nb\xff": no such file or directory`; got != want {
		t.Errorf("error is %q, want %q", got, want)
	}
}

func TestPathsOutOfTheTree(t *testing.T) {
	dir := t.TempDir()
	mkdirs(t, filepath.Join(dir, "root/a"))
	write(t, filepath.Join(dir, "secret"), "secret")
	bothWays(t, filepath.Join(dir, "root"), func(t *testing.T, r *Root) {
		for _, path := range []string{"..", "../secret", "a/../../secret", "a/..", "/etc/passwd", "a/.."} {
			if f, err := r.Open(path); err == nil {
				f.Close()
				t.Errorf("Open(%q) succeeds", path)
			}
			if _, _, err := r.Stat(path); err == nil {
				t.Errorf("Stat(%q) succeeds", path)
			}
			if _, err := r.List(context.Background(), path, Options{}); err == nil {
				t.Errorf("List(%q) succeeds", path)
			}
			if _, err := r.openBeneath(r.fd, path, unix.O_PATH); err == nil && strings.Contains(path, "secret") {
				t.Errorf("the second wall lets %q through", path)
			}
		}
	})
}
