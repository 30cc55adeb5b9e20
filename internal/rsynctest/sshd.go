package rsynctest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/need"
)

const sshdConfig = `ListenAddress 127.0.0.1:%d
HostKey %s/host
AuthorizedKeysFile %s/user.pub %s/probe.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
SetEnv HOME=%s
`

// SSHD starts a real sshd with keys of its own and returns the command for -e that reaches it, as the user who runs the
// test, whatever the host is called. It needs root.
func SSHD(t testing.TB) string {
	t.Helper()
	return NewSSHServer(t).Shell()
}

// An SSHServer is a real sshd on 127.0.0.1. Its methods are for one goroutine.
type SSHServer struct {
	t      testing.TB
	dir    string
	port   int
	ssh    string
	proc   *process
	probes int // logins of our own
}

// NewSSHServer starts one with these lines in its configuration, ended with the test. Commands have its directory as $HOME,
// so that no .bashrc of this machine takes part. It needs root.
func NewSSHServer(t testing.TB, lines ...string) *SSHServer {
	t.Helper()
	// sshd re-executes itself and so wants its absolute path.
	sshd, err := filepath.Abs(needSSHD(t))
	if err != nil {
		t.Fatal(err)
	}
	s := &SSHServer{t: t, dir: t.TempDir(), ssh: need.Program(t, "ssh")}
	if os.Geteuid() != 0 {
		need.Lacking(t, "sshd needs root")
	}
	// The privilege separation directory comes with the service, which a container does not start.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	s.NewKey("host", "")
	s.NewKey("user", "")
	s.NewKey("probe", "")
	host, err := os.ReadFile(s.File("host.pub"))
	if err != nil {
		t.Fatal(err)
	}
	port, err := reservePort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { port.close() })
	s.port = port.number
	write(t, s.File("known_hosts"), "rsynctest "+string(host))
	conf := fmt.Sprintf(sshdConfig, port.number, s.dir, s.dir, s.dir, s.dir) + strings.Join(lines, "\n") + "\n"
	write(t, s.File("sshd_config"), conf)

	if s.proc, err = start(sshd, "-D", "-e", "-f", s.File("sshd_config")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.proc.stop(true); err != nil {
			t.Errorf("stop sshd: %v", err)
		}
		if t.Failed() {
			t.Logf("log of sshd:\n%s", s.proc.output.String())
		}
	})
	if err := s.proc.waitReady(func() bool { return listens(port.number) }); err != nil {
		t.Fatalf("start sshd: %v", err)
	}
	return s
}

// File is the path of a file of its directory: "user" is the key that it takes, "known_hosts" has its own.
func (s *SSHServer) File(name string) string { return filepath.Join(s.dir, name) }

// Port is its TCP port.
func (s *SSHServer) Port() int { return s.port }

// NewKey makes a key, instead of one of this name if there is one.
func (s *SSHServer) NewKey(name, passphrase string) {
	s.t.Helper()
	_ = os.Remove(s.File(name)) // ssh-keygen would ask
	out, err := exec.Command(need.Program(s.t, "ssh-keygen"), "-q", "-t", "ed25519", "-N", passphrase, "-f", s.File(name)).CombinedOutput()
	if err != nil {
		s.t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
}

// Options are ssh's to reach it, with the key and the known hosts of its directory.
func (s *SSHServer) Options() []string {
	return []string{"-p", strconv.Itoa(s.port), "-i", s.File("user"),
		"-o", "HostName=127.0.0.1", "-o", "HostKeyAlias=rsynctest", "-o", "CheckHostIP=no",
		"-o", "UserKnownHostsFile=" + s.File("known_hosts"), "-o", "GlobalKnownHostsFile=none",
		"-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR",
	}
}

// Shell is the command for -e that reaches it, whatever the host is called.
func (s *SSHServer) Shell() string {
	return s.ssh + " -F none " + strings.Join(s.Options(), " ") + " -o BatchMode=yes"
}

// Logins is how often somebody has logged in so far.
func (s *SSHServer) Logins() int {
	s.t.Helper()
	// The log is written beside us. A login of our own, by its port, tells how far it has come.
	argv := strings.Fields(strings.Replace(s.Shell(), s.File("user"), s.File("probe"), 1))
	out, err := exec.Command(argv[0], append(argv[1:], "rsynctest", "echo $SSH_CONNECTION")...).Output()
	fields := strings.Fields(string(out))
	if err != nil || len(fields) < 2 {
		s.t.Fatalf("ask sshd: %q, %v", out, err)
	}
	s.probes++
	own := "port " + fields[1] + " ssh2"
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for range int(startLimit / pollEvery) {
		if log := s.proc.output.String(); strings.Contains(log, own) {
			return strings.Count(log, "Accepted publickey for ") - s.probes
		}
		<-tick.C
	}
	s.t.Fatal("sshd does not log")
	return 0
}

// Sessions are the processes that serve a connection: sshd's own, below which the commands run.
func (s *SSHServer) Sessions() []int { return descendants(s.proc.cmd.Process.Pid) }

// needSSHD finds sshd, which is seldom in an ordinary user's PATH.
func needSSHD(t testing.TB) string {
	t.Helper()
	const usual = "/usr/sbin/sshd"
	if _, err := os.Stat(usual); err == nil {
		return usual
	}
	return need.Program(t, "sshd")
}
