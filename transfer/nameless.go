package transfer

import (
	"path"
	"strings"
	"time"

	"github.com/syncd/syncd/internal/queue"
)

// refusesMissing reports whether a session failed because its server takes no entries of mode 0, which are names to be
// deleted: 3.4.3 does not (rsync-protocol.md 6.11), whatever it is asked for.
func refusesMissing(err error) bool {
	return err != nil && strings.Contains(err.Error(), "invalid file mode 00")
}

// byDirectories has what a session was to delete by name looked up anew: from now on directories are pruned instead.
func (e *Engine) byDirectories(b *batch, pending []bool) {
	e.withoutNames()
	e.counters.retries.Add(1)
	for i := range pending {
		if pending[i] {
			for _, p := range b.answers[int32(i)] {
				e.queue.Defer(p, time.Now())
			}
		}
	}
	e.release(b.parts)
}

// pruneAbove has the directory pruned that p is gone from.
func (e *Engine) pruneAbove(p string) {
	e.done(p)
	e.queue.Add(queue.Item{Kind: queue.Dir, Path: path.Dir(p)}, time.Now())
}

// withoutNames has directories pruned instead of names deleted from now on.
func (e *Engine) withoutNames() {
	if !e.noMissing.Swap(true) {
		e.log.Warn("the server cannot delete by name; directories are pruned instead (rsync 3.4.3: upgrade it)")
	}
}
