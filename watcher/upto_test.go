package watcher

import (
	"testing"
	"time"

	"github.com/syncd/syncd/internal/queue"
)

// What is held back, or about to be reported with a new directory, keeps the time back up to which all is told.
func TestUpTo(t *testing.T) {
	p := place{t, t.TempDir()}
	w := begin(t, p.dir, never)
	reached := func(what string, now time.Time) {
		t.Helper()
		w.eventually(what, func([]queue.Item) bool { return w.Stats().UpTo.After(now) })
	}
	reached("telling up to now", time.Now())
	f := p.open("f")
	opened := time.Now()
	w.reads(1)
	p.write("other", "")
	w.eventually("other", emitted("path other"))
	if up := w.Stats().UpTo; up.After(opened) {
		t.Errorf("told up to %v, and the file opened at %v is held back", up, opened)
	}
	ok(t, f.Close())
	reached("telling after the close", time.Now())

	w.Watcher.mu.Lock()
	before := w.upTo()
	n, _ := w.root.child("new")
	w.watchBelow(n, &group{root: n})
	w.caughtUp = w.caughtUp.Add(time.Second)
	if up := w.upTo(); !up.Equal(before) {
		t.Errorf("told up to %v with a directory to be looked at since %v", up, before)
	}
	w.Watcher.mu.Unlock()
	reached("telling after the directory", before)
}
