package transfer

import (
	"path"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
)

// The server's processes may outlive a session that broke: they are at the other end of the connection, and what came in
// by then is still to be read. Late, because one was stopped or waited for its disk, it goes on with the list that it has:
// puts old content in place, sets old attributes, deletes what was not there when the list was made. The next session,
// which brings the same paths anew, cannot keep it from that.
//
// So what such a session had in hand is remembered for a while. What is acknowledged meanwhile in another version is not
// taken for known, and is compared by checksum when the while is over. The same version, which is nearly all of it, does no
// harm: it is what the lost session would put there as well. Only where it writes in place it may have the very file in
// hand that is acknowledged, whose time is another one then: its directory is compared.

const (
	// lostFor is how long the processes of a session that broke are thought to go on, after the first session that ended
	// well since: what hangs with a disk goes on when the next sessions do. One that is well soon comes to the end of what
	// it was sent, and a server that was given a timeout waits for no more than that.
	lostFor = time.Minute

	// maxLost bounds the paths that are remembered. Beyond, it is the whole tree.
	maxLost = 1 << 16
)

// lost is what sessions that broke may still do. The zero value knows of none; the engine's goroutine owns it.
type lost struct {
	held  map[string]inHand
	open  bool      // of some in held the time has not begun: no session has ended well since
	swept time.Time // when held was last rid of what is over

	late    recent              // acknowledged in another version than is held
	touched map[string]struct{} // directories of what was acknowledged in the same version, and may have another time
	due     time.Time           // when these are to be compared; zero: there are none
}

// inHand is what a lost session has to do at a path.
type inHand struct {
	version version
	wide    bool      // or anything, there and below
	direct  bool      // it is written in place
	until   time.Time // zero: the time has not begun
}

func (h *inHand) over(now time.Time) bool { return !h.until.IsZero() && now.After(h.until) }

// hold remembers a path.
func (x *lost) hold(p string, h inHand) {
	if x.held == nil {
		x.held = map[string]inHand{}
	}
	was, ok := x.held[p]
	switch {
	case ok:
		h.wide = h.wide || was.wide || was.version != h.version
		h.direct = h.direct || was.direct
	case len(x.held) >= maxLost:
		p, h = ".", inHand{wide: true}
	}
	x.held[p] = h
	x.open = true
}

// ended notes that a session ended well.
func (x *lost) ended(now time.Time) {
	if !x.open {
		return
	}
	x.open = false
	for p, h := range x.held {
		if h.until.IsZero() {
			h.until = now.Add(lostFor)
			x.held[p] = h
		}
	}
}

// overtaken reports whether a lost session may put something else than version v at p, or write to it, or undo its deletion
// if v is zero.
// It then remembers to compare it.
func (x *lost) overtaken(p string, v version, now time.Time) bool {
	if len(x.held) == 0 {
		return false
	}
	at, ok := x.held[p]
	ok = ok && !at.over(now)
	found := ok && (at.wide || at.version != v)
	for up := p; !found && up != "."; {
		up = path.Dir(up)
		above := x.held[up]
		found = above.wide && !above.over(now)
	}
	touched := !found && ok && at.direct
	switch {
	case found:
		x.late.note(p, now)
	case touched:
		if x.touched == nil {
			x.touched = map[string]struct{}{}
		}
		x.touched[path.Dir(p)] = struct{}{}
	}
	if (found || touched) && x.due.IsZero() {
		x.due = now.Add(lostFor)
	}
	return found || touched
}

// sweep forgets what is over.
func (x *lost) sweep(now time.Time) {
	if len(x.held) == 0 || now.Sub(x.swept) < lostFor/4 {
		return
	}
	x.swept = now
	for p, h := range x.held {
		if h.over(now) {
			delete(x.held, p)
		}
	}
}

// lose notes what the session of o, which broke, may still do.
func (e *Engine) lose(o outcome) {
	if !e.following || e.session.DryRun || e.spare == nil {
		return
	}
	if r := o.given.tree; r != nil {
		e.lost.hold(r.From, inHand{wide: true})
		e.lost.hold(r.To, inHand{wide: true})
		return
	}
	b := o.b
	direct := e.session.Inplace || b.resumes && e.options(b).PartialDir != ""
	for i := range o.report.Results { // none if it did not get to the list
		prunes := b.kind == prune && !isDir(b.entries[i].Mode)
		if !prunes && o.report.Results[i].State != rsync.Acked {
			e.lost.hold(b.entries[i].Path, inHand{
				version: b.about[i].version, wide: b.entries[i].Mode == 0, direct: direct && isRegular(b.entries[i].Mode),
			})
		}
	}
	for _, p := range b.clears {
		e.lost.hold(p.path, inHand{wide: true})
	}
}

// inPlace hands to news that entry i of b is in place, unless a lost session may change that.
func (e *Engine) inPlace(news *known, b *batch, i int) {
	if !e.lost.overtaken(b.entries[i].Path, b.about[i].version, time.Now()) {
		news.acknowledged(e, b, i)
	}
}

// compareLate has what lost sessions may have changed compared by checksum.
func (e *Engine) compareLate(now time.Time) {
	x := &e.lost
	x.sweep(now)
	if x.due.IsZero() || x.due.After(now) {
		return
	}
	if !e.outage.since.IsZero() {
		x.due = now.Add(lostFor) // whatever hangs there still does
		return
	}
	items, touched := x.late.items(now), x.touched
	x.late, x.touched, x.due = recent{}, nil, time.Time{}
	e.doubt(items)
	e.recheck(items, now)
	for d := range touched {
		e.queue.Add(queue.Item{Kind: queue.Dir, Path: d}, now)
	}
}
