package ssh

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/rsynctest"
)

// until waits for a condition.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 3000 {
		if condition() {
			return
		}
		<-tick.C
	}
	t.Fatal(what)
}

// shell is the command of a login at an sshd.
func shell(s *rsynctest.SSHServer) []string {
	return append(strings.Fields(s.Shell()), "-l", "root", "far")
}

// private0700 is a directory as a service has it.
func private0700(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// run runs a command by a lease.
func run(t *testing.T, l *Lease, command []string, there string) {
	t.Helper()
	argv := append(l.Command(command), there)
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v: %s", there, err, out)
	}
}

// A master of a process that was killed ends by itself, when it has no session any more.
func TestMasterEndsWithoutUs(t *testing.T) {
	defer func(n int) { persist = n }(persist)
	persist = 1
	s := rsynctest.NewSSHServer(t)
	dir := private0700(t)
	p := NewPool(dir)
	l, err := p.Lease(t.Context(), shell(s))
	if err != nil || l == nil {
		t.Fatal(l, err)
	}
	run(t, l, shell(s), "sleep 2") // longer than it may be without one
	if !l.m.lives() {
		t.Error("it has ended while there was a session")
	}
	// Nothing is released or closed.
	until(t, "the master lives on", func() bool { return !l.m.lives() })
	until(t, "the connection stays", func() bool { return len(s.Sessions()) == 0 })
	if names, _ := filepath.Glob(dir + "/*"); len(names) > 0 {
		t.Errorf("left: %q", names)
	}
}

// A server that ends connections on which nothing happens is logged in to by each session.
func TestUselessMastersAreGivenUp(t *testing.T) {
	s := rsynctest.NewSSHServer(t)
	p := NewPool(private0700(t))
	defer p.Close()
	for i := range maxWasted + 1 {
		l, err := p.Lease(t.Context(), shell(s))
		if err != nil {
			t.Fatal(err)
		}
		if (l == nil) != (i == maxWasted) {
			t.Fatalf("attempt %d: %v", i, l)
		}
		if l != nil {
			l.Release()
			l.m.exit()
			until(t, "it lives on", func() bool { return !l.m.lives() })
		}
	}
}

// Who does not wait any longer for a login ends it.
func TestLoginIsGivenUp(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ssh")
	script := "#!/bin/sh\ncase \"$*\" in *' -G'*|'-G '*) echo hostname h; exit;; esac\necho $$ >" + name + ".pid\nexec sleep 1000\n"
	if err := os.WriteFile(name, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	p := NewPool(private0700(t))
	defer p.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	first := make(chan error)
	go func() {
		_, err := p.Lease(ctx, []string{name, "h"})
		first <- err
	}()
	until(t, "it does not start", func() bool { b, _ := os.ReadFile(name + ".pid"); return strings.HasSuffix(string(b), "\n") })
	waiting, stop := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, enough)
	defer stop()
	if _, err := p.Lease(waiting, []string{name, "h"}); !errors.Is(err, enough) {
		t.Errorf("who waits for its turn: %v", err)
	}
	cancel(enough)
	if err := <-first; !errors.Is(err, enough) {
		t.Error(err)
	}
	pid, err := os.ReadFile(name + ".pid")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(pid))); err == nil {
		t.Error("ssh runs on")
	}
}

// What can't make a socket does not share, and is no error.
func TestNoMaster(t *testing.T) {
	for name, script := range map[string]string{
		"other ssh":         "exit 255",
		"silent about it":   "exit 0",
		"no socket":         "case \"$*\" in *-G*) echo hostname h; exit;; esac; exit 0",
		"socket not made":   `case "$*" in *-G*) echo hostname h; exit;; esac; for a; do case $a in ControlPath=*) echo "unix_listener: cannot bind to path ${a#*=}: no" >&2;; esac; done; exit 255`,
		"configured master": "case \"$*\" in *-G*) echo hostname h; echo controlmaster auto; exit;; esac; exit 255",
		"configured path":   "case \"$*\" in *-G*) echo hostname h; echo controlpath /x; exit;; esac; exit 255",
	} {
		t.Run(name, func(t *testing.T) {
			ssh := filepath.Join(t.TempDir(), "ssh")
			if err := os.WriteFile(ssh, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			p := NewPool(private0700(t))
			defer p.Close()
			for range 2 {
				if l, err := p.Lease(t.Context(), []string{ssh, "h"}); l != nil || err != nil {
					t.Errorf("%v, %v", l, err)
				}
			}
		})
	}
	var none *Pool
	if l, err := none.Lease(t.Context(), []string{"ssh", "h"}); l != nil || err != nil {
		t.Errorf("no pool: %v, %v", l, err)
	}
	none.Close()
}

func TestPlace(t *testing.T) {
	good := private0700(t)
	open := private0700(t)
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(private0700(t), strings.Repeat("x", 80))
	strange := filepath.Join(private0700(t), "%h")
	link := filepath.Join(private0700(t), "link")
	for _, dir := range []string{long, strange} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	p, err := findPlace([]string{"", "relative", "/no/such", open, long, strange, link, good})
	if err != nil || p.dir != good || p.own {
		t.Errorf("%+v, %v; want %s", p, err, good)
	}
	t.Setenv("TMPDIR", long)
	p, err = findPlace([]string{long})
	if err != nil || !p.own || !strings.HasPrefix(p.dir, "/tmp/syncd-ssh-") {
		t.Fatalf("%+v, %v", p, err)
	}
	if info, err := os.Stat(p.dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	p.remove()
	if _, err := os.Stat(p.dir); err == nil {
		t.Error("it is left")
	}
	if left, _ := filepath.Glob(long + "/*"); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
