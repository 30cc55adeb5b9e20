package main

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncd/syncd/transfer"
)

// Whatever the counters do, what is shown never goes backwards.
func TestTrackerNeverGoesBackwards(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		now := time.Unix(1e9, 0)
		tr := newTracker(now)
		s := sample{known: 1}
		last := view{left: -1}
		for range 500 {
			now = now.Add(time.Duration(rng.IntN(3_000_000)) * time.Microsecond)
			s.entries += rng.Int64N(1000)
			s.found = max(s.found, s.entries) + rng.Int64N(2000)
			s.bytes += rng.Int64N(1 << 30)
			s.known = max(s.known, s.bytes) + rng.Int64N(1<<31)
			if rng.IntN(20) == 0 && s.total == 0 {
				s.total = rng.Int64N(1_000_000) + 1
			}
			if rng.IntN(50) == 0 {
				s.bytes = max(0, s.bytes-rng.Int64N(1<<30)) // a session broke: what it sent is sent again
			}
			v := tr.update(now, s)
			if v.share < last.share || v.share > 1 {
				t.Fatalf("seed %d: share goes from %v to %v", seed, last.share, v.share)
			}
			if v.left < 0 && last.left >= 0 || last.left >= 0 && v.left > last.left {
				t.Fatalf("seed %d: time left goes from %v to %v", seed, last.left, v.left)
			}
			last = v
		}
	}
}

// At a steady pace the time left is right.
func TestTrackerIsRight(t *testing.T) {
	start := time.Unix(1e9, 0)
	tr := newTracker(start)
	const whole = 100 // seconds
	for i := range whole + 1 {
		v := tr.update(start.Add(time.Duration(i)*time.Second), sample{
			entries: int64(i) * 10, found: whole * 10, total: whole * 10,
			bytes: int64(i) << 20, known: whole << 20, listed: true,
		})
		switch {
		case i < 5 && v.left >= 0:
			t.Fatalf("after %d s: %v left shown before there is ground for it", i, v.left)
		case i >= 5 && (v.left-time.Duration(whole-i)*time.Second).Abs() > time.Second:
			t.Fatalf("after %d s of %d: %v left", i, whole, v.left)
		}
		if want := float64(i) / whole; v.share < want-0.001 || v.share > want+0.001 {
			t.Fatalf("after %d s: share %v", i, v.share)
		}
		if i > 0 && (v.rate < 0.99*(1<<20) || v.rate > 1.01*(1<<20)) {
			t.Fatalf("after %d s: rate %v", i, v.rate)
		}
	}
}

// A slow end after a fast start: what is left must not reach nothing long
// before the end does.
func TestTrackerIsCautious(t *testing.T) {
	start := time.Unix(1e9, 0)
	tr := newTracker(start)
	at := func(i int) int64 { // entries by second: 20 s at 1000, then at 100
		if i <= 20 {
			return int64(i) * 1000
		}
		return 20_000 + int64(i-20)*100
	}
	for i := range 20 + 100 + 1 {
		v := tr.update(start.Add(time.Duration(i)*time.Second), sample{
			entries: at(i), found: 30_000, total: 30_000, listed: true,
		})
		if i == 100 && v.left > 21*time.Second {
			t.Fatalf("20 s before the end: %v left", v.left)
		}
	}
}

// Off a terminal there is one line a minute, and none before.
func TestProgressLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &progress{read: func() transfer.Progress {
			return transfer.Progress{Entries: 1500, TotalEntries: 3000, Bytes: 5 << 20, TotalBytes: 10 << 20, ScanDone: true}
		}}
		p.total.Store(3000)
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second)
		defer cancel()
		var lines []string
		p.lines(ctx, func(s string) { lines = append(lines, s) })
		if len(lines) != 2 {
			t.Fatalf("%d lines in 150 s: %q", len(lines), lines)
		}
		want := "50%, 1,500 of 3,000 entries, 5.24MB of 10.49MB, 87.38KB/s, 0:01:00 left"
		if lines[0] != want {
			t.Errorf("line %q\nwant %q", lines[0], want)
		}
		if strings.ContainsAny(lines[1], "\r\x1b") {
			t.Errorf("control characters off a terminal: %q", lines[1])
		}
	})
}

func TestProgressWhileCounting(t *testing.T) {
	p := &progress{}
	s := sample{entries: 1234, bytes: 999}
	got := p.line(newTracker(time.Unix(0, 0)).update(time.Unix(60, 0), s), s)
	if want := "1,234 entries, still counting, 999B, 16B/s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
