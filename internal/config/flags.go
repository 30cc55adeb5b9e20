package config

import (
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/syncd/syncd/ratelimit"
)

// flags is one parse of a command line. Switches write into the Config as they
// come, so that the later one wins; what depends on several is put together by
// finish.
type flags struct {
	*pflag.FlagSet
	c     *Config
	env   func(string) string
	stdin io.Reader

	help, version, human bool

	modes        []mode // as given, each once
	recurse      bool
	deep         bool   // -r itself: with a list of names -a does not imply it
	filesFrom    string // "": no list
	port         int
	passwordFile string
	tls          tlsFiles
	shellGiven   bool
	partialGiven bool
	levelGiven   bool
	suffixGiven  bool
	protected    []string // patterns of what is kept from being deleted
	rules        rules
}

// option is a flag's pflag.Value: a function called for each occurrence.
type option struct {
	set    func(string) error
	isBool bool
}

func (o *option) Set(s string) error {
	if o.isBool && s != given {
		return &UsageError{Reason: "this option takes no value"}
	}
	return o.set(s)
}

func (o *option) String() string { return "" }
func (o *option) Type() string   { return "" }

// given is what pflag hands to a switch without a value. A NUL cannot be
// typed, so --delete=anything is told from --delete.
const given = "\x00"

func newFlags(c *Config, env func(string) string, stdin io.Reader) *flags {
	f := &flags{FlagSet: pflag.NewFlagSet("syncd", pflag.ContinueOnError), c: c, env: env, stdin: stdin}
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	f.modeFlags()
	f.service()
	f.cutover()
	f.attributes()
	f.comparison()
	f.compression()
	f.receiver()
	f.selective()
	f.backups()
	f.deletion()
	f.state()
	f.selection()
	f.connection()
	f.tls.register(f)
	f.load()
	f.output()
	f.refuseOthers()
	return f
}

func (f *flags) parse(args []string) error {
	if err := f.FlagSet.Parse(args); err != nil {
		return f.explain(err)
	}
	return nil
}

// do registers a switch that calls set.
func (f *flags) do(name, short string, set func() error) {
	o := &option{isBool: true, set: func(string) error { return set() }}
	f.VarPF(o, name, short, "").NoOptDefVal = given
}

// on registers a switch that sets to.
func (f *flags) on(to *bool, name, short string) {
	f.do(name, short, func() error { *to = true; return nil })
}

// onOff registers a switch and its --no- forms, long and short.
func (f *flags) onOff(to *bool, name, short string) {
	f.on(to, name, short)
	f.off(to, name)
	if short != "" {
		f.off(to, short)
	}
}

func (f *flags) off(to *bool, name string) {
	f.do("no-"+name, "", func() error { *to = false; return nil })
}

// value registers a flag with a value.
func (f *flags) value(name, short string, set func(string) error) {
	f.VarPF(&option{set: set}, name, short, "")
}

func (f *flags) text(to *string, name, short string) {
	f.value(name, short, func(s string) error {
		if s == "" {
			return &UsageError{What: "--" + name, Reason: "its value is empty"}
		}
		*to = s
		return nil
	})
}

func (f *flags) number(name string, low, high int, unit string, to func(int)) {
	f.value(name, "", func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high {
			return &UsageError{
				Reason: "not a number from " + strconv.Itoa(low) + " to " + strconv.Itoa(high),
				Remedy: "give " + unit,
			}
		}
		to(n)
		return nil
	})
}

func (f *flags) seconds(to *time.Duration, name string) {
	f.number(name, 0, 1<<30, "seconds, 0 for no limit", func(n int) { *to = time.Duration(n) * time.Second })
}

