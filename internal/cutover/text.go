package cutover

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/syncd/syncd/internal/printable"
)

// WriteText writes the report for people: the outcome first, then what to do, then
// what was found, then the times.
func (r *Report) WriteText(w io.Writer) error {
	t := new(page)
	t.outcome(r)
	t.line("from", "%s", printable.Text(r.Source))
	t.line("to", "%s", printable.Text(r.Destination))
	t.line("began", "%s", clock(r.Begin))
	if !r.End.IsZero() {
		t.line("ended", "%s", clock(r.End))
	}
	t.proof(r)
	t.touched(r)
	for _, warning := range r.Warnings {
		t.line("warning", "%s", printable.Text(warning))
	}
	for _, p := range r.Phases {
		t.line("phase", "%-9s %s %8.2f s", p.State, p.Begin.UTC().Format("15:04:05.000"), p.Seconds)
	}
	t.hooks(r.Hooks)
	t.line("version", "syncd %s", printable.Text(r.Version))
	_, err := io.WriteString(w, t.b.String())
	return err
}

// A page is lines of a label and what it says.
type page struct{ b strings.Builder }

func (t *page) line(label, format string, args ...any) {
	fmt.Fprintf(&t.b, "%-9s ", label)
	fmt.Fprintf(&t.b, format+"\n", args...)
}

func (t *page) more(format string, args ...any) { t.line("", format, args...) }

// headlines say what an outcome means for the service.
var headlines = map[Outcome]string{
	Running:     "not ended",
	Succeeded:   "DONE: the destination is equal to the source and has taken over",
	Fits:        "REHEARSED: the destination is equal, and the freeze would fit the budget",
	Aborted:     "NOT DONE: the source serves as before",
	Interrupted: "INTERRUPTED: the source serves as before",
	LeftFrozen:  "NOT DONE, AND THE SOURCE MAY BE FROZEN: act now",
}

func (t *page) outcome(r *Report) {
	headline := headlines[r.Outcome]
	if r.Rehearsal && r.Outcome == Aborted {
		headline = "REHEARSED: a cutover would not have been done"
	}
	t.line("cutover", "%s", headline)
	if r.Reason != "" {
		t.more("%s", r.Reason)
	}
	if r.ByHand != "" {
		t.more("to thaw the source, run by hand: %s", printable.Text(r.ByHand))
	}
	switch {
	case r.Rehearsal && r.PredictedSeconds > 0:
		t.line("freeze", "would take %.2f s and the time of the hooks; the budget is %.0f s",
			r.PredictedSeconds, r.BudgetSeconds)
	case !r.Rehearsal:
		t.line("frozen", "%.2f s; the budget is %.0f s", r.FrozenSeconds, r.BudgetSeconds)
	}
}

// proof is what was compared, and what came of it.
func (t *page) proof(r *Report) {
	if s := r.Settled; s != nil {
		t.line("settled", "%s compared; %d differed and were sent (%s), %d failed",
			entries(s.Entries), s.Sent, size(s.Bytes), s.Failing)
		t.problems(s.Failed)
	}
	v := r.Verified
	if v == nil {
		t.line("verified", "nothing: it did not come to that")
		return
	}
	t.line("verified", "%s, %s, by %s on both sides; %d more proven equal earlier and not changed since",
		plural(v.Files, "file"), size(v.Bytes), printable.Text(v.Digest), v.Proven)
	t.more("metadata of %s", entries(v.Entries))
	complete := "complete"
	if !v.Complete {
		complete = "NOT COMPLETE"
	}
	t.more("%s: %d different, %d not compared, %d changed meanwhile", complete, v.Different, v.Skipped, v.Changed)
	t.problems(v.Differences)
	t.problems(v.Uncompared)
}

func (t *page) problems(all []Problem) {
	for _, p := range all {
		t.more("  %s: %s", p.Text, printable.Text(p.What))
	}
}

// touched is who wrote, or could have.
func (t *page) touched(r *Report) {
	after := "after the freeze"
	if r.Rehearsal {
		after = "meanwhile"
	}
	if w := r.Writes; w != nil && w.Total > 0 {
		t.line("written", "%s %s: %s", plural(w.Total, "path"), after, pathsText(w.Total, w.First))
	} else if w != nil && w.Unseen == "" {
		t.line("written", "nothing %s", after)
	}
	if w := r.Writes; w != nil && w.Unseen != "" {
		t.line("written", "NOT KNOWN %s: %s", after, printable.Text(w.Unseen))
	}
	for _, w := range []struct {
		when string
		*Writers
	}{{"before the freeze", r.WritersBefore}, {"after the freeze", r.Writers}} {
		switch {
		case w.Writers == nil:
		case len(w.Processes) == 0:
			t.line("open", "for writing %s: nothing", w.when)
		default:
			t.line("open", "for writing %s:", w.when)
			for _, p := range w.Processes {
				t.more("  %s (pid %d): %s", printable.Text(p.Command), p.PID, pathsText(int64(len(p.Files)), p.Files))
			}
		}
		if w.Writers != nil && w.Unseen > 0 {
			t.more("processes that could not be looked at: %d", w.Unseen)
		}
	}
}

func (t *page) hooks(all []HookRun) {
	for _, h := range all {
		end := fmt.Sprintf("exit status %d", h.Exit)
		if h.Exit < 0 {
			end = h.Error
		}
		t.line("hook", "%s: %s after %.2f s: %s", h.Hook, end, h.Seconds, printable.Text(h.Command))
		for l := range strings.Lines(h.Output) {
			t.more("  | %s", strings.TrimRight(l, "\n"))
		}
	}
}

func entries(n int64) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000 UTC") }
