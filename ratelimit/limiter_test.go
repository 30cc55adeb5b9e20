package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// passed is a number of bytes at a moment.
type passed struct {
	at    time.Duration // since the start
	bytes int
}

// recorder notes what is written to it, by many writers.
type recorder struct {
	mu    sync.Mutex
	start time.Time
	all   []passed
}

func newRecorder() *recorder { return &recorder{start: time.Now()} }

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, passed{time.Since(r.start), len(p)})
	return len(p), nil
}

// between is the number of bytes from one moment up to, not with, another.
func (r *recorder) between(from, to time.Duration) (sum int64) {
	for _, p := range r.all {
		if p.at >= from && p.at < to {
			sum += int64(p.bytes)
		}
	}
	return sum
}

// peak is the most in any 100 ms that begin at from or later.
func (r *recorder) peak(from time.Duration) (most int64) {
	var sum int64
	first := 0
	for _, p := range r.all {
		if p.at < from {
			first++
			continue
		}
		sum += int64(p.bytes)
		for r.all[first].at <= p.at-100*time.Millisecond {
			sum -= int64(r.all[first].bytes)
			first++
		}
		most = max(most, sum)
	}
	return most
}

func (r *recorder) largest() int {
	return slices.MaxFunc(r.all, func(a, b passed) int { return a.bytes - b.bytes }).bytes
}

// saturate writes without end in writes of that size, until the writer fails.
func saturate(w io.Writer, size int) {
	b := make([]byte, size)
	for {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

func checkMean(t *testing.T, what string, got, want int64) {
	t.Helper()
	if deviation := float64(got)/float64(want) - 1; math.Abs(deviation) > 0.02 {
		t.Errorf("%s: mean %d bytes, want %d: %+.2f %%", what, got, want, 100*deviation)
	}
}

func TestLimiterIsSmooth(t *testing.T) {
	const duration = 10 * time.Second
	for _, rate := range []int64{1 << 10, 1500, 64 << 10, 4 << 20, 100 << 20, 10 << 30} {
		for _, sessions := range []int{1, 2, 8} {
			t.Run(fmt.Sprintf("%d/%d", rate, sessions), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := New(rate)
					ctx, cancel := context.WithTimeout(t.Context(), duration)
					defer cancel()
					r := newRecorder()
					var wg sync.WaitGroup
					for i := range sessions {
						// Below, at and above what is a piece.
						size := max(1, int(rate/1000)) << (2 * (i % 4))
						wg.Go(func() { saturate(l.Writer(ctx, r), size) })
					}
					wg.Wait()
					if peak, most := r.peak(0), rate*110/1000; peak > most {
						t.Errorf("%d bytes in 100 ms, want at most %d", peak, most)
					}
					if most := max(1, int(rate/100)); r.largest() > most {
						t.Errorf("a piece of %d bytes, want at most 10 ms worth, %d", r.largest(), most)
					}
					checkMean(t, "10 s", r.between(0, duration), 10*rate)
					checkMean(t, "1 s", r.between(5*time.Second, 6*time.Second), rate)
				})
			})
		}
	}
}

// TestLimiterAfterRest lets a session pause again and again: what it did not use must not come as a burst.
func TestLimiterAfterRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 1 << 20
		r := newRecorder()
		w := New(rate).Writer(t.Context(), r)
		for i := range 50 {
			<-time.After(time.Duration(i) * 13 * time.Millisecond)
			if n, err := w.Write(make([]byte, rate/4)); n != rate/4 || err != nil {
				t.Fatalf("wrote %d, %v", n, err)
			}
		}
		if peak := r.peak(0); peak > rate*110/1000 {
			t.Errorf("%d bytes in 100 ms, want at most %d", peak, rate*110/1000)
		}
	})
}

func TestSessionsShareTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate, sessions, duration = 4 << 20, 5, 10 * time.Second
		l := New(rate)
		ctx, cancel := context.WithTimeout(t.Context(), duration)
		defer cancel()
		var wg sync.WaitGroup
		recorders := make([]*recorder, sessions)
		for i := range recorders {
			recorders[i] = newRecorder()
			// All write more than a piece, of different sizes.
			wg.Go(func() { saturate(l.Writer(ctx, recorders[i]), 32<<10*(i+1)) })
		}
		// Among them one that says little and wants to be heard soon.
		little := l.Writer(ctx, io.Discard)
		for ctx.Err() == nil {
			<-time.After(50 * time.Millisecond)
			begin := time.Now()
			_, err := little.Write(make([]byte, 100))
			if waited := time.Since(begin); err == nil && waited > sessions*5*time.Millisecond {
				t.Errorf("100 bytes waited %v", waited)
			}
		}
		wg.Wait()
		for i, r := range recorders {
			got, want := r.between(0, duration), int64(10*rate/sessions)
			if got < want*9/10 || got > want*11/10 {
				t.Errorf("session %d passed %d bytes, want about %d", i, got, want)
			}
		}
	})
}

func TestSetWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(1 << 20)
		ctx, cancel := context.WithCancel(t.Context())
		r := newRecorder()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { saturate(l.Writer(ctx, r), 64<<10) })
		}
		settings := []int64{1 << 20, 1 << 10, 8 << 20, 100 << 10, 5 << 20}
		for i, rate := range settings {
			l.Set(rate)
			if l.Limit() != rate {
				t.Errorf("Limit: %d, want %d", l.Limit(), rate)
			}
			from := time.Since(r.start)
			<-time.After(10 * time.Second)
			synctest.Wait()
			r.mu.Lock()
			checkMean(t, fmt.Sprintf("setting %d", i), r.between(from, from+10*time.Second), 10*rate)
			if peak := r.peak(from); peak > rate*110/1000 {
				t.Errorf("setting %d: %d bytes in 100 ms, want at most %d", i, peak, rate*110/1000)
			}
			r.mu.Unlock()
		}
		cancel()
		wg.Wait()
	})
}

// TestSetOften changes the rate all the time: neither may more pass than the highest allows, nor may it come to a halt.
func TestSetOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const low, high = 1 << 20, 1<<20 + 1
		l := New(low)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		r := newRecorder()
		var wg sync.WaitGroup
		wg.Go(func() { saturate(l.Writer(ctx, r), 64<<10) })
		wg.Go(func() {
			for rate := int64(low); ctx.Err() == nil; rate ^= low ^ high {
				l.Set(rate)
				<-time.After(20 * time.Millisecond)
			}
		})
		wg.Wait()
		if peak := r.peak(0); peak > high*110/1000 {
			t.Errorf("%d bytes in 100 ms, want at most %d", peak, high*110/1000)
		}
		if sum := r.between(0, time.Hour); sum < 10*low/2 {
			t.Errorf("%d bytes in 10 s, want more than half of the rate", sum)
		}
	})
}

func TestSetWakesThoseWhoWait(t *testing.T) {
	for _, rate := range []int64{0, 100 << 20} {
		synctest.Test(t, func(t *testing.T) {
			l := New(1 << 10)
			r := newRecorder()
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					if n, err := l.Writer(t.Context(), r).Write(make([]byte, 1<<20)); n != 1<<20 || err != nil {
						t.Errorf("wrote %d, %v", n, err)
					}
				})
			}
			<-time.After(time.Second)
			l.Set(rate)
			begin := time.Now()
			wg.Wait()
			if took := time.Since(begin); rate == 0 && took != 0 || took > 40*time.Millisecond {
				t.Errorf("rate %d: took %v", rate, took)
			}
			// And back again.
			l.Set(1 << 20)
			begin = time.Now()
			if _, err := l.Writer(t.Context(), r).Write(make([]byte, 1<<20)); err != nil {
				t.Error(err)
			}
			if took := time.Since(begin); took < 950*time.Millisecond || took > 1050*time.Millisecond {
				t.Errorf("1 MiB at 1 MiB/s took %v", took)
			}
		})
	}
}

func TestWaitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 10 << 10
		stop := errors.New("stop")
		l := New(rate)
		r := newRecorder()
		other, stopOther := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { saturate(l.Writer(other, r), 4<<10) })
		for range 20 {
			ctx, cancel := context.WithCancelCause(t.Context())
			wg.Go(func() {
				n, err := l.Writer(ctx, r).Write(make([]byte, 1<<20))
				if !errors.Is(err, stop) || n == 0 || n > rate {
					t.Errorf("wrote %d, %v; want less than a second's worth and the cause", n, err)
				}
			})
			<-time.After(500 * time.Millisecond)
			begin := time.Now()
			cancel(stop)
			synctest.Wait()
			if time.Since(begin) != 0 {
				t.Error("the wait went on")
			}
		}
		checkMean(t, "10 s", r.between(0, 10*time.Second), 10*rate)
		stopOther()
		wg.Wait()
	})
}

// TestTurnsGivenUpAreNotLost has one writer after another end in its wait.
func TestTurnsGivenUpAreNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 1 << 20
		l := New(rate)
		r := newRecorder()
		for time.Since(r.start) < 10*time.Second {
			ctx, cancel := context.WithTimeout(t.Context(), 19*time.Millisecond)
			saturate(l.Writer(ctx, r), 64<<10)
			cancel()
		}
		checkMean(t, "10 s", r.between(0, 10*time.Second), 10*rate)
	})
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	l := New(1 << 30)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { saturate(l.Writer(ctx, io.Discard), 1<<20) })
	}
	for i := range int64(200) {
		l.Set((i % 5) << 29)
		l.Limit()
	}
	l.Set(1 << 30)
	cancel()
	wg.Wait()
}
