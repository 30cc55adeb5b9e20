package transfer

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/syncd/syncd/internal/rsynctest"
)

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
	if n := e.reaper.Ending(); n > 0 {
		t.Errorf("%d connections are left", n)
	}
}
