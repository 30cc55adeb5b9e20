package control

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// busy is a status with something in every place.
func busy() Status {
	return Status{
		State:       Waiting,
		Reason:      "backup:873: connection refused; next try in 20s",
		Since:       noon.Add(-192 * time.Second),
		PID:         4711,
		Version:     "1.2.3",
		Source:      "/srv/da\nta",
		Destination: "rsync://backup/data",
		Started:     noon.Add(-79 * time.Hour),
		InSyncUpTo:  noon.Add(-4 * time.Minute),
		Backlog: Backlog{
			Lanes: []Lane{
				{Name: "small", Paths: 345, Bytes: 12 << 20},
				{Name: "big", Paths: 1, Bytes: 3435973836},
				{Name: "bulk", Paths: 11998, Bytes: 900},
				{Name: "verify"},
			},
			Oldest: noon.Add(-192 * time.Second),
		},
		Failing: Failing{Total: 3, First: []Failure{{
			Path: "a/\x1b[2Jb\xff", Reason: "chown failed: Operation not permitted (1)", Attempts: 5,
			Since: noon.Add(-time.Hour - 5*time.Minute), NextTry: noon.Add(20 * time.Second),
		}}},
		Rates:    Rates{Bytes: 12.34 * (1 << 20), Files: 0.5},
		Sessions: Sessions{Running: 3, Most: 8, Limit: 16 << 20},
		Watch:    Watch{Watches: 30123, Overflows: 1, Rescans: 2},
		Pass: &Pass{
			Started: noon.Add(-3 * time.Hour), Files: 1_000_000, FilesTotal: 4_000_000,
			Bytes: 1 << 40, BytesTotal: 2 << 40, At: "a/b",
		},
		Held: &Held{Paths: 12345, Limit: 1000, Since: noon.Add(-10 * time.Second)},
		Lost: []string{"owners are not kept: the reason; the remedy", "times, \xff"},
		Audit: &Audit{
			On: true, Files: 4_000_000, Bytes: 2 << 40, ProvenFiles: 3_000_000, ProvenBytes: 1 << 40, FileRate: 1000,
			ByteRate: 16 << 20, ProvenAll: noon.Add(18 * time.Hour), Surveyed: noon.Add(-2 * time.Hour),
			Alarms: 2, Last: []Alarm{{Path: "a/\xff", What: "is only at the destination", At: noon.Add(-time.Minute)}},
			Uncompared: 1, Trouble: "connection refused",
		},
	}
}

