//go:build clock

package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// The clock of the source is set forward and back under a service that follows changes, and while it is down. It is that
// of the whole machine, on which nothing else may run meanwhile: make clock.
func TestClockJumps(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	src, module := filepath.Join(dir, "src"), filepath.Join(dir, "module")
	must(t, os.Mkdir(src, 0o755))
	must(t, os.Mkdir(module, 0o755))
	daemon := rsynctest.Daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Path: module}}})
	rng := rand.New(rand.NewPCG(1, 1))
	change := func() { treetest.Mutate(t, rng, src, 12) }
	rounds(20, change)
	s := follow(t, src, filepath.Join(module, "dest"), daemon.URL("m/dest"), "-H", "--state-dir="+filepath.Join(dir, "state"))
	s.converged()

	// The runtime's clock has a monotonic reading beside the wall's, by which the clock is right again at the end.
	began := time.Now()
	wall := began.Round(0)
	t.Cleanup(func() { jumpTo(t, wall.Add(time.Since(began))) })
	for _, off := range []time.Duration{time.Hour, -time.Hour, 0, 3 * time.Second, 0, -48 * time.Hour, 0} {
		rounds(10, change)
		jumpTo(t, wall.Add(time.Since(began)+off))
		rounds(10, change)
		s.converged()
		s.stop()
		rounds(5, change)
		jumpTo(t, wall.Add(time.Since(began)+off/2))
		rounds(5, change)
		s.start()
		s.converged()
	}
}

func jumpTo(t *testing.T, when time.Time) {
	t.Helper()
	ts := unix.NsecToTimespec(when.UnixNano())
	must(t, unix.ClockSettime(unix.CLOCK_REALTIME, &ts))
}
