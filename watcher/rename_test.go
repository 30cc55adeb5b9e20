package watcher

import (
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/queue"
)

// Of each step, the renames told are exactly those wanted, "from>to", and those with a slash at the end are directories'.
var renameScripts = []struct {
	name  string
	setup func(place)
	step  func(place)
	want  string
}{
	{"file", func(p place) { p.write("in/f", "x") }, func(p place) { p.mv("in/f", "in/g") }, "f>g"},
	{"file to another directory", func(p place) { p.mkdir("in/a", "in/b"); p.write("in/a/f", "x") },
		func(p place) { p.mv("in/a/f", "in/b/g") }, "a/f>b/g"},
	{"over another", func(p place) { p.write("in/f", "x"); p.write("in/g", "y") },
		func(p place) { p.mv("in/f", "in/g") }, "f>g"},
	{"symlink", func(p place) { ok(p.t, os.Symlink("x", p.at("in/l"))) }, func(p place) { p.mv("in/l", "in/m") }, "l>m"},
	{"in a row", func(p place) { p.write("in/f", "x") },
		func(p place) { p.mv("in/f", "in/g"); p.mv("in/g", "in/h") }, "f>g, g>h"},
	{"exchanged", func(p place) { p.write("in/f", "x"); p.write("in/g", "y") },
		func(p place) { p.exchange("in/f", "in/g") }, "f>g, g>f"},
	{"out of the tree", func(p place) { p.write("in/f", "x") }, func(p place) { p.mv("in/f", "out/f") }, ""},
	{"into the tree", func(p place) { p.write("out/f", "x") }, func(p place) { p.mv("out/f", "in/f") }, ""},
	{"out, and another in", func(p place) { p.write("in/f", "x"); p.write("out/g", "y") },
		func(p place) { p.mv("in/f", "out/f"); p.mv("out/g", "in/g") }, ""},
	{"of what is still being written", nil, func(p place) {
		f, err := os.Create(p.at("in/f"))
		ok(p.t, err)
		p.t.Cleanup(func() { f.Close() })
		_, err = f.WriteString("x")
		ok(p.t, err)
		p.mv("in/f", "in/g")
	}, ""},
	{"directory", func(p place) { p.mkdir("in/d/e") }, func(p place) { p.mv("in/d", "in/g") }, "d/>g/"},
	{"directory with a file that is being written", func(p place) { p.mkdir("in/d/e") }, func(p place) {
		f, err := os.Create(p.at("in/d/e/f"))
		ok(p.t, err)
		p.t.Cleanup(func() { f.Close() })
		p.mv("in/d", "in/g")
	}, ""},
	{"directory out of the tree", func(p place) { p.mkdir("in/d/e") }, func(p place) { p.mv("in/d", "out/g") }, ""},
	{"skipped", func(p place) { p.write("in/f", "x"); p.write("in/no", "x") },
		func(p place) { p.mv("in/f", "in/no2"); p.mv("in/no", "in/f") }, ""},
}

func TestRenamesAreTold(t *testing.T) {
	for _, s := range renameScripts {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			var got string
			for range 10 { // the halves of one may be so far apart that they are not taken for one
				if got = toldOf(t, s.setup, s.step); len(got) >= len(s.want) {
					break
				}
			}
			if got != s.want {
				t.Errorf("told %q, want %q", got, s.want)
			}
		})
	}
}

// toldOf returns the renames that are told of a step.
func toldOf(t *testing.T, setup, step func(place)) string {
	t.Helper()
	p := place{t, t.TempDir()}
	p.mkdir("in", "out")
	if setup != nil {
		setup(p)
	}
	before := snapshot(t, p.at("in"))
	began := time.Now()
	var w *watch
	var told []string
	w = newWatch(t, p.at("in"), func(inner *Watcher) {
		inner.config.Skip = func(_, name string, _ bool) bool { return strings.HasPrefix(name, "no") }
		inner.config.Renamed = func(r queue.Rename) {
			slash := ""
			if r.Dir {
				slash = "/"
			}
			told = append(told, r.From+slash+">"+r.To+slash)
			if r.Since.Before(began) || r.Seen.Before(r.Since) {
				t.Errorf("%+v, begun %v", r, began)
			}
			for _, it := range r.Items() {
				w.emitted(it)
			}
		}
	})
	w.start()
	w.isReady()
	step(p)
	w.sync()
	missed := uncovered(before, snapshot(t, p.at("in")), w.take())
	missed = slices.DeleteFunc(missed, func(p string) bool { return strings.HasPrefix(p, "no") })
	if len(missed) > 0 {
		t.Errorf("not covered: %q", missed)
	}
	return strings.Join(told, ", ")
}

