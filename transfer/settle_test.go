package transfer

import (
	"errors"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
)

// A session wrote a file, said so, and broke before it set the time of the directory that it wrote in.
func TestBrokenSessionLeavesNoDirectoryTime(t *testing.T) {
	c, _ := config(t, t.TempDir(), "rsync://host/m", deleting)
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	e.following = true
	e.queue.Add(queue.Item{Kind: queue.Path, Path: "d/file"}, time.Now())
	if _, ok := e.queue.Take(time.Now()); !ok {
		t.Fatal("nothing to take")
	}
	b := newBatch(copySmall, nil)
	b.live, b.retry = true, true
	b.addDir(flist.Entry{Path: "d", Mode: 0o040755}, version{}, false)
	b.entries = append(b.entries, flist.Entry{Path: "d/file", Mode: 0o100644})
	b.about = append(b.about, about{primary: true})
	b.answer(1, "d/file")
	report := &rsync.Report{Results: []rsync.Result{{}, {State: rsync.Acked}}}
	lost := &rsync.Error{Kind: rsync.KindLost, Err: errors.New("cut off")}
	if err := e.settle(outcome{given: b, b: b, report: report, err: lost}); err != nil {
		t.Fatal(err)
	}
	if it, ok := e.queue.Take(time.Now()); !ok || it != (queue.Item{Kind: queue.Self, Path: "d"}) {
		t.Errorf("next comes %v, %v, want the directory's own attributes", it, ok)
	}
}
