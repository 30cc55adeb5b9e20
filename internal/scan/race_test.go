package scan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// during runs churn over and over while f runs, and f at least until churn has run once.
func during(t *testing.T, churn func(), f func()) {
	t.Helper()
	stop, started := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		churn()
		close(started)
		for {
			select {
			case <-stop:
				return
			default:
				churn()
			}
		}
	})
	<-started
	defer wg.Wait()
	defer close(stop)
	f()
}

// swap exchanges two entries in one step.
func swap(t *testing.T, a, b string) {
	if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
		t.Error(err)
	}
}

// TestSwappedDirectories has directories of the tree become symlinks to a directory outside of it, and back, all the
// time. Whatever is read, it must never be from outside.
func TestSwappedDirectories(t *testing.T) {
	dir := t.TempDir()
	for _, tree := range []string{"root", "outside"} {
		mkdirs(t, dir+"/"+tree+"/a/b/c")
		for _, file := range []string{"/file", "/a/file", "/a/b/file", "/a/b/c/file"} {
			write(t, dir+"/"+tree+file, tree)
		}
	}
	write(t, dir+"/outside/a/b/only-outside", "")
	links := []string{dir + "/link-a", dir + "/link-b", dir + "/link-c"}
	places := []string{dir + "/root/a", dir + "/root/a/b", dir + "/root/a/b/c"}
	ok(t, os.Symlink(dir+"/outside/a", links[0]))
	ok(t, os.Symlink("../../outside/a/b", links[1]))
	ok(t, os.Symlink("../../../outside/a/b/c", links[2]))
	n := 0
	churn := func() {
		i := n % 3
		n++
		swap(t, places[i], links[i])
		swap(t, places[i], links[i])
	}
	bothWays(t, dir+"/root", func(t *testing.T, r *Root) {
		inside := map[uint64]bool{}
		ok(t, Walk(context.Background(), r, ".", WalkOptions{}, func(l *Listing) error {
			inside[l.Self.Ino] = true
			for _, e := range l.Entries {
				inside[e.Stat.Ino] = true
			}
			return nil
		}))
		for _, link := range links {
			st, err := os.Lstat(link)
			ok(t, err)
			inside[inode(st)] = true
		}
		during(t, churn, func() {
			read, refused := 0, 0
			for rounds := 0; rounds < 2000 || (read == 0 || refused == 0) && rounds < 1e6; rounds++ {
				for _, path := range []string{"a/file", "a/b/file", "a/b/c/file"} {
					if readsOutside(t, r, path) {
						refused++
					} else {
						read++
					}
				}
				for _, path := range []string{"a", "a/b", "a/b/c"} {
					l, err := r.List(context.Background(), path, Options{})
					if err != nil {
						if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrNotDir) {
							t.Fatal(err)
						}
						continue
					}
					if !inside[l.Self.Ino] || slices.Contains(names(l), "only-outside") {
						t.Fatalf("listing of %s is from outside: %+v", path, l)
					}
					if st, _, err := r.Stat(path + "/file"); err == nil && !inside[st.Ino] {
						t.Fatalf("%s/file is from outside", path)
					}
				}
			}
			if read == 0 || refused == 0 {
				t.Errorf("%d reads, %d refusals: this has tested nothing", read, refused)
			}
		})
	})
}

func inode(fi os.FileInfo) uint64 { return fi.Sys().(*syscall.Stat_t).Ino }

// readsOutside fails the test when the file at path comes from outside, and reports whether it could not be read.
func readsOutside(t *testing.T, r *Root, path string) (refused bool) {
	t.Helper()
	f, err := r.Open(path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrNotRegular) {
			t.Fatal(err)
		}
		return true
	}
	defer f.Close()
	buf := make([]byte, 16)
	n, err := f.Read(buf)
	ok(t, err)
	if string(buf[:n]) != "root" {
		t.Fatalf("%s reads %q", path, buf[:n])
	}
	return false
}

