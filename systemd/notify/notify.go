package notify

import (
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// statusEvery is the shortest time between two STATUS= messages. systemctl
// status is read by people; each message costs the manager a D-Bus signal.
const statusEvery = time.Second

// A Notifier tells systemd how the service is. Make one by New. It is safe for
// concurrent use. Errors are not returned: there is nothing a service could do
// about a manager that does not listen, and its own work goes on.
type Notifier struct {
	send func(state string)

	mu   sync.Mutex
	last string    // the STATUS= that systemd has
	next string    // the one it is to have
	sent time.Time // when last was sent
	due  bool      // a timer will send next
}

// New returns a notifier for the socket of $NOTIFY_SOCKET. Without it nothing is sent.
func New() *Notifier {
	return &Notifier{send: func(state string) { daemon.SdNotify(false, state) }}
}

// Ready says that the service does its work: after its start, so that systemctl
// start returns and units that are ordered after it start, and after Reloading.
func (n *Notifier) Ready() { n.change(daemon.SdNotifyReady) }

// Stopping says that the service is ending by its own will or was told to.
func (n *Notifier) Stopping() { n.change(daemon.SdNotifyStopping) }

// Reloading says that the service reads its configuration again. Ready must
// follow, whether it liked the configuration or not: the manager waits for it.
func (n *Notifier) Reloading() {
	// The time lets Type=notify-reload (systemd 253) tell this answer to its
	// SIGHUP from one to an earlier one; Type=notify ignores it.
	n.change(daemon.SdNotifyReloading + "\n" + strings.TrimSuffix(daemon.SdNotifyMonotonicUsec(), "\n"))
}

// Status sets the line that systemctl status shows. A line that systemd has
// already is not sent again; another one is sent at once, or as soon as the last
// is a second old. Only the first line of text counts.
func (n *Notifier) Status(text string) {
	text, _, _ = strings.Cut(text, "\n") // another line would be another message
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next = text
	if n.due || text == n.last {
		return
	}
	if wait := statusEvery - time.Since(n.sent); wait > 0 {
		n.due = true
		time.AfterFunc(wait, n.flush)
		return
	}
	n.sendStatus()
}

// flush sends what came in while the last status was fresh.
func (n *Notifier) flush() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.due = false
	if n.next != n.last {
		n.sendStatus()
	}
}

func (n *Notifier) sendStatus() {
	n.send("STATUS=" + n.next)
	n.last, n.sent = n.next, time.Now()
}

// change sends a change of state, and with it the status if it is newer than
// what systemd has: the two must not contradict each other.
func (n *Notifier) change(state string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next != n.last {
		state += "\nSTATUS=" + n.next
		n.last, n.sent = n.next, time.Now()
	}
	n.send(state)
}
