package rsync_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/ssh"
)

// sharedDialer reaches a directory through ssh, with logins that sessions share. Sockets are made in run.
func sharedDialer(t *testing.T, shell string) (d *rsync.Dialer, run string) {
	t.Helper()
	run = t.TempDir()
	must(t, os.Chmod(run, 0o700))
	d = shellDialer(shell, t.TempDir())
	d.Logins = ssh.NewPool(run)
	t.Cleanup(d.Logins.Close)
	return d, run
}

// connect makes n sessions that wait side by side.
func connect(t *testing.T, d *rsync.Dialer, n int) []*rsync.Session {
	t.Helper()
	sessions, failed := make([]*rsync.Session, n), make(chan error, n)
	for i := range n {
		go func() {
			var err error
			sessions[i], err = d.Connect(t.Context(), archive())
			failed <- err
		}()
	}
	for range n {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	return sessions
}

// finish sends a file by each session.
func finish(t *testing.T, d *rsync.Dialer, sessions []*rsync.Session) {
	t.Helper()
	for i, s := range sessions {
		name := fmt.Sprint("file", i)
		b := fakeBatch(func(string) (rsync.File, error) { return fake(name), nil }, name)
		b.Entries[0].Size = int64(len(name))
		r, err := s.Send(t.Context(), b)
		if err != nil || states(b, r) != "" {
			t.Errorf("session %d: %v, %s", i, err, states(b, r))
		}
		if got := read(t, filepath.Join(d.Dest.Path, name)); got != name {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// sockets are the masters' in a directory.
func sockets(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	must(t, err)
	return names
}

func wantLogins(t *testing.T, s *rsynctest.SSHServer, want int) {
	t.Helper()
	if got := s.Logins(); got != want {
		t.Errorf("%d logins, want %d", got, want)
	}
}

func wait(t *testing.T, what string, condition func() bool) {
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

// TestSSHShares has many sessions with one login, which is over when the pool is closed.
func TestSSHShares(t *testing.T) {
	s := rsynctest.NewSSHServer(t)
	d, run := sharedDialer(t, s.Shell())
	for range 3 {
		finish(t, d, connect(t, d, 7))
	}
	abandoned := connect(t, d, 2)
	abandoned[0].Close()
	wantLogins(t, s, 1)
	if n := len(sockets(t, run)); n != 1 {
		t.Errorf("%d sockets", n)
	}
	d.Logins.Close()
	abandoned[1].Close()
	if left := sockets(t, run); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	wait(t, "a connection is left", func() bool { return len(s.Sessions()) == 0 })
	finish(t, d, connect(t, d, 1)) // by itself
	checkGoroutines(t)
}

// TestSSHMoreThanAMasterTakes has more sessions side by side than MaxSessions, of which nothing is said.
func TestSSHMoreThanAMasterTakes(t *testing.T) {
	for limit, want := range map[int]int{
		2: 4, // two masters more, and the session that was refused
		0: 2, // the default, 10
	} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			var lines []string
			n := 12
			if limit > 0 {
				lines, n = []string{fmt.Sprint("MaxSessions ", limit)}, 6
			}
			s := rsynctest.NewSSHServer(t, lines...)
			d, _ := sharedDialer(t, s.Shell())
			var sessions []*rsync.Session
			for range n { // one after the other, so that the number of logins is certain
				sessions = append(sessions, connect(t, d, 1)...)
			}
			wantLogins(t, s, want)
			finish(t, d, sessions)
			finish(t, d, connect(t, d, 2))
			wantLogins(t, s, want)
		})
	}
}

// masterOf is the process of the master with this socket.
func masterOf(t *testing.T, d *rsync.Dialer, socket string) int {
	t.Helper()
	out, err := exec.Command("ssh", "-F", "none", "-S", socket, "-O", "check", "h").CombinedOutput()
	_, rest, _ := strings.Cut(string(out), "pid=")
	digits, _, _ := strings.Cut(rest, ")")
	pid, atoi := strconv.Atoi(digits)
	if err != nil || atoi != nil {
		t.Fatalf("%q, %v", out, err)
	}
	return pid
}

// TestSSHMasterDies kills the master under its sessions, and between them.
func TestSSHMasterDies(t *testing.T) {
	s := rsynctest.NewSSHServer(t)
	d, run := sharedDialer(t, s.Shell())
	for i, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		sess := connect(t, d, 1)[0]
		finish(t, d, connect(t, d, 1))
		must(t, syscall.Kill(masterOf(t, d, sockets(t, run)[0]), sig))
		_, err := sess.Send(t.Context(), fakeBatch(func(string) (rsync.File, error) { return fake("x"), nil }, "x"))
		if e, ok := errors.AsType[*rsync.Error](err); !ok || e.Kind != rsync.KindLost && e.Kind != rsync.KindShell {
			t.Errorf("%v: %v", sig, err)
		}
		finish(t, d, connect(t, d, 3))
		wantLogins(t, s, i+2)
		if left := sockets(t, run); len(left) != 1 {
			t.Errorf("%v: sockets %q", sig, left)
		}
	}
	checkGoroutines(t)
}

// TestSSHDeadConnection has a network that is gone for a while: the login is not used again when it is back.
func TestSSHDeadConnection(t *testing.T) {
	s := rsynctest.NewSSHServer(t)
	proxy := rsynctest.Proxy(t, net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port())), rsynctest.Faults{})
	_, port, err := net.SplitHostPort(proxy.Addr())
	must(t, err)
	d, _ := sharedDialer(t, strings.Replace(s.Shell(), "-p "+strconv.Itoa(s.Port()), "-p "+port, 1))
	d.Timeout, d.Batch = time.Second, true
	finish(t, d, connect(t, d, 1))
	proxy.Stop()
	_, err = d.Connect(t.Context(), archive())
	wantKind(t, err, rsync.KindTimeout)
	// Nor does a new login take for ever.
	_, err = d.Connect(t.Context(), archive())
	wantKind(t, err, rsync.KindTimeout)
	proxy.Go()
	d.Timeout = time.Minute
	finish(t, d, connect(t, d, 1))
	if n := s.Logins(); n < 2 {
		t.Errorf("%d logins: the connection was believed in", n)
	}
}

