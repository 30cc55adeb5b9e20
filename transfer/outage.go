package transfer

import (
	"errors"
	"sync"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
)

// probeEvery is how often a destination that is away is tried when nothing else has to go there.
const probeEvery = 5 * time.Second

// backAtOnce is how soon a connection that was lost must be back to be no outage.
const backAtOnce = 5 * time.Second

// An outage is a time in which the destination could not be reached. It may have crashed, and what it had acknowledged
// was perhaps in its memory only. So what it acknowledged lately is then compared by checksum.
type outage struct {
	since  time.Time // when it began; zero: there is none
	probe  time.Time // when it is tried next
	lost   time.Time // when a connection was lost, and none has done well since; zero: one has
	recent recent
	checks map[string]queue.Kind // queued, to be compared by checksum
	heard  heardOf
}

// heardOf is what those that open connections ahead of need find out.
type heardOf struct {
	mu   sync.Mutex
	news bool
	err  error
}

func (h *heardOf) put(err error) {
	h.mu.Lock()
	h.news, h.err = true, err
	h.mu.Unlock()
}

func (h *heardOf) take() (err error, news bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	news, h.news = h.news, false
	return h.err, news
}

// unreached takes a failure and reports whether there is nobody to answer: no connection could be made; or it ended
// before the server had said what it thinks of it, as it does behind a tunnel, and no other had done better for a while.
func (o *outage) unreached(err error, now time.Time) bool {
	e, ok := errors.AsType[*rsync.Error](err)
	if !ok {
		return false
	}
	switch e.Kind {
	case rsync.KindDial, rsync.KindShell:
		return true
	case rsync.KindTimeout, rsync.KindLost:
		if o.lost.IsZero() {
			o.lost = now
		}
		return now.Sub(o.lost) >= backAtOnce && (e.Op == "greeting" || e.Op == "setup")
	}
	return false
}

// found is told how the opening of a connection ahead of need went, by whoever did it.
func (e *Engine) found(err error) {
	e.outage.heard.put(err)
	e.inbox.put() // wakes the engine
}

// learn takes what was found out about the destination.
func (e *Engine) learn(now time.Time) {
	if !e.following {
		return
	}
	if err, news := e.outage.heard.take(); news {
		switch {
		case err == nil:
			e.reached(now)
		case e.outage.unreached(err, now):
			e.away(err, now)
		}
	}
	if o := &e.outage; !o.since.IsZero() && !now.Before(o.probe) && e.spare != nil && !e.paused {
		o.probe = now.Add(probeEvery)
		e.spare.try(e.options(&batch{kind: copySmall, retry: true, acks: e.asks(now), live: true}))
	}
}

// away notes that the destination cannot be reached.
func (e *Engine) away(err error, now time.Time) {
	e.trouble.is(err)
	if o := &e.outage; o.since.IsZero() {
		o.since, o.probe = now, now.Add(probeEvery)
		e.doubt(o.recent.items(now))
	}
}

// reached notes that the destination answers. If it did not before, what it wrote lately is queued again.
func (e *Engine) reached(now time.Time) {
	o := &e.outage
	if o.lost = (time.Time{}); o.since.IsZero() {
		return
	}
	elapsed := now.Sub(o.since).Round(time.Second)
	o.since = time.Time{}
	e.trouble.over()
	items := o.recent.items(now)
	if len(items) == 0 {
		return
	}
	e.recheck(items, now)
	e.log.Info("the destination is back; what it wrote in the last minutes before is compared by checksum",
		"elapsed", elapsed, "items", len(items))
}

// recheck queues items to be compared by checksum.
func (e *Engine) recheck(items map[string]queue.Kind, now time.Time) {
	o := &e.outage
	if o.checks == nil {
		o.checks = map[string]queue.Kind{}
	}
	for p, k := range items {
		o.checks[p] = max(o.checks[p], k)
		e.queue.Add(queue.Item{Kind: k, Path: p}, now)
	}
}

// wrote notes that the destination says to have written p.
func (e *Engine) wrote(p string) {
	if e.following {
		e.outage.recent.note(p, time.Now())
	}
}

// mayHaveWritten notes what a broken session was not heard to have written, and will find up to date if it did. What
// follows changes looks at the content anyway.
func (e *Engine) mayHaveWritten(b *batch, pending []bool) {
	if b.live {
		return
	}
	for i := range pending {
		if pending[i] {
			e.wrote(b.entries[i].Path)
		}
	}
}

// checked reports whether it, taken from the queue, is to be compared by checksum.
func (o *outage) checked(it queue.Item) bool {
	if len(o.checks) == 0 {
		return false
	}
	if _, ok := o.checks[it.Path]; ok {
		return true
	}
	if it.Kind < queue.Dir {
		return false
	}
	for p, k := range o.checks {
		if it.Covers(queue.Item{Kind: k, Path: p}) {
			return true
		}
	}
	return false
}

// settled forgets what it answers for.
func (o *outage) settled(it queue.Item) {
	if len(o.checks) == 0 {
		return
	}
	if it.Kind < queue.Dir {
		delete(o.checks, it.Path)
		return
	}
	for p, k := range o.checks {
		if it.Covers(queue.Item{Kind: k, Path: p}) {
			delete(o.checks, p)
		}
	}
}

// apart takes those of paths, all in flight, that are to be compared by checksum into a batch of their own.
func (e *Engine) apart(paths []queue.Item, now time.Time) (rest []queue.Item) {
	if len(e.outage.checks) == 0 {
		return paths
	}
	var checks []queue.Item
	for _, it := range paths {
		if it.Kind == queue.Path && e.outage.checked(it) {
			checks = append(checks, it)
		} else {
			rest = append(rest, it)
		}
	}
	if len(checks) > 0 {
		e.enqueue(&batch{kind: copySmall, retry: true, acks: e.asks(now), live: true, check: true, paths: checks})
	}
	return rest
}
