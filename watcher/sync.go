package watcher

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/scan"
)

// cookieAgain is how long after an overflow, which may have swallowed it, a cookie is sent again.
const cookieAgain = time.Second

// A cookie is an event of our own in the kernel's queue: when it comes back, everything before it has been read. It is
// the IN_IGNORED of a watch on a pipe, so that nothing is written to any file system.
type cookie struct {
	done chan struct{} // closed when everything before it has been emitted
}

// Sync returns when everything that happened before the call has been emitted, files that are still open for writing
// included. It waits for the directories that had to be watched because of it, and before Ready for Ready. It returns
// the cause of ctx when that ends first, and ErrStopped when Run does.
func (w *Watcher) Sync(ctx context.Context) error {
	select {
	case <-w.started:
	case <-w.ended:
		return ErrStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	again := time.NewTicker(cookieAgain)
	defer again.Stop()
	var c *cookie
	sent := int64(-1)
	for {
		if n := w.overflows(); n != sent {
			var err error
			sent = n
			if c, err = w.sendCookie(); err != nil {
				return err
			}
		}
		select {
		case <-c.done:
			return nil
		case <-w.ended:
			return ErrStopped
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-again.C:
		}
	}
}

func (w *Watcher) overflows() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats.Overflows
}

// sendCookie puts a cookie into the kernel's queue.
func (w *Watcher) sendCookie() (*cookie, error) {
	r, p, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("sync with the kernel's queue: %w", err)
	}
	defer r.Close()
	defer p.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, ErrStopped
	}
	wd, err := unix.InotifyAddWatch(w.fd, "/proc/self/fd/"+strconv.Itoa(int(r.Fd())), unix.IN_MODIFY)
	if err != nil {
		return nil, fmt.Errorf("sync with the kernel's queue: inotify_add_watch: %w", err)
	}
	c := &cookie{done: make(chan struct{})}
	w.cookies[int32(wd)] = c
	_, err = unix.InotifyRmWatch(w.fd, uint32(wd))
	if err != nil {
		delete(w.cookies, int32(wd))
		return nil, fmt.Errorf("sync with the kernel's queue: inotify_rm_watch: %w", err)
	}
	return c, nil
}

// cookieRead reports what is held back, and has done closed when all directories known so far are watched.
func (w *Watcher) cookieRead(c *cookie) {
	for k, f := range w.writing.files {
		if dir, ok := w.pathOf(k.dir); ok {
			w.emit(queue.Item{Kind: queue.Path, Path: scan.Join(dir, k.name)})
		}
		f.after = w.caughtUp
	}
	w.groups.wait(c.done)
}
