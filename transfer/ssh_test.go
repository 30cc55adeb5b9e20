package transfer

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/ssh"
	"github.com/syncd/syncd/internal/treetest"
)

// A pass of many sessions, and the changes after it, cost one login of ssh; and one more when its connection is killed.
func TestManySessionsOneLogin(t *testing.T) {
	s := rsynctest.NewSSHServer(t)
	run := t.TempDir()
	if err := os.Chmod(run, 0o700); err != nil {
		t.Fatal(err)
	}
	pool := ssh.NewPool(run)
	t.Cleanup(pool.Close) // after the end of whoever follows
	over := func(c *Config) {
		c.Dialer.RemoteShell, c.Dialer.Logins, c.Dialer.Batch = s.Shell(), pool, true
		c.Delete, c.Sessions, c.BigFile = true, 6, 1<<20
	}
	src, dst := t.TempDir(), filepath.Join(t.TempDir(), "dest")
	rng := rand.New(rand.NewPCG(5, 5))
	treetest.Random(t, rng, src, 300)
	for i := range 6 {
		write(t, filepath.Join(src, fmt.Sprint("large", i)), string(make([]byte, 2<<20))) // a session each
	}
	sum, rec := pass(t, src, "host:"+dst, over)
	rec.clean(t)
	equal(t, src, dst)
	if n := s.Logins(); n != 1 {
		t.Errorf("%d logins for the pass of %+v", n, sum)
	}

	f := follow(t, src, "host:"+dst, over)
	for i := range 4 {
		before := treetest.Snapshot(t, src, plain)
		treetest.Mutate(t, rng, src, 30)
		if i == 2 {
			kill(t, run)
		}
		f.Changed(changedItems(t, before, src)...)
		settles(t, src, dst)
	}
	// Whoever was on the way when it was killed may have logged in by itself.
	if n := s.Logins(); n < 2 || n > 2+6 {
		t.Errorf("%d logins with one connection killed", n)
	}
}

// kill kills the master of the only socket in a directory.
func kill(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 1 {
		t.Fatalf("%q, %v", names, err)
	}
	out, err := exec.Command("ssh", "-F", "none", "-S", names[0], "-O", "check", "h").CombinedOutput()
	_, rest, _ := strings.Cut(string(out), "pid=")
	digits, _, _ := strings.Cut(rest, ")")
	pid, atoi := strconv.Atoi(digits)
	if err != nil || atoi != nil {
		t.Fatalf("%q, %v", out, err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}