// TestOpenOfSwappedFile has a file become a fifo, a symlink out of the tree, and a directory: Open must neither wait nor
// follow.
func TestOpenOfSwappedFile(t *testing.T) {
	dir := t.TempDir()
	mkdirs(t, dir+"/root", dir+"/other/dir")
	write(t, dir+"/root/file", "root")
	write(t, dir+"/secret", "secret")
	ok(t, unix.Mkfifo(dir+"/other/fifo", 0o600))
	ok(t, os.Symlink("../secret", dir+"/other/link"))
	churn := func() {
		for _, other := range []string{"fifo", "link", "dir"} {
			swap(t, dir+"/root/file", dir+"/other/"+other)
			swap(t, dir+"/root/file", dir+"/other/"+other)
		}
	}
	bothWays(t, dir+"/root", func(t *testing.T, r *Root) {
		during(t, churn, func() {
			for range 5000 {
				readsOutside(t, r, "file")
				st, target, err := r.Stat("file")
				ok(t, err)
				if isLink := st.Mode&unix.S_IFMT == unix.S_IFLNK; isLink != (target != "") {
					t.Fatalf("mode %o with target %q", st.Mode, target)
				}
			}
		})
	})
}

// TestReplacedSymlink has a symlink change between being read and being followed: its target is always of the inode that
// is listed.
func TestReplacedSymlink(t *testing.T) {
	dir := t.TempDir()
	mkdirs(t, dir+"/root")
	ok(t, os.Symlink("short", dir+"/root/link"))
	ok(t, os.Symlink("a longer one", dir+"/link"))
	r := openRoot(t, dir+"/root")
	during(t, func() { swap(t, dir+"/root/link", dir+"/link") }, func() {
		for range 20_000 {
			e := list(t, r, ".", Options{}).Entries[0]
			if int64(len(e.Target)) != e.Stat.Size {
				t.Fatalf("a symlink of %d bytes leads to %q", e.Stat.Size, e.Target)
			}
		}
	})
}

// TestVanishing lists while entries come and go: those that stay are always there, and none is an error.
func TestVanishing(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 * inodeOrderFrom { // in order of inodes
		write(t, fmt.Sprintf("%s/stays-%05d", dir, i), "")
	}
	mkdirs(t, dir+"/small")
	write(t, dir+"/small/stays", "")
	rng := rand.New(rand.NewPCG(1, 2))
	churn := func() {
		for _, dir := range []string{dir, dir + "/small"} {
			path := fmt.Sprintf("%s/comes-%d", dir, rng.IntN(50))
			switch rng.IntN(4) {
			case 0:
				os.WriteFile(path, nil, 0o600)
			case 1:
				os.Symlink(fmt.Sprint(rng.IntN(1e9)), path)
			case 2:
				os.Mkdir(path, 0o700)
			default:
				os.Remove(path)
			}
		}
	}
	bothWays(t, dir, func(t *testing.T, r *Root) {
		during(t, churn, func() {
			for range 20 {
				stays := 0
				// Directories that come and go may be missed, but only as such.
				ok(t, Walk(context.Background(), r, ".", WalkOptions{}, func(l *Listing) error {
					if l.Err != nil && !errors.Is(l.Err, fs.ErrNotExist) && !errors.Is(l.Err, ErrNotDir) {
						return l.Err
					}
					if !slices.IsSortedFunc(l.Entries, func(a, b Entry) int {
						if a.Name < b.Name {
							return -1
						}
						return 1
					}) {
						t.Errorf("not in order: %q", names(l))
					}
					for _, e := range l.Entries {
						if isLink := e.Stat.Mode&unix.S_IFMT == unix.S_IFLNK; isLink != (e.Target != "") ||
							isLink && int64(len(e.Target)) != e.Stat.Size {
							t.Errorf("%q of mode %o, size %d leads to %q", e.Name, e.Stat.Mode, e.Stat.Size, e.Target)
						}
						if len(e.Name) >= 5 && e.Name[:5] == "stays" {
							stays++
						}
					}
					return nil
				}))
				if want := 3*inodeOrderFrom + 1; stays != want {
					t.Fatalf("%d entries that stay, want %d", stays, want)
				}
			}
		})
	})
}
