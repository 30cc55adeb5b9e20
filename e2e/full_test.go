// Package e2e runs the built program against real servers, as an operator would.
package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

var program string // the built syncd

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "syncd-e2e")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "syncd")
		// Under -race a process would wait for a second at its end.
		os.Setenv("GORACE", "atexit_sleep_ms=20 halt_on_error=1 exitcode=66")
		build := append(append([]string{"build", "-o", program}, buildFlags...), "../cmd/syncd")
		if out, err := exec.Command("go", build...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		// Most of the time the tests wait: for servers, for time limits to pass, for hosts to start.
		flag.Parse()
		set := false
		flag.Visit(func(f *flag.Flag) { set = set || f.Name == "test.parallel" })
		if n := max(4, runtime.GOMAXPROCS(0)); !set {
			flag.Set("test.parallel", strconv.Itoa(n))
		}
		return m.Run()
	}())
}

// syncd runs the program, which must end with the given status, and returns its standard output.
func syncd(t *testing.T, status int, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != status {
		t.Fatalf("syncd %q: %v, want exit status %d\n%s", args, err, status, errs.String())
	}
	return out.String()
}

// plain leaves out what -a does not copy.
var plain = treetest.Options{Ignore: treetest.HardLinks | treetest.Xattrs}

// changes runs syncd with -i and returns what it says it changed.
func changes(t *testing.T, args ...string) []string {
	t.Helper()
	return strings.FieldsFunc(syncd(t, 0, append([]string{"--full", "-i"}, args...)...), func(r rune) bool { return r == '\n' })
}

// The tree that has everything in it arrives equal, to the nanosecond, over both forms; a second run does nothing.
func TestHostileTreeArrivesEqual(t *testing.T) {
	t.Parallel()
	files := 100_000
	if testing.Short() {
		files = 1000
	}
	src := t.TempDir()
	treetest.Hostile(t, src, files)
	rsynctest.Rsync(t)
	for form, start := range map[string]func(*testing.T) (dst string, args []string){
		"daemon": func(t *testing.T) (string, []string) {
			s := rsynctest.Daemon(t, rsynctest.Config{})
			return filepath.Join(s.Dir("m"), "dest"), []string{s.URL("m/dest")}
		},
		"ssh": func(t *testing.T) (string, []string) {
			dst := filepath.Join(t.TempDir(), "dest")
			return dst, []string{"-e", rsynctest.SSHD(t), "localhost:" + dst}
		},
	} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			dst, args := start(t)
			args = append([]string{"-a", "--delete", "--numeric-ids", src}, args...)
			syncd(t, 0, append([]string{"--full"}, args...)...)
			treetest.Equal(t, src, dst, plain)
			if again := changes(t, args...); len(again) > 0 {
				t.Errorf("the second run changed %d entries: %.500q", len(again), again)
			}
			treetest.Equal(t, src, dst, plain)
		})
	}
}

// A tree that changes in every way converges, and a large file costs what changed in it, at every protocol.
func TestChangedTreeConvergesByDelta(t *testing.T) {
	t.Parallel()
	for p := 27; p <= 32; p++ {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(uint64(p), 1))
			src := t.TempDir()
			treetest.Random(t, rng, src, 200)
			data := make([]byte, 4<<20)
			rand.NewChaCha8([32]byte{byte(p)}).Read(data)
			big := filepath.Join(src, "a large file")
			if err := os.WriteFile(big, data, 0o644); err != nil {
				t.Fatal(err)
			}
			s := rsynctest.Daemon(t, rsynctest.Config{})
			dst := filepath.Join(s.Dir("m"), "dest")
			run := func() summary {
				t.Helper()
				// Old protocols see whole seconds only, so contents are compared.
				return lastSummary(t, syncd(t, 0, "--full", "-a", "--no-D", "--delete", "--checksum", "--json",
					fmt.Sprint("--protocol=", p), src, s.URL("m/dest")))
			}
			opts := plain
			if p < 31 {
				opts.Ignore |= treetest.Nanosecond | treetest.DirMtime | treetest.FileMtime | treetest.LinkMtime
			}
			reduce(t, src, p)
			run()
			treetest.Equal(t, src, dst, opts)

			copy(data[1<<20:], "changed here")
			data = append(data[:2<<20], data[2<<20+10:]...)
			if err := os.WriteFile(big, data, 0o644); err != nil {
				t.Fatal(err)
			}
			if sum := run(); sum.Literal > 100_000 {
				t.Errorf("%d bytes sent as they are, for 12 changed and 10 removed of 4 MiB", sum.Literal)
			}
			treetest.Equal(t, src, dst, opts)
			for range 3 {
				treetest.Mutate(t, rng, src, 40)
				reduce(t, src, p)
				run()
				treetest.Equal(t, src, dst, opts)
			}
		})
	}
}

// reduce removes what --no-D leaves out, and for old protocols the dates before 1970, which they cannot say.
func reduce(t *testing.T, dir string, protocol int) {
	t.Helper()
	find := func(args ...string) {
		if out, err := exec.Command("find", append([]string{dir}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("find %q: %v\n%s", args, err, out)
		}
	}
	find("(", "-type", "b", "-o", "-type", "c", "-o", "-type", "p", "-o", "-type", "s", ")", "-delete")
	if protocol < 30 {
		find("!", "-newermt", "@0", "-exec", "touch", "-h", "-d", "@1000000000", "{}", "+")
	}
}

// summary is the last line of --json, as far as the tests look at it.
type summary struct {
	Event   string `json:"event"`
	Literal int64  `json:"literal_bytes"`
}

func lastSummary(t *testing.T, out string) summary {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var s summary
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &s); err != nil || s.Event != "summary" {
		t.Fatalf("last line of --json: %v: %q", err, lines[len(lines)-1])
	}
	return s
}
