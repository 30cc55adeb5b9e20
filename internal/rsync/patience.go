package rsync

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/syncd/syncd/internal/rsync/flist"
)

const (
	// stuckWords is how many errors about single entries a server that was asked for acknowledgements may report before
	// it is suspected to wait for ever. Stock rsync 3.5 never counts a file as finished that it asked for and could not
	// create, and asks for nothing more when it takes ten for outstanding.
	stuckWords = 8
	// stuckAfter is how long such a server may do nothing.
	stuckAfter = 3 * time.Second

	// idleLimits is how many times as long as it may be silent a server may get nowhere that shows that it lives: its
	// disk may be slow, and flushing a large file to it takes minutes.
	idleLimits = 10

	// slowestDisk is how fast, in bytes a second, a server is believed to read what it has: it says nothing meanwhile.
	slowestDisk = 8 << 20
	// sumsStep is how much of a file a server reads between two pieces of its block sums, in bytes: they go out when
	// 32 KiB are together, and a sum for a block of 128 KiB takes 7 bytes or more. Measured: 465 MB.
	sumsStep = 512 << 20
)

// A patience says which silence of a connection is too long.
type patience struct {
	limit time.Duration // 0 = none is
	extra time.Duration // more than limit, for what the server does in silence
	// A server that was given a timeout shows that it lives, from the end of the list on, after half of it (2.6). So
	// then only what comes counts. What goes proves little: kernels and what stands between take megabytes for a server
	// that is stopped or dead, which at a low rate lasts for minutes.
	listen bool
	stuck  time.Duration // longest time without progress in either direction; 0 = any
	// What shows that it lives may still get nowhere: one of a server's two processes is stopped, or waits for a disk.
	useful func() int64  // bytes that came and were more than signs of life; nil = not known
	got    int64         // by that and by what went, when it was looked at last
	since  time.Duration // when that was new
	acked  uint64        // bytes that the other kernel had acknowledged when it was asked last, while some were missing
}

// setLimit sets how long the connection may be silent from now on. 0 = for ever.
func (c *conn) setLimit(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.patience.limit, c.patience.stuck = max(0, d), 0
	c.rewind()
}

// serverLimit takes the timeout that the server has. It makes the limit shorter; but signs of life must be waited for.
func (c *conn) serverLimit(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := &c.patience; p.limit == 0 || d < p.limit {
		p.limit = d
	} else {
		p.limit = max(p.limit, d/2+p.limit/2)
	}
	c.rewind()
}

// listen begins the part of the session in which the server shows that it lives, but for the time that work may take
// which it does in silence.
func (c *conn) listen(extra time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.patience.listen, c.patience.extra = true, extra
	c.rewind()
}

// suspect gives up a connection that makes no progress at all, sooner than a silent one.
func (c *conn) suspect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &c.patience
	if p.stuck = stuckAfter; p.limit > 0 {
		p.stuck = min(p.stuck, p.limit*3/8) // before the next sign of life
	}
	c.rewind()
}

// count tells how to know what came from what only shows that the server lives.
func (c *conn) count(useful func() int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.patience.useful = useful
}

// silenceLimit returns the limit in force.
func (c *conn) silenceLimit() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.patience.limit
}

// rewind starts the clock anew.
func (c *conn) rewind() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	c.touch(&c.heard, &c.moved)
	if next := c.patience.next(0, 0); next > 0 {
		c.timer = time.AfterFunc(next, c.check)
	}
}

// check runs when the patience may be at its end.
func (c *conn) check() {
	c.mu.Lock()
	now := time.Since(c.start)
	heard, moved := now-time.Duration(c.heard.Load()), now-time.Duration(c.moved.Load())
	cause := c.patience.exhausted(heard, moved)
	if cause == nil && c.patience.unanswered(c.raw) {
		cause = errSilence
	}
	if cause == nil && c.patience.idle(now, c.out.Load()) {
		cause = errIdle
	}
	if next := c.patience.next(heard, moved); cause == nil && c.timer != nil && next > 0 {
		c.timer.Reset(next)
	}
	c.mu.Unlock()
	if cause != nil {
		if sh, ok := c.raw.(*shell); ok && errors.Is(cause, errSilence) {
			sh.login.Suspect()
		}
		c.cut(cause)
	}
}

// silence is the one that limit is about.
func (p *patience) silence(heard, moved time.Duration) time.Duration {
	if p.listen {
		return heard
	}
	return moved
}

// exhausted returns why a connection is given up that has been so long silent; nil if it is not.
func (p *patience) exhausted(heard, moved time.Duration) error {
	switch {
	case p.stuck > 0 && moved >= p.stuck:
		return errStuck
	case p.limit > 0 && p.silence(heard, moved) >= p.limit+p.extra:
		return errSilence
	}
	return nil
}

// next is when to look again; 0 = never.
func (p *patience) next(heard, moved time.Duration) time.Duration {
	var next time.Duration
	if p.limit > 0 {
		next = min(p.limit+p.extra-p.silence(heard, moved), max(p.limit/3, time.Millisecond))
	}
	if p.stuck > 0 && (next == 0 || p.stuck-moved < next) {
		next = p.stuck - moved
	}
	return next
}

// idle reports whether a server that shows that it lives has got nowhere for too long.
func (p *patience) idle(now time.Duration, out int64) bool {
	if !p.listen || p.limit == 0 || p.useful == nil {
		return false
	}
	if got := p.useful() + out; got != p.got || p.since == 0 {
		p.got, p.since = got, now
	}
	return now-p.since >= idleLimits*p.limit+p.extra
}

// unanswered reports whether the other host does not even acknowledge what it was sent. Its kernel does so at once for
// a server that is busy, so this needs less patience.
func (p *patience) unanswered(raw any) bool {
	t, ok := raw.(interface {
		unacknowledged() (missing int, acked uint64, since time.Duration)
	})
	if !ok || p.limit == 0 {
		return false
	}
	missing, acked, since := t.unacknowledged()
	if missing == 0 {
		p.acked = 0
		return false
	}
	before := p.acked
	p.acked = acked + 1 // never 0
	return before == p.acked && since >= p.limit/2
}

// silentWork is how long the server may be busy with entries of a list without a word (measured with 3.5.0): it hashes
// what it has of a file to compare, and it reads it to tell what of it need not be sent.
func silentWork(entries []flist.Entry, o *Options) time.Duration {
	var most, all int64
	for i := range entries {
		if regular(entries[i].Mode) {
			most = max(most, entries[i].Size)
			all += min(entries[i].Size, 1<<62-all)
		}
	}
	n := min(most, sumsStep)
	if o.Checksum {
		n = max(n, all)
	}
	return time.Duration(n/slowestDisk) * time.Second
}

func (c *conn) touch(marks ...*atomic.Int64) {
	now := int64(time.Since(c.start))
	for _, m := range marks {
		m.Store(now)
	}
}
