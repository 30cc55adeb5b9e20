package watcher

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/queue"
)

// items returns a condition for until: everything wanted has been emitted.
func emitted(want ...string) func([]queue.Item) bool {
	return func(items []queue.Item) bool {
		got := names(items)
		for _, w := range want {
			if !slices.Contains(got, w) {
				return false
			}
		}
		return true
	}
}

// eventually is until without Sync, which would report what is held back.
func (w *watch) eventually(what string, reached func([]queue.Item) bool) {
	w.t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-look.C {
		w.mu.Lock()
		items := w.items
		w.mu.Unlock()
		if reached(items) { // not under mu: it may ask the Watcher, which may be emitting
			return
		}
	}
	w.t.Fatalf("no %s, but %v; %+v", what, w.take(), w.Stats())
}

// reads waits until the reader has taken n events since it started.
func (w *watch) reads(n int64) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%d events", n), func([]queue.Item) bool { return w.Stats().Events >= n })
}

func never(w *Watcher) { w.writing.maxDelay = time.Hour }

func TestOpenFileWaitsForItsClose(t *testing.T) {
	p := place{t, t.TempDir()}
	w := begin(t, p.dir, never)
	f := p.open("f")
	_, err := f.WriteString("a")
	ok(t, err)
	ok(t, f.Chmod(0o600))
	w.reads(3)
	p.write("other", "")
	w.eventually("other", emitted("path other"))
	if got := names(w.take()); !slices.Equal(got, []string{"path other"}) {
		t.Errorf("emitted %q while f is open", got)
	}
	ok(t, f.Close())
	w.eventually("f", emitted("path f"))
	if n := w.Stats().Writing; n != 0 {
		t.Errorf("%d files held", n)
	}
}

func TestSyncReportsOpenFiles(t *testing.T) {
	p := place{t, t.TempDir()}
	w := begin(t, p.dir, never)
	f := p.open("f")
	w.sync()
	if got := names(w.take()); !slices.Equal(got, []string{"path f"}) {
		t.Errorf("emitted %q", got)
	}
	ok(t, f.Close())
	w.eventually("f again", emitted("path f"))
}

func TestNeverClosedFileIsReportedInTime(t *testing.T) {
	p := place{t, t.TempDir()}
	w := begin(t, p.dir, func(w *Watcher) { w.writing.maxDelay = 30 * time.Millisecond })
	f := p.open("f")
	for i := range 3 {
		_, err := f.WriteString("more")
		ok(t, err)
		w.eventually(fmt.Sprint("report ", i), emitted("path f"))
		w.take()
	}
}

// A program may close its descriptor and go on writing through a mapping. The kernel tells of no write then; the close
// comes with the end of the mapping.
func TestWriteThroughMapping(t *testing.T) {
	p := place{t, t.TempDir()}
	p.write("f", "0123456789")
	w := begin(t, p.dir)
	f := p.open("f")
	mem, err := unix.Mmap(int(f.Fd()), 0, 10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	ok(t, err)
	ok(t, f.Close())
	w.sync()
	w.take()
	before := snapshot(t, p.dir)
	copy(mem, "changed")
	ok(t, unix.Munmap(mem))
	w.sync()
	items := w.take()
	if missed := uncovered(before, snapshot(t, p.dir), items); missed != nil {
		t.Errorf("not covered: %q by %v", missed, items)
	}
	if got := names(items); !slices.Equal(got, []string{"path f"}) {
		t.Errorf("emitted %q", got)
	}
}

// A file linked into the tree while it is open for writing is closed under a name that never was there.
func TestUnnamedFileLinkedWhileOpen(t *testing.T) {
	for _, c := range []struct {
		name     string
		maxDelay time.Duration
	}{{"soon closed", time.Hour}, {"reported before it is closed", 20 * time.Millisecond}} {
		t.Run(c.name, func(t *testing.T) {
			p := place{t, t.TempDir()}
			w := begin(t, p.dir, func(w *Watcher) { w.writing.maxDelay = c.maxDelay })
			fd, err := unix.Open(p.dir, unix.O_TMPFILE|unix.O_RDWR, 0o600)
			ok(t, err)
			f := os.NewFile(uintptr(fd), "unnamed")
			_, err = f.WriteString("first")
			ok(t, err)
			w.sync()
			w.take()
			ok(t, unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, p.at("f"), unix.AT_SYMLINK_FOLLOW))
			if c.maxDelay < time.Hour {
				w.eventually("f while it is open", emitted("path f"))
				w.take()
			}
			before := snapshot(t, p.dir)
			_, err = f.WriteString("second")
			ok(t, err)
			ok(t, f.Close())
			w.eventually("f at its end", emitted("path f"))
			if missed := uncovered(before, snapshot(t, p.dir), w.take()); missed != nil {
				t.Errorf("not covered: %q", missed)
			}
		})
	}
}

