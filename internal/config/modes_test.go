package config

import (
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncd/syncd/watcher"

	"github.com/syncd/syncd/internal/control"
)

func inUnit(name string) string {
	return map[string]string{"RUNTIME_DIRECTORY": "/run/syncd/data", "STATE_DIRECTORY": "/var/lib/syncd/data:/x"}[name]
}

func TestFollow(t *testing.T) {
	type service struct {
		Action  Action
		Control string
		Stop    time.Duration
		Level   slog.Level
	}
	for _, tt := range []struct {
		args string
		env  func(string) string
		want service
	}{
		{"-a src h::m", noEnv, service{Follow, "", 10 * time.Second, slog.LevelInfo}},
		{"-a src h::m", inUnit, service{Follow, "/run/syncd/data/control.sock", 10 * time.Second, slog.LevelInfo}},
		{"-a --control=sock --stop-timeout=0 --log-level=debug src h::m", inUnit,
			service{Follow, "sock", 0, slog.LevelDebug}},
		{"-a --stop-timeout 90 --log-level error src h::m", noEnv,
			service{Follow, "", 90 * time.Second, slog.LevelError}},
		// What is taken back was not given.
		{"-aPI --no-progress --no-I --size-only --no-size-only --max-delete=-1 --delete src h::m", noEnv,
			service{Follow, "", 10 * time.Second, slog.LevelInfo}},
	} {
		c, err := Parse(strings.Fields(tt.args), tt.env, nil)
		if err != nil {
			t.Errorf("%s: %v", tt.args, err)
			continue
		}
		if wantState := strings.TrimSuffix(tt.env("STATE_DIRECTORY"), ":/x"); c.StateDir != wantState {
			t.Errorf("%s: state in %q, want %q", tt.args, c.StateDir, wantState)
		}
		if diff := cmp.Diff(tt.want, service{c.Action, c.Control, c.StopTimeout, c.LogLevel}); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tt.args, diff)
		}
	}
}

func TestWatching(t *testing.T) {
	type watching struct {
		Mode     watcher.Mode
		Raise    bool
		Interval time.Duration
	}
	for args, want := range map[string]watching{
		"":                            {watcher.Auto, false, 0},
		"--watch=auto":                {watcher.Auto, false, 0},
		"--watch=inotify":             {watcher.Inotify, false, 0},
		"--watch=scan --watch auto":   {watcher.Auto, false, 0},
		"--watch=scan":                {watcher.Scan, false, 0},
		"--scan-interval=90":          {watcher.Auto, false, 90 * time.Second},
		"--raise-watch-limit":         {watcher.Auto, true, 0},
		"--cutover --watch=scan":      {watcher.Scan, false, 0},
		"--cutover --scan-interval=5": {watcher.Auto, false, 5 * time.Second},
	} {
		c, err := Parse(append(strings.Fields(args), "-a", "src", "h::m"), noEnv, nil)
		if err != nil {
			t.Errorf("%s: %v", args, err)
			continue
		}
		if got := (watching{c.Watch, c.RaiseWatchLimit, c.ScanInterval}); got != want {
			t.Errorf("%s: %+v, want %+v", args, got, want)
		}
	}
}

// What holds for one pass holds for the pass that a service begins with.
func TestFollowTakesTheFlagsOfAPass(t *testing.T) {
	args := []string{"-aH", "--delete", "--numeric-ids", "--bwlimit=4M", "--exclude=*.tmp", "--sessions=3", "--inplace"}
	full, err := Parse(append(args, "--full", "src", "h::m"), noEnv, nil)
	if err != nil {
		t.Fatal(err)
	}
	live, err := Parse(append(args, "src", "h::m"), noEnv, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(full.Session, live.Session); diff != "" {
		t.Errorf("session: -full +live:\n%s", diff)
	}
	if live.Bandwidth == nil || live.Filter.Empty() || !live.Delete || live.Sessions != 3 || live.Dest != full.Dest {
		t.Errorf("%+v", live)
	}
}

func TestAsk(t *testing.T) {
	for _, tt := range []struct {
		args    []string
		want    control.Request
		control string
		json    bool
	}{
		{[]string{"--status"}, control.Request{Do: control.DoStatus}, "", false},
		{[]string{"--status", "--status", "--json"}, control.Request{Do: control.DoStatus}, "", true},
		{[]string{"--control=/s", "--pause"}, control.Request{Do: control.DoPause}, "/s", false},
		{[]string{"--resume", "--control", "/s"}, control.Request{Do: control.DoResume}, "/s", false},
		{[]string{"--set", "bwlimit=8M"}, control.Request{Do: control.DoSet, Key: "bwlimit", Value: "8M"}, "", false},
		{[]string{"--set=a=b=c"}, control.Request{Do: control.DoSet, Key: "a", Value: "b=c"}, "", false},
		{[]string{"--set=a="}, control.Request{Do: control.DoSet, Key: "a"}, "", false},
		{[]string{"--why", "a b/\xff"}, control.Request{Do: control.DoWhy, Path: "a b/\xff"}, "", false},
	} {
		// The directory of a unit that only asks is not where a service listens.
		c, err := Parse(tt.args, inUnit, nil)
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
			continue
		}
		if c.Action != Ask || c.Request != tt.want || c.Control != tt.control || c.JSON != tt.json {
			t.Errorf("%q: action %d, %+v at %q, json %v", tt.args, c.Action, c.Request, c.Control, c.JSON)
		}
	}
}

