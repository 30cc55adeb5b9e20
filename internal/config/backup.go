package config

import (
	"path"
	"strings"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/filter"
)

const defaultSuffix = "~"

// backups are what becomes of old files.
func (f *flags) backups() {
	s := &f.c.Session
	f.onOff(&s.Backup, "backup", "b")
	f.value("backup-dir", "", func(v string) error {
		if v == "" {
			return &UsageError{What: "--backup-dir", Reason: "its value is empty", Remedy: "give a directory of DEST"}
		}
		s.Backup, s.BackupDir = true, v
		return nil
	})
	f.value("suffix", "", func(v string) error {
		if strings.Contains(v, "/") {
			return &UsageError{Reason: "a suffix has no slash", Remedy: "give a --backup-dir"}
		}
		s.Suffix, f.suffixGiven = v, true
		return nil
	})
}

// backupsFit checks them, once DEST is known, and keeps what they made from being deleted.
func (f *flags) backupsFit(d rsync.Dest) error {
	s := &f.c.Session
	switch {
	case !s.Backup:
		return f.refuseGiven("nothing is kept without --backup or --backup-dir", "add one or leave it out", "suffix")
	case d.Kind == rsync.Local:
		return f.notLocal(d, "backup", "backup-dir")
	case f.c.Action != Full && f.c.Action != Verify:
		return f.refuseGiven("a service sends a file again whenever it may have changed, and then an equal one would take "+
			"the place of the old one", "add --full to copy once, or take snapshots at DEST", "backup", "backup-dir")
	case s.BackupDir != "":
		f.protect(s.BackupDir, d)
		return nil
	case f.suffixGiven && s.Suffix == "":
		return &UsageError{What: "--suffix", Reason: "without --backup-dir it cannot be empty", Remedy: "leave it out"}
	case !f.suffixGiven:
		s.Suffix = defaultSuffix
	}
	s.OmitDirTimes = true // as rsync: what is renamed in a directory changes its time
	f.protected = append(f.protected, "*"+filter.Literal(s.Suffix))
	return nil
}

// protect keeps a backup directory that lies in DEST, and those above it. rsync would back it up into itself, each time
// deeper.
func (f *flags) protect(dir string, d rsync.Dest) {
	root := d.Path
	if d.Kind == rsync.Daemon {
		root = "/" + root // no path leaves the module
	}
	if !strings.HasPrefix(dir, "/") {
		dir = path.Join(root, dir)
	}
	for dir = below(path.Clean(dir), path.Clean(root)); dir != "."; dir = path.Dir(dir) {
		f.protected = append(f.protected, "/"+filter.Literal(dir))
	}
}

// below is a clean path from root on; "." if it does not lie there.
func below(p, root string) string {
	switch {
	case root == "." && !strings.HasPrefix(p, "/") && p != ".." && !strings.HasPrefix(p, "../"):
		return p
	case root != "/":
		root += "/"
	}
	if rel, ok := strings.CutPrefix(p, root); ok && rel != "" {
		return rel
	}
	return "."
}

// protection adds the rules that keep backups, behind all others.
func (f *flags) protection(l *filter.List) error {
	for _, pattern := range f.protected {
		if err := l.Filter("P " + pattern); err != nil {
			return &UsageError{What: "--backup", Reason: err.Error()}
		}
	}
	return nil
}
