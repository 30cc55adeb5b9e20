// Package need ends tests that cannot run on the machine they are on: a developer's skips them with the reason, in CI,
// where everything can be had (.ci/run), they fail.
package need

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// Root is for what only root may do.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Lacking(t, "needs root")
	}
}

// Program returns the path of a program.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Lacking(t, err)
	}
	return path
}

// Lacking ends the test, whose reason to be unable to run is printed as by fmt.Sprint.
func Lacking(t testing.TB, reason ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason...)
	}
	t.Skip(fmt.Sprint(reason...), " (fails with CI=true)")
}
