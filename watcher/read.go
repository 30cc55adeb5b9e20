package watcher

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// readBuffer holds several thousand events with names of usual length.
const readBuffer = 256 << 10 // bytes

// An event is one record of the kernel's queue. name aliases the read buffer.
type event struct {
	wd     int32
	mask   uint32
	cookie uint32 // the same in both halves of a rename; 0 in other events
	name   []byte
}

// read takes events until the deadline that Run sets at its end. Whatever else goes on, it waits for nothing but mu, which is held
// for bookkeeping only.
func (w *Watcher) read() error {
	buf := make([]byte, readBuffer)
	for {
		if w.hooks.beforeRead != nil {
			w.hooks.beforeRead()
		}
		w.noteCaughtUp()
		n, err := w.file.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if w.readOn(time.Time{}) {
				continue
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("read inotify events: %w", err)
		}
		n += w.readOtherHalf(buf, n)
		if err := w.handleAll(buf[:n]); err != nil {
			return err
		}
		w.readOn(time.Now().Add(wakeAfter))
	}
}

func (w *Watcher) handleAll(buf []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := time.Now()
	for len(buf) > 0 {
		e, rest, err := parseEvent(buf)
		if err != nil {
			return err
		}
		buf = rest
		w.stats.Events++
		if to, rest, ok := w.otherHalf(e, rest); ok && w.renamed(e, to, seen) {
			buf = rest
			w.stats.Events++
			continue
		}
		if err := w.handle(e); err != nil {
			return err
		}
	}
	return nil
}

// parseEvent takes the first record off buf: struct inotify_event of inotify(7).
func parseEvent(buf []byte) (e event, rest []byte, err error) {
	if len(buf) < unix.SizeofInotifyEvent {
		return e, nil, io.ErrUnexpectedEOF
	}
	e.wd = int32(binary.NativeEndian.Uint32(buf))
	e.mask = binary.NativeEndian.Uint32(buf[4:])
	e.cookie = binary.NativeEndian.Uint32(buf[8:])
	size := binary.NativeEndian.Uint32(buf[12:])
	buf = buf[unix.SizeofInotifyEvent:]
	if uint64(size) > uint64(len(buf)) {
		return e, nil, io.ErrUnexpectedEOF
	}
	e.name = buf[:size]
	if i := bytes.IndexByte(e.name, 0); i >= 0 {
		e.name = e.name[:i]
	}
	return e, buf[size:], nil
}
