package catalogue

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// applierEnv makes the test binary apply numbered changes to the store in that directory until it is killed.
const applierEnv = "SYNCD_CATALOGUE_APPLIER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(applierEnv); dir != "" {
		if err := applier(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// numbered is the n-th Apply of the applier: of three changes, and at times of many, so that logs and tables change.
func numbered(n int) []Change {
	v := Version{Size: int64(n), Mode: unix.S_IFREG | 0o644, Ino: uint64(n)}
	changes := []Change{
		Put(fmt.Sprintf("d%d/first%d", n%7, n), v, false),
		Put("newest", v, false),
		Put(fmt.Sprintf("d%d/last%d", n%7, n), v, false),
	}
	if n%20 == 0 {
		for i := range 400 {
			changes = append(changes, Put(fmt.Sprintf("bulk/%d/%0100d", n%11, i), v, false))
		}
	}
	return changes
}

// applier says on stdout how far it is, after each Apply.
func applier(dir string) error {
	s, _, err := Open(dir, nil, Options{})
	if err != nil {
		return err
	}
	n := 0
	if r, found, err := s.Get("newest"); err != nil {
		return err
	} else if found {
		n = int(r.Version.Size)
	}
	for {
		n++
		if err := s.Apply(numbered(n)...); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

func TestKilledProcessLosesNothingApplied(t *testing.T) {
	dir := tempDir(t)
	last := 0
	for round := range 8 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), applierEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Killed after some steps, at whatever it is doing then.
		lines, steps := bufio.NewScanner(out), 30+round*120
		applied := last
		for lines.Scan() {
			if applied, err = strconv.Atoi(lines.Text()); err != nil {
				t.Fatal(err)
			}
			if steps--; steps == 0 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
		if steps > 0 {
			t.Fatalf("the applier ended by itself, with %d steps to go", steps)
		}

		s, opened, err := Open(dir, nil, Options{})
		if err != nil || opened != (Opened{}) {
			t.Fatalf("after the kill: %+v, %v", opened, err)
		}
		r, _, err := s.Get("newest")
		if err != nil {
			t.Fatal(err)
		}
		found := int(r.Version.Size)
		// The one under way may be there, whole; its number was not printed.
		if found < applied || found > applied+1 {
			t.Fatalf("%d were applied, %d are found", applied, found)
		}
		for n := 1; n <= found+1; n++ {
			for _, c := range numbered(n) {
				r, ok, err := s.Get(c.path)
				if want := n <= found; err != nil || ok != want && c.path[0] == 'd' || r.Version.Size < int64(n) && want {
					t.Fatalf("of %d Applies, that of %d left %+v, %v, %v", found, n, r, ok, err)
				}
			}
		}
		last = found
		if round%2 == 0 {
			kill(s)
		} else if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
