package ratelimit

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const minutesPerDay = 24 * 60

// A Timetable gives the rate for each minute of the day by the clock on the wall of one place. It comes from
// ParseTimetable, is immutable and safe for concurrent use.
type Timetable struct {
	loc   *time.Location
	rates [minutesPerDay]int64 // bytes per second
}

// period is one part of a timetable's text.
type period struct {
	text     string
	from, to int // minutes of the day; to <= from: over midnight
	rate     int64
	always   bool // no times: whatever no other period covers
}

// ParseTimetable reads periods separated by commas, such as "08:00-18:00=4M,18:00-23:00=10M", with rates as ParseRate
// reads them and times on the clock of loc. A period may go over midnight ("23:00-08:00=0"); one day ends at 24:00. A
// rate without times holds at all other times; where there is none, these have no limit. So a plain rate is a timetable
// too. Periods that overlap are an error that names both.
func ParseTimetable(s string, loc *time.Location) (*Timetable, error) {
	t := &Timetable{loc: loc}
	var owner [minutesPerDay]*period
	var rest *period
	for text := range strings.SplitSeq(s, ",") {
		p, err := parsePeriod(strings.TrimSpace(text))
		if err != nil && text == s {
			return nil, err
		}
		if err != nil {
			return nil, fmt.Errorf("timetable %q: %w", s, err)
		}
		if p.always {
			if rest != nil {
				return nil, fmt.Errorf("timetable %q: %q and %q both have no times", s, rest.text, p.text)
			}
			rest = p
			continue
		}
		for m := range p.minutes {
			if other := owner[m]; other != nil {
				return nil, fmt.Errorf("timetable %q: %q and %q overlap", s, other.text, p.text)
			}
			owner[m] = p
		}
	}
	for m, p := range owner {
		if p == nil {
			p = rest
		}
		if p != nil {
			t.rates[m] = p.rate
		}
	}
	return t, nil
}

func parsePeriod(text string) (*period, error) {
	times, value, timed := strings.Cut(text, "=")
	if !timed {
		times, value = "", text
	}
	rate, err := ParseRate(value)
	if err != nil {
		return nil, err
	}
	p := &period{text: text, rate: rate, always: !timed}
	if p.always {
		return p, nil
	}
	from, to, _ := strings.Cut(times, "-")
	var ok1, ok2 bool
	p.from, ok1 = parseClock(from)
	p.to, ok2 = parseClock(to)
	if !ok1 || !ok2 || p.from == minutesPerDay {
		return nil, fmt.Errorf("period %q is not of the form 08:00-23:00=4M", text)
	}
	if p.from == p.to {
		return nil, fmt.Errorf("period %q ends when it begins; a whole day is 00:00-24:00", text)
	}
	return p, nil
}

// parseClock reads HH:MM up to 24:00.
func parseClock(s string) (minute int, ok bool) {
	hours, minutes, found := strings.Cut(s, ":")
	h, err1 := strconv.ParseUint(hours, 10, 8)
	m, err2 := strconv.ParseUint(minutes, 10, 8)
	minute = int(h*60 + m)
	ok = found && err1 == nil && err2 == nil && len(hours) <= 2 && len(minutes) == 2 && m < 60 && minute <= minutesPerDay
	return minute, ok
}

// minutes yields the minutes of the day that the period covers.
func (p *period) minutes(yield func(int) bool) {
	end := p.to
	if end <= p.from {
		end += minutesPerDay
	}
	for m := p.from; m < end; m++ {
		if !yield(m % minutesPerDay) {
			return
		}
	}
}

// At is the rate at a moment in bytes per second, 0 for no limit.
func (t *Timetable) At(now time.Time) int64 {
	now = now.In(t.loc)
	return t.rates[now.Hour()*60+now.Minute()]
}

// lookAhead bounds the search for the next change. A period may be missing on a day that has no such hour, seldom two
// days in a row.
const lookAhead = 8 * 24 * time.Hour

// Next is the first moment after now at which At changes, the zero time when it never does. Where the clock is put
// forward or back, periods are as long as the clock shows them: an hour that comes twice has its rate twice, a change
// within an hour that does not come happens at the jump.
func (t *Timetable) Next(now time.Time) time.Time {
	current := t.At(now)
	for at := now.In(t.loc); at.Before(now.Add(lookAhead)); {
		wait, ok := t.change(at)
		if !ok {
			return time.Time{}
		}
		next := at.Add(wait)
		// Up to the end of the zone's present offset the clock runs evenly.
		if _, end := at.ZoneBounds(); !end.IsZero() && !end.After(next) {
			next = end.In(t.loc)
		}
		if t.At(next) != current {
			return next
		}
		at = next
	}
	return time.Time{}
}

// change is how long the rate at that moment holds on a clock that runs evenly; false for ever.
func (t *Timetable) change(at time.Time) (time.Duration, bool) {
	minute := at.Hour()*60 + at.Minute()
	for ahead := 1; ahead < minutesPerDay; ahead++ {
		if t.rates[(minute+ahead)%minutesPerDay] != t.rates[minute] {
			into := time.Duration(at.Second())*time.Second + time.Duration(at.Nanosecond())
			return time.Duration(ahead)*time.Minute - into, true
		}
	}
	return 0, false
}

// recheck bounds how late Run follows a clock that was set, or a machine that slept.
const recheck = time.Minute

// Run sets l by the timetable until ctx is done, and returns its cause. It sets l at once and then only when the
// timetable's rate changes: what others set meanwhile holds until then.
func (t *Timetable) Run(ctx context.Context, l *Limiter) error {
	rate := t.At(time.Now())
	l.Set(rate)
	for {
		now := time.Now()
		wait := recheck
		if next := t.Next(now); !next.IsZero() {
			wait = min(wait, next.Sub(now))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
		if next := t.At(time.Now()); next != rate {
			rate = next
			l.Set(rate)
		}
	}
}
