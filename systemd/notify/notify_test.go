package notify

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// recorder notes what is sent and when, in seconds since it was made.
type recorder struct {
	start time.Time
	mu    sync.Mutex
	got   []string
}

func newRecorder() *recorder { return &recorder{start: time.Now()} }

func (r *recorder) send(state string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, fmt.Sprintf("%.1f %s", time.Since(r.start).Seconds(), strings.ReplaceAll(state, "\n", " ")))
}

// take returns and forgets what was sent.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.got = nil }()
	return r.got
}

func (r *recorder) expect(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, r.take()); diff != "" {
		t.Errorf("-want +sent:\n%s", diff)
	}
}

func TestStatusIsSentOnChangeAndOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		n := &Notifier{send: r.send}
		n.Status("a")
		n.Status("a")
		n.Status("b")
		n.Status("c")
		<-time.After(5 * time.Second)
		r.expect(t, "0.0 STATUS=a", "1.0 STATUS=c")

		n.Status("c")
		<-time.After(5 * time.Second)
		r.expect(t)

		// Another one and back before it is due.
		n.Status("d")
		n.Status("e")
		n.Status("d")
		<-time.After(5 * time.Second)
		r.expect(t, "10.0 STATUS=d")

		// A stream of changes.
		for i := range 10 {
			n.Status(fmt.Sprint(i))
			<-time.After(300 * time.Millisecond)
		}
		<-time.After(5 * time.Second)
		r.expect(t, "15.0 STATUS=0", "16.0 STATUS=3", "17.0 STATUS=6", "18.0 STATUS=9")
	})
}

func TestStatusIsOneLine(t *testing.T) {
	r := newRecorder()
	(&Notifier{send: r.send}).Status("a\nMAINPID=1")
	r.expect(t, "0.0 STATUS=a")
}

// A change of state takes the newest status along.
func TestStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		n := &Notifier{send: r.send}
		n.Status("starting")
		n.Status("live")
		n.Ready()
		<-time.After(time.Minute)
		n.Stopping()
		n.Status("2 transfers left")
		<-time.After(time.Minute)
		r.expect(t, "0.0 STATUS=starting", "0.0 READY=1 STATUS=live", "60.0 STOPPING=1", "60.0 STATUS=2 transfers left")

		n.Reloading()
		got := r.take()
		if len(got) != 1 || !regexp.MustCompile(`^120\.0 RELOADING=1 MONOTONIC_USEC=[0-9]+$`).MatchString(got[0]) {
			t.Errorf("sent %q", got)
		}
	})
}

func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "3000000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))

	n := New()
	n.Status("ä")
	n.Ready()
	w, err := NewWatchdog()
	if err != nil {
		t.Fatal(err)
	}
	if w.Every() != 750*time.Millisecond {
		t.Errorf("every %v", w.Every())
	}
	go w.Run(t.Context())
	for _, want := range []string{"STATUS=ä", "READY=1", "WATCHDOG=1"} {
		p := make([]byte, 100)
		k, err := l.Read(p)
		if err != nil || string(p[:k]) != want {
			t.Errorf("got %q, %v, want %q", p[:k], err, want)
		}
	}
}

// Outside of a unit, and with a manager that is gone, nothing happens.
func TestWithoutSystemd(t *testing.T) {
	for _, socket := range []string{"", filepath.Join(t.TempDir(), "none")} {
		t.Setenv("NOTIFY_SOCKET", socket)
		t.Setenv("WATCHDOG_USEC", "")
		n := New()
		n.Ready()
		n.Status("a")
		n.Reloading()
		n.Stopping()
		w, err := NewWatchdog()
		if err != nil {
			t.Fatal(err)
		}
		if w.Every() != 0 {
			t.Errorf("every %v", w.Every())
		}
		w.Alive()
		w.Run(t.Context()) // returns
	}
}
