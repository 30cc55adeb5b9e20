package transfer

import "time"

const (
	// gatherFor is how long changes gather, on average, while they come without a pause. A session costs a server some
	// 5 ms of processor time, whatever it carries.
	gatherFor = 40 * time.Millisecond
	// gatherAfter is how many sessions in a row need not gather: what comes now and then is sent at once.
	gatherAfter = 3
)

// A pace says when a session for changes may begin: at once if there were few of late, else in a steady step. The zero
// value has seen none.
type pace struct {
	paid time.Time // the sessions so far, had they begun in step, would have filled the time up to here
}

// ready returns when the next session may begin, which may be past.
func (p *pace) ready() time.Time { return p.paid.Add(-(gatherAfter - 1) * gatherFor) }

// begin notes that a session begins.
func (p *pace) begin(now time.Time) {
	if p.paid.Before(now) {
		p.paid = now
	}
	p.paid = p.paid.Add(gatherFor)
}