// TestSSHConfiguration goes by the user's own configuration: alias, port, key and a jump host; and leaves sharing to it
// if that is in there.
func TestSSHConfiguration(t *testing.T) {
	s := rsynctest.NewSSHServer(t)
	conf := s.File("config")
	common := fmt.Sprintf("Port %d\nIdentityFile %s\nHostName 127.0.0.1\nHostKeyAlias rsynctest\nUserKnownHostsFile %s\nStrictHostKeyChecking yes\n",
		s.Port(), s.File("user"), s.File("known_hosts"))
	for name, c := range map[string]struct {
		text, options string
		logins        int // of three sessions
		masters       int
	}{
		"alias":            {text: "Host far\n" + common, logins: 1, masters: 1},
		"jump host":        {text: "Host far\nProxyJump gate\n" + common + "Host gate\n" + common, logins: 2, masters: 1},
		"shared by user":   {text: "Host far\nControlMaster auto\nControlPath " + s.File("own") + "\nControlPersist 5\n" + common, logins: 1},
		"not to be shared": {text: "Host far\n" + common, options: " -S none", logins: 3},
		"other program":    {text: "Host far\n" + common, options: " #", logins: 3},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, os.WriteFile(conf, []byte(c.text), 0o600))
			shell := "ssh -F " + conf + c.options
			if c.options == " #" {
				script := filepath.Join(t.TempDir(), "myssh")
				must(t, os.WriteFile(script, []byte("#!/bin/sh\nexec ssh -F "+conf+` "$@"`+"\n"), 0o755))
				shell = script
			}
			before := s.Logins()
			d, run := sharedDialer(t, shell)
			d.Dest.Host, d.Dest.User = "far", "root"
			finish(t, d, connect(t, d, 1))
			finish(t, d, connect(t, d, 2))
			wantLogins(t, s, before+c.logins)
			if n := len(sockets(t, run)); n != c.masters {
				t.Errorf("%d masters, want %d", n, c.masters)
			}
		})
	}
}

// TestSSHRefuses has logins that fail: in the words of ssh, with what to do, at once.
func TestSSHRefuses(t *testing.T) {
	s := rsynctest.NewSSHServer(t)
	other := rsynctest.NewSSHServer(t)
	theirs := strings.Fields(read(t, other.File("host.pub")))
	must(t, os.WriteFile(s.File("wrong_hosts"), []byte("rsynctest "+strings.Join(theirs, " ")+"\n"), 0o600))
	must(t, os.WriteFile(s.File("no_hosts"), nil, 0o600))
	s.NewKey("locked", "a passphrase")
	with := func(old, new string) string { return strings.Replace(s.Shell(), old, new, 1) }
	asking := strings.Replace(strings.Replace(s.Shell(), "-o BatchMode=yes", "", 1), "StrictHostKeyChecking=yes", "StrictHostKeyChecking=ask", 1)

	// Without a terminal ssh asks by this program, if it may.
	asked := filepath.Join(t.TempDir(), "asked")
	program := filepath.Join(t.TempDir(), "askpass")
	must(t, os.WriteFile(program, []byte("#!/bin/sh\necho x >>"+asked+"\nexec sleep 1000\n"), 0o755))
	t.Setenv("SSH_ASKPASS", program)
	t.Setenv("SSH_ASKPASS_REQUIRE", "force")

	for name, c := range map[string]struct{ shell, text, hint string }{
		"host key changed": {with("/known_hosts", "/wrong_hosts"), "Host key verification failed", "ssh-keygen -R"},
		"host unknown":     {with("/known_hosts", "/no_hosts"), "host key is known", "by hand"},
		"ask for the host": {strings.Replace(asking, "/known_hosts", "/no_hosts", 1), "Host key verification failed", "by hand"},
		"no key":           {with(s.File("user"), s.File("none")), "Permission denied (publickey)", "agent"},
		"wrong key":        {with(s.File("user"), other.File("user")), "Permission denied (publickey)", "authorized_keys"},
		"locked key":       {strings.Replace(asking, s.File("user"), s.File("locked"), 1), "Permission denied", "agent"},
		"no such host":     {with("HostName=127.0.0.1", "HostName=no.such.host.invalid"), "Could not resolve", "name"},
		"nobody there":     {with("-p "+strconv.Itoa(s.Port()), "-p 1"), "Connection refused", "sshd"},
	} {
		for _, shared := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", shared ", shared), func(t *testing.T) {
				d, _ := sharedDialer(t, c.shell)
				d.Batch = true
				if !shared {
					d.Logins = nil
				}
				_, err := d.Connect(t.Context(), archive())
				e := wantKind(t, err, rsync.KindShell)
				if !strings.Contains(e.Error(), c.text) || !strings.Contains(e.Hint, c.hint) || e.Code != 255 {
					t.Errorf("error %q, hint %q, code %d; want %q and %q", e, e.Hint, e.Code, c.text, c.hint)
				}
			})
		}
	}
	if _, err := os.Stat(asked); err == nil {
		t.Error("somebody was asked")
	}
	checkGoroutines(t)
}

