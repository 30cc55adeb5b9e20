package watcher

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/treetest"
)

// TestMutations has random changes of all kinds covered, and what is watched afterwards be what is there.
func TestMutations(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			dir := treetest.TempDir(t)
			rng := rand.New(rand.NewPCG(seed, 1))
			treetest.Random(t, rng, dir, 60)
			w := begin(t, dir)
			for round := range 4 {
				before := snapshot(t, dir)
				log := treetest.Mutate(t, rng, dir, 1+rng.IntN(60))
				w.sync()
				items := w.take()
				after := snapshot(t, dir)
				if missed := uncovered(before, after, items); missed != nil {
					t.Fatalf("round %d: not covered: %q\n%s\nafter %q\nitems %v",
						round, missed, treetest.Diff(before, after), log, items)
				}
				for _, i := range items {
					if i.Path == "." && i.Kind != 0 {
						t.Fatalf("round %d: %v without overflow", round, i)
					}
				}
			}
			w.seesEverything(dir)
		})
	}
}

// seesEverything changes something in each directory, and wants one item for each.
func (w *watch) seesEverything(dir string) {
	w.t.Helper()
	w.sync()
	w.take()
	var want []string
	for p, n := range snapshot(w.t, dir) {
		if n.Mode&unix.S_IFMT == unix.S_IFDIR {
			name := path.Join(p, fmt.Sprintf("%d?", len(want)))
			ok(w.t, os.Symlink("x", path.Join(dir, name)))
			want = append(want, "path "+name)
		}
	}
	w.sync()
	slices.Sort(want)
	// Without those that may have waited to be closed since before.
	got := slices.DeleteFunc(names(w.take()), func(i string) bool { return !strings.HasSuffix(i, "?") })
	if !slices.Equal(got, want) {
		w.t.Errorf("a change in each directory gives %q\nwant %q", got, want)
	}
}

// churn does random operations on few names, so that they meet. Errors are of others having been faster.
func churn(dir string, rng *rand.Rand, n int) {
	name := func() string {
		p := dir
		for range 1 + rng.IntN(4) {
			p += "/" + string(rune('a'+rng.IntN(4)))
		}
		return p
	}
	for range n {
		a, b := name(), name()
		switch rng.IntN(11) {
		case 0, 1:
			_ = os.MkdirAll(a, 0o755)
		case 2, 3:
			_ = os.WriteFile(a, fmt.Append(nil, rng.Uint64()), 0o644)
		case 4, 5:
			_ = os.Rename(a, b)
		case 6:
			_ = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
		case 7:
			_ = os.RemoveAll(a)
		case 8:
			_ = os.Symlink("x", a)
		case 9:
			_ = os.Remove(a)
			_ = os.Mkdir(a, 0o755)
		case 10:
			_ = os.Chmod(a, 0o700|fs.FileMode(rng.IntN(64)))
		}
	}
}

// TestChurn has several goroutines change the same directories. At the end every difference is covered, and everything
// that is there is watched.
func TestChurn(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dir := treetest.TempDir(t)
			churn(dir, rand.New(rand.NewPCG(seed, 0)), 200)
			w := begin(t, dir)
			for range 3 {
				before := snapshot(t, dir)
				churnTogether(dir, seed, 400)
				w.sync()
				if missed := uncovered(before, snapshot(t, dir), w.take()); missed != nil {
					t.Fatalf("not covered: %q", missed)
				}
			}
			w.seesEverything(dir)
			if s := w.Stats(); s.Overflows != 0 {
				t.Fatalf("%+v: nothing was tested", s)
			}
			w.leavesNothing()
		})
	}
}

func churnTogether(dir string, seed uint64, n int) {
	var all sync.WaitGroup
	for i := range uint64(4) {
		all.Go(func() { churn(dir, rand.New(rand.NewPCG(seed, i+1)), n) })
	}
	all.Wait()
}

// leavesNothing wants the kernel's watches to be those of the directories in the tree, and nothing else to be held.
func (w *watch) leavesNothing() {
	w.t.Helper()
	w.retireNow()
	w.sync()
	w.retireNow()
	w.Watcher.mu.Lock()
	defer w.Watcher.mu.Unlock()
	nodes := 0
	var count func(*node)
	count = func(n *node) {
		nodes++
		if w.wds[n.wd] != n {
			w.t.Errorf("watch %d of %s is not its own", n.wd, n.name)
		}
		for _, c := range n.children {
			count(c)
		}
	}
	count(w.root)
	if len(w.wds) != nodes || len(w.aliases) != 0 || len(w.failed) != 0 || w.tasks.open != 0 || w.groups.first != nil {
		w.t.Errorf("%d watches, %d further places, %d failed, %d tasks for %d directories",
			len(w.wds), len(w.aliases), len(w.failed), w.tasks.open, nodes)
	}
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", w.fd))
	ok(w.t, err)
	if n := strings.Count(string(info), "inotify wd:"); n != nodes {
		w.t.Errorf("the kernel has %d watches for %d directories", n, nodes)
	}
	dirs := 0
	ok(w.t, walkDirs(w.dir, func() { dirs++ }))
	if dirs != nodes {
		w.t.Errorf("%d directories known, %d there", nodes, dirs)
	}
}

func walkDirs(dir string, f func()) error {
	return fs.WalkDir(os.DirFS(dir), ".", func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			f()
		}
		return err
	})
}

// TestStartDuringChurn changes the tree while Run starts. What is there when Ready comes is what a pass would see: from
// then on all is covered.
func TestStartDuringChurn(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dir := treetest.TempDir(t)
			churn(dir, rand.New(rand.NewPCG(seed, 0)), 300)
			stop, started := make(chan struct{}), make(chan struct{})
			var all sync.WaitGroup
			all.Go(func() {
				rng := rand.New(rand.NewPCG(seed, 1))
				churn(dir, rng, 10)
				close(started)
				for {
					select {
					case <-stop:
						return
					default:
						churn(dir, rng, 10)
					}
				}
			})
			<-started
			w := begin(t, dir)
			before := lookAt(t, dir)
			churnTogether(dir, seed, 50)
			close(stop)
			all.Wait()
			w.sync()
			after := lookAt(t, dir)
			if missed := uncovered(before, after, w.take()); missed != nil {
				t.Errorf("not covered: %q", missed)
			}
			w.seesEverything(dir)
			w.leavesNothing()
		})
	}
}

// lookAt is a snapshot of a tree that changes: what a pass at this time would have sent. Inode and change time tell of
// every change after it.
func lookAt(t *testing.T, dir string) treetest.Tree {
	t.Helper()
	tree := treetest.Tree{}
	var walk func(p string)
	walk = func(p string) {
		var st unix.Stat_t
		if err := unix.Lstat(path.Join(dir, p), &st); err != nil {
			return
		}
		n := treetest.Node{Mode: st.Mode, Size: int64(st.Ino)}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			n.Mtime, n.Nsec = st.Ctim.Sec, int32(st.Ctim.Nsec)
		}
		tree[p] = n
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			entries, err := os.ReadDir(path.Join(dir, p))
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
				t.Error(err)
			}
			for _, e := range entries {
				walk(path.Join(p, e.Name()))
			}
		}
	}
	walk(".")
	return tree
}
