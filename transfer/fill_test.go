package transfer

import (
	"errors"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync/flist"
)

// A directory that could not be read is not read again while what was found of it is on its way: two batches would
// hold it, and either let go of it for both.
func TestUnreadableDirectoryStaysInFlight(t *testing.T) {
	c, _ := config(t, t.TempDir(), "rsync://host/m", deleting)
	c.tuning.pathBackoff = queue.Backoff{}
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	e.following = true
	now := time.Now()
	take := func() bool {
		it, ok := e.queue.Take(now)
		if ok && it != (queue.Item{Kind: queue.Tree, Path: "d"}) {
			t.Fatalf("took %v", it)
		}
		return ok
	}
	list := func(parent *dir) {
		d := &dir{entry: flist.Entry{Path: "d", Mode: 0o040755}, parent: parent}
		e.add(listed{listJob{path: "d", parent: parent, alone: true}, &listing{dir: d, err: errors.New("no")}})
	}
	e.queue.Add(queue.Item{Kind: queue.Tree, Path: "d"}, now)
	take()
	list(&dir{entry: flist.Entry{Path: ".", Mode: 0o040755}})
	now = now.Add(time.Hour)
	if take() {
		t.Fatal("the directory was taken again while a batch held it")
	}
	b := e.filling[fillSmall]
	if b == nil || b.primaries() != 1 {
		t.Fatal("its attributes are not sent")
	}
	e.close(fillSmall)
	e.release(b.parts)
	now = now.Add(time.Hour)
	if !take() {
		t.Fatal("it is not tried again")
	}
	list(nil) // nor could what leads to it
	if e.filling[fillSmall] != nil || len(e.work) != 0 {
		t.Error("something is sent of a directory whose parents are not known")
	}
	now = now.Add(time.Hour)
	if !take() {
		t.Error("it is not tried again")
	}
}
