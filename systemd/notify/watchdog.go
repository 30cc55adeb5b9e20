package notify

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// A Watchdog tells systemd that the service is alive, as long as the loop that
// does its work says so. If the loop hangs, systemd ends the service with
// SIGABRT, which makes Go write where every goroutine is, and starts it again.
// Make one by NewWatchdog.
type Watchdog struct {
	send     func(state string)
	interval time.Duration // of systemd; 0: it wants no proof
	origin   time.Time
	alive    atomic.Int64 // of the last Alive, as nanoseconds since origin
}

// NewWatchdog takes systemd's interval (WatchdogSec=) from the environment. It
// is an error if what is there is no number; there being none is not.
func NewWatchdog() (*Watchdog, error) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return nil, fmt.Errorf("WATCHDOG_USEC, WATCHDOG_PID: %w", err)
	}
	return newWatchdog(interval, func(state string) { daemon.SdNotify(false, state) }), nil
}

func newWatchdog(interval time.Duration, send func(string)) *Watchdog {
	w := &Watchdog{send: send, interval: interval, origin: time.Now()}
	w.Alive()
	return w
}

// Alive says that the loop goes round. It costs some nanoseconds and may be
// called from any goroutine, but proves something only if it is the one that
// does the work.
func (w *Watchdog) Alive() { w.alive.Store(int64(time.Since(w.origin))) }

// Every is how often the loop has to call Alive at least, also while it has
// nothing to do: a quarter of systemd's interval, so that one call may be missed
// or late. It is 0 if systemd wants no proof; then nobody needs to call Alive.
func (w *Watchdog) Every() time.Duration { return w.interval / 4 }

// Run sends the proof until ctx ends. Nothing is sent while the last Alive is
// more than half of systemd's interval old. It returns at once if systemd wants
// no proof.
//
// systemd watches from the first Ready until the service is stopped; a service
// that ends by itself has to keep Run going until it is done.
func (w *Watchdog) Run(ctx context.Context) {
	if w.interval <= 0 {
		return
	}
	tick := time.NewTicker(max(w.Every(), time.Millisecond))
	defer tick.Stop()
	for {
		if time.Since(w.origin)-time.Duration(w.alive.Load()) <= w.interval/2 {
			w.send(daemon.SdNotifyWatchdog)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
