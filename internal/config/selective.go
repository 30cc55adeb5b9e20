package config

import (
	"math"

	"github.com/syncd/syncd/internal/rsync"
)

// selective are flags with which the server passes over files that differ. It does not say which.
func (f *flags) selective() {
	s := &f.c.Session
	f.on(&s.Update, "update", "u")
	f.on(&s.Existing, "existing", "")
	f.on(&s.Existing, "ignore-non-existing", "")
	f.on(&s.IgnoreExisting, "ignore-existing", "")
	f.on(&s.AppendVerify, "append-verify", "")
	f.size(func(n int64) { s.MinSize = n }, "min-size", "", 1, math.MaxInt64)
	f.size(func(n int64) { s.MaxSize = n }, "max-size", "", 1, math.MaxInt64)
}

// selectiveFits refuses them wherever the copy has to be a mirror.
func (f *flags) selectiveFits(d rsync.Dest) error {
	s, c := &f.c.Session, f.c
	names := []string{"update", "existing", "ignore-non-existing", "ignore-existing", "min-size", "max-size", "append-verify"}
	switch {
	case !s.Selective():
		return nil
	case c.Action == Verify:
		return f.refuseGiven("a comparison names all that differs, and so what the copy left out", "leave it out", names...)
	case c.Action != Full:
		return f.refuseGiven("a mirror that leaves out changes is none", "leave it out, or add --full to copy once", names...)
	case c.StateDir != "":
		return f.refuseGiven("the server does not say what it leaves out, so what DEST holds cannot be remembered",
			"leave out --state-dir", names...)
	}
	return f.notLocal(d, names...)
}

// accessFits refuses access times where reading changes them, or where nothing tells that they changed.
func (f *flags) accessFits(d rsync.Dest) error {
	c := f.c
	switch {
	case !c.Session.Atimes:
	case c.Action == Verify:
		return f.refuseGiven("a comparison reads all files, and so changes their access times", "leave it out", "atimes")
	case c.Action != Full:
		return f.refuseGiven("no event tells that a file was read", "leave it out, or add --full to copy once", "atimes")
	case c.StateDir != "":
		return f.refuseGiven("a file that was only read counts as unchanged", "leave out --state-dir", "atimes")
	}
	if c.Session.OpenNoatime || c.Session.Atimes {
		return f.notLocal(d, "atimes", "open-noatime")
	}
	return nil
}

// notLocal refuses flags for a local directory.
func (f *flags) notLocal(d rsync.Dest, names ...string) error {
	if d.Kind != rsync.Local {
		return nil
	}
	return f.refuseGiven("not available for a local directory, which is written without rsync",
		"leave it out, or give DEST as a daemon or a host", names...)
}