// Of links and special files no close will tell.
func TestWhatIsNeverOpenedIsReported(t *testing.T) {
	p := place{t, t.TempDir()}
	p.write("f", "x")
	w := begin(t, p.dir, never)
	ok(t, os.Symlink("x", p.at("symlink")))
	ok(t, os.Link(p.at("f"), p.at("hardlink")))
	ok(t, unix.Mkfifo(p.at("fifo"), 0o600))
	ok(t, os.Truncate(p.at("f"), 0))
	w.eventually("everything", emitted("path symlink", "path hardlink", "path fifo", "path f"))
}

func TestHardLinkOfAnOpenFile(t *testing.T) {
	p := place{t, t.TempDir()}
	w := begin(t, p.dir, never)
	f := p.open("f")
	ok(t, os.Link(p.at("f"), p.at("g")))
	w.reads(2)
	_, err := f.WriteString("x")
	ok(t, err)
	ok(t, f.Close())
	w.eventually("both names", emitted("path f", "path g"))
}

// writersTest drives writers with a clock of its own.
type writersTest struct {
	writers
	t   *testing.T
	now time.Time
	dir *node
}

func newWriters(t *testing.T) *writersTest {
	return &writersTest{writers{files: map[fileKey]*written{}, maxDelay: 10 * time.Second}, t, time.Unix(1e9, 0), &node{}}
}

// run answers all probes with v for d, and returns after how long each report came.
func (s *writersTest) run(v verdict, d time.Duration) (reports []time.Duration, probes int) {
	start := s.now
	for next := s.next(); !next.IsZero() && !next.After(start.Add(d)); next = s.next() {
		s.now = next
		for _, f := range s.take(s.now, 100, nil) {
			probes++
			if s.probed(f, v, s.now) {
				reports = append(reports, s.now.Sub(start))
			}
		}
	}
	s.now = start.Add(d)
	return reports, probes
}

func TestIdleFileIsReportedAtTheFirstProbe(t *testing.T) {
	s := newWriters(t)
	s.changed(s.dir, []byte("f"), s.now, s.now, true)
	if reports, probes := s.run(idle, time.Hour); !slices.Equal(reports, []time.Duration{firstProbe}) || probes != 1 {
		t.Errorf("reports after %v, %d probes", reports, probes)
	}
	if len(s.files) != 0 {
		t.Error("still held")
	}
}

func TestBusyFileIsReportedAfterMaxDelay(t *testing.T) {
	s := newWriters(t)
	s.changed(s.dir, []byte("f"), s.now, s.now, false)
	reports, probes := s.run(busy, time.Hour)
	if !slices.Equal(reports, []time.Duration{s.maxDelay}) {
		t.Errorf("reports after %v", reports)
	}
	if probes < 10 || probes > 20 {
		t.Errorf("%d probes", probes)
	}
	if len(s.files) != 0 {
		t.Error("still held")
	}
}

func TestNewBusyFileIsFollowedToItsEnd(t *testing.T) {
	s := newWriters(t)
	s.changed(s.dir, []byte("f"), s.now, s.now, true)
	reports, probes := s.run(busy, time.Hour)
	if !slices.Equal(reports, []time.Duration{s.maxDelay}) {
		t.Errorf("reports after %v", reports)
	}
	if probes < 60 || probes > 90 {
		t.Errorf("%d probes in an hour", probes)
	}
	if reports, _ := s.run(idle, 2*idleProbe); len(reports) != 1 {
		t.Errorf("at the end: %v", reports)
	}
}

