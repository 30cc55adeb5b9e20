package config

import (
	"strings"

	"github.com/syncd/syncd/internal/filesfrom"
)

// listFits refuses a list of names wherever the copy is to be of all of SRC.
func (f *flags) listFits() error {
	c := f.c
	if f.filesFrom == "" {
		return nil
	}
	host, _, colon := strings.Cut(f.filesFrom, ":")
	for _, no := range []struct {
		given          bool
		reason, remedy string
	}{
		{colon && !strings.Contains(host, "/"),
			"the list is on another host, and syncd reads only here", "copy it here, or write ./ before a local name with a colon"},
		{c.Action == Follow, "a service keeps all of SRC equal, and a list is read once", "add --full to copy once"},
		{c.Action == Cutover, "a cutover is of all of SRC", "leave it out"},
		{c.Delete, "what the list does not name would count as gone, and with --delete be deleted", "leave one of them out"},
		{c.StateDir != "", "what is remembered of DEST is of all of SRC", "leave out --state-dir"},
		{f.filesFrom == "-" && f.passwordFile == "-", "the standard input is the password", "give one of them as a file"},
	} {
		if no.given {
			return &UsageError{What: "--files-from", Reason: no.reason, Remedy: no.remedy}
		}
	}
	return nil
}

// list reads the names, once it is known how they end and which rules hold for them.
func (f *flags) list() error {
	if f.filesFrom == "" {
		return nil
	}
	if f.c.Filter.HasMerge() {
		return &UsageError{
			What:   f.mergeFlag(),
			Reason: "with --files-from, rsync reads rules from files in the tree for some names and not for others, by their order",
			Remedy: "use --exclude and --exclude-from",
		}
	}
	what := "--files-from=" + printable(f.filesFrom)
	if f.filesFrom == "-" && f.rules.stdin {
		return &UsageError{What: what, Reason: "the standard input has been read for rules", Remedy: "give one of them as a file"}
	}
	file, err := f.open(f.filesFrom, "names")
	if err != nil {
		err.What = what
		return err
	}
	defer file.Close()
	only, readErr := filesfrom.Read(file, f.rules.from0, f.deep)
	if readErr != nil {
		return &UsageError{What: what, Reason: reason(readErr), Remedy: "see --files-from in syncd(1)"}
	}
	f.c.Only = only
	return nil
}
