package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/rsynctest"
)

// liveArguments are a benchmark of seconds, lsyncd against lsyncd.
func liveArguments(t *testing.T, more ...string) []string {
	rsynctest.Rsync(t)
	need.Program(t, incumbent)
	return append([]string{"--work", t.TempDir(), "--files", "250", "--live-tree", "120", "--live-files", "2", "--live-burst", "100", "--live-dirs", "50",
		"--live-seconds", "1", "--live-rest", "100ms", "--live-syncd-command", "lsyncd {config}"}, more...)
}

func TestLive(t *testing.T) {
	for _, test := range []struct {
		name string
		want []string
	}{
		{"live-latency", []string{"one of 2 new files in a tree of 120", "one of 2 new files in a tree of 250", "≤ 0.25 MISSED", "95 of 100"}},
		{"live-burst", []string{"100 files made in one directory", "all there", "≤ 3.00 s", "peak memory"}},
		{"live-rate", []string{"1 s of 1000 changes a second", "≤ 2.00 s", "a minute later"}},
		{"live-idle", []string{"1 s of rest with 50 directories", "≤ 60.0 MiB ok", "< 10 ms"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			args := liveArguments(t, "--scenarios", test.name)
			var stdout, stderr strings.Builder
			if err := run(t.Context(), args, &stdout, &stderr); err != nil {
				t.Fatalf("%v\n%s", err, &stderr)
			}
			checkEmpty(t, args[1])
			for _, want := range test.want {
				if !strings.Contains(stdout.String(), want) {
					t.Errorf("no %q in\n%s\n%s", want, &stdout, &stderr)
				}
			}
		})
	}
}

func TestLiveFailures(t *testing.T) {
	for _, test := range []struct{ name, command, want string }{
		{"program ends", "sh -c false", "has ended: exit status 1"},
		{"program says why", "ls /no-such-words", "no-such-words"},
		{"program is missing", "/no/such/program", "/no/such/program"},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := liveArguments(t, "--scenarios", "live-idle", "--live-syncd-command", test.command)
			var stdout, stderr strings.Builder
			err := run(t.Context(), args, &stdout, &stderr)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			checkEmpty(t, args[1])
		})
	}
}

func TestCompareCounts(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(dir string) error
		want  difference
	}{
		{"nothing", func(string) error { return nil }, difference{}},
		{"content", func(dir string) error {
			name := filepath.Join(dir, "dir00/sub00/file0001.dat")
			return errors.Join(os.WriteFile(name, make([]byte, 100), 0), os.Chtimes(name, epoch, epoch.Add(time.Second)))
		}, difference{content: 1}},
		{"size", func(dir string) error { return os.Truncate(filepath.Join(dir, "dir00/sub00/file0001.dat"), 99) }, difference{content: 1}},
		{"time", func(dir string) error {
			return os.Chtimes(filepath.Join(dir, "dir00/sub00/file0001.dat"), epoch, epoch)
		},
			difference{attributes: 1}},
		{"mode", func(dir string) error { return os.Chmod(filepath.Join(dir, "dir00"), 0o700) }, difference{attributes: 1}},
		{"missing", func(dir string) error { return os.Remove(filepath.Join(dir, "dir00/sub00/file0001.dat")) },
			difference{content: 1, attributes: 1}}, // the directory's time
		{"surplus", func(dir string) error { return os.WriteFile(filepath.Join(dir, "dir00/sub00/new"), nil, 0o600) },
			difference{content: 1, attributes: 1}},
		{"type", func(dir string) error {
			name := filepath.Join(dir, "dir00/sub00/file0001.dat")
			return errors.Join(os.Remove(name), os.Symlink("x", name), os.Chtimes(filepath.Dir(name), epoch, epoch))
		}, difference{content: 1}},
	} {
		dir := t.TempDir()
		src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
		if err := errors.Join(makeLive(src, 3, perDir), makeLive(dst, 3, perDir), test.spoil(dst)); err != nil {
			t.Fatal(err)
		}
		got, err := compare(dst, src)
		if err != nil || got != test.want {
			t.Errorf("%s: %+v, %v; want %+v", test.name, got, err, test.want)
		}
		if quick, err := compareQuick(dst, src); err != nil || (quick == difference{}) != (test.want == difference{}) {
			t.Errorf("%s: quickly: %+v, %v", test.name, quick, err)
		}
	}
}

// Both sides meet the same changes, or the comparison of what became of them says nothing.
func TestChurnsAreTheSame(t *testing.T) {
	const files = 300
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, root := range []string{a, b} {
		if err := errors.Join(makeLive(root, files, perDir), newChurn(root, files).run(t.Context(), 500)); err != nil {
			t.Fatal(err)
		}
	}
	if d, err := compare(b, a); err != nil || d.content != 0 {
		t.Errorf("%+v, %v", d, err)
	}
	fresh := filepath.Join(dir, "fresh")
	if err := makeLive(fresh, files, perDir); err != nil {
		t.Fatal(err)
	}
	if d, err := compare(fresh, a); err != nil || d.content < files/2 {
		t.Errorf("500 changes make %+v, %v", d, err)
	}
}

func TestProcessorTimeOfProcesses(t *testing.T) {
	f, err := startFollower([]string{"sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; sleep 1000 & wait"},
		filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	s := &side{name: "sh", run: f}
	var last time.Duration
	still := 0
	err = s.until(t.Context(), time.Minute, 10*time.Millisecond, func() (bool, error) {
		now, err := treeCPU(f.pid())
		if now == last && now > time.Millisecond {
			still++
		} else {
			still = 0
		}
		last = now
		below, _ := descendants(f.pid())
		return still > 10 && len(below) == 1, err
	})
	if family, familyErr := familyCPU(f.pid()); err != nil || familyErr != nil || family < last {
		t.Errorf("%v, with all that ended %v; %v, %v", last, family, err, familyErr)
	}
	if now, most, err := f.memory(); err != nil || now <= 0 || most < now || most > 100<<20 {
		t.Errorf("memory %d, at most %d, %v", now, most, err)
	}
	if err := errors.Join(f.alive(), f.stop()); err != nil {
		t.Error(err)
	}
	if f.alive() == nil {
		t.Error("it lives after its end")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := pause(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("pause: %v", err)
	}
}

func TestShare(t *testing.T) {
	values := []float64{5, 1, 4, 2, 3}
	for of, want := range map[float64]float64{0.2: 1, 0.5: 3, 0.95: 5, 1: 5} {
		if got := share(values, of); got != want {
			t.Errorf("share %v: %v, want %v", of, got, want)
		}
	}
}
