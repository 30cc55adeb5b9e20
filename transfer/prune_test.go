package transfer

import (
	"fmt"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/queue"
)

// Rounds of pruning grow while nothing changes, and are small at once when something does.
func TestRoundsOfPruningGrowWhileNothingChanges(t *testing.T) {
	c, _ := config(t, t.TempDir(), t.TempDir(), deleting)
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer e.closeConnections()
	e.following = true
	size := func(want int) {
		t.Helper()
		if e.roundSize != want {
			t.Errorf("the next round is of %d directories, want %d", e.roundSize, want)
		}
	}
	now := time.Now()
	round := func(lasted time.Duration) {
		e.resizeRound(now, now.Add(lasted))
		now = now.Add(lasted)
	}
	size(minPruneRound)
	round(10 * time.Millisecond)
	size(2 * minPruneRound)
	round(100 * time.Millisecond)
	size(2 * minPruneRound)
	round(10 * time.Millisecond)
	round(time.Second)
	size(2 * minPruneRound)
	round(time.Second)
	round(time.Second)
	size(minPruneRound)
	for range 20 {
		round(time.Millisecond)
	}
	size(maxPruneRound)

	for i := range maxPruneRound {
		e.prunes = append(e.prunes, pruneJob{path: fmt.Sprint(i)})
	}
	for range 2 * minPruneRound {
		if _, ok := e.nextPrune(); !ok {
			t.Fatal("the round is over too soon")
		}
	}
	e.Changed(queue.Item{Kind: queue.Path, Path: "0/file"})
	e.receive(now.Add(time.Millisecond))
	size(minPruneRound)
	if p, ok := e.nextPrune(); ok {
		t.Errorf("%s is locked while a change waits", p.path)
	}
	round(2 * time.Millisecond)
	size(minPruneRound) // there was a change in it
	round(time.Millisecond)
	size(2 * minPruneRound)
}
