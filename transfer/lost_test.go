package transfer

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/ratelimit"
)

// A server that is stopped while it has a file, is given up, and goes on when a newer version of the file has been
// acknowledged, puts the old one in its place. That does not last, and is not taken for known.
func TestLostSessionOverwrites(t *testing.T) {
	const size = 256 << 10
	src := t.TempDir()
	write(t, filepath.Join(src, "small"), "1")
	_, dst, s := daemon(t, rsynctest.Config{})
	remember := remembering(t, t.TempDir())
	f := follow(t, src, s.URL("m/dest"), func(c *Config) {
		remember(c)
		c.Delete = false // else what the server has not renamed yet is pruned as litter, before it goes on
		c.Sessions = 2
		c.Dialer.Timeout = 2 * time.Second
		c.Limiter = ratelimit.New(4 * size)
	})
	settles(t, src, dst)

	newer := strings.Repeat("new", 1000)
	victim, there := filepath.Join(src, "victim"), filepath.Join(dst, "victim")
	write(t, victim, strings.Repeat("old.", size/4))
	f.Changed(queue.Item{Path: "victim"})
	var stopped []int
	waitFor(t, func() bool {
		stopped = s.Writing("victim")
		return len(stopped) > 0
	})
	for _, pid := range stopped {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, func() bool { return f.Progress().Sent > size }) // to the kernels
	write(t, filepath.Join(src, "another"), newer)
	move(t, src, "another", "victim")
	f.Changed(queue.Item{Path: "victim"})
	intact := func() bool {
		got, _ := os.ReadFile(there)
		return string(got) == newer
	}
	waitFor(t, intact)
	rests(t, f)
	for _, pid := range stopped {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, func() bool { // it is not certain to: its own timeouts may be quicker
		return !intact() || !slices.ContainsFunc(stopped, func(pid int) bool { return syscall.Kill(pid, 0) == nil })
	})
	t.Logf("the new version is intact: %t", intact())
	if err := f.ask(context.Background(), func() {
		f.ledger.ask(func(s *catalogue.Store) error {
			r, _, err := s.Get("victim")
			if r.State != catalogue.Doubt {
				t.Errorf("it is recorded as %v", r.State)
			}
			return err
		})
		if f.lost.due.IsZero() {
			t.Error("it is not to be compared")
		}
		f.lost.due = time.Now()
	}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, intact)
	settles(t, src, dst)
}

// What may be overwritten is what a lost session had in hand, in another version, until some time after a session that
// ended well.
func TestLost(t *testing.T) {
	now := time.Unix(1000, 0)
	older, newer := version{Ino: 1}, version{Ino: 2}
	var x lost
	expect := func(what, p string, v version, want bool) {
		t.Helper()
		if got := x.overtaken(p, v, now); got != want {
			t.Errorf("%s: %s is overtaken: %v", what, p, got)
		}
	}
	expect("nothing lost", "d/f", newer, false)
	x.hold("d/f", inHand{version: older})
	x.hold("e", inHand{wide: true})
	x.hold("twice", inHand{version: older})
	x.hold("twice", inHand{version: newer})
	expect("as it was", "d/f", older, false)
	expect("beside it", "d/g", newer, false)
	expect("the directory above", "d", newer, false)
	if !x.due.IsZero() {
		t.Error("something is to be compared")
	}
	now = now.Add(10 * lostFor)
	x.sweep(now)
	expect("while nothing ends well", "d/f", newer, true)
	if got := x.late.items(now); len(got) != 1 || !x.due.Equal(now.Add(lostFor)) {
		t.Errorf("%v are to be compared at %v", got, x.due)
	}
	expect("deleted", "d/f", version{}, true)
	expect("at a directory", "e", newer, true)
	expect("in it", "e/f", newer, true)
	expect("below", "e/f/g", older, true)
	expect("of a name that begins so", "ef", newer, false)
	expect("in two versions", "twice", older, true)
	expect("in two versions", "twice", newer, true)

	x.ended(now)
	now = now.Add(lostFor)
	x.ended(now)
	expect("just in time", "e/f", newer, true)
	now = now.Add(1)
	expect("over", "e/f", newer, false)
	expect("over", "d/f", newer, false)
	x.late, x.due = recent{}, time.Time{}
	x.hold("d/big", inHand{version: newer, direct: true})
	expect("written in place", "d/big", newer, true)
	if _, ok := x.touched["d"]; !ok || len(x.late.items(now)) > 0 || !x.due.Equal(now.Add(lostFor)) {
		t.Errorf("directories %v and %v are to be compared at %v", x.touched, x.late.items(now), x.due)
	}
	expect("written in place, another version", "d/big", older, true)
	if len(x.late.items(now)) != 1 {
		t.Errorf("%v are to be compared", x.late.items(now))
	}
	x.ended(now)
	now = now.Add(lostFor + 1)
	if x.sweep(now); len(x.held) > 0 {
		t.Errorf("held: %v", x.held)
	}

	for i := range maxLost + 100 {
		x.hold(strconv.Itoa(i), inHand{version: older})
	}
	if len(x.held) > maxLost+1 {
		t.Errorf("%d paths are held", len(x.held))
	}
	expect("with too many", "anything/else", older, true)
}
