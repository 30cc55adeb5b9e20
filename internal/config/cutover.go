package config

import (
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/syncd/syncd/internal/cutover"
)

const cutoverMode mode = "cutover"

// cutoverFlags say nothing without --cutover.
var cutoverFlags = []string{
	"rehearse", "freeze-hook", "go-hook", "thaw-hook", "freeze-budget", "go-timeout", "thaw-timeout", "drain-timeout",
	"cutover-verify", "report",
}

func (f *flags) cutover() {
	p := &f.c.Cutover
	f.do(string(cutoverMode), "", func() error { f.choose(cutoverMode); return nil })
	f.on(&p.Rehearse, "rehearse", "")
	f.text(&p.FreezeHook, "freeze-hook", "")
	f.text(&p.GoHook, "go-hook", "")
	f.text(&p.ThawHook, "thaw-hook", "")
	for _, limit := range []struct {
		to   *time.Duration
		name string
	}{
		{&p.Budget, "freeze-budget"}, {&p.GoTimeout, "go-timeout"},
		{&p.ThawTimeout, "thaw-timeout"}, {&p.DrainTimeout, "drain-timeout"},
	} {
		f.number(limit.name, 1, 365*86400, "seconds", func(n int) { *limit.to = time.Duration(n) * time.Second })
	}
	f.value("cutover-verify", "", func(v string) error {
		p.Verify = cutover.Scope(v)
		if p.Verify != cutover.Changed && p.Verify != cutover.All {
			return &UsageError{
				Reason: "nothing is called so that could be verified",
				Remedy: "give changed, for files not proven equal since their last change, or all",
			}
		}
		return nil
	})
	f.text(&p.Report, "report", "")
}

// cutsOver checks what was given for a cutover.
func (f *flags) cutsOver() error {
	c := f.c
	c.Action = Cutover
	p := &c.Cutover
	for _, no := range []struct {
		given                bool
		what, reason, remedy string
	}{
		{p.FreezeHook != "" && p.ThawHook == "", "--freeze-hook", "without --thaw-hook nobody thaws the source after a failure",
			"add --thaw-hook=COMMAND, or --thaw-hook=true if there is nothing to do"},
		{p.ThawHook != "" && p.FreezeHook == "", "--thaw-hook", "without --freeze-hook it never runs",
			"add --freeze-hook=COMMAND or leave it out"},
		{p.ThawTimeout > 0 && p.ThawHook == "", "--thaw-timeout", "there is no --thaw-hook", "leave it out"},
		{p.GoTimeout > 0 && p.GoHook == "", "--go-timeout", "there is no --go-hook", "leave it out"},
	} {
		if no.given {
			return &UsageError{What: no.what, Reason: no.reason, Remedy: no.remedy}
		}
	}
	if p.Report != "" {
		report, err := filepath.Abs(p.Report)
		if err != nil {
			return &UsageError{What: "--report", Reason: reason(err), Remedy: "give an absolute path"}
		}
		p.Report = report
	}
	if err := p.Check(); err != nil {
		return &UsageError{
			What: "--cutover", Reason: err.Error(), Remedy: "see --freeze-budget and --go-timeout in syncd --help",
		}
	}
	if len(f.Args()) == 0 {
		return f.onlyWith("SRC and DEST are not given, so a running service is asked, which has flags of its own",
			append(slices.Clone(cutoverFlags), string(cutoverMode), "control", "json"))
	}
	if p := f.Lookup("dry-run"); p.Changed {
		return &UsageError{What: "-n", Reason: "a cutover that changes nothing is a rehearsal", Remedy: "use --rehearse"}
	}
	return f.refuseGiven("a cutover shows how far it is, and ends with a report", "leave it out",
		"stats", "progress", "P", "itemize-changes", "verbose", "quiet", "human-readable", "8-bit-output")
}

// onlyWith refuses flags beside those that are named.
func (f *flags) onlyWith(reason string, names []string) error {
	var err error
	f.Visit(func(p *pflag.Flag) {
		if err == nil && !slices.Contains(names, p.Name) {
			err = &UsageError{
				What: shown(p), Reason: reason, Remedy: "leave it out, or give SRC and DEST if no service runs",
			}
		}
	})
	return err
}

// cutoverAlone refuses the flags of a cutover where there is none.
func (f *flags) cutoverAlone() error {
	if f.c.Action == Cutover {
		return nil
	}
	return f.refuseGiven("it is for a cutover", "add --cutover or leave it out", cutoverFlags...)
}
