// Package ratelimit holds several writers and readers together below one rate.
//
// It promises, for rates of 1 KiB/s and more, that no 100 ms hold more than 110 % of the rate and that a stream that
// always has something to write gets it within 2 % over 10 s. It counts the bytes that pass through it, not the headers
// that the network puts before them.
package ratelimit

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// What may pass at once, as fractions of a second. Within any time T at most rate*T plus the burst passes, so that a
// window of 100 ms stays at 108 %. The burst also is what a process that was woken late can make up for; a piece of half
// of it keeps the turns of many sessions short.
const (
	burstPerSecond = 125 // 8 ms worth
	piecePerSecond = 250 // 4 ms worth
)

// A Limiter is one rate for all that passes through its readers and writers. The zero value is no limit, and then costs
// an atomic load. A Limiter is safe for concurrent use and must not be copied.
type Limiter struct {
	gate atomic.Pointer[gate] // nil: no limit
	set  sync.Mutex           // one Set at a time
}

// gate is a Limiter at one setting. A new setting is a new gate.
type gate struct {
	limit    int64
	piece    int
	mu       sync.Mutex // the bucket's clock must not run backwards, which it would count twice
	bucket   *rate.Limiter
	replaced chan struct{} // closed when another setting is in force
}

// New returns a limiter at so many bytes per second; 0 and less is no limit.
func New(bytesPerSecond int64) *Limiter {
	l := new(Limiter)
	l.Set(bytesPerSecond)
	return l
}

// Limit is the rate in force in bytes per second, 0 for no limit.
func (l *Limiter) Limit() int64 {
	if g := l.gate.Load(); g != nil {
		return g.limit
	}
	return 0
}

// Set changes the rate; 0 and less is no limit. Those who wait now go on at the new rate.
func (l *Limiter) Set(bytesPerSecond int64) {
	l.set.Lock()
	defer l.set.Unlock()
	old := l.gate.Load()
	if max(bytesPerSecond, 0) == l.Limit() {
		return
	}
	l.gate.Store(newGate(bytesPerSecond))
	if old != nil {
		close(old.replaced)
	}
}

func newGate(bytesPerSecond int64) *gate {
	if bytesPerSecond <= 0 {
		return nil
	}
	burst := share(bytesPerSecond, burstPerSecond)
	g := &gate{
		limit:    bytesPerSecond,
		piece:    share(bytesPerSecond, piecePerSecond),
		bucket:   rate.NewLimiter(rate.Limit(bytesPerSecond), burst),
		replaced: make(chan struct{}),
	}
	// It begins empty: settings that follow each other fast must not give a burst each.
	g.bucket.AllowN(time.Now(), burst)
	return g
}

// share is a part of the rate, at least a byte.
func share(bytesPerSecond, parts int64) int {
	return int(min(max(bytesPerSecond/parts, 1), math.MaxInt32))
}

// take waits until some of want bytes, which must be positive, may pass, and returns how many. It fails with the cause
// of ctx when that ends first.
func (l *Limiter) take(ctx context.Context, want int) (int, error) {
	for {
		g := l.gate.Load()
		if g == nil {
			return want, nil
		}
		n := min(want, g.piece)
		ok, err := g.wait(ctx, n)
		if err != nil {
			return 0, err
		}
		if ok {
			return n, nil
		}
	}
}

// wait returns true once n bytes may pass, and false when another setting has come into force before.
func (g *gate) wait(ctx context.Context, n int) (bool, error) {
	turn, delay := g.reserve(n)
	if delay == 0 {
		return true, nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true, nil
	case <-g.replaced:
		return false, nil
	case <-ctx.Done():
		g.giveBack(turn)
		return false, context.Cause(ctx)
	}
}

// reserve takes n bytes out of the bucket, which is to be had after the delay. Turns are in the order of the calls.
func (g *gate) reserve(n int) (turn *rate.Reservation, delay time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	turn = g.bucket.ReserveN(now, n)
	return turn, turn.DelayFrom(now)
}

func (g *gate) giveBack(turn *rate.Reservation) {
	g.mu.Lock()
	defer g.mu.Unlock()
	turn.CancelAt(time.Now())
}
