package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/rsynctest"
)

// The real rsync is the oracle: a sparse file of each size, a dry run, and its
// "Total file size", plain and with -h.
func TestNumbersAreRsyncs(t *testing.T) {
	rsync := rsynctest.Rsync(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	for _, size := range []int64{0, 1, 999, 1000, 1001, 1234, 12345, 99999, 999_999, 1_000_000, 1_234_567, 1_999_999,
		12_345_678_901, 1_234_567_890_123} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(file, size); err != nil {
			t.Logf("%d bytes: %v", size, err) // more than this file system takes
			continue
		}
		for flag, n := range map[string]numbers{"--stats": {}, "-h": {human: true}} {
			out, err := exec.Command(rsync, "-an", "--stats", flag, file, dir+"/to/").Output()
			if err != nil {
				t.Fatal(err)
			}
			want := regexp.MustCompile(`Total file size: (\S+) bytes`).FindSubmatch(out)
			if want == nil {
				t.Fatalf("rsync %s prints no total:\n%s", flag, out)
			}
			if got := n.int(size); got != string(want[1]) {
				t.Errorf("%s: %d is %q, rsync prints %q", flag, size, got, want[1])
			}
		}
	}
}

func TestFloat(t *testing.T) {
	for v, want := range map[float64][2]string{
		0: {"0.00", "0.00"}, 0.5: {"0.50", "0.50"}, 4_001_710: {"4,001,710.00", "4.00M"}, 999.994: {"999.99", "999.99"},
	} {
		if got := (numbers{}).float(v); got != want[0] {
			t.Errorf("%v: %s, want %s", v, got, want[0])
		}
		if got := (numbers{human: true}).float(v); got != want[1] {
			t.Errorf("%v, human: %s, want %s", v, got, want[1])
		}
	}
	if got := group("-1234567"); got != "-1,234,567" {
		t.Error(got)
	}
}

func TestClock(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0:00:00", 59 * time.Second: "0:00:59", 61 * time.Second: "0:01:01",
		26*time.Hour + 3*time.Minute + 4500*time.Millisecond: "26:03:05",
	} {
		if got := clock(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

// rsync prints the same names for the same bytes.
func TestEscapeIsRsyncs(t *testing.T) {
	rsync := rsynctest.Rsync(t)
	names := []string{"plain", "tab\there", "new\nline", "\x01\x1f", "del\x7f", "größe €", "bad\xff\xc3", "mixed é\xe9",
		`back\slash`, `\#012`, `\#12`, `\#0123`, `\#abc`, `\`, `ends\#01`}
	for _, name := range names {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, eightBit := range []bool{false, true} {
			args := []string{"-rn", "--out-format=%n", dir + "/", dir + "/to"}
			if eightBit {
				args = append(args, "-8")
			}
			cmd := exec.Command(rsync, args...)
			cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
			want := lines[len(lines)-1]
			if got := escape(name, eightBit); got != want {
				t.Errorf("%q (8-bit %t): %q, rsync prints %q", name, eightBit, got, want)
			}
		}
	}
}
