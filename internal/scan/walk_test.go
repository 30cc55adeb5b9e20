package scan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// makeTree makes directories with some files each, below dir, in a shape that depends on seed only.
func makeTree(t testing.TB, dir string, seed uint64, dirs int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	paths := []string{dir}
	for i := range dirs {
		// Names whose order as path strings is not that of a walk: "a!" sorts before "a/x".
		path := filepath.Join(paths[rng.IntN(len(paths))], fmt.Sprintf("%c%c%d", "ab"[i%2], "!~./-"[rng.IntN(3)], i%7))
		if os.Mkdir(path, 0o755) != nil {
			continue
		}
		paths = append(paths, path)
		for f := range rng.IntN(5) {
			write(t, fmt.Sprintf("%s/%c%d", path, "aZ~"[f%3], f), "")
		}
	}
	ok(t, os.Symlink(dir, dir+"/loop"))
}

// naive is the walk that Walk must equal: every directory with its children, in order.
func naive(t testing.TB, dir string) []string {
	t.Helper()
	var lines []string
	var walk func(rel string)
	walk = func(rel string) {
		children, err := os.ReadDir(filepath.Join(dir, rel)) // sorted by bytes
		ok(t, err)
		line := rel + ":"
		for _, c := range children {
			line += " " + c.Name()
		}
		lines = append(lines, line)
		for _, c := range children {
			if c.IsDir() {
				walk(Join(rel, c.Name()))
			}
		}
	}
	walk(".")
	return lines
}

func line(l *Listing) string {
	return strings.Join(append([]string{l.Dir + ":"}, names(l)...), " ")
}

func TestWalkOrder(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir, 1, 600)
	want := naive(t, dir)
	if len(want) < 200 {
		t.Fatalf("a tree of %d directories tests little", len(want))
	}
	bothWays(t, dir, func(t *testing.T, r *Root) {
		for _, o := range []WalkOptions{{}, {Workers: 1}, {Workers: 16}, {Prefetch: 1}, {Workers: 7, Prefetch: 40}} {
			var got []string
			ok(t, Walk(context.Background(), r, ".", o, func(l *Listing) error {
				got = append(got, line(l))
				return l.Err
			}))
			if !slices.Equal(got, want) {
				t.Errorf("with %+v the walk is\n%q, want\n%q", o, got, want)
			}
		}
	})
}

func TestWalkFromBelow(t *testing.T) {
	dir := t.TempDir()
	mkdirs(t, dir+"/a/b/c", dir+"/a/d", dir+"/e")
	r := openRoot(t, dir)
	var got []string
	collect := func(l *Listing) error {
		got = append(got, line(l))
		return nil
	}
	ok(t, Walk(context.Background(), r, "a", WalkOptions{}, collect))
	if want := []string{"a: b d", "a/b: c", "a/b/c:", "a/d:"}; !slices.Equal(got, want) {
		t.Errorf("walk is %q, want %q", got, want)
	}
	for start, want := range map[string]error{"none": fs.ErrNotExist, "none/x": fs.ErrNotExist} {
		ok(t, Walk(context.Background(), r, start, WalkOptions{}, func(l *Listing) error {
			if l.Dir != start {
				t.Errorf("listing of %q, want %q", l.Dir, start)
			}
			wantError(t, l.Err, want)
			return nil
		}))
	}
	wantError(t, Walk(context.Background(), r, "../x", WalkOptions{}, collect), fs.ErrInvalid)
}

func TestWalkVanishingDirectory(t *testing.T) {
	dir := t.TempDir()
	mkdirs(t, dir+"/a/x", dir+"/b", dir+"/c")
	r := openRoot(t, dir)
	var got []string
	o := WalkOptions{Workers: 1, Prefetch: 1}
	err := Walk(context.Background(), r, ".", o, func(l *Listing) error {
		got = append(got, fmt.Sprint(l.Dir, " ", errors.Is(l.Err, fs.ErrNotExist), " ", errors.Is(l.Err, ErrNotDir)))
		if l.Dir == "a" { // the bound lets no worker go past here
			ok(t, os.Remove(dir+"/b"))
			ok(t, os.Remove(dir+"/c"))
			ok(t, os.Symlink("a", dir+"/c"))
		}
		return nil
	})
	ok(t, err)
	want := []string{". false false", "a false false", "a/x false false", "b true false", "c false true"}
	if !slices.Equal(got, want) {
		t.Errorf("walk is %q, want %q", got, want)
	}
}

