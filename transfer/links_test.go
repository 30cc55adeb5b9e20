package transfer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsynctest"
)

// A file that was copied while it had one name gets another, by which it is changed. The kernel tells of the other name
// alone; the first one was never known to be one of several.
func TestChangeByALaterName(t *testing.T) {
	src := t.TempDir()
	first, later := filepath.Join(src, "d/first"), filepath.Join(src, "later")
	write(t, first, "content")
	url, dst, _ := daemon(t, rsynctest.Config{})
	e := follow(t, src, url, nil)
	settles(t, src, dst)
	if err := os.Link(first, later); err != nil {
		t.Fatal(err)
	}
	e.Changed(queue.Item{Kind: queue.Path, Path: "later"})
	settles(t, src, dst)
	for _, mode := range []os.FileMode{0o600, 0o640} {
		if err := os.Chmod(later, mode); err != nil {
			t.Fatal(err)
		}
		e.Changed(queue.Item{Kind: queue.Path, Path: "later"})
		settles(t, src, dst)
	}
	write(t, later, "other content")
	e.Changed(queue.Item{Kind: queue.Path, Path: "later"})
	settles(t, src, dst)
}

// A look that was taken before an inode got its second name, and is told of after a look at that, says nothing of how many
// names there are.
func TestStaleLookAtLinkedNames(t *testing.T) {
	for what, ctime := range map[string]int64{"older": 10, "in the same tick": 20} {
		x := newLinkIndex()
		look := func(name string, ctime int64, nlink uint64) []string {
			return x.see(&child{entry: flist.Entry{Path: name, Mode: 0o100644}, version: version{Ctime: ctime}, nlink: nlink}, true, always)
		}
		look("later", 20, 2)
		todo := look("first", ctime, 1)
		slices.Sort(todo)
		if !slices.Equal(todo, []string{"first", "later"}) {
			t.Errorf("%s: %q are looked at again", what, todo)
		}
		for _, name := range todo {
			if again := look(name, 20, 2); len(again) > 0 && name == "later" {
				t.Errorf("%s: then %q, once more", what, again)
			}
		}
		if !x.knows(link{}) {
			t.Errorf("%s: the inode is forgotten", what)
		}
	}
}

// A file gets its second name while a session has it, which looked at it before. The second one is sent while the first
// is looked at again. Both are one there in the end, and nobody had to search for names.
func TestLinkMadeWhileTheFileIsSent(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "there"), "before")
	first := filepath.Join(src, "first")
	url, dst, _ := daemon(t, rsynctest.Config{})
	c, _ := config(t, src, url, deleting)
	c.Session.HardLinks = true
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	e.links.after = time.Now().Add(time.Hour)
	knows := func(name string) error {
		for {
			known := false
			err := e.ask(t.Context(), func() {
				for _, l := range e.links.inodes {
					known = known || l.has(name)
				}
			})
			if err != nil || known {
				return err
			}
		}
	}
	again := make(chan struct{})
	e.dest = &holding{destination: e.dest, held: map[string][]func() error{
		"first": {
			func() error {
				err := errors.Join(os.Mkdir(filepath.Join(src, "d"), 0o755), os.Link(first, filepath.Join(src, "d/later")))
				e.Changed(queue.Item{Kind: queue.Tree, Path: "d"})
				return errors.Join(err, knows("d/later"))
			},
			func() error { close(again); return nil },
		},
		"d/later": {func() error { <-again; return nil }},
	}}
	f := following(t, e)
	settles(t, src, dst)
	write(t, first, "content")
	f.Changed(queue.Item{Path: "first"})
	waitFor(t, func() bool {
		a, err := os.Stat(filepath.Join(dst, "first"))
		b, err2 := os.Stat(filepath.Join(dst, "d/later"))
		return err == nil && err2 == nil && os.SameFile(a, b)
	})
	settles(t, src, dst)
}

// A holding destination does something before the next session gets a name: it was looked at before.
type holding struct {
	destination
	mu   sync.Mutex
	held map[string][]func() error
}

func (h *holding) Send(ctx context.Context, b *rsync.Batch, o rsync.Options) (*rsync.Report, error) {
	for i := range b.Entries {
		if hold := h.next(b.Entries[i].Path); hold != nil {
			if err := hold(); err != nil {
				return &rsync.Report{}, err
			}
		}
	}
	return h.destination.Send(ctx, b, o)
}

func (h *holding) next(name string) (hold func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if held := h.held[name]; len(held) > 0 {
		hold, h.held[name] = held[0], held[1:]
	}
	return hold
}

func always(string) bool { return true }

// The names that an inode had are none of a new one that got its number: where it has names that nobody knows, they are
// searched for.
func TestInodeNumberUsedAgain(t *testing.T) {
	x := newLinkIndex()
	look := func(name string, ctime int64, still func(string) bool) {
		x.see(&child{entry: flist.Entry{Path: name, Mode: 0o100644}, version: version{Ctime: ctime}, nlink: 2}, true, still)
	}
	look("old", 10, always)
	x.inodes[link{}].searched = true
	look("new", 20, func(name string) bool { return name == "new" })
	if _, hidden := x.hidden[link{}]; !hidden {
		t.Error("its other name is not searched for")
	}
}

// Whatever the clock does, all names are looked at in the newest state, and then there is an end of it.
func TestLinkedNamesSettleWhenTheClockIsSetBack(t *testing.T) {
	x := newLinkIndex()
	look := func(name string, ctime int64) []string {
		return x.see(&child{entry: flist.Entry{Path: name, Mode: 0o100644}, version: version{Ctime: ctime}, nlink: 2}, true, always)
	}
	look("a", 1000)
	look("b", 1000)
	todo := look("a", 10) // changed after the clock was set back by much
	seen := map[string]bool{}
	for n := 0; len(todo) > 0; n++ {
		if n > 10 {
			t.Fatalf("no end: %q", todo)
		}
		name := todo[0]
		seen[name] = true
		todo = append(todo[1:], look(name, 10)...)
	}
	if !seen["b"] {
		t.Error("the other name was not looked at")
	}
}
