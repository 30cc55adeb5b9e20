package rsync_test

import (
	"errors"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsynctest"
)

// A server that takes one connection counts one that is over here until its process has ended.
func TestServerOfOneConnectionHasRoomAgain(t *testing.T) {
	s := rsynctest.Daemon(t, rsynctest.Config{Modules: []rsynctest.Module{
		{Name: "m", Options: map[string]string{"max connections": "1"}}}})
	dest, err := rsync.ParseDest(s.URL("m"))
	if err != nil {
		t.Fatal(err)
	}
	r := rsync.NewReaper(&rsync.Dialer{Dest: dest})
	defer r.Close(time.Second)
	refused := 0
	for i := range 10 {
		session, err := r.Connect(t.Context(), archive())
		if e, ok := errors.AsType[*rsync.Error](err); ok && e.Kind == rsync.KindBusy {
			refused++ // the connection had ended, the process had not: nobody here can know
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		report, err := session.Settle(t.Context(), &rsync.Batch{Entries: []flist.Entry{{Path: ".", Mode: 0o040755}}})
		if err != nil || !report.Complete {
			t.Fatalf("session %d: %v", i, err)
		}
		r.Reap(session)
	}
	if refused > 3 {
		t.Errorf("refused %d times of 10", refused)
	}
	if n := r.Ending(); n > 0 {
		t.Errorf("%d connections have not ended: nothing was learned", n)
	}
}