func TestWalkEndsWithError(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir, 2, 400)
	r := openRoot(t, dir)
	want := len(naive(t, dir))
	stop := errors.New("stop")
	fds, before := openFiles(t), runtime.NumGoroutine()
	for at := 0; at < want; at += 1 + at/8 {
		for _, o := range []WalkOptions{{}, {Workers: 3, Prefetch: 10}} {
			n := 0
			err := Walk(context.Background(), r, ".", o, func(*Listing) error {
				if n++; n > at {
					return stop
				}
				return nil
			})
			if err != stop || n != at+1 {
				t.Fatalf("error at listing %d: %v after %d calls", at, err, n)
			}
			ctx, cancel := context.WithCancelCause(context.Background())
			n = 0
			err = Walk(ctx, r, ".", o, func(*Listing) error {
				if n++; n > at {
					cancel(stop)
				}
				return nil
			})
			if last := at+1 == want; err != stop && !last || n != at+1 {
				t.Fatalf("cancelled at listing %d: %v after %d calls", at, err, n)
			}
			cancel(nil)
		}
	}
	for runtime.NumGoroutine() > before { // that of context.AfterFunc may be about to end
		runtime.Gosched()
	}
	if now := openFiles(t); now > fds {
		t.Errorf("%d descriptors are open, %d before", now, fds)
	}
	cancelled, cancel := context.WithCancelCause(context.Background())
	cancel(stop)
	err := Walk(cancelled, r, ".", WalkOptions{}, func(*Listing) error {
		t.Error("called although cancelled before")
		return nil
	})
	if err != stop {
		t.Errorf("cancelled before: %v", err)
	}
}

func TestWalkSurvivesPanic(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir, 2, 50)
	r := openRoot(t, dir)
	synctest.Test(t, func(t *testing.T) { // fails when a goroutine is left
		defer func() {
			if recover() == nil {
				t.Error("the panic of fn is gone")
			}
		}()
		Walk(context.Background(), r, ".", WalkOptions{}, func(*Listing) error { panic("of fn") })
	})
}

// TestWalkMemory fills the walker up while fn waits: what has been read ahead must stay within the bound.
func TestWalkMemory(t *testing.T) {
	const dirs, files, workers, prefetch = 100, 50, 5, 500
	dir := fastDir(t)
	for i := range dirs {
		sub := fmt.Sprintf("%s/%03d", dir, i)
		mkdirs(t, sub)
		fill(t, sub, files)
	}
	r := openRoot(t, dir)
	for _, c := range []struct{ prefetch, least, most int }{
		{prefetch, prefetch / 4, prefetch + workers*files}, // a worker holds one buffer of names before it asks for room
		{1 << 20, dirs * files, dirs * files},
	} {
		synctest.Test(t, func(t *testing.T) {
			var read atomic.Int64
			o := WalkOptions{Workers: workers, Prefetch: c.prefetch}
			o.Skip = func(dir, _ string, _ bool) bool {
				if dir != "." {
					read.Add(1)
				}
				return false
			}
			delivered, listings := 0, 0
			err := Walk(t.Context(), r, ".", o, func(l *Listing) error {
				if l.Dir != "." {
					delivered += len(l.Entries)
				}
				listings++
				synctest.Wait() // until all workers have nothing left that they may do
				ahead := int(read.Load()) - delivered
				if ahead > c.most {
					t.Errorf("%d entries are held at %s, at most %d may be", ahead, l.Dir, c.most)
				}
				if least := min(c.least, dirs*files-delivered); ahead < least {
					t.Errorf("only %d entries are read ahead at %s, want %d", ahead, l.Dir, least)
				}
				return nil
			})
			ok(t, err)
			if delivered != dirs*files {
				t.Errorf("%d entries, want %d", delivered, dirs*files)
			}
		})
	}
}

// TestWalkRefills has directories that fill the bound exactly, so that no worker waits with one half done: it must be
// woken all the same.
func TestWalkRefills(t *testing.T) {
	const dirs, files, ahead = 20, 6, 4
	dir := t.TempDir()
	for i := range dirs {
		sub := fmt.Sprintf("%s/%02d", dir, i)
		mkdirs(t, sub)
		fill(t, sub, files)
	}
	r := openRoot(t, dir)
	synctest.Test(t, func(t *testing.T) {
		var read atomic.Int64
		o := WalkOptions{Workers: 1, Prefetch: ahead * (files + listingCost)}
		o.Skip = func(dir, _ string, _ bool) bool {
			if dir != "." {
				read.Add(1)
			}
			return false
		}
		delivered := -1 // without the root
		ok(t, Walk(t.Context(), r, ".", o, func(l *Listing) error {
			synctest.Wait()
			delivered++
			if got := int(read.Load())/files - delivered; delivered > 0 && delivered < dirs && (got < 1 || got > ahead) {
				t.Errorf("at %s, %d directories are read ahead, want 1 to %d", l.Dir, got, ahead)
			}
			return nil
		}))
	})
}

