package transfer

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsynctest"
)

func TestPace(t *testing.T) {
	const ms = time.Millisecond
	start := time.Now()
	for _, c := range []struct {
		name   string
		wanted []time.Duration // when sessions are wanted
		begins []time.Duration // when they begin
	}{
		{"few", []time.Duration{0, ms, 2 * ms}, []time.Duration{0, ms, 2 * ms}},
		{"now and then", []time.Duration{0, 40 * ms, 80 * ms, 120 * ms, 160 * ms}, []time.Duration{0, 40 * ms, 80 * ms, 120 * ms, 160 * ms}},
		{"without a pause", make([]time.Duration, 6), []time.Duration{0, 0, 0, 40 * ms, 80 * ms, 120 * ms}},
		{"after a rest", []time.Duration{0, 0, 0, 0, time.Second, time.Second, time.Second, time.Second},
			[]time.Duration{0, 0, 0, 40 * ms, time.Second, time.Second, time.Second, 1040 * ms}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p pace
			var begins []time.Duration
			for _, at := range c.wanted {
				now := start.Add(at)
				if p.ready().After(now) {
					now = p.ready()
				}
				p.begin(now)
				begins = append(begins, now.Sub(start))
			}
			if !slices.Equal(begins, c.begins) {
				t.Errorf("began at %v, want %v", begins, c.begins)
			}
		})
	}
}

// Changes that come without a pause gather: the destination is not asked for a session for each.
func TestChangesWithoutAPauseShareSessions(t *testing.T) {
	src := t.TempDir()
	const files = 200
	name := func(i int) string { return fmt.Sprintf("file%03d", i) }
	for i := range files {
		write(t, filepath.Join(src, name(i)), "old")
	}
	url, dst, _ := daemon(t, rsynctest.Config{})
	f := follow(t, src, url, nil)
	settles(t, src, dst)
	waitFor(t, func() bool { s, err := f.Snapshot(t.Context()); return err == nil && s.Sessions == 0 && !s.Passing })
	before, begin := f.counters.sessions.Load(), time.Now()
	for i := range files {
		write(t, filepath.Join(src, name(i)), "new "+name(i))
		f.Changed(queue.Item{Kind: queue.Path, Path: name(i)})
		runtime.Gosched()
	}
	settles(t, src, dst)
	n, most := f.counters.sessions.Load()-before, gatherAfter+1+int64(time.Since(begin)/gatherFor)
	if n > most {
		t.Errorf("%d sessions in %v, want %d or fewer", n, time.Since(begin), most)
	}
}
