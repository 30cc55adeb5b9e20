package compress

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncd/syncd/internal/rsync/wire"
)

// A session that waits for the link saves more, until it has no time to wait for it any more.
func TestLevelFollowsLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waited time.Duration
		var out bytes.Buffer
		w := wire.NewWriter(&out)
		s := NewStream(w, Zstd, 0, 32)
		defer s.Release()
		s.Follow(func() time.Duration { return waited })
		r := newReceiver(Zstd, 32)
		size := 0
		for i, step := range []struct {
			waits, of time.Duration
			strong    bool
		}{
			{0, 0, false},
			{99 * time.Millisecond, 99 * time.Millisecond, false}, // too short to tell
			{99 * time.Millisecond, 99 * time.Millisecond, true},
			{40 * time.Millisecond, 100 * time.Millisecond, true}, // neither slow nor fast
			{time.Minute, time.Minute, true},
			{10 * time.Millisecond, 100 * time.Millisecond, false},
			{40 * time.Millisecond, 100 * time.Millisecond, false},
			{-time.Second, 100 * time.Millisecond, false}, // it can't be told exactly what for
			{51 * time.Millisecond, 100 * time.Millisecond, true},
		} {
			waited += step.waits
			time.Sleep(step.of)
			from := out.Len()
			want, _, runs := sendFile(s, []part{literal(prose(uint64(i), 300_000))}, 50_000, false)
			w.Flush()
			got, rest, err := r.file(out.Bytes()[from:], nil, runs)
			if err != nil || len(rest) > 0 || !bytes.Equal(got, want) {
				t.Fatalf("file %d: %d bytes received of %d, %d left over: %v", i, len(got), len(want), len(rest), err)
			}
			n := out.Len() - from
			if i == 0 {
				size = n
			}
			if strong := n < size-size/30; strong != step.strong {
				t.Errorf("file %d: %d bytes, after %d without any waiting", i, n, size)
			}
		}
	})
}

// A level that was asked for stays, and so does what has no other.
func TestLevelStays(t *testing.T) {
	for _, c := range []struct {
		m     Method
		level int
	}{{Zstd, 1}, {Zstd, -1}, {Zlib, 0}, {Zlibx, 0}, {LZ4, 0}} {
		t.Run(fmt.Sprint(c.m, c.level), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				w := wire.NewWriter(&out)
				s := NewStream(w, c.m, c.level, 32)
				defer s.Release()
				began := time.Now()
				s.Follow(func() time.Duration { return time.Since(began) })
				text := []part{literal(prose(1, 3<<20))} // more than any history has
				var sizes [2]int
				for i := range sizes {
					from := out.Len()
					sendFile(s, text, 50_000, false)
					w.Flush()
					sizes[i] = out.Len() - from
					time.Sleep(time.Second)
				}
				if d := sizes[1] - sizes[0]; d < -sizes[0]/50 || d > sizes[0]/50 {
					t.Errorf("%d bytes, then %d", sizes[0], sizes[1])
				}
			})
		})
	}
}
