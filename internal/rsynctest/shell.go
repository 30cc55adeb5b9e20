package rsynctest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// localShell does with its arguments what ssh and sshd do together: options and the host are dropped, the rest is joined
// by spaces and given to a shell in the home directory.
const localShell = `#!/bin/sh
while :; do
	case $1 in
	-[46AaCfGgKkMNnqsTtVvXxYy]) shift ;;
	-?) shift 2 ;;
	-*) shift ;;
	*) break ;;
	esac
done
shift
cd "${HOME:-/}" || exit 255
exec /bin/sh -c "$*"
`

// Shell returns a command for -e that runs the remote command on this machine, whatever the host is called. As with
// sshd, relative paths start in the home directory ($HOME).
func Shell(t testing.TB) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "shell")
	if err := os.WriteFile(name, []byte(localShell), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

const sshdConfig = `ListenAddress 127.0.0.1:%d
HostKey %s/host
AuthorizedKeysFile %s/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
`

// SSHD starts a real sshd with keys of its own and returns the command for -e that reaches it, as the user who runs the
// test, whatever the host is called. It needs root.
func SSHD(t testing.TB) string {
	t.Helper()
	// sshd re-executes itself and so wants its absolute path.
	sshd, err := filepath.Abs(needSSHD(t))
	if err != nil {
		t.Fatal(err)
	}
	ssh, keygen := need(t, "ssh"), need(t, "ssh-keygen")
	if os.Geteuid() != 0 {
		missing(t, "sshd needs root")
	}
	// The privilege separation directory comes with the service, which a container does not start.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, key := range []string{"host", "user"} {
		out, err := exec.Command(keygen, "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key)).CombinedOutput()
		if err != nil {
			t.Fatalf("ssh-keygen: %v: %s", err, out)
		}
	}
	host, err := os.ReadFile(filepath.Join(dir, "host.pub"))
	if err != nil {
		t.Fatal(err)
	}
	port, err := reservePort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { port.close() })
	write(t, filepath.Join(dir, "known_hosts"), "rsynctest "+string(host))
	write(t, filepath.Join(dir, "sshd_config"), fmt.Sprintf(sshdConfig, port.number, dir, dir))

	p, err := start(sshd, "-D", "-e", "-f", filepath.Join(dir, "sshd_config"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.stop(true); err != nil {
			t.Errorf("stop sshd: %v", err)
		}
		if t.Failed() {
			t.Logf("log of sshd:\n%s", p.output.String())
		}
	})
	if err := p.waitReady(func() bool { return listens(port.number) }); err != nil {
		t.Fatalf("start sshd: %v", err)
	}
	return strings.Join([]string{ssh, "-F", "none", "-p", strconv.Itoa(port.number), "-i", filepath.Join(dir, "user"),
		"-o", "HostName=127.0.0.1", "-o", "HostKeyAlias=rsynctest", "-o", "CheckHostIP=no",
		"-o", "UserKnownHostsFile=" + filepath.Join(dir, "known_hosts"), "-o", "GlobalKnownHostsFile=none",
		"-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
	}, " ")
}

// needSSHD finds sshd, which is seldom in an ordinary user's PATH.
func needSSHD(t testing.TB) string {
	t.Helper()
	const usual = "/usr/sbin/sshd"
	if _, err := os.Stat(usual); err == nil {
		return usual
	}
	return need(t, "sshd")
}

func listens(port int) bool {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
