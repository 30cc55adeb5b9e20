package cutover

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"
	"unicode/utf8"

	"github.com/syncd/syncd/internal/printable"
)

// A Plan is what the operator asks for. It travels from the command to the
// service as JSON. The zero value of a limit is its default.
type Plan struct {
	Rehearse bool  // everything but the hooks, to know how long the freeze would be
	Verify   Scope // "": Changed

	// The hooks are commands for sh -c. "": there is none.
	FreezeHook, GoHook, ThawHook string

	// Budget is the longest freeze: from the start of the freeze hook to the end of
	// the go hook, or to the start of the thaw hook.
	Budget time.Duration
	// GoTimeout is the part of the Budget that is kept for the go hook.
	GoTimeout time.Duration
	// ThawTimeout is how long the thaw hook may take.
	ThawTimeout time.Duration
	// DrainTimeout is how long the backlog may take to become small; 0: no limit.
	DrainTimeout time.Duration

	Report string // absolute path of the report; "": none is kept
}

// complete fills in the defaults.
func (p Plan) complete() Plan {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&p.Budget, DefaultBudget)
	set(&p.GoTimeout, DefaultGoTimeout)
	set(&p.ThawTimeout, DefaultThawTimeout)
	if p.Verify == "" {
		p.Verify = Changed
	}
	if p.GoHook == "" {
		p.GoTimeout = 0
	}
	return p
}

// Check says what of a plan makes no sense.
func (p Plan) Check() error {
	if min(p.Budget, p.GoTimeout, p.ThawTimeout, p.DrainTimeout) < 0 {
		return errors.New("a time limit is negative")
	}
	p = p.complete()
	switch {
	case p.Verify != Changed && p.Verify != All:
		return fmt.Errorf("nothing is called %q that could be verified: it is %s or %s", p.Verify, Changed, All)
	case p.FreezeHook != "" && p.ThawHook == "":
		return errors.New("there is a freeze hook and no thaw hook: after a failure nobody would thaw the source")
	case p.ThawHook != "" && p.FreezeHook == "":
		return errors.New("there is a thaw hook and no freeze hook: it would never run")
	case p.GoTimeout >= p.Budget:
		return fmt.Errorf("the go hook may take all of the freeze budget (%v of %v): nothing is left for the proof",
			p.GoTimeout, p.Budget)
	case !utf8.ValidString(p.FreezeHook + p.GoHook + p.ThawHook + p.Report):
		return errors.New("a hook or the path of the report is no UTF-8")
	case p.Report != "" && !filepath.IsAbs(p.Report):
		return fmt.Errorf("the path of the report, %s, is not absolute", printable.Text(p.Report))
	}
	return nil
}

// wirePlan is the JSON form of a Plan: times are seconds.
type wirePlan struct {
	Rehearse     bool    `json:"rehearse,omitempty"`
	Verify       Scope   `json:"verify,omitempty"`
	FreezeHook   string  `json:"freeze_hook,omitempty"`
	GoHook       string  `json:"go_hook,omitempty"`
	ThawHook     string  `json:"thaw_hook,omitempty"`
	Budget       float64 `json:"freeze_budget_seconds,omitempty"`
	GoTimeout    float64 `json:"go_timeout_seconds,omitempty"`
	ThawTimeout  float64 `json:"thaw_timeout_seconds,omitempty"`
	DrainTimeout float64 `json:"drain_timeout_seconds,omitempty"`
	Report       string  `json:"report,omitempty"`
}

// MarshalJSON writes times as seconds.
func (p Plan) MarshalJSON() ([]byte, error) {
	return json.Marshal(wirePlan{
		Rehearse: p.Rehearse, Verify: p.Verify, FreezeHook: p.FreezeHook, GoHook: p.GoHook, ThawHook: p.ThawHook,
		Budget: p.Budget.Seconds(), GoTimeout: p.GoTimeout.Seconds(),
		ThawTimeout: p.ThawTimeout.Seconds(), DrainTimeout: p.DrainTimeout.Seconds(), Report: p.Report,
	})
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (p *Plan) UnmarshalJSON(data []byte) error {
	var w wirePlan
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	*p = Plan{
		Rehearse: w.Rehearse, Verify: w.Verify, FreezeHook: w.FreezeHook, GoHook: w.GoHook, ThawHook: w.ThawHook,
		Budget: duration(w.Budget), GoTimeout: duration(w.GoTimeout),
		ThawTimeout: duration(w.ThawTimeout), DrainTimeout: duration(w.DrainTimeout), Report: w.Report,
	}
	return nil
}

// duration is a number of seconds from somebody else.
func duration(seconds float64) time.Duration {
	const most = 366 * 24 * time.Hour
	return time.Duration(max(-1, min(seconds, most.Seconds())) * float64(time.Second))
}