// TestSSHAsksOnce has a key with a passphrase, and somebody who may be asked for it.
func TestSSHAsksOnce(t *testing.T) {
	s := rsynctest.NewSSHServer(t)
	s.NewKey("user", "open sesame")
	asked := filepath.Join(t.TempDir(), "asked")
	program := filepath.Join(t.TempDir(), "askpass")
	must(t, os.WriteFile(program, []byte("#!/bin/sh\necho x >>"+asked+"\necho open sesame\n"), 0o755))
	t.Setenv("SSH_ASKPASS", program)
	t.Setenv("SSH_ASKPASS_REQUIRE", "force")
	// This ssh can end the master when it is to go through it.
	wrapper := filepath.Join(t.TempDir(), "ssh")
	real, options, _ := strings.Cut(strings.Replace(s.Shell(), "-o BatchMode=yes", "", 1), " ")
	must(t, os.WriteFile(wrapper, []byte(`#!/bin/sh
for a; do case $a in ControlPath=*) socket=${a#*=};; ControlMaster=no) session=yes;; esac; done
if [ "$session" ] && rm "$0.end" 2>/dev/null; then `+real+` -F none -S "$socket" -O exit h; fi
exec `+real+` "$@"
`), 0o755))
	d, run := sharedDialer(t, wrapper+" "+options)
	finish(t, d, connect(t, d, 5))
	wantLogins(t, s, 1)
	if got := strings.Count(read(t, asked), "x"); got != 1 {
		t.Errorf("asked %d times", got)
	}
	// Of sessions of a master that dies none asks, but the next master.
	must(t, os.WriteFile(wrapper+".end", nil, 0o600))
	finish(t, d, connect(t, d, 1))
	if got := strings.Count(read(t, asked), "x"); got != 2 {
		t.Errorf("asked %d times", got)
	}
	must(t, syscall.Kill(masterOf(t, d, sockets(t, run)[0]), syscall.SIGKILL))
	finish(t, d, connect(t, d, 3))
	if got := strings.Count(read(t, asked), "x"); got != 3 {
		t.Errorf("asked %d times", got)
	}
}

// TestSpace asks a host by ssh, for a directory that has to be made yet.
func TestSpace(t *testing.T) {
	s := rsynctest.NewSSHServer(t)
	d, _ := sharedDialer(t, s.Shell())
	var fs syscall.Statfs_t
	must(t, syscall.Statfs(d.Dest.Path, &fs))
	total := int64(fs.Blocks) * fs.Bsize
	d.Dest.Path = filepath.Join(d.Dest.Path, "it's", "to be made")
	got, ok := d.Space(t.Context())
	if !ok || got.Bytes <= 0 || got.Bytes > total || got.Inodes <= 0 || got.Inodes > int64(fs.Files) {
		t.Errorf("%+v, %v; the file system has %d bytes and %d inodes", got, ok, total, fs.Files)
	}
	wantLogins(t, s, 1)
}

// TestSpaceUnknown asks nobody who can't answer, or who would have to ask somebody.
func TestSpaceUnknown(t *testing.T) {
	s := rsynctest.NewSSHServer(t)
	for what, d := range map[string]*rsync.Dialer{
		"daemon":                {Dest: rsync.Dest{Kind: rsync.Daemon, Host: "127.0.0.1", Port: 1, Module: "m"}},
		"a login of its own":    shellDialer(s.Shell(), t.TempDir()),
		"another remote shell":  {Dest: rsync.Dest{Kind: rsync.Shell, Host: "h", Path: "/"}, RemoteShell: "false", Batch: true},
		"no host of this name":  {Dest: rsync.Dest{Kind: rsync.Shell, Host: "127.0.0.1", Path: "/"}, RemoteShell: "ssh -p 1", Batch: true},
		"no program of a shell": {Dest: rsync.Dest{Kind: rsync.Shell, Host: "h", Path: "/"}, RemoteShell: "'", Batch: true},
	} {
		if got, ok := d.Space(t.Context()); ok {
			t.Errorf("%s: %+v", what, got)
		}
	}
	wantLogins(t, s, 0)
}