// It is looked whether a file is still being written before its directory's rename has been read. What is found under the
// old name then, nothing, does not mean that nobody writes.
func TestRenameWhileTheWriterIsLookedFor(t *testing.T) {
	p := place{t, t.TempDir()}
	p.mkdir("d/e")
	var hold atomic.Bool
	held, goOn := make(chan struct{}), make(chan struct{})
	w := newWatch(t, p.dir, never, func(inner *Watcher) {
		inner.config.Renamed = func(r queue.Rename) { t.Errorf("told: %+v", r) }
		inner.hooks.beforeRead = func() {
			if hold.Load() {
				held <- struct{}{}
				<-goOn
			}
		}
	})
	w.start()
	w.isReady()
	p.open("d/e/f")
	w.reads(1)
	hold.Store(true)
	w.Stats() // wakes the reader
	<-held
	p.mv("d", "g")
	for looked := 0; looked == 0; {
		w.Watcher.mu.Lock()
		if len(w.writing.files) == 0 {
			looked = 1
		}
		for _, f := range w.writing.files {
			w.writing.at(f, time.Now())
		}
		w.Watcher.mu.Unlock()
		looked += len(w.probeFiles(nil))
	}
	if got := w.take(); len(got) > 0 {
		t.Errorf("emitted before the rename was read: %v", got)
	}
	hold.Store(false)
	close(goOn)
	w.sync()
	if got := names(w.take()); !slices.Contains(got, "path d") || !slices.Contains(got, "tree g") {
		t.Errorf("emitted %q", got)
	}
}

// A rename of what was made a moment ago is told only when what it was made in has been.
func TestRenameInANewDirectory(t *testing.T) {
	p := place{t, t.TempDir()}
	w := newWatch(t, p.dir, func(inner *Watcher) { inner.config.Renamed = func(r queue.Rename) { t.Errorf("told: %+v", r) } })
	w.start()
	w.isReady()
	w.Watcher.mu.Lock() // keeps the new directory from being watched and reported
	p.mkdir("d")
	p.write("d/f", "x")
	n, _ := w.root.child("d")
	w.watchBelow(n, &group{root: n})
	w.own(1<<30, n)
	for _, f := range []func() bool{
		func() bool { return w.toldFile(n, "f") },
		func() bool { return w.toldDir(n) },
		func() bool { return w.toldDir(w.root) },
	} {
		if f() {
			t.Error("all is told of a directory that is to be reported")
		}
	}
	w.disown(n)
	n.wd = 0
	w.Watcher.mu.Unlock()
	w.sync()
}

// After events the reader makes sure that there are no more, so that what they told of is known to be older.
func TestReaderCatchesUp(t *testing.T) {
	p := place{t, t.TempDir()}
	p.write("f", "x")
	var mu sync.Mutex
	var told []queue.Rename
	w := newWatch(t, p.dir, func(inner *Watcher) {
		inner.config.Renamed = func(r queue.Rename) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, r)
		}
	})
	w.start()
	w.isReady()
	tick := time.NewTicker(3 * wakeAfter)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		p.mv("f", "g")
		p.mv("g", "f")
		w.sync()
		mu.Lock()
		n := len(told)
		caughtUp := n >= 4 && told[n-2].Since.Sub(told[n-3].Seen) > wakeAfter/2
		mu.Unlock()
		if caughtUp {
			return
		}
	}
	t.Errorf("never: %+v", told)
}

func TestEventsInHalves(t *testing.T) {
	record := func(mask uint32, cookie uint32) []byte {
		b := make([]byte, unix.SizeofInotifyEvent)
		b[4], b[5], b[8] = byte(mask), byte(mask>>8), byte(cookie)
		return b
	}
	from, to, other := record(unix.IN_MOVED_FROM, 1), record(unix.IN_MOVED_TO, 1), record(unix.IN_MOVED_TO, 2)
	if !endsInHalf(slices.Concat(to, from)) || endsInHalf(slices.Concat(from, to)) || endsInHalf(nil) || endsInHalf(from[:7]) {
		t.Error("endsInHalf")
	}
	w := newWatch(t, t.TempDir(), func(inner *Watcher) { inner.config.Renamed = func(queue.Rename) {} })
	e, rest, err := parseEvent(slices.Concat(from, to))
	ok(t, err)
	if _, rest, ok := w.otherHalf(e, rest); !ok || len(rest) > 0 {
		t.Error("halves do not meet")
	}
	for _, next := range [][]byte{other, from, nil, to[:9]} {
		if _, _, ok := w.otherHalf(e, next); ok {
			t.Errorf("%v is taken for the other half", next)
		}
	}
}
