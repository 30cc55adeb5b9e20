package transfer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsynctest"
)

// forget makes a file what a crash makes of one that was only in memory: as large and as old as before, and empty.
func forget(t *testing.T, name string) {
	t.Helper()
	fi, err := os.Stat(name)
	if err == nil {
		err = os.WriteFile(name, make([]byte, fi.Size()), fi.Mode())
	}
	if err == nil {
		err = os.Chtimes(name, fi.ModTime(), fi.ModTime())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func has(name, content string) bool {
	got, err := os.ReadFile(name)
	return err == nil && string(got) == content
}

// What a destination acknowledged shortly before it crashed may not be there afterwards, and nothing but its content
// tells. It is found whether or not anything changes meanwhile.
func TestWhatWasWrittenBeforeAnOutageIsCompared(t *testing.T) {
	for name, busy := range map[string]bool{"busy": true, "idle": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := t.TempDir()
			write(t, filepath.Join(src, "d/first"), "by the pass")
			write(t, filepath.Join(src, "d/file"), "1")
			url, dst, s := daemon(t, rsynctest.Config{})
			f := follow(t, src, url, nil)
			settles(t, src, dst)
			write(t, filepath.Join(src, "d/file"), "as a change")
			f.Changed(queue.Item{Path: "d/file"})
			settles(t, src, dst)
			waitFor(t, f.spare.held)

			if err := s.Kill(); err != nil {
				t.Fatal(err)
			}
			forget(t, filepath.Join(dst, "d/first"))
			forget(t, filepath.Join(dst, "d/file"))
			if busy {
				write(t, filepath.Join(src, "d/other"), "meanwhile")
				f.Changed(queue.Item{Path: "d/other"}, queue.Item{Path: "d"})
			}
			waitFor(t, func() bool {
				s, err := f.Snapshot(context.Background())
				return err == nil && s.Trouble != nil
			})
			if err := s.Restart(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, func() bool {
				return has(filepath.Join(dst, "d/first"), "by the pass") && has(filepath.Join(dst, "d/file"), "as a change")
			})
			settles(t, src, dst)
			waitFor(t, func() bool {
				left := 1
				f.ask(context.Background(), func() { left = len(f.outage.checks) })
				return left == 0
			})
		})
	}
}

// watched counts sessions that compare by checksum.
type watched struct {
	destination
	checks *atomic.Int64
}

func (w watched) Send(ctx context.Context, b *rsync.Batch, o rsync.Options) (*rsync.Report, error) {
	if o.Checksum && slices.ContainsFunc(b.Entries, func(e flist.Entry) bool { return isRegular(e.Mode) }) { // not the first one
		w.checks.Add(1)
	}
	return w.destination.Send(ctx, b, o)
}

// A connection that breaks and is back at once is none.
func TestBrokenConnectionIsNoOutage(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "file"), "0")
	_, dst, s := daemon(t, rsynctest.Config{})
	relay := rsynctest.Proxy(t, s.Addr(), rsynctest.Faults{})
	c, _ := config(t, src, relay.URL("m/dest"), deleting)
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	var checks atomic.Int64
	e.dest = watched{e.dest, &checks}
	following(t, e)
	settles(t, src, dst)
	for i := range 5 {
		relay.Cut()
		relay.Set(rsynctest.Faults{CutUp: 300, Connections: 1}) // in the middle, behind the handshake
		content := fmt.Sprint("round ", i)
		write(t, filepath.Join(src, "file"), content)
		e.Changed(queue.Item{Path: "file"})
		settles(t, src, dst)
	}
	if n := checks.Load(); n > 0 {
		t.Errorf("%d sessions compared by checksum", n)
	}
}

// Whatever is noted is covered for ten minutes, in bounded memory, and forgotten after twenty.
func TestRecentCoversWhatWasWritten(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	now := time.Now()
	for _, depth := range []int{1, 2, 5} {
		var r recent
		type noted struct {
			path string
			at   time.Time
		}
		var all []noted
		for range 40_000 {
			p := "f"
			for range depth {
				p = path.Join(fmt.Sprint(rng.IntN(200)), p)
			}
			p += fmt.Sprint(rng.IntN(1000))
			now = now.Add(time.Duration(rng.IntN(20)) * time.Millisecond)
			r.note(p, now)
			all = append(all, noted{p, now})
		}
		items := r.items(now)
		if most := (recentParts + 1) * maxRecent; len(items) > most {
			t.Fatalf("%d items, want no more than %d", len(items), most)
		}
		for _, n := range all {
			if now.Sub(n.at) < recentFor && !coveredBy(items, n.path) {
				t.Fatalf("depth %d: %s is not covered", depth, n.path)
			}
		}
		if items := r.items(now.Add(2 * recentFor)); len(items) > 0 {
			t.Errorf("%d items are still remembered", len(items))
		}
	}
}

func coveredBy(items map[string]queue.Kind, p string) bool {
	it := queue.Item{Path: p}
	for up := p; ; up = path.Dir(up) {
		if k, ok := items[up]; ok && (queue.Item{Kind: k, Path: up}).Covers(it) {
			return true
		}
		if up == "." {
			return false
		}
	}
}

// Too many paths to be remembered one by one are compared by directories.
func TestOutageComparesWholeDirectories(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "a/b/file"), "by the pass")
	write(t, filepath.Join(src, "a/file"), "above")
	url, dst, s := daemon(t, rsynctest.Config{})
	f := follow(t, src, url, nil)
	settles(t, src, dst)
	if err := f.ask(context.Background(), func() {
		f.outage.recent.parts[0] = map[string]queue.Kind{"a": queue.Tree}
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	forget(t, filepath.Join(dst, "a/b/file"))
	forget(t, filepath.Join(dst, "a/file"))
	f.Changed(queue.Item{Path: "a/file"})
	waitFor(t, func() bool {
		s, err := f.Snapshot(context.Background())
		return err == nil && s.Trouble != nil
	})
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		return has(filepath.Join(dst, "a/b/file"), "by the pass") && has(filepath.Join(dst, "a/file"), "above")
	})
}

// lastWordLost has the first session about a path do all its work, and break before it is heard to have done it.
type lastWordLost struct {
	destination
	path string
	lost *atomic.Bool
}

func (l lastWordLost) Send(ctx context.Context, b *rsync.Batch, o rsync.Options) (*rsync.Report, error) {
	r, err := l.destination.Send(ctx, b, o)
	for i := range b.Entries {
		if b.Entries[i].Path == l.path && l.lost.CompareAndSwap(false, true) {
			return &rsync.Report{Results: make([]rsync.Result, len(b.Entries))}, &rsync.Error{Kind: rsync.KindDial, Err: os.ErrDeadlineExceeded}
		}
	}
	return r, err
}

// What the pass had sent when the destination crashed looks up to date afterwards.
func TestWhatWasInFlightAtAnOutageIsCompared(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "d/first"), "by the pass")
	url, dst, _ := daemon(t, rsynctest.Config{})
	c, _ := config(t, src, url, deleting)
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	var checks atomic.Int64
	e.dest = watched{lastWordLost{e.dest, "d/first", new(atomic.Bool)}, &checks}
	following(t, e)
	waitFor(t, func() bool { return checks.Load() > 0 })
	settles(t, src, dst)
}
