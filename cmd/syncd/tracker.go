package main

import (
	"math"
	"time"
)

// A sample is how far a run is.
type sample struct {
	entries int64 // done
	total   int64 // entries in SRC; 0 while they are still counted
	found   int64 // of them listed so far
	bytes   int64 // of file data, done
	known   int64 // bytes in all the files that were listed so far
	listed  bool  // the listing has come to its end: known is all there is
}

// A view is what is shown of a run. Neither field ever goes backwards while a
// run lasts: share only grows, left only shrinks.
type view struct {
	share float64       // 0 to 1
	left  time.Duration // negative while it is not known
	rate  float64       // bytes a second, lately
}

const (
	// entryCost is what an entry costs in bytes of file data: about what one
	// session sends in the time of a small file's round through both hosts.
	entryCost = 16 << 10

	// memory is how far back "lately" reaches.
	memory = 30 * time.Second

	// warmUp passes before time left is shown: the first guesses are the worst,
	// and what was once shown as left is never exceeded.
	warmUp = 5 * time.Second
)

// A tracker makes views of samples. It takes time as an argument: not for
// concurrent use.
type tracker struct {
	start, last time.Time
	bytes, done float64 // at last
	speed, rate float64 // work and bytes a second, lately
	seen        view
}

func newTracker(now time.Time) *tracker {
	return &tracker{start: now, last: now, seen: view{left: -1}}
}

func (t *tracker) update(now time.Time, s sample) view {
	done := float64(s.bytes) + entryCost*float64(s.entries)
	t.measure(now, done, float64(s.bytes))
	t.seen.rate = t.rate
	if s.total == 0 {
		return t.seen
	}
	all := done + t.rest(s)
	t.seen.share = max(t.seen.share, min(done/max(all, 1), 1))
	elapsed := now.Sub(t.start)
	if elapsed < warmUp || done == 0 || t.speed == 0 {
		return t.seen
	}
	// The slower of all the time and lately: a guess too low could never be
	// taken back.
	speed := min(done/elapsed.Seconds(), t.speed)
	left := seconds((all - done) / speed)
	if t.seen.left < 0 || left < t.seen.left {
		t.seen.left = left
	}
	return t.seen
}

// rest is the work to come. Files that are not listed yet are taken to be as
// large as those that are.
func (t *tracker) rest(s sample) float64 {
	entries := float64(max(s.total-s.entries, 0))
	bytes := float64(max(s.known-s.bytes, 0))
	if !s.listed && s.found > 0 && s.found < s.total {
		bytes += float64(s.known) / float64(s.found) * float64(s.total-s.found)
	}
	return bytes + entryCost*entries
}

// measure keeps a mean of the speeds that forgets.
func (t *tracker) measure(now time.Time, done, bytes float64) {
	dt := now.Sub(t.last).Seconds()
	if dt <= 0 {
		return
	}
	// From the start the mean is over what there is; later over memory.
	weight := 1 - math.Exp(-dt/min(memory.Seconds(), now.Sub(t.start).Seconds()))
	if t.last.Equal(t.start) {
		weight = 1
	}
	t.speed += weight * ((done-t.done)/dt - t.speed)
	t.rate += weight * ((bytes-t.bytes)/dt - t.rate)
	t.last, t.done, t.bytes = now, done, bytes
}

func seconds(s float64) time.Duration {
	const most = 1000 * time.Hour
	return time.Duration(min(s, most.Seconds()) * float64(time.Second))
}