func TestReportedFileThatChangesIsReportedAgain(t *testing.T) {
	s := newWriters(t)
	s.changed(s.dir, []byte("f"), s.now, s.now, true)
	s.run(busy, time.Hour)
	s.changed(s.dir, []byte("f"), s.now, s.now, false)
	if reports, _ := s.run(busy, s.maxDelay+time.Second); !slices.Equal(reports, []time.Duration{s.maxDelay}) {
		t.Errorf("reports after %v", reports)
	}
}

func TestUnclearFileIsReportedWhenQuiet(t *testing.T) {
	s := newWriters(t)
	s.changed(s.dir, []byte("f"), s.now, s.now, true)
	if reports, _ := s.run(unclear, time.Hour); !slices.Equal(reports, []time.Duration{quiet}) {
		t.Errorf("reports after %v", reports)
	}
	start := s.now
	var reports []time.Duration
	for s.now.Sub(start) < s.maxDelay && len(reports) == 0 {
		s.changed(s.dir, []byte("f"), s.now, s.now, false)
		got, _ := s.run(unclear, quiet/2)
		reports = append(reports, got...)
	}
	if late := s.now.Sub(start); len(reports) != 1 || late < s.maxDelay-quiet || late > s.maxDelay+quiet {
		t.Errorf("a file that never rests: %d reports after %v", len(reports), late)
	}
}

// An event tells why a file is gone, unless it was dropped.
func TestGoneFileIsLeftToItsEvent(t *testing.T) {
	s := newWriters(t)
	s.changed(s.dir, []byte("f"), s.now, s.now, true)
	if reports, _ := s.run(gone, time.Hour); !slices.Equal(reports, []time.Duration{s.maxDelay}) || len(s.files) != 0 {
		t.Errorf("reports after %v, %d files held", reports, len(s.files))
	}
	s.changed(s.dir, []byte("f"), s.now, s.now, true)
	s.run(busy, time.Hour)
	if reports, _ := s.run(gone, 2*idleProbe); len(reports) != 1 || len(s.files) != 0 {
		t.Errorf("after it was reported: reports after %v, %d files held", reports, len(s.files))
	}
}

func TestHeldFilesAreBounded(t *testing.T) {
	s := newWriters(t)
	for i := range maxWriting {
		if !s.changed(s.dir, fmt.Append(nil, i), s.now, s.now, true) {
			t.Fatalf("%d refused", i)
		}
	}
	if s.changed(s.dir, []byte("one more"), s.now, s.now, true) {
		t.Error("one more is held")
	}
	if !s.changed(s.dir, []byte("0"), s.now, s.now, false) {
		t.Error("a file that is held already is refused")
	}
}

func TestProbeOnEveryKind(t *testing.T) {
	p := place{t, t.TempDir()}
	w := newWatch(t, p.dir)
	ok(t, os.Symlink("/etc/passwd", p.at("symlink")))
	ok(t, unix.Mkfifo(p.at("fifo"), 0o600))
	p.mkdir("dir")
	p.write("file", "")
	p.open("open")
	opened, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	ok(t, err)
	defer unix.Close(opened)
	_, err = unix.InotifyAddWatch(opened, p.at("fifo"), unix.IN_OPEN)
	ok(t, err)
	for name, want := range map[string]verdict{
		"symlink": idle, "fifo": idle, "dir": idle, "none": gone, "none/below": gone, "file": idle, "open": busy,
	} {
		if got := w.probe(name); got != want {
			t.Errorf("%s: %d, want %d", filepath.Base(name), got, want)
		}
	}
	// A writer that waits for somebody to read would have been let in, to find nobody there.
	if n, err := unix.Read(opened, make([]byte, 100)); err != unix.EAGAIN {
		t.Errorf("the fifo was opened: %d bytes of events, %v", n, err)
	}
}
