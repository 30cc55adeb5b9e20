package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/rsynctest"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == measureArgument {
		os.Exit(measureMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// arguments are a benchmark of seconds, rsync against rsync.
func arguments(work string, more ...string) []string {
	return append([]string{"--work", work, "--rounds", "2", "--files", "120", "--big-mib", "8", "--entries", "40",
		"--scenarios", "small,nothing,big,delta,photos,attrs,attrs-nothing,million", "--photos", "6", "--groups", "150", "--syncd-command", "rsync {flags} {src}/ {dst}"}, more...)
}

func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRsyncAgainstRsync(t *testing.T) {
	rsynctest.Rsync(t)
	work := t.TempDir()
	var stdout, stderr strings.Builder
	if err := run(t.Context(), arguments(work), &stdout, &stderr); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	checkEmpty(t, work)
	table := stdout.String()
	for _, want := range []string{"Median of 2 runs each", "| wall ", "**120 small files", "**nothing to do, 120", "**one file of 8 MiB", "**6 photos",
		"**the same file changed in 200 places", "**40 empty files", "**150 files of two names", "**nothing to do, the same 150", "≤ 0.80", "≤ 1.30", "≤ 0.95", "≤ 1.00", "< 100.0 MiB ok"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in the output", want)
		}
	}
	// The same program twice sends the same; the first of two big files is sent whole, the second by delta.
	var sent []string
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) > 4 && strings.TrimSpace(cells[1]) == "sent" {
			sent = append(sent, strings.TrimSpace(cells[2]))
			if ratio := strings.TrimSpace(cells[4]); ratio != "1.00" {
				t.Errorf("rsync sends %s of what rsync sends", ratio)
			}
		}
	}
	if len(sent) != 8 || !strings.HasSuffix(sent[0], "MiB") || !strings.HasSuffix(sent[1], "KiB") ||
		!strings.HasPrefix(sent[2], "8.0 MiB") || !strings.HasSuffix(sent[3], "KiB") {
		t.Errorf("sent %v", sent)
	}
	var order []string
	for line := range strings.Lines(stderr.String()) {
		if words := strings.Fields(line); len(words) > 2 && words[0] == "big" && strings.HasSuffix(words[1], "/2:") {
			order = append(order, words[1]+words[2])
		}
	}
	if got := strings.Join(order, " "); got != "1/2:syncd 1/2:rsync 2/2:rsync 2/2:syncd" {
		t.Errorf("order %s", got)
	}
	if t.Failed() {
		t.Logf("%s\n%s", table, &stderr)
	}
}

// A program that remembers is run once before it is counted, and once before it is timed.
func TestRestart(t *testing.T) {
	rsynctest.Rsync(t)
	work := t.TempDir()
	script, runs := filepath.Join(t.TempDir(), "script"), filepath.Join(t.TempDir(), "runs")
	text := "#!/bin/sh\nmkdir -p $1 && echo $1 $# >>" + runs + " && shift && exec rsync \"$@\"\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr strings.Builder
	err := run(t.Context(), arguments(work, "--scenarios", "restart,restart-million", "--restart-command", script+" {state} {flags} {src}/ {dst}"), &stdout, &stderr)
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	checkEmpty(t, work)
	lines, err := os.ReadFile(runs)
	if err != nil {
		t.Fatal(err)
	}
	// Two rounds of the one, one of the other; each with one counted.
	if got := strings.Count(string(lines), "\n"); got != 1+1+1+2+1+1+1+1 {
		t.Errorf("%d runs:\n%s", got, lines)
	}
	for _, want := range []string{"**restart with nothing changed, 120 files", "**restart with nothing changed, 40 empty files", "≤ 0.30", "≤ 3.00 s ok", "< 150.0 MiB ok"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("no %q in the output", want)
		}
	}
	if t.Failed() {
		t.Logf("%s\n%s", &stdout, &stderr)
	}
}

