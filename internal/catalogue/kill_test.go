package catalogue

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
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
		checkNumbered(t, s, found)
		last = found
		if round%2 == 0 {
			kill(s)
		} else if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkNumbered checks that a store holds what the first n numbered Applies left, and nothing else.
func checkNumbered(t *testing.T, s *Store, n int) {
	t.Helper()
	want := map[string]int64{}
	for i := 1; i <= n; i++ {
		for _, c := range numbered(i) {
			want[c.path] = c.record.Version.Size
		}
	}
	found := 0
	for _, dir := range []string{".", "d0", "d1", "d2", "d3", "d4", "d5", "d6", "bulk/0", "bulk/1", "bulk/2", "bulk/3",
		"bulk/4", "bulk/5", "bulk/6", "bulk/7", "bulk/8", "bulk/9", "bulk/10"} {
		records, _, err := s.Dir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if path := strings.TrimPrefix(dir+"/"+r.Name, "./"); want[path] != r.Version.Size {
				t.Fatalf("after %d, %s is of %d, want %d", n, path, r.Version.Size, want[path])
			}
		}
		found += len(records)
	}
	if found != len(want) {
		t.Fatalf("after %d, %d of %d records", n, found, len(want))
	}
	if c := s.Counts(); c.Files != int64(found) {
		t.Fatalf("%d records and %+v", found, c)
	}
}
