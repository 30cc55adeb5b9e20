package config

import (
	"cmp"
	"path"
	"path/filepath"
	"strings"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/transfer"
)

// finish checks what belongs together and fills in what follows from it.
func (f *flags) finish() error {
	if err := f.mode(); err != nil || f.c.Action == Ask {
		return err
	}
	if err := f.cutoverAlone(); err != nil || f.c.Action == Cutover && len(f.Args()) == 0 {
		return err
	}
	for _, check := range []func() error{f.arguments, f.listFits, f.recursive, f.fits, f.together, f.destination, f.secrets} {
		if err := check(); err != nil {
			return err
		}
	}
	c := f.c
	c.Batch = c.Action == Follow || c.Action == Cutover
	if c.Session.DryRun {
		c.Itemize = 1
	}
	f.compressionOff()
	c.Session.MaxDelete = c.MaxDelete
	c.Session.Timeout = c.Timeout
	base, err := filepath.Abs(c.Source)
	if err != nil {
		return &UsageError{What: printable(c.Source), Reason: reason(err), Remedy: "give SRC as an absolute path"}
	}
	c.Filter.Base = base
	if err := f.hideParts(c.Filter); err != nil {
		return err
	}
	if err := f.rules.build(c.Filter); err != nil {
		return err
	}
	if err := f.protection(c.Filter); err != nil {
		return err
	}
	if err := f.rulesFit(); err != nil {
		return err
	}
	return f.list()
}

// arguments takes SRC and DEST.
func (f *flags) arguments() error {
	switch args := f.Args(); len(args) {
	case 0:
		return &UsageError{
			Reason: "SRC and DEST are missing",
			Remedy: "write: syncd -a SRC DEST, or see syncd --help",
		}
	case 1:
		return &UsageError{
			Reason: "DEST is missing after " + printable(args[0]),
			Remedy: "write: syncd -a SRC DEST, or see syncd --help",
		}
	case 2:
		f.c.Source, f.c.Target = args[0], args[1]
	default:
		return &UsageError{
			Reason: "more than one SRC, or a space in a name that is not quoted",
			Remedy: "give the directory above them with --include and --exclude, or run syncd once for each",
		}
	}
	return f.source()
}

func (f *flags) source() error {
	src := f.c.Source
	if src == "" {
		return &UsageError{What: "SRC", Reason: "it is empty", Remedy: "give the directory to copy, . for this one"}
	}
	if f.c.Target == "" {
		return &UsageError{What: "DEST", Reason: "it is empty", Remedy: "give the place to copy to, . for this directory"}
	}
	if d, err := rsync.ParseDest(src); err == nil && d.Kind != rsync.Local {
		return &UsageError{
			What:   printable(src),
			Reason: "SRC is on another host and syncd only sends",
			Remedy: "run syncd on that host, or write ./ before a local name with a colon",
		}
	}
	return nil
}

func (f *flags) recursive() error {
	if f.recurse || f.filesFrom != "" {
		return nil
	}
	return &UsageError{
		Reason: "without -r every directory would be skipped",
		Remedy: "add -a, which is -rlptgoD, or -r",
	}
}

// together refuses pairs that contradict each other, as rsync does.
func (f *flags) together() error {
	s := &f.c.Session
	switch {
	case s.Inplace && f.partialGiven:
		return &UsageError{
			What:   "--inplace",
			Reason: "it writes into the file itself, so there is no part to keep in --partial-dir",
			Remedy: "leave one of them out",
		}
	case s.AppendVerify && f.partialGiven:
		return &UsageError{
			What:   "--append-verify",
			Reason: "it writes into the file itself, so there is no part to keep in --partial-dir",
			Remedy: "leave one of them out",
		}
	case s.AppendVerify && s.WholeFile:
		return &UsageError{What: "--append-verify", Reason: "it contradicts --whole-file", Remedy: "leave one of them out"}
	case s.IgnoreTimes && s.SizeOnly:
		return &UsageError{
			What:   "--size-only",
			Reason: "it contradicts --ignore-times",
			Remedy: "leave one of them out",
		}
	case (s.ACLs || s.Xattrs) && s.Protocol > 0 && s.Protocol < 30 && !f.c.IgnoreUnsupported:
		return &UsageError{
			What:   "--protocol",
			Reason: "-A and -X need protocol 30",
			Remedy: "leave one of them out",
		}
	case f.c.DeleteWindow > 0 && f.c.Action == Full:
		return &UsageError{
			What:   "--max-delete",
			Reason: "a window is for a service; one pass has one limit",
			Remedy: "give the number alone",
		}
	case f.c.MaxDelete >= 0 && !f.c.Delete && f.c.Action != Verify:
		return &UsageError{
			What:   "--max-delete",
			Reason: "nothing is deleted without --delete",
			Remedy: "add --delete or leave it out",
		}
	}
	if s.Inplace || s.AppendVerify {
		f.c.PartialDir = ""
	}
	return nil
}

// hideParts leaves directories for parts out, which are in a source that is a destination, too. The rule stands before
// all others: whoever includes all directories does not mean these.
func (f *flags) hideParts(l *filter.List) error {
	name := cmp.Or(f.c.PartialDir, transfer.DefaultPartialDir)
	if strings.HasPrefix(name, "/") {
		return nil // it is in no directory of the tree
	}
	if err := l.Filter("H " + filter.Literal(path.Clean(name)) + "/"); err != nil {
		return &UsageError{What: "--partial-dir", Reason: err.Error()}
	}
	return nil
}

func (f *flags) destination() error {
	d, err := rsync.ParseDest(f.c.Target)
	if err != nil {
		return &UsageError{
			Reason: err.Error(),
			Remedy: "write rsync://HOST/MODULE/PATH, rsyncs://HOST/MODULE/PATH, HOST::MODULE/PATH, HOST:PATH or a local path",
		}
	}
	switch {
	case d.Kind == rsync.Daemon && f.shellGiven:
		return &UsageError{
			What:   "-e",
			Reason: "a daemon reached through a remote shell is not available in this version",
			Remedy: "leave -e out, or give DEST as HOST:/PATH",
		}
	case d.Kind != rsync.Daemon && f.port != 0:
		return &UsageError{
			What:   "--port",
			Reason: "it is the port of an rsync daemon and DEST is none",
			Remedy: "for ssh write -e 'ssh -p PORT'",
		}
	case d.Kind != rsync.Daemon && f.passwordFile != "":
		return &UsageError{
			What:   "--password-file",
			Reason: "it is the password of an rsync daemon and DEST is none",
			Remedy: "leave it out; ssh takes keys",
		}
	}
	for _, fits := range []func(rsync.Dest) error{f.receiverFits, f.selectiveFits, f.backupsFit, f.accessFits} {
		if err := fits(d); err != nil {
			return err
		}
	}
	if d.Port == 0 {
		d.Port = f.port
	}
	f.c.Dest = d
	f.c.TLS, err = f.tls.of(d, f.env)
	return err
}

func (f *flags) secrets() error {
	p, err := newPassword(f.passwordFile, f.env("RSYNC_PASSWORD"), f.stdin)
	if u, ok := err.(*UsageError); ok && u.What == "" {
		u.What = "--password-file=" + printable(f.passwordFile)
	}
	f.c.password = p
	return err
}
