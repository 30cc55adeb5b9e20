package cutover

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// full is a report in which everything that can stand does.
func full() *Report {
	return &Report{
		Outcome: LeftFrozen, Reason: "the go hook failed: exit status 1; and then the thaw hook failed: exit status 2",
		ByHand: "start\x1b", Source: "/srv/\xff", Destination: "rsync://new/data", Version: "v1.2.3",
		Begin: noon, End: noon.Add(4 * time.Second), FrozenSeconds: 3.25, BudgetSeconds: 60,
		Phases: []Phase{
			{State: Draining, Begin: noon, End: noon.Add(750 * time.Millisecond), Seconds: 0.75},
			{State: Frozen, Begin: noon.Add(750 * time.Millisecond), End: noon.Add(4 * time.Second), Seconds: 3.25},
		},
		Hooks: []HookRun{
			{Hook: FreezeHook, Command: "stop", Begin: noon, Seconds: 0.5, Output: "one\ntwo"},
			{Hook: ThawHook, Command: "start\x1b", Begin: noon, Seconds: 10, Exit: -1, Error: "killed"},
		},
		Settled: &Settled{Entries: 1, Sent: 2, Bytes: 2048, Failing: 1, Failed: []Problem{{NewPath("a"), "denied"}}},
		Scope:   Changed,
		Verified: &Verified{
			Files: 1, Bytes: 1 << 30, Digest: "xxh128", Proven: 7, Entries: 12, Different: 2, Skipped: 1, Changed: 3,
			Differences: []Problem{{NewPath("b\n"), "content"}}, Uncompared: []Problem{{NewPath("c"), "vanished"}},
		},
		WritersBefore: &Writers{Processes: []Writer{{PID: 3, Command: "app", Files: []Path{NewPath("log"), NewPath("db")}}}},
		Writers:       &Writers{Unseen: 2},
		Writes:        &Writes{Total: 7, First: []Path{NewPath("x")}},
		Warnings:      []string{"look\nhere"},
	}
}

func TestText(t *testing.T) {
	var b strings.Builder
	if err := full().WriteText(&b); err != nil {
		t.Fatal(err)
	}
	const want = `cutover   NOT DONE, AND THE SOURCE MAY BE FROZEN: act now
          the go hook failed: exit status 1; and then the thaw hook failed: exit status 2
          to thaw the source, run by hand: start\#033
frozen    3.25 s; the budget is 60 s
from      /srv/\#377
to        rsync://new/data
began     2026-11-20 12:00:00.000 UTC
ended     2026-11-20 12:00:04.000 UTC
settled   1 entry compared; 2 differed and were sent (2.0 KiB), 1 failed
            a: denied
verified  1 file, 1.0 GiB, by xxh128 on both sides; 7 more proven equal earlier and not changed since
          metadata of 12 entries
          NOT COMPLETE: 2 different, 1 not compared, 3 changed meanwhile
            b\#012: content
            c: vanished
written   7 paths after the freeze: x and 6 more
open      for writing before the freeze:
            app (pid 3): log, db
open      for writing after the freeze: nothing
          processes that could not be looked at: 2
warning   look\#012here
phase     draining  12:00:00.000     0.75 s
phase     frozen    12:00:00.750     3.25 s
hook      freeze: exit status 0 after 0.50 s: stop
            | one
            | two
hook      thaw: killed after 10.00 s: start\#033
version   syncd v1.2.3
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestTextOfRehearsal(t *testing.T) {
	for outcome, want := range map[Outcome]string{
		Fits: "cutover   REHEARSED: the destination is equal, and the freeze would fit the budget\n" +
			"freeze    would take 1.50 s and the time of the hooks; the budget is 60 s\n",
		Aborted: "cutover   REHEARSED: a cutover would not have been done\n" +
			"freeze    would take 1.50 s and the time of the hooks; the budget is 60 s\n",
	} {
		r := &Report{Outcome: outcome, Rehearsal: true, PredictedSeconds: 1.5, BudgetSeconds: 60, Writes: new(Writes)}
		var b strings.Builder
		if err := r.WriteText(&b); err != nil || !strings.HasPrefix(b.String(), want) ||
			!strings.Contains(b.String(), "written   nothing meanwhile\n") {
			t.Errorf("%v\n%s", err, b.String())
		}
	}
}

// Scripts read these keys.
func TestReportJSON(t *testing.T) {
	r := full()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got Report
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if r.Source = `/srv/\#377`; cmp.Diff(r, &got) != "" {
		t.Errorf("-sent +got\n%s", cmp.Diff(r, &got))
	}
	for _, want := range []string{
		`"outcome":"left-frozen"`, `"exit":4`, `"frozen_seconds":3.25`, `"begin":"2026-11-20T12:00:00Z"`,
		`"phases":[{"state":"draining","begin":"2026-11-20T12:00:00Z","end":"2026-11-20T12:00:00.75Z","seconds":0.75}`,
		`"path":"b\\#012","path_bytes":"Ygo=","what":"content"`, `"source":"/srv/\\#377"`,
		`"digest":"xxh128"`, `"uncompared":1`, `"pid":3`,
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("no %s in\n%s", want, data)
		}
	}
}

func TestPath(t *testing.T) {
	for _, name := range []string{"", "a/b", "ä", "\xff", "\n", `\#012`, "\u0085", "a\x00b"} {
		if got := NewPath(name).Name(); got != name {
			t.Errorf("%q became %q", name, got)
		}
		data, err := json.Marshal(NewPath(name))
		var p Path
		if err == nil {
			err = json.Unmarshal(data, &p)
		}
		if err != nil || p.Name() != name {
			t.Errorf("%q became %q, %v by %s", name, p.Name(), err, data)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		-1: "0 B", 0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1<<20 - 1: "1.0 MiB", 1 << 20: "1.0 MiB", 3 << 29: "1.5 GiB",
		1<<63 - 1: "8.0 EiB",
	} {
		if got := size(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}