func TestModeErrors(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-an src h::m", "^-n: nothing changes at DEST.*; add --full"},
		{"-a --dry-run src h::m", "^-n: .*; add --full"},
		{"-aI src h::m", "^-I: a service would send everything again.*; leave it out, or add --full"},
		{"-a --size-only src h::m", "^--size-only: .* same size would never arrive; leave it out"},
		{"-a --max-delete=0 src h::m", "^--max-delete: nothing is deleted without --delete"},
		{"-a --delete --max-delete=9/soon src h::m", "^--max-delete=9/soon: the window is no time"},
		{"-a --delete --max-delete=9/-1h src h::m", "^--max-delete=9/-1h: the window is no time"},
		{"--full -a --delete --max-delete=9/1h src h::m", "^--max-delete: a window is for a service"},
		{"-a --stats src h::m", "^--stats: a service has no end.*; ask it with syncd --status"},
		{"-a --progress src h::m", "^--progress: .*; ask it with syncd --status"},
		{"-aP src h::m", "^-P: .*; ask it with syncd --status"},
		{"-aP --progress src h::m", "^--progress: "},
		{"-a --json src h::m", "^--json: .*; use it with syncd --status"},
		{"-ai src h::m", "^-i: .*; use --log-level=debug"},
		{"-av src h::m", "^-v: .*; use --log-level=debug"},
		{"-aq src h::m", "^-q: .*; use --log-level=error"},
		{"-ah src h::m", "^-h: .*; leave it out"},
		{"-a8 src h::m", "^-8: .*; leave it out"},
		{"-aF src h::m", "^-F: rules from files in each directory.*; use --exclude"},
		{"-aC src h::m", "^-C: rules from files in each directory"},
		{"-a --filter=:~.rules src h::m", "^--filter: rules from files in each directory"},
		{"-a --stop-timeout=-1 src h::m", "^--stop-timeout=-1: not a number from 0 to 86400; give seconds"},
		{"-a --stop-timeout=2s src h::m", "^--stop-timeout=2s: not a number"},
		{"-a --log-level=loud src h::m", "^--log-level=loud: not a level; give debug, info, warn or error"},
		{"-a --watch=fanotify src h::m", "^--watch=fanotify: not available in this version; leave it out; changes are watched by inotify"},
		{"-a --watch=dnotify src h::m", "^--watch=dnotify: nothing is called so.*; give auto, inotify or scan"},
		{"-a --watch= src h::m", "^--watch=: nothing is called so"},
		{"-a --scan-interval=0 src h::m", "^--scan-interval=0: not a number from 1"},
		{"--full -a --watch=scan src h::m", "^--watch: a full pass is no service"},
		{"--verify -a --raise-watch-limit src h::m", "^--raise-watch-limit: a comparison is no service"},
		{"--full -a --scan-interval=9 src h::m", "^--scan-interval: a full pass is no service"},
		{"-a --control= src h::m", "^--control: its value is empty"},
		{"-a --delay=1 src h::m", "^--delay: not available in this version; leave it out"},

		{"--full -a --control=s src h::m", "^--control: a full pass is no service; leave it out"},
		{"--full -a --stop-timeout=1 src h::m", "^--stop-timeout: a full pass is no service"},
		{"--full -a --log-level=info src h::m", "^--log-level: a full pass is no service"},

		{"--full --status", "^--full and --status are two commands; give one at a time"},
		{"--pause --status", "^--pause and --status are two commands"},
		{"--why=x --set=a=b", "^--why and --set are two commands"},
		{"--status src h::m", "^--status: .* takes no SRC and DEST, but there is src; .*--control=PATH"},
		{"--pause data", "^--pause: .*there is data"},
		{"--status -a", "^--archive: it says nothing to a running service.*; .*only --control and --json go with --status"},
		{"--status -P", "^-P: it says nothing"},
		{"--status --log-level=info", "^--log-level: it says nothing"},
		{"--set bwlimit", "^--set=bwlimit: not a setting; write it as --set bwlimit=8M"},
		{"--set =8M", "^--set==8M: not a setting"},
		{"--why=", "^--why: its value is empty; give a path"},
		{"--why", "^--why: a value is missing"},
		{"--status=x", "^--status=x: this option takes no value"},
		{"--pasue", "^--pasue: unknown option; did you mean --pause\\?"},
	} {
		var args []string
		for _, a := range strings.Fields(tt.args) {
			args = append(args, strings.ReplaceAll(a, "~", " "))
		}
		_, err := Parse(args, noEnv, strings.NewReader(""))
		var usage *UsageError
		if !errors.As(err, &usage) {
			t.Errorf("%s: %v, want a usage error", tt.args, err)
			continue
		}
		if !regexp.MustCompile(tt.want).MatchString(err.Error()) {
			t.Errorf("%s:\n  %v\nwant %s", tt.args, err, tt.want)
		}
	}
}
