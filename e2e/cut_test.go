package e2e

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

const (
	// bigFile is more than cutBig says.
	bigFile = 12 << 20
	cutBig  = "--big-file=4M"
	// cutAt is where a connection ends, in bytes, by then mostly of the file.
	cutAt = 8 << 20
	// again is how much of what has arrived may be sent once more, with everything else that is not the file's rest: what
	// was under way to the disk when the connection ended, block sums, lists.
	again = 1 << 20
	// againSSH is the same over ssh, where more is under way: sshd has it, and the pipe to the server.
	againSSH = 3 << 20

	partialDir, ownDir = ".syncd-partial", ".part"
)

// A cut is a transfer of one large file and what becomes of it, through a relay that knows how much was sent.
type cut struct {
	t        *testing.T
	src, dst string
	relay    *rsynctest.Relay
	daemon   *rsynctest.Server // nil: it is over ssh
	args     []string
	options  treetest.Options
}

// newCut makes the source. Over ssh the relay is before sshd.
func newCut(t *testing.T, ssh bool, flags ...string) *cut {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	c := &cut{t: t, src: filepath.Join(dir, "src"), dst: filepath.Join(dir, "dst"), options: plain}
	c.write(bigFile)
	must(t, os.WriteFile(filepath.Join(c.src, "d", "small"), []byte("small"), 0o644))
	c.args = append([]string{"--full", "-a", "--numeric-ids", "--delete", cutBig}, flags...)
	if ssh {
		s := rsynctest.NewSSHServer(t)
		c.relay = rsynctest.Proxy(t, fmt.Sprint("127.0.0.1:", s.Port()), rsynctest.Faults{})
		_, port, _ := strings.Cut(c.relay.Addr(), ":")
		shell := strings.Replace(s.Shell(), fmt.Sprint("-p ", s.Port()), "-p "+port, 1)
		c.args = append(c.args, "-e", shell, c.src, "localhost:"+c.dst)
		return c
	}
	c.daemon = rsynctest.Daemon(t, rsynctest.Config{})
	c.dst = filepath.Join(c.daemon.Dir("m"), "dst")
	c.relay = rsynctest.Proxy(t, c.daemon.Addr(), rsynctest.Faults{})
	c.args = append(c.args, c.src, c.relay.URL("m/dst"))
	return c
}

func (c *cut) big() string { return filepath.Join(c.src, "d", "big") }

// write makes the large file, of this size, of what does not compress.
func (c *cut) write(size int64) {
	c.t.Helper()
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data) // never fails
	must(c.t, os.MkdirAll(filepath.Dir(c.big()), 0o755))
	must(c.t, os.WriteFile(c.big(), data, 0o644))
}

// start begins a run.
func (c *cut) start() *exec.Cmd {
	c.t.Helper()
	cmd := exec.Command(program, c.args...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(c.t, cmd.Start())
	return cmd
}

// run goes to the end, which must be a good one.
func (c *cut) run(more ...string) {
	c.t.Helper()
	syncd(c.t, 0, append(slices.Clone(more), c.args...)...)
}

// ends waits for a run, which must be done.
func (c *cut) ends(cmd *exec.Cmd) {
	c.t.Helper()
	if err := cmd.Wait(); err != nil {
		c.t.Fatalf("syncd %q: %v", c.args, err)
	}
}

// held waits until a connection is held, and the server has written what had come till then.
func (c *cut) held() {
	c.t.Helper()
	must(c.t, await(func() error {
		if c.relay.Held() == 0 {
			return fmt.Errorf("no connection is held")
		}
		if n := bytesIn(c.t, c.dst); n < cutAt-again {
			return fmt.Errorf("%d bytes have been written", n)
		}
		return nil
	}, nil))
}

// bytesIn is the size of all files in a tree that changes.
func bytesIn(t testing.TB, dir string) int64 {
	t.Helper()
	var sum int64
	walk(t, dir, func(_ string, d fs.DirEntry) {
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
	})
	return sum
}

// walk calls f for all that is in a tree that changes.
func walk(t testing.TB, dir string, f func(p string, d fs.DirEntry)) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err == nil {
			f(p, d)
		}
		return err
	}))
}

// stopped runs until the connection is held, sends sig, and waits until the server has noticed.
func (c *cut) stopped(sig syscall.Signal) {
	c.t.Helper()
	c.relay.Set(rsynctest.Faults{HoldUp: cutAt, Connections: 0})
	cmd := c.start()
	c.held()
	must(c.t, cmd.Process.Signal(sig))
	if err := cmd.Wait(); err == nil {
		c.t.Fatal("syncd ended well")
	}
	c.relay.Set(rsynctest.Faults{})
	c.relay.Cut() // what syncd has written till then must not come either: it may be the rest
	c.settled()
}

// settled waits until the server has put away what has arrived.
func (c *cut) settled() {
	c.t.Helper()
	must(c.t, await(func() error {
		for _, p := range litter(c.t, c.dst) {
			if filepath.Base(p) != partialDir && filepath.Base(p) != ownDir {
				return fmt.Errorf("the server still has %s", p)
			}
		}
		return nil
	}, nil))
}

// litter are the names in a destination that a transfer leaves which was cut off.
func litter(t testing.TB, dst string) []string {
	t.Helper()
	var found []string
	walk(t, dst, func(p string, _ fs.DirEntry) {
		if filepath.Base(p)[0] == '.' { // a part, or what a server had not renamed yet
			found = append(found, p)
		}
	})
	return found
}

// clean fails the test unless the trees are equal and nothing else is left.
func (c *cut) clean() {
	c.t.Helper()
	treetest.Equal(c.t, c.src, c.dst, c.options)
	if left := litter(c.t, c.dst); len(left) > 0 {
		c.t.Errorf("left behind: %q", left)
	}
}

// sent fails the test if much more than n bytes went to the server.
func (c *cut) sent(n int64) {
	c.t.Helper()
	if c.daemon == nil {
		n += againSSH - again
	}
	if up, _ := c.relay.Bytes(); up > n+again {
		c.t.Errorf("%d MiB were sent, want little more than %d", up>>20, n>>20)
	}
}

// partSize is the size of what is kept of the large file.
func partSize(t *testing.T, dst string) int64 {
	t.Helper()
	st, err := os.Stat(filepath.Join(dst, "d", partialDir, "big"))
	switch {
	case os.IsNotExist(err):
		return 0
	case err != nil:
		t.Fatal(err)
	}
	return st.Size()
}
