// Package hosts runs scripts inside freshly booted hosts with a real systemd and
// journald, for tests of units, notifications, logs and of what two hosts do to
// each other. The hosts are namespaces of this machine's kernel (../systemd-host/run).
package hosts

import (
	_ "embed"
	"errors"
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

//go:embed lib.sh
var library string

// Pair are the names of two hosts that reach each other by them.
var Pair = []string{"source", "target"}

// A Config says what runs where. The zero value of each field is fine but for Script.
type Config struct {
	// Script is for bash, as root, in /project on the first host. The functions of
	// lib.sh are there, and `on HOST COMMAND...` runs one on another host.
	Script string
	Names  []string // of the hosts; none is one called "host"
	// Programs are built from the packages of this module, such as "./cmd/syncd",
	// and found as /project/bin/NAME on all hosts.
	Programs map[string]string
	Packages []string      // Debian's, beyond those that run lists
	Timeout  time.Duration // for the script; 0: two minutes
}

// Run runs the script and returns what it wrote to both outputs. The test fails
// if it did not end with status 0, and shows the end of the hosts' journals. The
// repository's folder systemd is seen as /project/systemd. /project is read-only.
//
// Where hosts cannot run, the test is skipped and says why. With CI=true it
// fails, unless it is the kernel that refuses.
func Run(t testing.TB, c Config) string {
	t.Helper()
	out, err := run(t, c)
	if err != nil {
		t.Fatalf("script in a host: %v\n%s", err, out)
	}
	return out
}

// run is Run with the script's failure as an error. The journals are then part of
// what it returns.
func run(t testing.TB, c Config) (string, error) {
	t.Helper()
	root := repository(t)
	runner := filepath.Join(root, "e2e", "systemd-host", "run")
	needHosts(t)
	build(t, runner, c)

	work, out := project(t, root, c), t.TempDir()
	timeout := c.Timeout
	if timeout == 0 {
		timeout = 2 * time.Minute
	}
	args := []string{"--work", work, "--out", out, "--journal", "--timeout", strconv.FormatFloat(timeout.Seconds(), 'f', -1, 64)}
	if len(c.Names) > 0 {
		args = append(args, "--hosts", strings.Join(c.Names, ","))
	}
	args = append(append(args, include(c)...), "--", filepath.Join(work, "script"))
	cmd := exec.CommandContext(t.Context(), runner, args...)
	// It takes its hosts down when it is asked to end; killed, it cannot.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	text, err := cmd.CombinedOutput()
	if err != nil {
		return string(text) + journals(out), err
	}
	return string(text), nil
}

// build makes the file system of the hosts, if this machine has none yet.
func build(t testing.TB, runner string, c Config) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), runner, append(include(c), "--build")...).CombinedOutput()
	if err != nil {
		need.Lacking(t, "the root of the hosts cannot be built (", err, ")\n", string(out))
	}
}

func include(c Config) []string {
	if len(c.Packages) == 0 {
		return nil
	}
	return []string{"--include", strings.Join(c.Packages, ",")}
}

// project is the folder that the hosts see as /project.
func project(t testing.TB, root string, c Config) string {
	t.Helper()
	work := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(filepath.Join(work, "lib.sh"), []byte(library), 0o644))
	must(os.WriteFile(filepath.Join(work, "script"), []byte("#!/bin/bash\n. /project/lib.sh\n"+c.Script), 0o755))
	must(os.Mkdir(filepath.Join(work, "systemd"), 0o755))
	entries, err := os.ReadDir(filepath.Join(root, "systemd"))
	must(err)
	for _, e := range entries {
		if e.Type().IsRegular() {
			p, err := os.ReadFile(filepath.Join(root, "systemd", e.Name()))
			must(err)
			must(os.WriteFile(filepath.Join(work, "systemd", e.Name()), p, 0o644))
		}
	}
	for name, pkg := range c.Programs {
		cmd := exec.Command("go", "build", "-o", filepath.Join(work, "bin", name), pkg)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // the hosts' libc may be another
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", pkg, err, out)
		}
	}
	return work
}

// journals is the end of what each host logged.
func journals(out string) string {
	const most = 100 // lines of each
	var b strings.Builder
	files, _ := filepath.Glob(filepath.Join(out, "journal.*.txt"))
	for _, f := range files {
		p, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		lines := strings.SplitAfter(string(p), "\n")
		if len(lines) > most {
			lines = lines[len(lines)-most:]
		}
		fmt.Fprintf(&b, "== the end of %s\n%s", filepath.Base(f), strings.Join(lines, ""))
	}
	return b.String()
}

// repository is the folder of go.mod above the test's own.
func repository(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			err = errors.New("no go.mod above the working directory")
			break
		}
		dir = filepath.Dir(dir)
	}
	t.Fatal(err)
	return ""
}
