package control

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/syncd/syncd/internal/printable"
)

// WriteText writes s for an operator: what it does and why first, then what is
// missing at the destination, then what is wrong, then the rest. Ages are
// counted from now, times of day are in now's zone.
func (s *Status) WriteText(w io.Writer, now time.Time) error {
	t := &text{now: now}
	t.line("syncd", "%s  ->  %s", printable.Text(s.Source), printable.Text(s.Destination))
	t.line("state", "%s for %s (since %s)", printable.Text(string(s.State)), t.age(s.Since), t.clock(s.Since))
	if s.Reason != "" {
		t.more("%s", printable.Text(s.Reason))
	}
	if s.State == Paused {
		t.more("go on with: syncd --resume")
	}
	t.held(s.Held)
	if s.InSyncUpTo.IsZero() {
		t.line("in sync", "not yet: the first pass has not ended, or has left something undone")
	} else {
		t.line("in sync", "up to %s (%s ago)", t.clock(s.InSyncUpTo), t.age(s.InSyncUpTo))
	}
	t.backlog(s.Backlog)
	t.pass(s.Pass)
	t.failing(s.Failing)
	t.lost(s.Lost)
	t.audit(s.Audit)
	t.rates(s.Rates, s.Sessions)
	t.watch(s.Watch)
	t.line("process", "pid %d, version %s, started %s (%s ago)", s.PID, printable.Text(s.Version), t.clock(s.Started), t.age(s.Started))
	_, err := io.WriteString(w, t.b.String())
	return err
}

// A text is lines of a label and what it says, in two columns.
type text struct {
	b   strings.Builder
	now time.Time
}

func (t *text) line(label, format string, args ...any) {
	fmt.Fprintf(&t.b, "%-9s ", label)
	fmt.Fprintf(&t.b, format+"\n", args...)
}

// more continues what the line before says.
func (t *text) more(format string, args ...any) { t.line("", format, args...) }

func (t *text) age(at time.Time) string   { return age(t.now.Sub(at)) }
func (t *text) clock(at time.Time) string { return clock(at.In(t.now.Location())) }

// until says when something that is due will be.
func (t *text) until(at time.Time) string {
	if d := at.Sub(t.now); d >= time.Second {
		return "in " + age(d)
	}
	return "now"
}

func (t *text) held(h *Held) {
	if h == nil {
		return
	}
	t.line("deletes", "%s held for %s: more than --max-delete=%d", plural(h.Paths, "deletion"), t.age(h.Since), h.Limit)
	t.more("if they are meant: syncd --set allow-delete=%d", h.Paths)
}

func (t *text) backlog(b Backlog) {
	paths, bytes := b.Sum()
	if paths == 0 {
		t.line("backlog", "nothing waits")
		return
	}
	oldest := ""
	if !b.Oldest.IsZero() {
		oldest = "; the oldest for " + t.age(b.Oldest)
	}
	t.line("backlog", "%s, %s%s", plural(paths, "path"), size(bytes), oldest)
	var names, counts int
	for _, l := range b.Lanes {
		names = max(names, len(l.Name))
		counts = max(counts, len(plural(l.Paths, "path")))
	}
	for _, l := range b.Lanes {
		if l.Paths > 0 {
			t.more("  %-*s  %*s  %10s", names, printable.Text(l.Name), counts, plural(l.Paths, "path"), size(l.Bytes))
		}
	}
}

func (t *text) lost(lost []string) {
	for i, words := range lost {
		if i == 0 {
			t.line("lost", "%s", printable.Text(words))
		} else {
			t.more("%s", printable.Text(words))
		}
	}
}

func (t *text) pass(p *Pass) {
	if p == nil {
		return
	}
	if p.FilesTotal > 0 {
		share := 100 * float64(p.Files) / float64(p.FilesTotal)
		t.line("pass", "%s of %s (%.0f %%), %s of %s", count(p.Files), plural(p.FilesTotal, "file"),
			math.Floor(min(share, 100)), size(p.Bytes), size(p.BytesTotal))
	} else {
		t.line("pass", "%s, %s so far; the source is being counted", plural(p.Files, "file"), size(p.Bytes))
	}
	t.more("began %s ago%s", t.age(p.Started), t.left(p))
	if p.At != "" {
		t.more("at %s", printable.Text(p.At))
	}
}

// left guesses when a pass will have ended: by the half that is slower, of bytes
// and of files.
func (t *text) left(p *Pass) string {
	spent := t.now.Sub(p.Started)
	done := 1.0
	if p.FilesTotal > 0 {
		done = min(done, float64(p.Files)/float64(p.FilesTotal))
	}
	if p.BytesTotal > 0 {
		done = min(done, float64(p.Bytes)/float64(p.BytesTotal))
	}
	// Below one percent or a minute a guess would jump about.
	if p.FilesTotal == 0 || done < 0.01 || done >= 1 || spent < time.Minute {
		return ""
	}
	left := time.Duration(float64(spent) * (1 - done) / done)
	return fmt.Sprintf("; about %s left at this pace", age(left))
}