// TestWalkReadsAheadInOrder has one worker only, so that what is read ahead is exactly what comes next.
func TestWalkReadsAheadInOrder(t *testing.T) {
	dir := fastDir(t)
	for i := range 3 * 3 * 3 {
		sub := fmt.Sprintf("%s/%d/%d/%d", dir, i/9, i/3%3, i%3)
		mkdirs(t, sub)
		fill(t, sub, 10)
	}
	r := openRoot(t, dir)
	var order []string
	ok(t, Walk(context.Background(), r, ".", WalkOptions{}, func(l *Listing) error {
		order = append(order, l.Dir)
		return nil
	}))
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		read := map[string]bool{}
		o := WalkOptions{Workers: 1, Prefetch: 60}
		o.Skip = func(dir, _ string, _ bool) bool {
			mu.Lock()
			defer mu.Unlock()
			read[dir] = true
			return false
		}
		at := 0
		ok(t, Walk(t.Context(), r, ".", o, func(l *Listing) error {
			synctest.Wait()
			for i, dir := range order {
				if read[dir] && i > 0 && !read[order[i-1]] {
					t.Errorf("at %s, %s is read ahead and %s is not", l.Dir, dir, order[i-1])
				}
			}
			at++
			return nil
		}))
		if at != len(order) {
			t.Errorf("%d listings, want %d", at, len(order))
		}
	})
}

// TestWalkLargeDirectoriesWait has every directory larger than the bound: each is listed when its turn comes.
func TestWalkLargeDirectoriesWait(t *testing.T) {
	const dirs, files = 4, 3500 // more than one buffer of names each
	dir := fastDir(t)
	for i := range dirs {
		sub := fmt.Sprintf("%s/%d", dir, i)
		mkdirs(t, sub)
		fill(t, sub, files)
	}
	r := openRoot(t, dir)
	synctest.Test(t, func(t *testing.T) {
		var read sync.Map
		o := WalkOptions{Workers: 3, Prefetch: 100}
		o.Skip = func(dir, _ string, _ bool) bool {
			n, _ := read.LoadOrStore(dir, new(atomic.Int64))
			n.(*atomic.Int64).Add(1)
			return false
		}
		var got []string
		ok(t, Walk(t.Context(), r, ".", o, func(l *Listing) error {
			synctest.Wait()
			got = append(got, fmt.Sprint(l.Dir, " ", len(l.Entries)))
			whole := 0
			read.Range(func(dir, n any) bool {
				if dir.(string) > l.Dir && n.(*atomic.Int64).Load() == files {
					whole++
				}
				return true
			})
			if whole > 0 && l.Dir != "." {
				t.Errorf("at %s, %d directories to come are read whole", l.Dir, whole)
			}
			return nil
		}))
		want := []string{". 4", "0 3500", "1 3500", "2 3500", "3 3500"}
		if !slices.Equal(got, want) {
			t.Errorf("walk is %q, want %q", got, want)
		}
	})
}

func TestCount(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir, 3, 300)
	var want int64
	ok(t, filepath.WalkDir(dir, func(_ string, _ fs.DirEntry, err error) error {
		want++
		return err
	}))
	want-- // the root
	bothWays(t, dir, func(t *testing.T, r *Root) {
		calls, last := 0, int64(0)
		n, err := r.Count(context.Background(), Options{}, func(n int64) {
			if n < last {
				t.Errorf("progress goes from %d to %d", last, n)
			}
			calls++
			last = n
		})
		ok(t, err)
		if n != want || last != want || calls != len(naive(t, dir)) {
			t.Errorf("count is %d, last of %d reports is %d; want %d", n, calls, last, want)
		}
	})
	r := openRoot(t, dir)
	o := Options{Skip: func(_, name string, isDir bool) bool { return !isDir || name[0] == 'b' }}
	n, err := r.Count(context.Background(), o, nil)
	ok(t, err)
	want = 0
	ok(t, Walk(context.Background(), r, ".", WalkOptions{Options: o}, func(l *Listing) error {
		want += int64(len(l.Entries))
		return l.Err
	}))
	if n != want || n == 0 {
		t.Errorf("with a filter the count is %d, want %d", n, want)
	}
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(context.Background())
	if _, err := r.Count(ctx, Options{}, func(int64) { cancel(stop) }); err != stop {
		t.Errorf("cancelled: %v", err)
	}
}

func TestCountOfUntypedNames(t *testing.T) {
	dir := t.TempDir()
	mkdirs(t, dir+"/dir")
	write(t, dir+"/file", "")
	r := openRoot(t, dir)
	c := &counter{root: r, o: Options{Skip: func(_, name string, isDir bool) bool { return isDir != (name == "dir") }}}
	for name, want := range map[string][2]bool{"dir": {true, true}, "file": {false, true}, "none": {false, false}} {
		isDir, ok := c.kind(r.fd, ".", &ref{name: (name + "\x00")[:len(name)]})
		if isDir != want[0] || ok != want[1] {
			t.Errorf("%s: directory %t, counts %t", name, isDir, ok)
		}
	}
}
