package notify

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestWatchdogFollowsTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		w := newWatchdog(20*time.Second, r.send)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			w.Run(ctx)
			close(ended)
		}()
		// The loop calls as often as it is told to and never again after 17 s.
		for range 4 {
			w.Alive()
			<-time.After(w.Every() - time.Second)
		}
		w.Alive() // at 16 s
		<-time.After(time.Minute + time.Second)
		r.expect(t, "0.0 WATCHDOG=1", "5.0 WATCHDOG=1", "10.0 WATCHDOG=1", "15.0 WATCHDOG=1", "20.0 WATCHDOG=1", "25.0 WATCHDOG=1")

		// It comes back before systemd has had enough.
		w.Alive()
		<-time.After(5 * time.Second)
		r.expect(t, "80.0 WATCHDOG=1")
		cancel()
		<-ended
	})
}

// A loop that is slower than the interval is as good as dead.
func TestWatchdogWithSlowLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		w := newWatchdog(4*time.Second, r.send)
		go w.Run(t.Context())
		<-time.After(3500 * time.Millisecond)
		r.take()
		for range 10 {
			<-time.After(4 * time.Second)
			w.Alive()
		}
		// Each call is proof for two seconds.
		if got := r.take(); len(got) > 20 {
			t.Errorf("%d proofs: %v", len(got), got)
		}
	})
}

func TestWatchdogEnvironment(t *testing.T) {
	for _, c := range []struct {
		usec, pid string
		every     time.Duration
		err       string
	}{
		{"", "", 0, ""},
		{"4000000", "", time.Second, ""},
		{"4000000", "1", 0, ""}, // meant for another process
		{"soon", "", 0, "WATCHDOG_USEC"},
		{"-1", "", 0, "WATCHDOG_USEC"},
		{"1", "me", 0, "WATCHDOG_PID"},
	} {
		t.Setenv("WATCHDOG_USEC", c.usec)
		t.Setenv("WATCHDOG_PID", c.pid)
		w, err := NewWatchdog()
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		if err != nil || w.Every() != c.every {
			t.Errorf("%+v: %v, %v", c, w, err)
		}
	}
}
