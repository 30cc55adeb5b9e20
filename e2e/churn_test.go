package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// A network is what happens between source and destination while the tree changes.
type network struct {
	name  string
	exact bool // see crowd
	// disturb does so until done is closed, and leaves all well.
	disturb func(s *service, relay *rsynctest.Relay, rng *rand.Rand, done <-chan struct{})
}

var networks = []network{
	{"healthy", true, func(_ *service, _ *rsynctest.Relay, _ *rand.Rand, done <-chan struct{}) { <-done }},
	{"faulty", true, faulty},
	{"killed", false, killed},
}

// Several writers that never wait for the service change a tree in every way. Some have a directory each, others share
// one. When they rest, the destination becomes equal: over a healthy network, one that breaks all the time, and when the
// service is killed and started again and again.
//
// SYNCD_SEEDS says how many times, each other than the last, and SYNCD_SEED with which number it begins: the long form,
// in which the writers do more, and go on after one more rest. SYNCD_KEEP is a directory that gets logs and trees of what failed.
func TestChurn(t *testing.T) {
	t.Parallel()
	first, n := number(t, "SYNCD_SEED", 0), number(t, "SYNCD_SEEDS", 2)
	legs, bursts := 2, 12
	if os.Getenv("SYNCD_SEEDS") != "" {
		legs, bursts = 3, 16
	}
	for _, net := range networks {
		t.Run(net.name, func(t *testing.T) {
			t.Parallel()
			for seed := first; seed < first+n; seed++ {
				t.Run(fmt.Sprint(seed), func(t *testing.T) { churn(t, net, seed, legs, bursts) })
			}
		})
	}
}

func number(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// In the first leg the writers meet the pass, which lasts as long as they do and finds what watching might miss. In the
// others the service is live, and nothing but what it is told of changes makes the trees equal.
func churn(t *testing.T, net network, seed uint64, legs, bursts int) {
	random := func(who uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, who)) }
	dir := t.TempDir()
	src := filepath.Join(dir, "src")
	var own []string
	for w := range 2 {
		own = append(own, filepath.Join(src, fmt.Sprint("own", w)))
		treetest.Write(t, src, treetest.Dir(fmt.Sprint("own", w)))
		treetest.Random(t, random(uint64(w)), own[w], 60)
	}
	shared := newCrowd(t, filepath.Join(src, "shared"), filepath.Join(dir, "outside"), net.exact)
	attrs := seed%4 == 1 || seed%4 == 2 // with hard links and without
	if attrs {
		shared.ops = append(slices.Clone(crowdOps), attrOps...)
	}
	shared.act(random(10), 200)

	daemon := rsynctest.Daemon(t, rsynctest.Config{})
	relay := rsynctest.Proxy(t, daemon.Addr(), rsynctest.Faults{})
	flags := []string{"--log-level=debug"}
	if seed%2 == 1 {
		flags = append(flags, "-H")
	}
	if attrs {
		flags = append(flags, "-AX")
	}
	if seed%3 != 0 {
		flags = append(flags, "--state-dir="+filepath.Join(dir, "state"))
	}
	if seed%5 >= 3 { // sessions of their own, and parts, for most files
		flags = append(flags, "--big-file=2K")
	}
	s := follow(t, src, filepath.Join(daemon.Dir("m"), "dest"), relay.URL("m/dest"), flags...)
	if attrs {
		s.options.Ignore &^= treetest.Xattrs
	}
	if seed%2 == 1 {
		s.options.Ignore &^= treetest.HardLinks
	}

	rngs := make([]*rand.Rand, 6)
	for i := range rngs {
		rngs[i] = random(20 + uint64(i))
	}
	for range legs {
		var writers, disturber sync.WaitGroup
		for w, dir := range own {
			writers.Go(func() {
				rounds(bursts, func() {
					treetest.Mutate(t, rngs[w], dir, 8)
					if attrs {
						treetest.MutateAttrs(t, rngs[w], dir, 8)
					}
				})
			})
		}
		for w := range 3 {
			writers.Go(func() { rounds(bursts, func() { shared.act(rngs[2+w], 30) }) })
		}
		done := make(chan struct{})
		disturber.Go(func() { net.disturb(s, relay, rngs[5], done) })
		writers.Wait()
		close(done)
		disturber.Wait()
		s.converged()
	}
	if idle := shared.idle(); len(idle) > 0 {
		t.Errorf("never done: %s", strings.Join(idle, ", "))
	}
	t.Logf("operations in the shared directory: %v", shared.done)
}

// rounds is how a writer works: bursts, with time between them for the service to begin with what the last one left.
func rounds(n int, burst func()) {
	tick := time.NewTicker(70 * time.Millisecond)
	defer tick.Stop()
	for range n {
		burst()
		<-tick.C
	}
}

// after waits for between half and one and a half times the mean, and tells whether done was closed before.
func after(rng *rand.Rand, mean time.Duration, done <-chan struct{}) bool {
	select {
	case <-done:
		return false
	case <-time.After(mean/2 + time.Duration(rng.Int64N(int64(mean)))):
		return true
	}
}

// faulty breaks, holds and delays connections, mostly the one or the other, sometimes nothing.
func faulty(_ *service, relay *rsynctest.Relay, rng *rand.Rand, done <-chan struct{}) {
	bytes := func() int64 { return 1 + int64(rng.Uint64N(1<<(3+rng.IntN(17)))) }
	for after(rng, 120*time.Millisecond, done) {
		switch rng.IntN(7) {
		case 0:
			relay.Cut()
		case 1:
			relay.Set(rsynctest.Faults{CutUp: bytes()})
		case 2:
			relay.Set(rsynctest.Faults{CutDown: bytes()})
		case 3:
			relay.Set(rsynctest.Faults{Delay: time.Duration(rng.IntN(60)) * time.Millisecond, CutUp: bytes()})
		case 4:
			relay.Stop()
			after(rng, 200*time.Millisecond, done)
			if rng.IntN(2) == 0 {
				relay.Cut()
			}
			relay.Go()
		case 5:
			relay.Set(rsynctest.Faults{})
		case 6: // half of the connections, more or less
			relay.Set(rsynctest.Faults{CutDown: bytes(), Connections: 1 + rng.IntN(3)})
		}
	}
	relay.Set(rsynctest.Faults{})
	relay.Go()
}

// killed ends the service at any moment of its work, about every second, and starts it again.
func killed(s *service, _ *rsynctest.Relay, rng *rand.Rand, done <-chan struct{}) {
	for after(rng, 800*time.Millisecond, done) {
		s.kill()
		s.start()
	}
}
