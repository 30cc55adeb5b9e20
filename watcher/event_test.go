package watcher

import (
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/scan"
)

// raw is an event as the kernel writes it.
func raw(wd int32, mask uint32, name string, pad int) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(wd))
	b = binary.NativeEndian.AppendUint32(b, mask)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = binary.NativeEndian.AppendUint32(b, uint32(len(name)+pad))
	return append(append(b, name...), make([]byte, pad)...)
}

func TestParseEvent(t *testing.T) {
	buf := append(raw(7, unix.IN_CREATE, "name", 12), raw(-1, unix.IN_Q_OVERFLOW, "", 0)...)
	e, rest, err := parseEvent(buf)
	if err != nil || e.wd != 7 || e.mask != unix.IN_CREATE || string(e.name) != "name" {
		t.Errorf("%+v, %v", e, err)
	}
	if e, rest, err = parseEvent(rest); err != nil || e.wd != -1 || e.mask != unix.IN_Q_OVERFLOW || len(e.name) != 0 || len(rest) != 0 {
		t.Errorf("%+v, %v", e, err)
	}
	for n := range 32 {
		if _, _, err := parseEvent(buf[:n:n]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// A directory that is announced while it is about to be looked at is looked at again: what is looked at may have been
// gone before. One that is watched was found after it was announced.
func TestCreateOfKnownDirectory(t *testing.T) {
	w := newWatch(t, t.TempDir())
	w.own(1, w.root)
	unwatched, _ := w.root.child("unwatched")
	watched, _ := w.root.child("watched")
	w.own(2, watched)
	for _, name := range []string{"unwatched", "watched"} {
		ok(t, w.handle(event{1, unix.IN_CREATE | unix.IN_ISDIR, 0, []byte(name)}))
	}
	if w.root.children["unwatched"] == unwatched || w.tasks.open != 1 {
		t.Errorf("not looked at again; %d tasks", w.tasks.open)
	}
	if w.root.children["watched"] != watched {
		t.Error("looked at again")
	}
	// An overflow may have swallowed that the one we know was removed.
	w.lost()
	ok(t, w.handle(event{1, unix.IN_CREATE | unix.IN_ISDIR, 0, []byte("watched")}))
	if w.root.children["watched"] == watched {
		t.Error("not looked at again after an overflow")
	}
}

// A watch that ends without a word of the parent, as below an unmounted file system, has its place looked at.
func TestWatchEnds(t *testing.T) {
	w := newWatch(t, t.TempDir())
	w.own(1, w.root)
	d, _ := w.root.child("d")
	w.own(2, d)
	if path, _ := w.pathOf(d); path != "d" {
		t.Errorf("path %q", path)
	}
	ok(t, w.handle(event{2, unix.IN_UNMOUNT, 0, nil}))
	ok(t, w.handle(event{2, unix.IN_IGNORED, 0, nil}))
	if w.root.children["d"] == d || w.tasks.open != 1 || w.stats.Rescans != 1 {
		t.Errorf("not looked at: %d tasks, %d rescans", w.tasks.open, w.stats.Rescans)
	}
	if path, ok := w.pathOf(d); ok {
		t.Errorf("it has a path still: %q", path)
	}
	if err := w.handle(event{1, unix.IN_IGNORED, 0, nil}); !errors.Is(err, scan.ErrRootChanged) {
		t.Errorf("the root's: %v", err)
	}
}

// A directory that was dropped while it was being watched leaves a watch that has to be removed.
func TestWatchedTooLate(t *testing.T) {
	w := newWatch(t, t.TempDir())
	w.own(1, w.root)
	d, _ := w.root.child("d")
	w.drop(d)
	if _, err := w.watched(task{d, &group{root: d}}, 2); !errors.Is(err, errGone) {
		t.Errorf("watched: %v", err)
	}
	if wds := w.unneeded(time.Now().Add(time.Hour)); len(wds) != 1 || wds[0] != 2 {
		t.Errorf("not needed: %v, want 2", wds)
	}
	if wds := w.unneeded(time.Now().Add(time.Hour)); len(wds) != 0 || len(w.wds) != 1 {
		t.Errorf("not needed once more: %v", wds)
	}
}
