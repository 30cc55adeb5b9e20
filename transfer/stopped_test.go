package transfer

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/ratelimit"
)

// A server that is stopped in the middle of a file, its kernel going on to take bytes, costs that file some seconds, and
// the others nothing.
func TestStoppedServerHoldsUpOnlyWhatItHas(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "small"), "1")
	_, dst, s := daemon(t, rsynctest.Config{})
	f := follow(t, src, s.URL("m/dest"), func(c *Config) {
		c.Sessions, c.BigFile = 2, 1<<20
		c.Dialer.Timeout = 2 * time.Second
		c.Limiter = ratelimit.New(4 << 20)
	})
	settles(t, src, dst)

	write(t, filepath.Join(src, "victim"), strings.Repeat("0123456789abcdef", 384<<10))
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
	write(t, filepath.Join(src, "small"), "changed meanwhile")
	f.Changed(queue.Item{Path: "small"})
	waitFor(t, func() bool {
		got, _ := os.ReadFile(filepath.Join(dst, "small"))
		return string(got) == "changed meanwhile"
	})
	if exists(t, filepath.Join(dst, "victim")) {
		t.Error("the server was not stopped in the middle of the file, or the small one waited for it")
	}
	waitFor(t, func() bool { // what the stopped server began stays beside it
		fi, err := os.Stat(filepath.Join(dst, "victim"))
		return err == nil && fi.Size() == 6<<20
	})
	for _, pid := range stopped {
		if err := syscall.Kill(pid, 0); err != nil {
			t.Errorf("process %d was to stay stopped: %v", pid, err)
		}
	}
}
