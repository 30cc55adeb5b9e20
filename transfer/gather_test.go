package transfer

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// withLinks leaves out what -aH does not copy.
var withLinks = treetest.Options{Ignore: treetest.Xattrs}

// linking is -aH --delete with batches of a few entries.
func linking(c *Config) {
	c.Delete, c.Session.HardLinks = true, true
	c.tuning.entries = 12
}

func hardLink(t testing.TB, dir, old, name string) {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	os.Remove(p)
	if err := os.Link(filepath.Join(dir, old), p); err != nil {
		t.Fatal(err)
	}
}

// linkedTree has files with names in several directories, one with more names than fit into a batch, and a link out of
// the tree.
func linkedTree(t testing.TB, dir string) {
	t.Helper()
	for i := range 20 {
		name := fmt.Sprintf("d%d/file", i)
		write(t, filepath.Join(dir, name), fmt.Sprint("content ", i))
		hardLink(t, dir, name, fmt.Sprintf("d%d/other", (i+7)%20))
		if i%3 == 0 {
			hardLink(t, dir, name, fmt.Sprintf("d%d/deep/third", (i+3)%20))
			hardLink(t, dir, name, fmt.Sprintf("d%d/sibling", i))
		}
	}
	write(t, filepath.Join(dir, "many"), "many")
	for i := range 30 {
		hardLink(t, dir, "many", fmt.Sprintf("d%d/many%d", i%20, i))
	}
	write(t, filepath.Join(dir, "alone"), "alone")
	if err := os.Link(filepath.Join(dir, "alone"), filepath.Join(t.TempDir(), "outside")); err != nil {
		t.Fatal(err)
	}
}

// relinkSome changes which names are one inode, and contents.
func relinkSome(t testing.TB, rng *rand.Rand, dir string) {
	t.Helper()
	name := func() string {
		return fmt.Sprintf("d%d/%s", rng.IntN(20), []string{"file", "other", "sibling", "new"}[rng.IntN(4)])
	}
	for range 40 {
		p := filepath.Join(dir, name())
		switch rng.IntN(5) {
		case 0: // the link is broken
			os.Remove(p)
			write(t, p, fmt.Sprint("broken ", rng.Int()))
		case 1: // all names change
			write(t, p, fmt.Sprint("changed ", rng.Int()))
		case 2:
			if old := name(); exists(t, filepath.Join(dir, old)) && filepath.Join(dir, old) != p {
				os.Remove(p)
				if err := os.Link(filepath.Join(dir, old), p); err != nil {
					t.Fatal(err)
				}
			}
		case 3:
			os.Chmod(p, 0o600+os.FileMode(rng.IntN(64)))
		case 4:
			os.Remove(p)
		}
	}
}

// Names of one inode in any directories are one inode at the destination, in the first pass and after changes, whatever
// is remembered of it.
func TestLinksAcrossBatches(t *testing.T) {
	for name, catalogue := range map[string]bool{"asking": false, "remembering": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, state := t.TempDir(), t.TempDir()
			rng := rand.New(rand.NewPCG(3, 3))
			linkedTree(t, src)
			url, dst, _ := daemon(t, rsynctest.Config{})
			for range 4 {
				c, rec := config(t, src, url, func(c *Config) {
					if catalogue {
						remembering(t, state)(c)
					}
					linking(c)
				})
				e, err := New(c)
				if err != nil {
					t.Fatal(err)
				}
				if err := e.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				rec.clean(t)
				if c.Catalogue != nil {
					if err := c.Catalogue.Close(); err != nil {
						t.Fatal(err)
					}
				}
				treetest.Equal(t, src, dst, withLinks)
				relinkSome(t, rng, src)
			}
		})
	}
}

// What several names stand for is sent once, and a new name of it costs no data.
func TestLinkedDataIsSentOnce(t *testing.T) {
	const size = 300_000
	src := t.TempDir()
	noise(t, src, []string{"a/file"}, size)
	for i := range 8 {
		hardLink(t, src, "a/file", fmt.Sprintf("b%d/link", i))
	}
	url, dst, _ := daemon(t, rsynctest.Config{})
	for i, most := range []int64{size * 5 / 4, size / 4} {
		c, rec := config(t, src, url, linking)
		e, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		rec.clean(t)
		if n := e.Summary().Sent; n > most {
			t.Errorf("pass %d: %d bytes sent", i, n)
		}
		treetest.Equal(t, src, dst, withLinks)
		hardLink(t, src, "b3/link", "c/new")
	}
}

// While following, what happens to links happens to them there.
func TestLinksFollow(t *testing.T) {
	const size = 300_000
	for name, catalogue := range map[string]bool{"asking": false, "remembering": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, state := t.TempDir(), t.TempDir()
			linkedTree(t, src)
			noise(t, src, []string{"a", "single"}, size)
			hardLink(t, src, "a", "x/b")
			url, dst, _ := daemon(t, rsynctest.Config{})
			f, w := watchedFollower(t, src, url, func(c *Config) {
				if catalogue {
					remembering(t, state)(c)
				}
				linking(c)
			})
			treetest.Equal(t, src, dst, withLinks)
			if n, _ := f.sends(t, w, func() { hardLink(t, src, "a", "y/c") }); n > size/2 {
				t.Errorf("a new link: %d bytes sent", n)
			}
			treetest.Equal(t, src, dst, withLinks)
			if n, _ := f.sends(t, w, func() { hardLink(t, src, "single", "y/single") }); catalogue && n > size/2 {
				t.Errorf("a first link: %d bytes sent", n)
			}
			eventually(t, "the other name is found", func() bool {
				f.rests(t, w)
				return treetest.Diff(treetest.Snapshot(t, src, withLinks), treetest.Snapshot(t, dst, withLinks)) == ""
			})
			st, err := os.Stat(filepath.Join(src, "x/b"))
			if err != nil {
				t.Fatal(err)
			}
			// A name that becomes another file of the same content, size and time is no link any more.
			f.sends(t, w, func() {
				data, err := os.ReadFile(filepath.Join(src, "x/b"))
				if err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(src, "copy"), string(data))
				if err := os.Chtimes(filepath.Join(src, "copy"), time.Time{}, st.ModTime()); err != nil {
					t.Fatal(err)
				}
				hardLink(t, src, "copy", "x/b")
			})
			treetest.Equal(t, src, dst, withLinks)
			rng := rand.New(rand.NewPCG(5, 5))
			for range 5 {
				relinkSome(t, rng, src)
				eventually(t, "all is there", func() bool {
					f.rests(t, w)
					return treetest.Diff(treetest.Snapshot(t, src, withLinks), treetest.Snapshot(t, dst, withLinks)) == ""
				})
			}
		})
	}
}

// A name that a listing held back, in a directory that is being pruned when its turn comes, is sent later.
func TestHeldNameInLockedDirectory(t *testing.T) {
	c, _ := config(t, t.TempDir(), "rsync://host/m", func(c *Config) { c.Session.HardLinks = true })
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	e.following = true
	now := time.Now()
	if !e.queue.Lock("d") {
		t.Fatal("no lock")
	}
	e.join(&child{
		entry: flist.Entry{Path: "d/file", Mode: 0o100644}, version: version{Mode: 0o100644, Ino: 7}, link: link{1, 7}, nlink: 2,
	}, false, now)
	e.nextGroups(now, true)
	e.queue.Unlock("d")
	if it, ok := e.queue.Take(now.Add(time.Second)); !ok || it != (queue.Item{Kind: queue.Path, Path: "d/file"}) {
		t.Errorf("next comes %v, %v, want the name", it, ok)
	}
}
