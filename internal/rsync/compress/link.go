package compress

import "time"

const (
	// judgeEvery is how long a link is watched before it is judged.
	judgeEvery = 100 * time.Millisecond
	// A session that waits for the link for more than half of its time has processor time to spare, and every byte saved
	// is time won. It has none when it waits for less than an eighth. What lies between leaves things as they are: the
	// stronger level takes half as much time again, so no link is between the two by turns.
	slowShare = 2
	fastShare = 8
)

// A link is the way to the receiver, judged by how long the session waits for it. Where that is not known it is fast.
type link struct {
	waited func() time.Duration
	slow   bool

	since  time.Time     // of this judgement's beginning
	before time.Duration // what waited returned then
}

func newLink(waited func() time.Duration) *link {
	return &link{waited: waited, since: time.Now(), before: waited()}
}

// turned judges, if it is time to, and reports whether the judgement is another one.
func (l *link) turned() bool {
	elapsed := time.Since(l.since)
	if elapsed < judgeEvery {
		return false
	}
	waited := l.waited()
	share := waited - l.before
	l.since, l.before = l.since.Add(elapsed), waited
	was := l.slow
	switch {
	case share > elapsed/slowShare:
		l.slow = true
	case share < elapsed/fastShare:
		l.slow = false
	}
	return l.slow != was
}
