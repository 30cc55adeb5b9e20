package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata" // the machine may have none
)

func location(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func timetable(t *testing.T, s string, loc *time.Location) *Timetable {
	t.Helper()
	table, err := ParseTimetable(s, loc)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestTimetableOfADay(t *testing.T) {
	for _, test := range []struct{ table, want string }{
		{"4", "00:00 4"},
		{"0", "00:00 0"},
		{"08:00-23:00=4,23:00-08:00=0", "00:00 0, 08:00 4, 23:00 0"},
		{"23:00-08:00=1, 08:00-23:00=4", "00:00 1, 08:00 4, 23:00 1"},
		{"23:59-00:01=1", "00:00 1, 00:01 0, 23:59 1"},
		{"9:30-12:15=1,13:00-24:00=2", "00:00 0, 09:30 1, 12:15 0, 13:00 2"}, // gaps
		{"9:30-12:15=1,7,13:00-24:00=2", "00:00 7, 09:30 1, 12:15 7, 13:00 2"},
		{"00:00-24:00=3", "00:00 3"},
		{"20:00-0:00=3", "00:00 0, 20:00 3"},
		{"00:00-12:00=3,12:00-00:00=3", "00:00 3"},
	} {
		table := timetable(t, test.table, time.UTC)
		var got []string
		last := int64(-1)
		for m := range minutesPerDay {
			at := time.Date(2026, 7, 1, 0, m, 0, 0, time.UTC)
			rate := table.At(at)
			if end := table.At(at.Add(time.Minute - 1)); end != rate {
				t.Errorf("%s: %v begins with %d and ends with %d", test.table, at, rate, end)
			}
			if rate != last {
				got = append(got, fmt.Sprintf("%02d:%02d %d", m/60, m%60, rate/1024))
			}
			last = rate
		}
		if got := strings.Join(got, ", "); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.table, got, test.want)
		}
	}
}

func TestTimetableErrors(t *testing.T) {
	for s, want := range map[string][]string{
		"":                                    {`""`},
		"4x":                                  {`rate "4x"`},
		"08:00-12:00":                         {`"08:00-12:00"`},
		"08:00-12:00=":                        {`rate ""`},
		"08:00-12:00=4X,13:00-14:00=1":        {`rate "4X"`},
		"08:00=4":                             {`"08:00=4"`, "form"},
		"8-12=4":                              {`"8-12=4"`, "form"},
		"08:0-12:00=4":                        {"form"},
		"08:60-12:00=4":                       {"form"},
		"25:00-12:00=4":                       {"form"},
		"08:00-24:01=4":                       {"form"},
		"24:00-08:00=4":                       {"form"},
		"008:00-12:00=4":                      {"form"},
		"-08:00-12:00=4":                      {"form"},
		"+8:00-12:00=4":                       {"form"},
		"08:00-08:00=4":                       {`"08:00-08:00=4"`, "00:00-24:00"},
		"08:00-12:00=4,":                      {`""`},
		"08:00-12:00=4,11:59-13:00=1":         {`"08:00-12:00=4"`, `"11:59-13:00=1"`, "overlap"},
		"22:00-06:00=4,05:00-07:00=1":         {`"22:00-06:00=4"`, `"05:00-07:00=1"`, "overlap"},
		"22:00-06:00=4,21:00-00:30=1":         {`"22:00-06:00=4"`, `"21:00-00:30=1"`, "overlap"},
		"00:00-24:00=1,12:00-13:00=2":         {"overlap"},
		"1,08:00-12:00=4,2":                   {`"1"`, `"2"`, "no times"},
		"08:00-12:00=4;12:00-13:00=5":         {"4;12:00"},
		"08:00-12:00=4,12:00-13:00=99999999P": {"too large"},
	} {
		_, err := ParseTimetable(s, time.UTC)
		if err == nil {
			t.Errorf("%q: no error", s)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: error %q does not mention %s", s, err, w)
			}
		}
	}
}

