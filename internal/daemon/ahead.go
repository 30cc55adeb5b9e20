package daemon

import (
	"fmt"
	"time"

	"github.com/syncd/syncd/internal/cutover"
)

// ahead is how far the audit is with what it proves before a freeze.
type ahead struct {
	begun time.Time // of the drain
	least int64     // files not proven, at the fewest
	since time.Time // when there were so few for the first time

	files, bytes int64 // that the audit had compared before
}

const (
	// aheadTime bounds how long a freeze is put off for the audit; after that the freeze budget decides. Who wants it
	// to wait longer begins the cutover later: the audit goes on by itself.
	aheadTime = 10 * time.Minute
	// So many files, with so much in them, are compared in a fraction of a second: that may be left to the freeze.
	aheadFew      = 1000
	aheadFewBytes = 32 << 20
	// aheadLevel is how long there must be no progress, under changes, until there is taken to be none.
	aheadLevel = 5 * time.Second
)

// proveAhead says in b what is waited for, and how long the freeze would be.
func (w *world) proveAhead(b *cutover.Backlog, now time.Time) {
	a, store := w.s.audit, w.s.c.Engine.Catalogue
	if a == nil || w.ahead.begun.IsZero() {
		return
	}
	n := store.Counts()
	left := n.Files - n.ProvenFiles
	b.Freeze = w.freeze(left, n.Bytes-n.ProvenBytes)
	if left < w.ahead.least {
		w.ahead.least, w.ahead.since = left, now
	}
	st := a.Status()
	over := now.Sub(w.ahead.begun) > aheadTime || st.Trouble != ""
	few := left <= aheadFew && n.Bytes-n.ProvenBytes <= aheadFewBytes
	level := few || now.Sub(w.ahead.since) > aheadLevel && a.Surveyed()
	if over || a.Surveyed() && level {
		return
	}
	what := "names and attributes of everything"
	if !few {
		what = fmt.Sprintf("%d files that were never compared", left)
	}
	b.Blocked = append(b.Blocked, "the audit compares "+what)
}

// freeze is how long so much takes to be compared at the speed of the audit in this drain; 0: not known. It was not
// slower in the freeze, with nothing else to do.
func (w *world) freeze(files, bytes int64) time.Duration {
	st := w.s.audit.Status()
	took := time.Since(w.ahead.begun).Seconds()
	doneFiles, doneBytes := st.Files-w.ahead.files, st.Bytes-w.ahead.bytes
	if files <= aheadFew && bytes <= aheadFewBytes || took < 1 || doneFiles < aheadFew {
		return 0
	}
	seconds := max(float64(files)/float64(doneFiles), float64(bytes)/float64(max(doneBytes, 1))) * took
	return time.Duration(min(seconds, 1e6) * float64(time.Second))
}
