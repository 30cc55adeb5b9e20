package daemon

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/control"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/transfer"
)

// What is being written waits to be closed, so its change is not at the destination, whatever the queue knows of it.
func TestWhatIsBeingWrittenIsNotInSync(t *testing.T) {
	t.Parallel()
	f := followTree(t, rsynctest.Config{}, func(*followed) {})
	isInSync(t, f.socket)
	log, err := os.Create(filepath.Join(f.src, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := log.WriteString("written"); err != nil {
		t.Fatal(err)
	}
	written := time.Now()
	looks := 0
	there := func() bool {
		text, _ := os.ReadFile(filepath.Join(f.dst, "log"))
		return string(text) == "written"
	}
	waitFor(t, "what was written is in sync", func() bool {
		if looks++; looks == 10 {
			log.Close()
		}
		st := ask(t, f.socket, control.Request{Do: control.DoStatus}).Status
		if !st.InSyncUpTo.After(written) {
			return false
		}
		if !there() {
			t.Fatalf("in sync up to %v, and what was written at %v is not there", st.InSyncUpTo, written)
		}
		return true
	})
}

// The queue has a change since it was told of it, which may be long after it happened.
func TestInSync(t *testing.T) {
	t.Parallel()
	t0 := time.Unix(1_000_000, 0)
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	never := time.Time{}
	oldest := func(s int) transfer.Snapshot { return transfer.Snapshot{Oldest: at(s)} }
	none := transfer.Snapshot{}
	var s inSync
	for i, c := range []struct {
		told    time.Time
		snap    transfer.Snapshot
		ageless bool
		now     int
		want    time.Time
	}{
		{never, none, false, 0, never},
		{at(1), none, true, 1, never}, // the first pass
		{at(2), oldest(1), false, 2, never},
		{at(3), oldest(1), false, 3, never},
		{at(4), oldest(3), false, 5, at(2)}, // what was told by 2 is done
		{at(5), oldest(4), false, 7, at(3)},
		{at(6), none, false, 9, at(6)},
		{at(6), none, false, 10, at(6)},
		{at(8), oldest(9), false, 11, at(6)},
		{at(9), none, true, 12, at(6)}, // something has no age
		{at(10), oldest(12), false, 13, at(6)},
		{at(11), transfer.Snapshot{Held: &transfer.Held{}}, false, 14, at(6)},
		{at(12), transfer.Snapshot{Undeleted: at(14)}, false, 15, at(6)},
		{at(13), oldest(15), false, 16, at(6)},
		{at(14), oldest(17), false, 18, at(13)},
	} {
		s.look(c.told, &c.snap, c.ageless, at(c.now))
		if !s.upTo.Equal(c.want) {
			t.Errorf("look %d: %v, want %v", i, s.upTo, c.want)
		}
	}
	for n := range 10 * mostMarks {
		s.look(at(100+n), &transfer.Snapshot{Oldest: at(90)}, false, at(100+n))
	}
	if len(s.marks) > mostMarks {
		t.Errorf("%d looks are remembered", len(s.marks))
	}
	last := at(100 + 10*mostMarks)
	s.look(last, &transfer.Snapshot{Oldest: last}, false, last)
	if lag := last.Sub(s.upTo); lag <= 0 || lag > 5*mostMarks*time.Second {
		t.Errorf("far behind: %v", lag)
	}
}