func TestStatusText(t *testing.T) {
	var b strings.Builder
	s := busy()
	if err := s.WriteText(&b, noon); err != nil {
		t.Fatal(err)
	}
	want := `syncd     /srv/da\#012ta  ->  rsync://backup/data
state     waiting-for-destination for 3m12s (since 2026-11-20 11:56:48)
          backup:873: connection refused; next try in 20s
deletes   12,345 deletions held for 10s: more than --max-delete=1000
          if they are meant: syncd --set allow-delete=12345
in sync   up to 2026-11-20 11:56:00 (4m00s ago)
backlog   12,344 paths, 3.21 GiB; the oldest for 3m12s
            small      345 paths    12.0 MiB
            big           1 path    3.20 GiB
            bulk    11,998 paths       900 B
pass      1,000,000 of 4,000,000 files (25 %), 1.00 TiB of 2.00 TiB
          began 3h00m ago; about 9h00m left at this pace
          at a/b
failing   3 paths; the first 1:
            a/\#033[2Jb\#377
                chown failed: Operation not permitted (1)
                5 attempts in 1h05m, next in 20s
lost      owners are not kept: the reason; the remedy
          times, \#377
proven    3,000,000 of 4,000,000 files (50 %), 1.00 TiB of 2.00 TiB; all in about 18h00m at this pace
          names and attributes of everything 2h00m ago
          not now: connection refused
          1 failure to read a file, here or there: see the log
alarms    2 paths changed at the destination by somebody else, and sent again; the last:
            a/\#377
                is only at the destination, 1m00s ago
rate      12.3 MiB/s, 0.5 files/s in the last minute; limit 16.0 MiB/s
sessions  3 of 8
watching  30,123 directories; 1 overflow, 2 rescans
process   pid 4711, version 1.2.3, started 2026-11-17 05:00:00 (3d07h ago)
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A quiet service says so in few lines.
func TestQuietStatusText(t *testing.T) {
	s := Status{
		State: Live, Since: noon, Source: "/a", Destination: "/b", PID: 1, Version: "v", Started: noon,
		Sessions: Sessions{Most: 2}, Watch: Watch{Watches: 1},
	}
	var b strings.Builder
	if err := s.WriteText(&b, noon); err != nil {
		t.Fatal(err)
	}
	want := `syncd     /a  ->  /b
state     live for 0ms (since 2026-11-20 12:00:00)
in sync   not yet: the first pass has not ended, or has left something undone
backlog   nothing waits
rate      0 B/s, 0 files/s in the last minute; no limit
sessions  0 of 2
watching  1 directory; no events lost
process   pid 1, version v, started 2026-11-20 12:00:00 (0ms ago)
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestStatusLine(t *testing.T) {
	for want, s := range map[string]Status{
		"starting":            {State: Starting},
		"live; nothing waits": {State: Live},
		"live; nothing waits; changes are not watched": {State: Live, Watch: Watch{Mode: "scan"}},
		"pass; 1 file compared; 2 paths waiting (0 B)": {
			State: Passing, Pass: &Pass{Files: 1}, Backlog: Backlog{Lanes: []Lane{{Paths: 2}}},
		},
		"waiting-for-destination: backup:873: connection refused; next try in 20s; 25 % of 4,000,000 files compared; " +
			"12,344 paths waiting (3.21 GiB); 12,345 deletions held; 3 paths failing": busy(),
	} {
		if got := s.Line(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestPauseNamesTheWayOut(t *testing.T) {
	var b strings.Builder
	if err := (&Status{State: Paused}).WriteText(&b, noon); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "syncd --resume") {
		t.Error(b.String())
	}
}

// How long a pass takes is not said while it would be a guess.
func TestPassWithoutGuess(t *testing.T) {
	for name, p := range map[string]*Pass{
		"not counted":    {Started: noon.Add(-time.Hour), Files: 10, Bytes: 1},
		"just begun":     {Started: noon.Add(-time.Second), Files: 50, FilesTotal: 100},
		"hardly begun":   {Started: noon.Add(-time.Hour), Files: 1, FilesTotal: 1000},
		"at its end":     {Started: noon.Add(-time.Hour), Files: 10, FilesTotal: 10},
		"more than told": {Started: noon.Add(-time.Hour), Files: 20, FilesTotal: 10},
	} {
		x := &text{now: noon}
		if x.pass(p); strings.Contains(x.b.String(), "left") || strings.Contains(x.b.String(), "200") {
			t.Errorf("%s: %s", name, x.b.String())
		}
	}
}

func TestWhyText(t *testing.T) {
	y := Why{
		Path: "a/b\t", Verdict: FailingPath, Reason: "no space left", Item: "Tree(a)", Lane: "small",
		Queued: noon.Add(-time.Minute), Attempts: 1, NextTry: noon.Add(-time.Second),
		Acked: noon.Add(-48 * time.Hour), Verified: noon.Add(-49 * time.Hour),
	}
	var b strings.Builder
	if err := y.WriteText(&b, noon); err != nil {
		t.Fatal(err)
	}
	want := `path      a/b\#011
is        failing
          no space left
waits as  Tree(a) (small)
since     2026-11-20 11:59:00 (1m00s)
tried     1 time, next now
sent      2026-11-18 12:00:00 (2d00h ago)
verified  2026-11-18 11:00:00 (2d01h ago)
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestUnits(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{age(-time.Second), "0ms"}, {age(999 * time.Millisecond), "999ms"}, {age(59999 * time.Millisecond), "59s"},
		{age(time.Hour - 1), "59m59s"}, {age(24*time.Hour - 1), "23h59m"}, {age(100 * 24 * time.Hour), "100d00h"},
		{size(0), "0 B"}, {size(-1), "0 B"}, {size(999), "999 B"}, {size(1000), "0.98 KiB"}, {size(1024), "1.00 KiB"},
		{size(10239), "10.0 KiB"}, {size(102399), "100 KiB"}, {size(1<<20 - 1), "1.00 MiB"}, {size(1<<63 - 1), "8.00 EiB"},
		{count(0), "0"}, {count(-1234), "-1,234"}, {count(-123), "-123"}, {count(123456), "123,456"}, {plural(1, "path"), "1 path"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestStatusTextWithoutWatching(t *testing.T) {
	s := Status{Watch: Watch{Mode: "scan", Reason: "it is nfs\n", Interval: 90}}
	var b strings.Builder
	if err := s.WriteText(&b, noon); err != nil {
		t.Fatal(err)
	}
	want := "watching  NOTHING: changes are found by passes, with 1m30s between them\n          it is nfs\\#012\n"
	if !strings.Contains(b.String(), want) {
		t.Errorf("%s\nlacks\n%s", &b, want)
	}
}
