package watcher

import (
	"time"

	"golang.org/x/sys/unix"
)

// wakeAfter is how long after the last events the reader makes sure that there are no more: what was changed with them
// is older then than the time that it has caught up to, by more than the kernel's clock is coarse.
const wakeAfter = 50 * time.Millisecond

// noteCaughtUp notes, for the reader, the time when there was nothing to read: what is read later happened after it.
func (w *Watcher) noteCaughtUp() {
	now := time.Now()
	if waiting, err := unix.IoctlGetInt(w.fd, unix.TIOCINQ); err != nil || waiting > 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.caughtUp = now
}

// readOn sets the time when reading ends without events; the zero time is none. It returns false if Run has ended it for
// good.
func (w *Watcher) readOn(until time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wakeReader(until)
}

// wakeReader is readOn under the lock. Before Run has begun it does nothing.
func (w *Watcher) wakeReader(at time.Time) bool {
	if w.tasks.stopped || w.caughtUp.IsZero() {
		return false
	}
	_ = w.file.SetReadDeadline(at)
	return true
}

// upTo is the time before which every change has been emitted. What directories being looked at and files being written
// are for is not emitted yet; a change is no older than what the reader had caught up to before it read of it.
func (w *Watcher) upTo() time.Time {
	upTo := w.caughtUp
	if g := w.groups.first; g != nil && g.after.Before(upTo) {
		upTo = g.after // the others were made later
	}
	for _, f := range w.writing.files {
		if !f.reported && f.after.Before(upTo) {
			upTo = f.after
		}
	}
	return upTo
}
