package rsync_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/rsynctest"
)

// oracle runs the real rsync and returns its lines, sorted, directories without their slash.
func oracle(t testing.TB, args ...string) []string {
	t.Helper()
	out, err := exec.Command(rsynctest.Rsync(t), args...).Output()
	if err != nil {
		t.Fatalf("rsync %q: %v\n%s", args, err, out)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSuffix(line, "\n")
		if name := strings.TrimSuffix(line, "/"); name != "" && !strings.HasPrefix(line, "*") {
			line = name
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}
