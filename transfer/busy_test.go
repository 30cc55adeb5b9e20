package transfer

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

var oneConnection = rsynctest.Config{
	Modules: []rsynctest.Module{{Name: "m", Options: map[string]string{"max connections": "1"}}},
}

func TestFollowOverOneConnection(t *testing.T) {
	for seed := range seeds(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			src := t.TempDir()
			rng := rand.New(rand.NewPCG(seed, 71))
			treetest.Random(t, rng, src, 200)
			url, dst, _ := daemon(t, oneConnection)
			f := follow(t, src, url, nil)
			settles(t, src, dst)
			for range 4 {
				before := treetest.Snapshot(t, src, plain)
				treetest.Mutate(t, rng, src, 30)
				f.Changed(changedItems(t, before, src)...)
				settles(t, src, dst)
			}
		})
	}
}

// A session that waits for changes must not keep the only connection from what is to be pruned: if no change comes, it
// waits for ever.
func TestPruneGetsTheOnlyConnection(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "d/file"), "1")
	url, dst, _ := daemon(t, oneConnection)
	f := follow(t, src, url, func(c *Config) { c.Sessions = 1 })
	settles(t, src, dst)
	write(t, filepath.Join(src, "d/file"), "2")
	f.Changed(queue.Item{Path: "d/file"})
	settles(t, src, dst)
	waitFor(t, func() bool { // until it has a session that waits: after a refusal it is in no hurry to open one
		f.spare.mu.Lock()
		waits := f.spare.session != nil
		f.spare.earliest = time.Time{}
		f.spare.mu.Unlock()
		if !waits {
			f.spare.fill(f.options(&batch{kind: copySmall, retry: true, acks: true, live: true}))
		}
		return waits
	})
	f.prune(t, filepath.Join(dst, "d/extra"))
	waitFor(t, func() bool { return !exists(t, filepath.Join(dst, "d/extra")) })
}
