package config

import (
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/syncd/syncd/internal/control"
)

// defaultStopTimeout lets sessions end that send what a line takes in seconds,
// and is far below the time after which systemd kills (TimeoutStopSec=).
const defaultStopTimeout = 10 * time.Second

// mode is the name of a flag that makes the command another one than to follow
// changes.
type mode string

// The modes that take SRC and DEST.
const (
	fullMode   mode = "full"
	verifyMode mode = "verify"
)

// asking are the modes that only talk to a running service.
var asking = map[mode]control.Action{
	"status": control.DoStatus,
	"pause":  control.DoPause,
	"resume": control.DoResume,
	"set":    control.DoSet,
	"why":    control.DoWhy,
}

func (f *flags) modeFlags() {
	f.on(&f.help, "help", "")
	f.on(&f.version, "version", "V")
	for _, m := range []mode{fullMode, verifyMode, "status", "pause", "resume"} {
		f.do(string(m), "", func() error { f.choose(m); return nil })
	}
	f.value("set", "", func(v string) error {
		key, value, ok := strings.Cut(v, "=")
		if !ok || key == "" {
			return &UsageError{Reason: "not a setting", Remedy: "write it as --set bwlimit=8M"}
		}
		f.choose("set")
		f.c.Request.Key, f.c.Request.Value = key, value
		return nil
	})
	f.value("why", "", func(v string) error {
		if v == "" {
			return &UsageError{What: "--why", Reason: "its value is empty", Remedy: "give a path, . for SRC itself"}
		}
		f.choose("why")
		f.c.Request.Path = v
		return nil
	})
}

func (f *flags) choose(m mode) {
	if !slices.Contains(f.modes, m) {
		f.modes = append(f.modes, m)
	}
}

// serviceFlags say nothing to a run that has an end.
var serviceFlags = []string{
	"control", "stop-timeout", "log-level", "audit", "watch", "raise-watch-limit", "scan-interval",
}

// service are the flags of a run that goes on until it is stopped.
func (f *flags) service() {
	f.text(&f.c.Control, "control", "")
	f.watching()
	f.number("stop-timeout", 0, 86400, "seconds, 0 to cut off at once what is being sent", func(n int) {
		f.c.StopTimeout = time.Duration(n) * time.Second
	})
	f.value("audit", "", func(v string) error {
		off, interval, err := parseAudit(v)
		f.c.NoAudit, f.c.AuditInterval = off, interval
		return err
	})
	f.value("log-level", "", func(v string) error {
		level, ok := logLevels[v]
		if !ok {
			return &UsageError{Reason: "not a level", Remedy: "give debug, info, warn or error"}
		}
		f.c.LogLevel = level
		return nil
	})
}

// parseAudit reads the value of --audit.
func parseAudit(v string) (off bool, interval time.Duration, err error) {
	switch v {
	case "off":
		return true, 0, nil
	case "on":
		return false, 0, nil
	}
	number, unit := strings.TrimRight(v, "smhd"), strings.TrimLeft(v, "0123456789")
	n, err := strconv.Atoi(number)
	per, ok := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[unit]
	const most = 10 * 366 * 24 * time.Hour
	if err != nil || !ok || n < 1 || n > int(most/per) {
		return false, 0, &UsageError{
			Reason: "neither on nor off nor a time", Remedy: "write the time in which everything is to be compared as 7d, 12h or 30m",
		}
	}
	return false, time.Duration(n) * per, nil
}

var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// mode finds out what the command is to do, from at most one mode.
func (f *flags) mode() error {
	c := f.c
	switch len(f.modes) {
	case 0:
		c.Action = Follow
		if c.StateDir == "" { // more than one directory is separated by colons; the first is ours
			c.StateDir, _, _ = strings.Cut(f.env("STATE_DIRECTORY"), ":")
		}
		if c.Control == "" {
			c.Control = control.DefaultPath(f.env)
		}
		return f.recheckFits()
	case 1:
	default:
		return &UsageError{
			Reason: "--" + string(f.modes[0]) + " and --" + string(f.modes[1]) + " are two commands",
			Remedy: "give one at a time",
		}
	}
	switch f.modes[0] {
	case fullMode:
		c.Action = Full
		if err := f.recheckFits(); err != nil {
			return err
		}
		return f.refuseGiven("a full pass is no service", "leave it out", serviceFlags...)
	case verifyMode:
		c.Action = Verify
		if err := f.recheckFits(); err != nil {
			return err
		}
		return f.refuseGiven("a comparison is no service", "leave it out", serviceFlags...)
	case cutoverMode:
		return f.cutsOver()
	}
	c.Action, c.Request.Do = Ask, asking[f.modes[0]]
	return f.asks()
}

// recheckFits refuses --recheck where every run asks the destination.
func (f *flags) recheckFits() error {
	if f.c.Recheck && f.c.StateDir == "" {
		return &UsageError{
			What: "--recheck", Reason: "without --state-dir the destination is asked anyway", Remedy: "leave it out",
		}
	}
	return nil
}