func TestFailures(t *testing.T) {
	rsynctest.Rsync(t)
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"program fails", []string{"--syncd-command", "ls /no-such-words"}, "no-such-words"},
		{"program is missing", []string{"--syncd-command", "/no/such/program"}, "/no/such/program"},
		{"program does nothing", []string{"--syncd-command", "true"}, "no such file"},
		{"unknown scenario", []string{"--scenarios", "tiny"}, `"tiny"`},
		{"no rounds", []string{"--rounds", "0"}, "positive"},
		{"argument", []string{"extra"}, `"extra"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			work := t.TempDir()
			var stdout, stderr strings.Builder
			err := run(t.Context(), arguments(work, test.args...), &stdout, &stderr)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			checkEmpty(t, work)
		})
	}
}

func TestInterrupt(t *testing.T) {
	rsynctest.Rsync(t)
	work := t.TempDir()
	started := filepath.Join(t.TempDir(), "started")
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\ntouch "+started+"\nsleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if _, err := os.Stat(started); err == nil {
				return
			}
		}
	}()
	var stdout, stderr strings.Builder
	err := run(ctx, arguments(work, "--syncd-command", script), &stdout, &stderr)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	checkEmpty(t, work)
}

func TestMeasure(t *testing.T) {
	// A shell's loop takes processor time; so does its child, and memory; a sleep takes neither.
	u, err := measure(t.Context(), []string{"sh", "-c", "sleep 0.05; head -c 50000000 /dev/zero | tail -c 49999999 >/dev/null"})
	if err != nil {
		t.Fatal(err)
	}
	if u.Wall < 50*time.Millisecond || u.CPU <= 0 || u.CPU > time.Minute || u.MaxRSS < 40<<20 || u.MaxRSS > 500<<20 {
		t.Errorf("%+v", u)
	}
	small, err := measure(t.Context(), []string{"sleep", "0"})
	if err != nil || small.MaxRSS <= 0 || small.MaxRSS > 40<<20 || small.CPU > time.Second {
		t.Errorf("sleep: %+v, %v", small, err)
	}
}

func TestTable(t *testing.T) {
	second := func(wall, cpu, memory float64) sample {
		return sample{usage: usage{Wall: time.Duration(wall * 1e9), CPU: time.Duration(cpu * 1e9), MaxRSS: int64(memory * (1 << 20))}}
	}
	r := &result{
		title:  "title",
		bounds: bounds{wall: 0.8, cpu: 1.3, memory: 100 << 20},
		samples: [2][]sample{
			{second(1, 3, 90), second(3, 3, 101), second(2, 3, 50)},
			{second(2, 2, 9), second(2, 2, 9), second(4, 2, 9)},
		},
		up: [2]int64{2 << 10, 1 << 10}, down: [2]int64{7, 0},
	}
	var b strings.Builder
	if err := printTable(&b, []*result{r}); err != nil {
		t.Fatal(err)
	}
	want := `
Median of 3 runs each, in turns.

|                   |    syncd |   rsync | ratio |      spread |              bound |
| ----------------- | -------: | ------: | ----: | ----------: | -----------------: |
| **title**         |          |         |       |             |                    |
| wall              |   2.00 s |  2.00 s |  0.50 |   0.50-1.50 |          ≤ 0.80 ok |
| CPU of the sender |   3.00 s |  2.00 s |  1.50 |   1.50-1.50 |      ≤ 1.30 MISSED |
| peak memory       | 90.0 MiB | 9.0 MiB | 10.00 |  5.56-11.22 | < 100.0 MiB MISSED |
| CPU of the server |   0.00 s |  0.00 s |       |             |                    |
| sent              |  2.0 KiB | 1.0 KiB |  2.00 |             |                    |
| received          |      7 B |     0 B |       |             |                    |
`
	if strip(b.String()) != strip(want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestOtherWorkIsNamed(t *testing.T) {
	cpus := time.Duration(runtime.NumCPU())
	for _, test := range []struct {
		machine time.Duration
		want    string
	}{{cpus * 10 * time.Second, "60 %"}, {cpus * 5 * time.Second, ""}, {0, ""}} {
		own := sample{usage: usage{Wall: 10 * time.Second, CPU: cpus * 3 * time.Second}, serverCPU: cpus * time.Second, machine: test.machine}
		var b strings.Builder
		if err := printOthers(&b, []*result{{samples: [2][]sample{{own}, {own}}}}); err != nil {
			t.Fatal(err)
		}
		if got := b.String(); (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("machine %v: %q, want %q", test.machine, got, test.want)
		}
	}
}

func TestMachineCPU(t *testing.T) {
	before, err := machineCPU()
	if err != nil {
		t.Fatal(err)
	}
	u, err := measure(t.Context(), []string{"sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"})
	if err != nil {
		t.Fatal(err)
	}
	after, err := machineCPU()
	// Ticks of 10 ms on each processor.
	if slack := 50 * time.Millisecond; err != nil || after-before+slack < u.CPU {
		t.Errorf("the machine took %v, one of its processes %v; %v", after-before, u.CPU, err)
	}
}

// strip leaves out what is only alignment.
func strip(s string) string {
	return strings.Join(strings.Fields(strings.NewReplacer("-", "", ":", "").Replace(s)), " ")
}

func TestEqualSeesDifferences(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"nothing": nil,
		"content": func(dir string) error {
			name := filepath.Join(dir, "dir00/sub00/file0001.dat")
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			b[len(b)-1]++
			when := epoch.Add(time.Second)
			return errors.Join(os.WriteFile(name, b, 0), os.Chtimes(name, when, when))
		},
		"time": func(dir string) error {
			return os.Chtimes(filepath.Join(dir, "dir00/sub00/file0001.dat"), epoch, epoch)
		},
		"mode":    func(dir string) error { return os.Chmod(filepath.Join(dir, "dir00/sub00/file0001.dat"), 0o600) },
		"missing": func(dir string) error { return os.Remove(filepath.Join(dir, "dir00/sub00/file0001.dat")) },
		"extra": func(dir string) error {
			info, err := os.Stat(dir)
			if err != nil {
				return err
			}
			return errors.Join(os.WriteFile(filepath.Join(dir, "extra"), nil, 0o644), os.Chtimes(dir, info.ModTime(), info.ModTime()))
		},
	} {
		dir := t.TempDir()
		src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
		if err := errors.Join(makeSmall(src, 3), makeSmall(dst, 3)); err != nil {
			t.Fatal(err)
		}
		if spoil != nil {
			if err := spoil(dst); err != nil {
				t.Fatal(err)
			}
		}
		if err := equal(dst, src); (err != nil) != (spoil != nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
