package config

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncd/syncd/internal/cutover"
)

func TestCutover(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		Plan            cutover.Plan
		Source, Control string
		JSON            bool
	}
	for _, tt := range []struct {
		args []string
		want result
	}{
		{[]string{"--cutover"}, result{}},
		{[]string{"--cutover", "--rehearse", "--json", "--control=/s"},
			result{Plan: cutover.Plan{Rehearse: true}, Control: "/s", JSON: true}},
		{[]string{"--cutover", "-a", "--delete", "--max-delete=9/1h", "--json", "--control=/s", "src", "h::m"},
			result{Source: "src", Control: "/s", JSON: true}},
		{[]string{
			"--freeze-hook", "systemctl stop 'a b'", "--thaw-hook=start", "--go-hook", "ssh new go", "--cutover",
			"--freeze-budget=90", "--go-timeout", "20", "--thaw-timeout=30", "--drain-timeout=86400", "--cutover-verify=all",
			"--report", "r/x",
		}, result{Plan: cutover.Plan{
			FreezeHook: "systemctl stop 'a b'", ThawHook: "start", GoHook: "ssh new go", Verify: cutover.All,
			Budget: 90 * time.Second, GoTimeout: 20 * time.Second, ThawTimeout: 30 * time.Second, DrainTimeout: 24 * time.Hour,
			Report: filepath.Join(here, "r/x"),
		}}},
	} {
		// Not even in a unit does a command listen by itself.
		c, err := Parse(tt.args, inUnit, nil)
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
			continue
		}
		if c.Action != Cutover {
			t.Errorf("%q: action %d", tt.args, c.Action)
		}
		if diff := cmp.Diff(tt.want, result{c.Cutover, c.Source, c.Control, c.JSON}); diff != "" {
			t.Errorf("%q: -want +got\n%s", tt.args, diff)
		}
	}
}

func TestCutoverErrors(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--rehearse -a src h::m", "^--rehearse: it is for a cutover; add --cutover or leave it out$"},
		{"--full -a --go-hook=x src h::m", "^--go-hook: it is for a cutover"},
		{"-a --report=x src h::m", "^--report: it is for a cutover"},
		{"--cutover --status", "^--cutover and --status are two commands"},
		{"--cutover src", "^DEST is missing after src"},
		{"--cutover src h::m", "^without -r every directory would be skipped"},
		{"--cutover -a", "^--archive: SRC and DEST are not given, so a running service is asked.*; leave it out, or give SRC and DEST"},
		{"--cutover --bwlimit=4M", "^--bwlimit: SRC and DEST are not given"},
		{"--cutover -a -n src h::m", "^-n: a cutover that changes nothing is a rehearsal; use --rehearse"},
		{"--cutover -a -v src h::m", "^--verbose: a cutover shows how far it is"},
		{"--cutover -a --stats src h::m", "^--stats: a cutover shows"},
		{"--cutover -aP src h::m", "^-P: a cutover shows"},
		{"--cutover -aF src h::m", "^-F: rules from files in each directory"},
		{"--cutover -a --size-only src h::m", "^--size-only: .* would never arrive"},
		{"--cutover --freeze-hook=x", "^--freeze-hook: without --thaw-hook nobody thaws.*; add --thaw-hook=COMMAND, or --thaw-hook=true"},
		{"--cutover --thaw-hook=x", "^--thaw-hook: without --freeze-hook it never runs"},
		{"--cutover --thaw-timeout=1", "^--thaw-timeout: there is no --thaw-hook"},
		{"--cutover --go-timeout=1", "^--go-timeout: there is no --go-hook"},
		{"--cutover --go-hook=x --freeze-budget=10", "^--cutover: the go hook may take all .*10s of 10s.*; see --freeze-budget"},
		{"--cutover --freeze-budget=0", "^--freeze-budget=0: not a number from 1 to"},
		{"--cutover --freeze-budget=1m", "^--freeze-budget=1m: not a number"},
		{"--cutover --cutover-verify=none", "^--cutover-verify=none: .*; give changed, .* or all$"},
		{"--cutover --go-hook=", "^--go-hook: its value is empty"},
		{"--cutover --go-hook=\xff", "^--cutover: .* no UTF-8"},
		{"--cutover=x", "^--cutover=x: this option takes no value"},
		{"--cutovr", "^--cutovr: unknown option; did you mean --cutover\\?"},
	} {
		_, err := Parse(strings.Fields(tt.args), noEnv, strings.NewReader(""))
		var usage *UsageError
		if !errors.As(err, &usage) || !regexp.MustCompile(tt.want).MatchString(err.Error()) {
			t.Errorf("%s:\n  %v\nwant %s", tt.args, err, tt.want)
		}
	}
}
