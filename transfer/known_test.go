package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// remembering gives a run the catalogue in dir, closed with the test at the latest.
func remembering(t testing.TB, dir string) func(*Config) {
	return func(c *Config) {
		c.Delete = true
		opened, err := c.Remember(dir, false)
		if err != nil {
			t.Fatal(err)
		}
		if opened.Reason != "" {
			t.Logf("catalogue: %s", opened.Reason)
		}
		t.Cleanup(func() { c.Catalogue.Close() })
	}
}

// remembered runs a pass with the catalogue in state, and closes it.
func remembered(t testing.TB, src, dest, state string) (Summary, *record) {
	t.Helper()
	c, rec := config(t, src, dest, remembering(t, state))
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(context.Background()); err != nil {
		t.Fatalf("Run: %v (failed: %v)", err, rec.failed)
	}
	if err := c.Catalogue.Close(); err != nil {
		t.Fatal(err)
	}
	rec.clean(t)
	return e.Summary(), rec
}

// old makes a tree's changes lie so far back that nothing in it is racy.
func old(t testing.TB) {
	t.Helper()
	deadline := time.NewTimer(raceWindow + 100*time.Millisecond)
	<-deadline.C
}

// The second pass asks the destination for nothing.
func TestSecondPassKnows(t *testing.T) {
	src, state := t.TempDir(), t.TempDir()
	treetest.Random(t, rand.New(rand.NewPCG(1, 1)), src, 200)
	url, dst, _ := daemon(t, rsynctest.Config{})
	old(t)
	first, _ := remembered(t, src, url, state)
	equal(t, src, dst)
	second, rec := remembered(t, src, url, state)
	if second.Sessions != 1 { // not counting the one that asks for a few names
		t.Errorf("%d sessions, where the first one alone finds out about the server", second.Sessions)
	}
	if second.Found != first.Found || second.TotalSize != first.TotalSize {
		t.Errorf("found %+v of %d bytes, then %+v of %d", first.Found, first.TotalSize, second.Found, second.TotalSize)
	}
	if len(rec.items) > 0 || len(rec.deleted) > 0 {
		t.Errorf("changed %q, deleted %q", rec.items, rec.deleted)
	}
	equal(t, src, dst)
}

// What changes while nobody looks arrives by the next pass, whatever it hides behind.
func TestChangesBetweenPasses(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, src string){
		"same size and time": func(t *testing.T, src string) {
			p := filepath.Join(src, "d/file")
			st, err := os.Stat(p)
			if err != nil {
				t.Fatal(err)
			}
			write(t, p, "CONTENT")
			if err := os.Chtimes(p, time.Time{}, st.ModTime()); err != nil {
				t.Fatal(err)
			}
		},
		"removed":  func(t *testing.T, src string) { os.RemoveAll(filepath.Join(src, "d/sub")) },
		"mode":     func(t *testing.T, src string) { os.Chmod(filepath.Join(src, "d/file"), 0o600) },
		"dir mode": func(t *testing.T, src string) { os.Chmod(filepath.Join(src, "d/sub"), 0o700) },
		"file for directory": func(t *testing.T, src string) {
			os.RemoveAll(filepath.Join(src, "d/sub"))
			write(t, filepath.Join(src, "d/sub"), "a file now")
		},
		"directory for file": func(t *testing.T, src string) {
			os.Remove(filepath.Join(src, "d/file"))
			write(t, filepath.Join(src, "d/file/in/it"), "below")
		},
		"renamed":      func(t *testing.T, src string) { os.Rename(filepath.Join(src, "d"), filepath.Join(src, "e")) },
		"over another": func(t *testing.T, src string) { os.Rename(filepath.Join(src, "d/sub/a"), filepath.Join(src, "d/file")) },
		"many gone": func(t *testing.T, src string) {
			os.RemoveAll(filepath.Join(src, "many"))
			os.Mkdir(filepath.Join(src, "many"), 0o755)
		},
		"some of many": func(t *testing.T, src string) { os.Remove(filepath.Join(src, "many/7")) },
		"nothing":      func(t *testing.T, src string) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, state := t.TempDir(), t.TempDir()
			write(t, filepath.Join(src, "d/file"), "content")
			write(t, filepath.Join(src, "d/sub/a"), "a")
			write(t, filepath.Join(src, "d/sub/deep/b"), "b")
			for i := range maxGoneNames + 10 {
				write(t, filepath.Join(src, "many", fmt.Sprint(i)), "")
			}
			url, dst, _ := daemon(t, rsynctest.Config{})
			remembered(t, src, url, state)
			old(t)
			remembered(t, src, url, state)
			change(t, src)
			remembered(t, src, url, state)
			equal(t, src, dst)
			remembered(t, src, url, state)
			equal(t, src, dst)
		})
	}
}