func (t *text) failing(f Failing) {
	if f.Total == 0 {
		return
	}
	shown := ""
	if n := int64(len(f.First)); n < f.Total {
		shown = fmt.Sprintf("; the first %d:", n)
	}
	t.line("failing", "%s%s", plural(f.Total, "path"), shown)
	for _, p := range f.First {
		t.more("  %s", printable.Text(p.Path))
		t.more("      %s", printable.Text(p.Reason))
		t.more("      %s in %s, next %s", plural(int64(p.Attempts), "attempt"), t.age(p.Since), t.until(p.NextTry))
	}
}

// audit says how much is proven, and what was found.
func (t *text) audit(a *Audit) {
	if a == nil {
		return
	}
	share := 100.0
	if a.Files > 0 {
		share = 100 * min(float64(a.ProvenFiles)/float64(a.Files), byteShare(a))
	}
	left := ""
	switch {
	case !a.On && a.ProvenFiles < a.Files:
		left = "; the audit is off"
	case !a.ProvenAll.IsZero():
		left = "; all in about " + age(a.ProvenAll.Sub(t.now)) + " at this pace"
	}
	t.line("proven", "%s of %s (%.0f %%), %s of %s%s", count(a.ProvenFiles), plural(a.Files, "file"), math.Floor(share),
		size(a.ProvenBytes), size(a.Bytes), left)
	if !a.Surveyed.IsZero() {
		t.more("names and attributes of everything %s ago", t.age(a.Surveyed))
	}
	if a.Trouble != "" {
		t.more("not now: %s", printable.Text(a.Trouble))
	}
	if a.Uncompared > 0 {
		t.more("%s to read a file, here or there: see the log", plural(a.Uncompared, "failure"))
	}
	if a.Alarms == 0 {
		return
	}
	t.line("alarms", "%s changed at the destination by somebody else, and sent again; the last:", plural(a.Alarms, "path"))
	for _, l := range a.Last {
		t.more("  %s", printable.Text(l.Path))
		t.more("      %s, %s ago", printable.Text(l.What), t.age(l.At))
	}
}

func byteShare(a *Audit) float64 {
	if a.Bytes == 0 {
		return 1
	}
	return float64(a.ProvenBytes) / float64(a.Bytes)
}

func (t *text) rates(r Rates, s Sessions) {
	limit := "no limit"
	if s.Limit > 0 {
		limit = "limit " + size(s.Limit) + "/s"
	}
	files := r.Files
	format := "%.0f files/s"
	if files > 0 && files < 10 {
		format = "%.1f files/s"
	}
	t.line("rate", "%s/s, "+format+" in the last minute; %s", sizeOf(r.Bytes), files, limit)
	t.line("sessions", "%d of %d", s.Running, s.Most)
}

func (t *text) watch(w Watch) {
	if w.Mode == "scan" {
		t.line("watching", "NOTHING: changes are found by passes, with %s between them", age(time.Duration(w.Interval*float64(time.Second))))
		t.more("%s", printable.Text(w.Reason))
		return
	}
	lost := "no events lost"
	if w.Overflows > 0 || w.Rescans > 0 {
		lost = fmt.Sprintf("%s, %s", plural(w.Overflows, "overflow"), plural(w.Rescans, "rescan"))
	}
	what := "directories"
	if w.Watches == 1 {
		what = "directory"
	}
	t.line("watching", "%s %s; %s", count(w.Watches), what, lost)
}

// WriteText writes y for an operator. Ages are counted from now.
func (y *Why) WriteText(w io.Writer, now time.Time) error {
	t := &text{now: now}
	t.line("path", "%s", printable.Text(y.Path))
	t.line("is", "%s", printable.Text(string(y.Verdict)))
	if y.Reason != "" {
		t.more("%s", printable.Text(y.Reason))
	}
	if y.Item != "" {
		lane := ""
		if y.Lane != "" {
			lane = " (" + printable.Text(y.Lane) + ")"
		}
		t.line("waits as", "%s%s", printable.Text(y.Item), lane)
	}
	if !y.Queued.IsZero() {
		t.line("since", "%s (%s)", t.clock(y.Queued), t.age(y.Queued))
	}
	if y.Attempts > 0 {
		t.line("tried", "%s, next %s", plural(int64(y.Attempts), "time"), t.until(y.NextTry))
	}
	if !y.Acked.IsZero() {
		t.line("sent", "%s (%s ago)", t.clock(y.Acked), t.age(y.Acked))
	}
	if !y.Verified.IsZero() {
		t.line("verified", "%s (%s ago)", t.clock(y.Verified), t.age(y.Verified))
	}
	_, err := io.WriteString(w, t.b.String())
	return err
}
