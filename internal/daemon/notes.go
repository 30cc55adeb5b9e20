package daemon

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// noteEvery is how often a warning that stands is repeated.
	noteEvery = time.Minute
	// mostNotes is how many different warnings are logged in that time. What there is more of is counted.
	mostNotes = 8
)

// notes logs warnings of single paths and tries, of which there may be as many as there are files. The zero value is not
// ready; its method may be called from any goroutine.
type notes struct {
	log *slog.Logger

	mu    sync.Mutex
	begun time.Time
	said  map[string]bool // since then
	more  int             // not said
}

// say logs text unless it was logged a short time ago, or too many others were.
func (n *notes) say(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := time.Now(); n.said == nil || now.Sub(n.begun) >= noteEvery {
		if n.more > 0 {
			n.log.Warn("more warnings were not logged", "count", n.more, "minutes", int(now.Sub(n.begun).Minutes()))
		}
		n.begun, n.said, n.more = now, map[string]bool{}, 0
	}
	switch {
	case n.said[text]:
	case len(n.said) >= mostNotes:
		n.more++
		n.log.Debug(text)
	default:
		n.said[text] = true
		n.log.Warn(text)
	}
}
