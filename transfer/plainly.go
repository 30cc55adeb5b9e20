package transfer

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/syncd/syncd/internal/rsync"
)

const (
	// plainFor is how long batches of changes do without acknowledgements after a server could not create files.
	plainFor = time.Minute
	// fewEntries may be asked for one by one even then: of so few outstanding ones a server does not run out.
	fewEntries = 6
)

// plainly says whether batches do without acknowledgements. A stock server (3.5.0) that is asked for them takes a file
// that it asked for and could not create for outstanding until the end, and with ten or more of them it asks for
// nothing more and never ends. So while it has no inodes, or its disk is read-only, its good end has to do, and its
// words must tell what went wrong, as in a pass.
type plainly struct {
	until time.Time
	now   atomic.Bool // what asks said last, for those who run sessions
}

// learn takes what a session found.
func (p *plainly) learn(o outcome) {
	switch kind := kindOf(o.err); {
	case kind == rsync.KindStuck:
		p.until = time.Now().Add(plainFor)
	case kind == rsync.KindDiskFull:
		p.until = time.Time{} // it ends at the first file without room, so only acknowledgements tell what came before
	case o.err == nil && failures(o.report) > fewEntries:
		p.until = time.Now().Add(plainFor)
	}
}

func failures(r *rsync.Report) int {
	n := 0
	for i := range r.Results {
		if r.Results[i].State == rsync.Failed {
			n++
		}
	}
	return n
}

// asks reports whether batches that follow changes ask for acknowledgements now.
func (e *Engine) asks(now time.Time) bool {
	e.plainly.now.Store(now.Before(e.plainly.until) || e.lacks(acknowledges))
	return e.following && !e.plainly.now.Load()
}

// stuck handles a session whose server stopped, for what it could not create. Nothing is wrong with the connection, so
// the rest need not wait.
func (e *Engine) stuck(b *batch, pending []bool) {
	e.counters.retries.Add(1)
	if pending == nil {
		e.release(b.parts)
		return
	}
	rest := e.rest(b, pending)
	if b.unclear {
		e.portion(rest)
		return
	}
	rest.acks = false
	e.enqueue(rest)
}

// portion makes batches of a few entries of b, each of which holds the directories that wait for b.
func (e *Engine) portion(b *batch) {
	var places []int
	for i := range b.about {
		if b.about[i].primary {
			places = append(places, i)
		}
	}
	for few := range slices.Chunk(places, fewEntries) {
		s := b.subset(func(i int) bool { return slices.Contains(few, i) })
		for _, p := range b.parts {
			e.hold(s, p)
		}
		e.enqueue(s)
	}
	e.release(b.parts)
}