// TestNext lists the changes of a few days, among them those with 23 and 25 hours in Berlin: at 01:00 UTC on
// 2026-03-29 and 2026-10-25 the clock goes from 02:00 to 03:00 and from 03:00 to 02:00.
func TestNext(t *testing.T) {
	const summer, winter, plain = "2026-03-29", "2026-10-25", "2026-07-01"
	for _, test := range []struct {
		name, table, zone, day string
		want                   []string // moments in UTC, and the rate that begins there
	}{
		{"plain", "08:00-23:00=4,23:00-08:00=1", "Europe/Berlin", plain, []string{"01 06:00 4", "01 21:00 1", "02 06:00 4"}},
		{"23 hours", "08:00-23:00=4,23:00-08:00=1", "Europe/Berlin", summer, []string{"29 06:00 4", "29 21:00 1", "30 06:00 4"}},
		{"25 hours", "08:00-23:00=4,23:00-08:00=1", "Europe/Berlin", winter, []string{"25 07:00 4", "25 22:00 1", "26 07:00 4"}},
		{"23 hours, begins in the missing hour", "02:30-04:00=4", "Europe/Berlin", summer, []string{"29 01:00 4", "29 02:00 0", "30 00:30 4"}},
		{"23 hours, ends in the missing hour", "01:00-02:30=4", "Europe/Berlin", summer, []string{"29 00:00 4", "29 01:00 0", "29 23:00 4"}},
		{"23 hours, all in the missing hour", "02:15-02:45=4", "Europe/Berlin", summer, []string{"30 00:15 4", "30 00:45 0", "31 00:15 4"}},
		{"23 hours, at the jump", "02:00-03:00=4,03:00-04:00=5", "Europe/Berlin", summer, []string{"29 01:00 5", "29 02:00 0", "30 00:00 4"}},
		{"25 hours, begins in the double hour", "02:30-04:00=4", "Europe/Berlin", winter,
			[]string{"25 00:30 4", "25 01:00 0", "25 01:30 4", "25 03:00 0", "26 01:30 4"}},
		{"25 hours, ends in the double hour", "01:00-02:30=4", "Europe/Berlin", winter,
			[]string{"24 23:00 4", "25 00:30 0", "25 01:00 4", "25 01:30 0", "26 00:00 4"}},
		{"25 hours, all of the double hour", "02:00-03:00=4", "Europe/Berlin", winter, []string{"25 00:00 4", "25 02:00 0", "26 01:00 4"}},
		{"a day that is left out", "10:00-11:00=4", "Pacific/Apia", "2011-12-30", []string{"29 20:00 4", "29 21:00 0", "30 20:00 4"}},
		{"half an hour", "02:15-03:00=4", "Australia/Lord_Howe", "2026-10-04", []string{"03 15:30 4", "03 16:00 0", "04 15:15 4"}},
		{"never", "5", "Europe/Berlin", summer, []string{"never"}},
		{"never, in two parts", "00:00-12:00=3,12:00-00:00=3", "Europe/Berlin", winter, []string{"never"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			loc := location(t, test.zone)
			table := timetable(t, test.table, loc)
			at, err := time.ParseInLocation(time.DateOnly, test.day, loc)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range test.want {
				next := table.Next(at)
				got := "never"
				if !next.IsZero() {
					got = fmt.Sprintf("%s %d", next.UTC().Format("02 15:04"), table.At(next)/1024)
				}
				if got != want {
					t.Fatalf("after %v: %s, want %s", at.UTC(), got, want)
				}
				at = next
			}
		})
	}
}

// TestNextAgainstAt walks two weeks around the changes of the clock minute by minute.
func TestNextAgainstAt(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "UTC"} {
		loc := location(t, zone)
		for _, s := range []string{"08:00-23:00=4,23:00-08:00=1", "02:30-04:00=4", "01:30-02:15=4,02:45-03:15=2", "02:00-02:01=4"} {
			table := timetable(t, s, loc)
			for _, day := range []int{80, 295} {
				at := time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC)
				next := table.Next(at)
				for range 16 * minutesPerDay {
					following := at.Add(time.Minute)
					changes := table.At(following) != table.At(at)
					if changes != next.Equal(following) {
						t.Fatalf("%s in %s: At changes at %v: %v; Next said %v", s, zone, following.UTC(), changes, next.UTC())
					}
					if changes {
						next = table.Next(following)
					}
					at = following
				}
			}
		}
	}
}

func TestNextWithinAMinute(t *testing.T) {
	table := timetable(t, "08:00-09:00=4", time.UTC)
	eight := time.Date(2026, 7, 1, 8, 0, 0, 0, time.UTC)
	for _, before := range []time.Duration{1, time.Second - 1, 59 * time.Second, time.Minute, time.Hour} {
		if got := table.Next(eight.Add(-before)); !got.Equal(eight) {
			t.Errorf("%v before: %v", before, got)
		}
	}
	if got := table.Next(eight); !got.Equal(eight.Add(time.Hour)) {
		t.Errorf("at the change itself: %v", got)
	}
}

func TestRun(t *testing.T) {
	loc := location(t, "Europe/Berlin")
	synctest.Test(t, func(t *testing.T) {
		// The day before the clock goes forward, in the first spring of the bubble's time.
		<-time.After(time.Until(time.Date(2000, 3, 25, 12, 0, 30, 0, loc)))
		table := timetable(t, "08:00-23:00=4,23:00-08:00=0", loc)
		var l Limiter
		stop := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error)
		go func() { done <- table.Run(ctx, &l) }()
		check := func(at time.Time, want int64) {
			t.Helper()
			<-time.After(time.Until(at))
			synctest.Wait()
			if l.Limit() != want {
				t.Errorf("at %v: %d, want %d", at, l.Limit(), want)
			}
		}
		check(time.Now(), 4096)
		check(time.Date(2000, 3, 25, 22, 59, 59, 999, loc), 4096)
		check(time.Date(2000, 3, 25, 23, 0, 0, 0, loc), 0)
		l.Set(777) // the operator's word holds until the next change
		check(time.Date(2000, 3, 26, 7, 59, 59, 0, loc), 777)
		check(time.Date(2000, 3, 26, 8, 0, 0, 0, loc), 4096)
		cancel(stop)
		if err := <-done; !errors.Is(err, stop) {
			t.Errorf("Run: %v", err)
		}
	})
}

func FuzzParseTimetable(f *testing.F) {
	f.Add("08:00-23:00=4M,23:00-08:00=0", int64(1774746000))
	f.Add("4,02:15-02:45=1", int64(1792890000))
	loc, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string, unix int64) {
		table, err := ParseTimetable(s, loc)
		if err != nil {
			return
		}
		at := time.Unix(unix%(1<<33), 0)
		next := table.Next(at)
		if next.IsZero() {
			return
		}
		if !next.After(at) || table.At(next) == table.At(at) || table.At(next.Add(-1)) != table.At(at) {
			t.Errorf("%q: Next(%v) = %v", s, at, next)
		}
	})
}
