package cutover

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/syncd/syncd/internal/printable"
)

// A State is how far a cutover is.
type State string

// The states, in their order. They are part of the JSON form: none is ever renamed.
const (
	Live      State = "live"      // the source serves and is followed, as before the cutover
	Draining  State = "draining"  // the backlog becomes small
	Frozen    State = "frozen"    // the freeze hook runs or has returned
	Settling  State = "settling"  // the rest is found and sent
	Verifying State = "verifying" // both sides are compared
	Going     State = "going"     // the go hook runs
	Thawing   State = "thawing"   // the thaw hook runs
	Done      State = "done"      // the destination serves
)

// An Outcome is how a cutover ended, in one word.
type Outcome string

// The outcomes. They are part of the JSON form: none is ever renamed.
const (
	Running     Outcome = "running"     // not ended
	Succeeded   Outcome = "done"        // the destination is equal, and the go hook has run
	Fits        Outcome = "rehearsed"   // a rehearsal: equal, and within the budget
	Aborted     Outcome = "aborted"     // back to live; of a rehearsal: it would not have been done
	Interrupted Outcome = "interrupted" // back to live, because somebody said so
	LeftFrozen  Outcome = "left-frozen" // people have to decide: the source is not thawed
)

// A Report is what a cutover did and found. Times are UTC.
type Report struct {
	Outcome     Outcome `json:"outcome"`
	Reason      string  `json:"reason,omitempty"`  // of an outcome that is not wanted; one line
	ByHand      string  `json:"by_hand,omitempty"` // what to do now, if the source is left frozen
	Rehearsal   bool    `json:"rehearsal"`
	Source      string  `json:"source"`
	Destination string  `json:"destination"`
	Version     string  `json:"version"`

	Begin time.Time `json:"begin"`
	End   time.Time `json:"end,omitzero"`
	// FrozenSeconds are from the start of the freeze hook to the end of the go hook, or
	// else of the thaw hook.
	FrozenSeconds float64 `json:"frozen_seconds"`
	// PredictedSeconds are what a rehearsal says a freeze would take without the hooks.
	PredictedSeconds float64 `json:"predicted_seconds,omitempty"`
	BudgetSeconds    float64 `json:"freeze_budget_seconds"`

	Phases   []Phase   `json:"phases"`
	Hooks    []HookRun `json:"hooks,omitempty"`
	Backlog  Backlog   `json:"backlog"` // when it was looked at last
	Settled  *Settled  `json:"settled,omitempty"`
	Scope    Scope     `json:"verify"`
	Verified *Verified `json:"verified,omitempty"`

	WritersBefore *Writers `json:"writers_before,omitempty"` // before the freeze
	Writers       *Writers `json:"writers,omitempty"`        // after it
	Writes        *Writes  `json:"writes,omitempty"`         // after it
	Warnings      []string `json:"warnings,omitempty"`
}

// A Phase is the time spent in a state.
type Phase struct {
	State   State     `json:"state"`
	Begin   time.Time `json:"begin"`
	End     time.Time `json:"end,omitzero"`
	Seconds float64   `json:"seconds"`
}

// A HookRun is what came of a hook.
type HookRun struct {
	Hook    Hook      `json:"hook"`
	Command string    `json:"command"`
	Begin   time.Time `json:"begin"`
	Seconds float64   `json:"seconds"`
	Exit    int       `json:"exit"` // -1: it has none, Error says why
	Error   string    `json:"error,omitempty"`
	Output  string    `json:"output,omitempty"` // the end of it
}

// An Event is news of a cutover that runs.
type Event struct {
	At    time.Time `json:"at"`
	State State     `json:"state"`
	Text  string    `json:"text"`            // one line
	Loud  bool      `json:"loud,omitempty"`  // somebody has to act
	Fresh bool      `json:"fresh,omitempty"` // not just the same state, some time later
}

// ExitStatus is that of the command (design.md, section 10).
func (r *Report) ExitStatus() int {
	switch r.Outcome {
	case Succeeded, Fits:
		return 0
	case Interrupted:
		return 130
	}
	return 4
}

// MarshalJSON adds the exit status of the command under "exit", and escapes what is
// no UTF-8 in the names of source and destination.
func (r *Report) MarshalJSON() ([]byte, error) {
	type plain Report // without this method
	v := struct {
		plain
		Exit int `json:"exit"`
	}{plain(*r), r.ExitStatus()}
	v.Source, v.Destination = printable.Text(r.Source), printable.Text(r.Destination)
	return json.Marshal(v)
}

// clone is a copy that the receiver of a Report may keep while the cutover goes on.
func (r *Report) clone() *Report {
	c := *r
	c.Phases, c.Hooks, c.Warnings = slices.Clone(r.Phases), slices.Clone(r.Hooks), slices.Clone(r.Warnings)
	return &c
}

// env is what hooks are told. from is the state in which the cutover failed, or "".
func (r *Report) env(hook Hook, state, from State, path string) []string {
	v, s := r.Verified, r.Settled
	if v == nil {
		v = new(Verified)
	}
	if s == nil {
		s = new(Settled)
	}
	env := []string{
		"SYNCD_HOOK=" + string(hook),
		"SYNCD_STATE=" + string(state),
		"SYNCD_FROM=" + string(from),
		"SYNCD_REASON=" + r.Reason,
		"SYNCD_SOURCE=" + r.Source,
		"SYNCD_DEST=" + r.Destination,
		"SYNCD_REPORT=" + path,
	}
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"BACKLOG_PATHS", r.Backlog.Paths},
		{"BACKLOG_BYTES", r.Backlog.Bytes},
		{"SETTLED_SENT", s.Sent},
		{"VERIFIED_FILES", v.Files},
		{"VERIFIED_BYTES", v.Bytes},
		{"PROVEN_FILES", v.Proven},
		{"DIFFERENT", v.Different},
		{"UNCOMPARED", v.Skipped},
	} {
		env = append(env, fmt.Sprintf("SYNCD_%s=%d", n.name, n.value))
	}
	return env
}
