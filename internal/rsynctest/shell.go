package rsynctest

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
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
