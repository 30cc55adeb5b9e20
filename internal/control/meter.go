package control

import (
	"sync"
	"time"
)

// A Meter tells how much there was in the last minute, for Rates. The zero value
// is ready. It is safe for concurrent use, and costs nothing while nothing happens.
type Meter struct {
	mu      sync.Mutex
	start   time.Time // of bucket 0, in the first round
	buckets [meterBuckets]int64
	newest  int64 // number of the second that was counted last
}

// One bucket holds the second that is not over yet.
const meterBuckets = 61

// Add counts n more of what is measured.
func (m *Meter) Add(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.advance()
	m.buckets[m.newest%meterBuckets] += n
}

// Rate is the average for a second over the last minute, or since the first Add
// if that is less.
func (m *Meter) Rate() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.start.IsZero() {
		return 0
	}
	m.advance()
	var sum int64
	for _, n := range m.buckets {
		sum += n
	}
	// The sum is of sixty whole seconds and the one that has begun.
	span := time.Since(m.start)
	if begun := span % time.Second; span >= meterBuckets*time.Second {
		span = (meterBuckets-1)*time.Second + begun
	}
	return float64(sum) / max(span, time.Second).Seconds()
}

// advance empties the buckets of the seconds that have begun since the last call.
func (m *Meter) advance() {
	if m.start.IsZero() {
		m.start = time.Now()
	}
	now := int64(time.Since(m.start) / time.Second)
	for s := max(m.newest+1, now-meterBuckets+1); s <= now; s++ {
		m.buckets[s%meterBuckets] = 0
	}
	m.newest = max(m.newest, now)
}