// A destination that was emptied, or replaced by another one, is filled again, though nothing changed here.
func TestDestinationWasReplaced(t *testing.T) {
	for name, replace := range map[string]func(dst string) error{
		"gone":       os.RemoveAll,
		"other disk": func(dst string) error { return errors.Join(os.RemoveAll(dst), os.Mkdir(dst, 0o755)) },
		"cleared": func(dst string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dst, "a")), os.RemoveAll(filepath.Join(dst, "b")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, state := t.TempDir(), t.TempDir()
			for _, d := range []string{"a", "b", "c"} {
				write(t, filepath.Join(src, d, "file"), d)
			}
			url, dst, _ := daemon(t, rsynctest.Config{})
			old(t)
			remembered(t, src, url, state)
			if err := replace(dst); err != nil {
				t.Fatal(err)
			}
			_, rec := remembered(t, src, url, state)
			equal(t, src, dst)
			if len(rec.notes) != 1 {
				t.Errorf("notes: %q", rec.notes)
			}
		})
	}
}

// What the destination wrote before it went away is not believed by the next run, either.
func TestDoubtAboutWhatWasWritten(t *testing.T) {
	c, _ := config(t, t.TempDir(), "rsync://host/m", remembering(t, t.TempDir()))
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	file, dir := version{Mode: 0o100644, Ino: 7}, version{Mode: 0o040755, Ino: 6}
	var all []catalogue.Change
	for _, p := range []string{"one", "other", "dir/file", "dir/sub/file", "tree/sub/file"} {
		all = append(all, catalogue.Put(p, file, false))
	}
	for _, p := range []string{"dir", "dir/sub", "tree", "tree/sub"} {
		all = append(all, catalogue.Put(p, dir, false))
	}
	if err := c.Catalogue.Apply(all...); err != nil {
		t.Fatal(err)
	}
	e.doubt(map[string]queue.Kind{"one": queue.Path, "dir": queue.Dir, "tree": queue.Tree})
	for p, want := range map[string]catalogue.State{
		"one": catalogue.Doubt, "other": catalogue.Known, "dir/file": catalogue.Doubt, "dir/sub/file": catalogue.Known,
		"tree/sub/file": catalogue.Doubt,
	} {
		if r, _, err := c.Catalogue.Get(p); err != nil || r.State != want {
			t.Errorf("%s is %v, want %v (%v)", p, r.State, want, err)
		}
	}
}

// Whatever changes between and during runs that end at any time: the run that ends by itself leaves both sides equal.
func TestRandomRestarts(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 7))
			src, state := t.TempDir(), t.TempDir()
			treetest.Random(t, rng, src, 150)
			url, dst, _ := daemon(t, rsynctest.Config{})
			for range 12 {
				treetest.Mutate(t, rng, src, rng.IntN(40))
				cutOff(t, src, url, state, time.Duration(rng.IntN(120))*time.Millisecond)
				if rng.IntN(3) == 0 {
					remembered(t, src, url, state)
					equal(t, src, dst)
				}
			}
			remembered(t, src, url, state)
			equal(t, src, dst)
		})
	}
}

// cutOff runs a pass that is ended after a while, and whose catalogue nobody closes in time.
func cutOff(t *testing.T, src, dest, state string, after time.Duration) {
	t.Helper()
	c, _ := config(t, src, dest, remembering(t, state))
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	// Not a deadline: a dialer that knows of one gives up at it, which may be before the context is done.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer time.AfterFunc(after, cancel).Stop()
	if err := e.Run(ctx); err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
	c.Catalogue.Close()
}

// What is recorded below a directory stays when the directory itself, of which nothing is known but that it may be there,
// is sent once more.
func TestDoubtAboutADirectoryKeepsItsNames(t *testing.T) {
	c, _ := config(t, t.TempDir(), "rsync://host/m", remembering(t, t.TempDir()))
	s := c.Catalogue
	file := version{Mode: 0o100644, Ino: 7}
	if err := s.Apply(catalogue.MarkDoubt("d"), catalogue.Put("d/file", file, false)); err != nil {
		t.Fatal(err)
	}
	for _, k := range []kind{copySmall, prune} {
		b := newBatch(k, nil)
		b.addDir(flist.Entry{Path: "d", Mode: 0o040755, Dir: flist.Content}, version{Mode: 0o040755, Ino: 6}, true)
		g := &ledger{log: slog.New(slog.DiscardHandler)}
		g.store.Store(s)
		g.expect(b)
		if r, ok, err := s.Get("d/file"); err != nil || !ok || r.Version != file {
			t.Errorf("batch of kind %d: the record of d/file is %+v, %v, %v", k, r, ok, err)
		}
	}
}
