package rsync_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/syncd/syncd/internal/rsynctest"
)

// TestDaemon copies a tree in every protocol, with and without acknowledgements, and then finds nothing to do.
func TestDaemon(t *testing.T) {
	s := rsynctest.Daemon(t, rsynctest.Config{})
	src := t.TempDir()
	write(t, filepath.Join(src, "a"), "hello\n")
	write(t, filepath.Join(src, "d/b"), "world\n")
	for protocol := 27; protocol <= 32; protocol++ {
		for _, acks := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/%v", protocol, acks), func(t *testing.T) {
				sub := fmt.Sprintf("%d%v", protocol, acks)
				d := dialer(t, s, "m/"+sub)
				o := archive()
				o.Protocol, o.Acks = protocol, acks
				b := treeBatch(t, src)
				r := send(t, d, o, b)
				if got := states(b, r); got != "" {
					t.Errorf("not acked:\n%s", got)
				}
				if got := read(t, filepath.Join(s.Dir("m"), sub, "d/b")); got != "world\n" {
					t.Errorf("d/b holds %q", got)
				}
				checkGoroutines(t)
			})
		}
	}
}
