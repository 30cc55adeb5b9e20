package config

import (
	"strings"

	"github.com/syncd/syncd/internal/rsync"
)

// receiver are flags that only the server has to do with: how it writes what it gets.
func (f *flags) receiver() {
	s := &f.c.Session
	f.onOff(&s.Sparse, "sparse", "S")
	f.on(&s.Preallocate, "preallocate", "")
	f.on(&s.Fsync, "fsync", "")
	f.onOff(&s.Fuzzy, "fuzzy", "y")
	f.value("temp-dir", "T", func(v string) error {
		if v == "" {
			return &UsageError{What: "--temp-dir", Reason: "its value is empty", Remedy: "give a directory of DEST"}
		}
		s.TempDir = v
		return nil
	})
	f.owners(&s.UserMap, &s.Owner, "usermap")
	f.owners(&s.GroupMap, &s.Group, "groupmap")
	f.value("chown", "", func(v string) error {
		user, group, _ := strings.Cut(v, ":")
		if user == "" && group == "" || strings.ContainsAny(v, ",*") {
			return &UsageError{Reason: "not USER:GROUP", Remedy: "write it as www-data:www-data, 1000: or :users"}
		}
		if user != "" {
			s.UserMap, s.Owner = "*:"+user, true
		}
		if group != "" {
			s.GroupMap, s.Group = "*:"+group, true
		}
		return nil
	})
}

// owners registers a map of names or numbers, which asks for what it changes.
func (f *flags) owners(to *string, asks *bool, name string) {
	f.value(name, "", func(v string) error {
		for pair := range strings.SplitSeq(v, ",") {
			if from, into, ok := strings.Cut(pair, ":"); !ok || from == "" || into == "" {
				return &UsageError{Reason: "not FROM:TO", Remedy: "write pairs as in 1000-1999:nobody,joe:mary,*:root"}
			}
		}
		*to, *asks = v, true
		return nil
	})
}

// receiverFits refuses what a local directory does not have: this program writes it by itself.
func (f *flags) receiverFits(d rsync.Dest) error {
	if d.Kind != rsync.Local {
		return nil
	}
	s := &f.c.Session
	for _, no := range []struct {
		given bool
		what  string
	}{
		{s.Sparse, "-S"}, {s.Preallocate, "--preallocate"}, {s.Fsync, "--fsync"}, {s.Fuzzy, "--fuzzy"},
		{s.TempDir != "", "--temp-dir"}, {s.UserMap+s.GroupMap != "", "--usermap, --groupmap and --chown"},
	} {
		if no.given {
			return &UsageError{
				What:   no.what,
				Reason: "not available for a local directory, which is written without rsync",
				Remedy: "leave it out, or give DEST as a daemon or a host",
			}
		}
	}
	return nil
}
