package rsync

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/syncd/syncd/internal/ssh"
)

// spaceTime is how long a host may take to say how much room it has.
const spaceTime = 10 * time.Second

// Space is what is left of a file system.
type Space struct {
	Bytes  int64 // for those who are not root
	Inodes int64 // -1: the file system has no fixed number of them, or does not tell
}

// spaceScript is run by the remote host's sh. The directory may have to be made yet.
const spaceScript = `d=$1; until [ -d "$d" ]; do d=$(dirname -- "$d"); done; df -Pk -- "$d"; df -Pi -- "$d"`

// Space asks the host how much room there is for the destination. It is not known of a daemon, which has no words for
// it, of a host that runs nothing but rsync for us, and where the question would need another login that asks somebody.
func (d *Dialer) Space(ctx context.Context) (Space, bool) {
	if d.Dest.Kind != Shell || d.Dial != nil {
		return Space{}, false
	}
	base, err := d.shellBase()
	if err != nil || !ssh.Is(base) {
		return Space{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, spaceTime)
	defer cancel()
	login, err := d.login(ctx, base)
	if err != nil || login == nil && !d.Batch {
		return Space{}, false
	}
	defer login.Release()
	argv := append(login.Command(base), "exec", "sh", "-c", quoteArg(spaceScript), "sh", quoteArg(d.Dest.Path))
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return Space{}, false
	}
	return parseSpace(string(out))
}

// parseSpace reads the answers of df -Pk and df -Pi. The second may be missing, or a table of another kind.
func parseSpace(out string) (Space, bool) {
	s := Space{Inodes: -1}
	known := false
	lines := strings.Split(out, "\n")
	for i := 1; i < len(lines); i++ {
		left, ok := leftOf(lines[i])
		switch head := lines[i-1]; {
		case !ok:
		case strings.Contains(head, "1024-blocks") && left <= 1<<53:
			s.Bytes, known = left<<10, true
		case strings.Contains(head, "IFree"):
			s.Inodes = left
		}
	}
	return s, known
}

// leftOf returns the number before the percentage in a line of df. Names before it may have spaces.
func leftOf(line string) (int64, bool) {
	fields := strings.Fields(line)
	for i := 1; i < len(fields); i++ {
		if !strings.HasSuffix(fields[i], "%") {
			continue
		}
		left, err := strconv.ParseInt(fields[i-1], 10, 64)
		return left, err == nil && left >= 0
	}
	return 0, false
}
