package transfer

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/syncd/syncd/internal/queue"
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