func (f *flags) size(to func(int64), name, short string, low, high int64) {
	f.value(name, short, func(s string) error {
		n, err := parseSize(s)
		if err != nil || n < low || n > high {
			reason := "not a size of " + strconv.FormatInt(low, 10) + " byte or more"
			if high < math.MaxInt64 {
				reason = "not a size from " + strconv.FormatInt(low, 10) + " to " + strconv.FormatInt(high, 10) + " bytes"
			}
			return &UsageError{Reason: reason, Remedy: "write it as 4096, 700K, 32M or 1.5GiB"}
		}
		to(n)
		return nil
	})
}

// attributes are what of an entry is copied. The --no- forms are rsync's.
func (f *flags) attributes() {
	s := &f.c.Session
	f.value("chmod", "", f.chmod)
	devices := []*bool{&s.Devices, &s.Specials}
	all := append(devices, &f.recurse, &s.Links, &s.Perms, &s.Times, &s.Owner, &s.Group)
	f.do("archive", "a", func() error { return set(true, all...) })
	recursion := []*bool{&f.recurse, &f.deep}
	f.do("recursive", "r", func() error { return set(true, recursion...) })
	f.do("no-recursive", "", func() error { return set(false, recursion...) })
	f.do("no-r", "", func() error { return set(false, recursion...) })
	f.onOff(&s.Links, "links", "l")
	f.onOff(&s.Perms, "perms", "p")
	f.onOff(&s.Times, "times", "t")
	f.onOff(&s.Atimes, "atimes", "U")
	f.onOff(&s.OpenNoatime, "open-noatime", "")
	f.onOff(&s.OmitDirTimes, "omit-dir-times", "O")
	f.onOff(&s.Group, "group", "g")
	f.onOff(&s.Owner, "owner", "o")
	f.onOff(&s.Devices, "devices", "")
	f.onOff(&s.Specials, "specials", "")
	// -D has no long name in rsync; pflag needs one, and "D" makes --no-D fit it.
	f.do("D", "D", func() error { return set(true, devices...) })
	f.do("no-D", "", func() error { return set(false, devices...) })
	f.onOff(&s.HardLinks, "hard-links", "H")
	f.do("acls", "A", func() error { return set(true, &s.ACLs, &s.Perms) }) // as rsync: a mode is part of an ACL
	f.off(&s.ACLs, "acls")
	f.off(&s.ACLs, "A")
	f.onOff(&s.Xattrs, "xattrs", "X")
	f.on(&f.c.IgnoreUnsupported, "ignore-unsupported", "")
	f.onOff(&s.NumericIDs, "numeric-ids", "")
}

func set(v bool, to ...*bool) error {
	for _, p := range to {
		*p = v
	}
	return nil
}

// comparison is how a difference is found and how it is sent.
func (f *flags) comparison() {
	s := &f.c.Session
	f.onOff(&s.Checksum, "checksum", "c")
	f.onOff(&s.IgnoreTimes, "ignore-times", "I")
	f.onOff(&s.SizeOnly, "size-only", "")
	f.onOff(&s.WholeFile, "whole-file", "W")
	f.onOff(&s.Inplace, "inplace", "")
	f.value("modify-window", "@", func(v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < -1 || n > 1<<30 {
			return &UsageError{Reason: "not a number of seconds", Remedy: "give 0 or more, or -1 for nanoseconds"}
		}
		s.ModifyWindow, f.c.NanosecondsAuto = n, false
		return nil
	})
	f.size(func(n int64) { s.BlockSize = int(n) }, "block-size", "B", 1, 128<<10)
	f.size(func(n int64) { f.c.BigFile = n }, "big-file", "", 1, math.MaxInt64)
	// The part of a big file is always kept, so --partial asks for what is done anyway.
	partial := new(bool)
	f.onOff(partial, "partial", "")
	f.value("partial-dir", "", func(v string) error {
		if v == "" || v == "." || v == "/" {
			return &UsageError{Reason: "not a directory for parts", Remedy: "give a name like .syncd-partial"}
		}
		f.c.PartialDir, f.partialGiven = v, true
		return nil
	})
	f.do("P", "P", func() error { return set(true, partial, &f.c.Progress) })
}

