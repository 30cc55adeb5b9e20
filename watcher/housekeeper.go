package watcher

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/scan"
)

const (
	probesAtOnce = 256 // files probed between two looks at the clock

	// rootEvery is how often it is made sure that the root is still in its place. Of its removal the kernel tells nothing as
	// long as we have it open, and of the renaming of what is above it nothing at all.
	rootEvery = 10 * time.Second
	// rootSoon is when that is done after something was removed from the root: "rm -r" of it ends so.
	rootSoon = 100 * time.Millisecond
)

// wakeBy makes sure that the housekeeper looks at t at the latest. The zero time means never.
func (w *Watcher) wakeBy(t time.Time) {
	if t.IsZero() || !w.wakeAt.IsZero() && !t.Before(w.wakeAt) {
		return
	}
	w.wakeAt = t
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// keepHouse does what is due at some time. While nothing is, it sleeps.
func (w *Watcher) keepHouse(ctx context.Context) {
	var files []*written
	var retry time.Time
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-w.wake:
		}
		files = w.probeFiles(files[:0])
		w.removeWatches()
		w.checkRoot()

		now := time.Now()
		w.mu.Lock()
		switch {
		case len(w.failed) == 0:
			retry = time.Time{}
		case retry.IsZero():
			retry = now.Add(retryAfter)
		case !retry.After(now):
			w.retryFailed()
			retry = now.Add(retryAfter)
		}
		w.wakeAt = earliest(w.writing.next(), w.retired.next(), retry, w.rootDue)
		if w.wakeAt.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(w.wakeAt.Sub(now))
		}
		w.mu.Unlock()
	}
}

// checkRootBy has the root looked at after d at the latest.
func (w *Watcher) checkRootBy(d time.Duration) {
	due := time.Now().Add(d)
	if w.rootDue.IsZero() || due.Before(w.rootDue) {
		w.rootDue = due
		w.wakeBy(due)
	}
}

// checkRoot ends Run when the root is not in its place any more. Not being able to tell is no reason.
func (w *Watcher) checkRoot() {
	w.mu.Lock()
	due := !w.rootDue.After(time.Now())
	if due {
		w.rootDue = time.Time{}
		w.checkRootBy(rootEvery)
	}
	w.mu.Unlock()
	if !due {
		return
	}
	if err := w.config.Root.Same(); errors.Is(err, scan.ErrRootChanged) {
		w.cancel(err)
	}
}

// earliest returns the first of times, of which zero means never.
func earliest(times ...time.Time) (first time.Time) {
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// probeFiles looks at the files that are due, and reports those that nobody writes.
func (w *Watcher) probeFiles(files []*written) []*written {
	w.mu.Lock()
	files = w.writing.take(time.Now(), probesAtOnce, files)
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i], _ = w.pathOf(f.dir)
	}
	w.mu.Unlock()
	verdicts := make([]verdict, len(files))
	for i, f := range files {
		if paths[i] != "" {
			verdicts[i] = w.probe(scan.Join(paths[i], f.name))
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for i, f := range files {
		if !w.writing.probed(f, verdicts[i], now) {
			continue
		}
		if dir, ok := w.pathOf(f.dir); ok {
			w.emit(queue.Item{Kind: queue.Path, Path: scan.Join(dir, f.name)})
		}
	}
	clear(files)
	return files
}

// probe finds out whether anybody has the file at path open for writing.
func (w *Watcher) probe(path string) verdict {
	// Merely opening a fifo or a device does something to whoever uses it.
	st, _, err := w.config.Root.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// Where it is now, with the directory that it is in perhaps and still being written, is told by an event to come.
		return gone
	case err != nil || !st.IsRegular():
		return idle
	}
	f, err := w.config.Root.Open(path)
	switch {
	case err == nil:
	case errors.Is(err, scan.ErrBusy): // a write lease
		return busy
	case errors.Is(err, fs.ErrNotExist):
		return gone
	default:
		return idle // not regular any more, or not to be read: the transfer will find out
	}
	defer f.Close()
	written, err := f.Written()
	switch {
	case err != nil:
		return unclear
	case written:
		return busy
	}
	return idle
}
