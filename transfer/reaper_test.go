package transfer

import (
	"fmt"
	"path/filepath"
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
	r := newReaper(&rsync.Dialer{Dest: dest})
	defer r.close()
	refused := 0
	for i := range 10 {
		session, err := r.connect(t.Context(), archive())
		if kindOf(err) == rsync.KindBusy {
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
		r.reap(session)
	}
	if refused > 3 {
		t.Errorf("refused %d times of 10", refused)
	}
	if time.Now().After(r.patient) {
		t.Error("nothing was learned")
	}
}

// What is over when the engine ends has ended when it has.
func TestConnectionsEndWithTheEngine(t *testing.T) {
	src := t.TempDir()
	for i := range 40 {
		write(t, filepath.Join(src, fmt.Sprint("d", i), "file"), "x")
	}
	url, dst, _ := daemon(t, rsynctest.Config{})
	c, rec := config(t, src, url, func(c *Config) { c.tuning.entries = 4 })
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	rec.clean(t)
	equal(t, src, dst)
	if n := len(e.reaper.dying); n > 0 {
		t.Errorf("%d connections are left", n)
	}
}