// state is what a run remembers for the next one.
func (f *flags) state() {
	f.text(&f.c.StateDir, "state-dir", "")
	f.on(&f.c.Recheck, "recheck", "")
}

func (f *flags) deletion() {
	f.on(&f.c.Delete, "delete", "")
	f.do("no-delete", "", func() error { f.c.Delete, f.c.NoExtra = false, true; return nil })
	f.on(&f.c.Delete, "del", "")
	f.on(&f.c.Delete, "delete-during", "")
	f.value("max-delete", "", func(v string) error {
		number, window, windowed := strings.Cut(v, "/")
		n, err := strconv.Atoi(number)
		if err != nil || n > 1<<30 {
			return &UsageError{Reason: "not a number of entries", Remedy: "give 0 or more, or -1 for no limit"}
		}
		f.c.MaxDelete, f.c.DeleteWindow = max(n, -1), 0
		if !windowed {
			return nil
		}
		if f.c.DeleteWindow, err = time.ParseDuration(window); err != nil || f.c.DeleteWindow < time.Second {
			return &UsageError{
				Reason: "the window is no time of a second or more", Remedy: "write it as in 1000/1h or 50/10m",
			}
		}
		return nil
	})
}

func (f *flags) connection() {
	c := f.c
	f.value("rsh", "e", func(v string) error {
		if v == "" {
			return &UsageError{What: "-e", Reason: "its value is empty", Remedy: "give a command like 'ssh -p 2222'"}
		}
		c.RemoteShell, f.shellGiven = v, true
		return nil
	})
	f.do("no-ssh-share", "", func() error { c.ShareLogins = false; return nil })
	f.text(&c.RsyncPath, "rsync-path", "")
	f.text(&f.passwordFile, "password-file", "")
	f.number("port", 1, 65535, "a TCP port", func(n int) { f.port = n })
	f.number("protocol", 27, 32, "a version of rsync's protocol", func(n int) { c.Session.Protocol = n })
	f.seconds(&c.Timeout, "timeout")
	f.seconds(&c.ConnectTimeout, "contimeout")
	f.on(&c.Session.Mkpath, "mkpath", "")
	f.off(&c.MOTD, "motd")
}

// load is what the run may take of the machine and the line.
func (f *flags) load() {
	f.number("sessions", 1, 64, "how many connections may work at once", func(n int) { f.c.Sessions = n })
	f.value("bwlimit", "", func(v string) error {
		t, err := ratelimit.ParseTimetable(v, time.Local)
		if err != nil {
			return &UsageError{
				Reason: err.Error(),
				Remedy: "write a rate, or a timetable as 08:00-23:00=4M,23:00-08:00=0",
			}
		}
		f.c.Bandwidth = t
		return nil
	})
	f.do("no-bwlimit", "", func() error { f.c.Bandwidth = nil; return nil })
	f.value("read-limit", "", func(v string) error {
		n, err := ratelimit.ParseRate(v)
		if err != nil {
			return &UsageError{Reason: err.Error(), Remedy: "write a rate as 4M, in KiB a second without a suffix"}
		}
		f.c.ReadLimit = n
		return nil
	})
	f.number("readers", 1, 256, "how many files may be read at once", func(n int) { f.c.Readers = n })
}

func (f *flags) output() {
	c := f.c
	f.do("verbose", "v", func() error { c.Verbose++; return nil })
	f.do("itemize-changes", "i", func() error { c.Itemize = 1; return nil })
	f.on(&c.Quiet, "quiet", "q")
	f.on(&c.Session.DryRun, "dry-run", "n")
	f.on(&c.Stats, "stats", "")
	f.onOff(&c.Progress, "progress", "")
	f.on(&c.JSON, "json", "")
	f.on(&c.EightBit, "8-bit-output", "8")
	f.do("human-readable", "h", func() error { c.Human, f.human = true, true; return nil })
}