// asks checks a command to a running service, which has SRC, DEST and flags of
// its own.
func (f *flags) asks() error {
	command := "--" + string(f.modes[0])
	if args := f.Args(); len(args) > 0 {
		return &UsageError{
			What:   command,
			Reason: "it asks a running service and takes no SRC and DEST, but there is " + printable(args[0]),
			Remedy: "leave it out; --control=PATH says which service",
		}
	}
	var err error
	f.Visit(func(p *pflag.Flag) {
		switch p.Name {
		case string(f.modes[0]), "control", "json":
			return
		}
		if err == nil {
			err = &UsageError{
				What:   shown(p),
				Reason: "it says nothing to a running service, which " + command + " asks",
				Remedy: "leave it out; only --control and --json go with " + command,
			}
		}
	})
	return err
}

// refuseGiven refuses those of the named flags that were given.
func (f *flags) refuseGiven(reason, remedy string, names ...string) error {
	for _, name := range names {
		if p := f.Lookup(name); p.Changed {
			return &UsageError{What: shown(p), Reason: reason, Remedy: remedy}
		}
	}
	return nil
}

// shown is a flag as it is known best: by its long name, unless that is only
// there because pflag needs one.
func shown(p *pflag.Flag) string {
	if p.Name == p.Shorthand {
		return "-" + p.Name
	}
	return "--" + p.Name
}

// fits refuses what makes no sense for, or would lose changes of, a run that
// follows them.
func (f *flags) fits() error {
	c := f.c
	if c.Action == Verify {
		return f.refuseGiven("contents are compared, whatever sizes and times are", "leave it out", "ignore-times", "size-only")
	}
	if err := f.refuseGiven("files are read for their checksums by --verify", "leave it out", "readers"); err != nil {
		return err
	}
	if c.Action != Follow && c.Action != Cutover {
		return f.refuseGiven("files are read for their checksums by --verify and by a service", "leave it out", "read-limit")
	}
	if c.StateDir == "" {
		const reason = "without --state-dir nothing is remembered that could be proven"
		if err := f.refuseGiven(reason, "leave it out, or add --state-dir", "read-limit", "audit"); err != nil {
			return err
		}
	}
	const ask = "ask it with syncd --status, or add --full to copy once"
	for _, no := range []struct {
		given                bool
		what, reason, remedy string
	}{
		{c.Session.DryRun, "-n", "nothing changes at DEST, so there is nothing to follow",
			"add --full to see what a pass would do"},
		{c.Session.IgnoreTimes, "-I", "a service would send everything again at every start",
			"leave it out, or add --full to send everything once"},
		{c.Session.SizeOnly, "--size-only", "a file that is written again with the same size would never arrive",
			"leave it out, or add --full"},
		{c.Stats, "--stats", "a service has no end to sum up", ask},
		{c.Progress, f.progressFlag(), "a service has no end to come closer to", ask},
		{c.JSON && c.Action == Follow, "--json", "a service prints nothing but its log", "use it with syncd --status"},
		{c.Itemize > 0, "-i", "a service prints nothing but its log", "use --log-level=debug, which names each path"},
		{c.Verbose > 0, "-v", "a service prints nothing but its log", "use --log-level=debug, which names each path"},
		{c.Quiet, "-q", "a service prints nothing but its log", "use --log-level=error"},
		{c.Human, "-h", "a service prints nothing but its log", "leave it out"},
		{c.EightBit, "-8", "a service prints nothing but its log", "leave it out"},
	} {
		if no.given {
			return &UsageError{What: no.what, Reason: no.reason, Remedy: no.remedy}
		}
	}
	return nil
}

// progressFlag is the flag that asked for progress.
func (f *flags) progressFlag() string {
	if f.Lookup("P").Changed && !f.Lookup("progress").Changed {
		return "-P"
	}
	return "--progress"
}

// rulesFit refuses rules that change with the tree: a watcher would have to read
// them again whenever such a file does.
func (f *flags) rulesFit() error {
	if f.c.Session.Xattrs && f.c.Filter.HasXattrRules() {
		return &UsageError{
			What:   "--filter",
			Reason: "rules for names of extended attributes (modifier x) are not available in this version",
			Remedy: "leave them out; -X copies all attributes",
		}
	}
	if f.c.Action != Follow && f.c.Action != Cutover || !f.c.Filter.HasMerge() {
		return nil
	}
	return &UsageError{
		What:   f.mergeFlag(),
		Reason: "rules from files in each directory are not available in this version while changes are followed",
		Remedy: "use --exclude and --exclude-from, or add --full to copy once",
	}
}

func (f *flags) mergeFlag() string {
	switch {
	case f.rules.perF > 0:
		return "-F"
	case f.rules.cvs:
		return "-C"
	}
	return "--filter"
}
