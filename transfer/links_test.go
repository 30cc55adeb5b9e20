package transfer

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/syncd/syncd/internal/queue"
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

// Whatever the clock does, all names are looked at in the newest state, and then there is an end of it.
func TestLinkedNamesSettleWhenTheClockIsSetBack(t *testing.T) {
	x := newLinkIndex()
	look := func(name string, ctime int64) []string {
		return x.see(&child{entry: flist.Entry{Path: name, Mode: 0o100644}, version: version{Ctime: ctime}, nlink: 2}, true)
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
