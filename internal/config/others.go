package config

import (
	"maps"
	"slices"

	"github.com/spf13/pflag"
)

// others are the flags of rsync that this version refuses, with what to do
// instead. A flag that took effect in rsync and none here would be a copy that
// is not what was asked for, noticed at cutover.
//
// A one-letter key is a short form; a long name with a short form is listed as
// "name,x".
var others = map[string]string{
	// Attributes and forms that a later version copies.
	"crtimes,N":         "leave it out; creation times are not copied",
	"omit-link-times,J": "leave it out; times of symlinks are copied",
	"executability,E":   "use -p",
	"super":             "leave it out; the server decides by its own user",
	"fake-super":        "set 'fake super = yes' in rsyncd.conf",
	"compress-threads":  "leave it out; each session compresses in one thread",
	"append":            "use --append-verify: without a look at what is there, a file that was rewritten stays wrong",
	"checksum-choice":   "leave it out; the best that both sides know is taken",
	"cc":                "leave it out; the best that both sides know is taken",
	"checksum-seed":     "leave it out",
	"delete-before":     "use --delete, which deletes directory by directory",
	"delete-after":      "use --delete, which deletes directory by directory",
	"delete-delay":      "use --delete, which deletes directory by directory",
	"delete-excluded":   "use --delete and remove what is excluded at the destination yourself",
	"out-format":        "use -i or --json",
	"log-format":        "use -i or --json",
	"log-file":          "send the output into a file",
	"log-file-format":   "use -i or --json",
	"info":              "use -v, -i, --stats or --progress",
	"debug":             "use -v",
	"stderr":            "leave it out",
	"msgs2stderr":       "leave it out; messages go to the standard error",
	"outbuf":            "leave it out",
	"list-only":         "use -n",
	"iconv":             "leave it out; names are copied byte for byte",
	"ipv4,4":            "give the address instead of the name",
	"ipv6,6":            "give the address instead of the name",
	"address":           "leave it out",
	"sockopts":          "leave it out",
	"blocking-io":       "leave it out",
	"remote-option,M":   "leave it out",
	"early-input":       "leave it out",
	"copy-as":           "leave it out",
	"secluded-args,s":   "leave it out; names are protected from the remote shell",
	"protect-args":      "leave it out; names are protected from the remote shell",
	"old-args":          "leave it out; names are protected from the remote shell",
	"trust-sender":      "leave it out; syncd is the sender",
	"max-alloc":         "leave it out; memory is bounded",
	"stop-after":        "use timeout(1)",
	"stop-at":           "use timeout(1)",
	"time-limit":        "use timeout(1)",
	"config":            "give the options on the command line",
	"check-config":      "see syncd --help for what there is",
	"delay":             "leave it out; changes are sent as they come",
	"max-delay":         "leave it out; changes are sent as they come",
	"nice":              "use nice(1) and ionice(1)",

	// What makes no sense for a mirror of one directory.
	"remove-source-files": "syncd never changes the source",
	"remove-sent-files":   "syncd never changes the source",
	"relative,R":          "give the directory itself as SRC",
	"no-implied-dirs":     "give the directory itself as SRC",
	"dirs,d":              "use -r or -a",
	"old-dirs":            "use -r or -a",
	"old-d":               "use -r or -a",
	"inc-recursive":       "leave it out; memory is bounded without it",
	"i-r":                 "leave it out; memory is bounded without it",
	"no-inc-recursive":    "leave it out",
	"no-i-r":              "leave it out",
	"copy-links,L":        "use -l; symlinks are copied as symlinks",
	"copy-unsafe-links":   "use -l; symlinks are copied as symlinks",
	"safe-links":          "use -l; symlinks are copied as symlinks",
	"munge-links":         "set 'munge symlinks' in rsyncd.conf",
	"copy-dirlinks,k":     "use -l; symlinks are copied as symlinks",
	"keep-dirlinks,K":     "give the real path as DEST",
	"insecure-links":      "leave it out; symlinks are never followed",
	"confine-root":        "leave it out; symlinks are never followed",
	"copy-devices":        "use --devices",
	"write-devices":       "use --devices",
	"drop-D":              "use --no-D",
	"ignore-missing-args": "leave it out",
	"delete-missing-args": "use --delete",
	"ignore-errors":       "leave it out; a directory that cannot be read deletes nothing",
	"force":               "use --delete",
	"delay-updates":       "leave it out; each file appears whole",
	"prune-empty-dirs,m":  "leave it out, or use --exclude",
	"compare-dest":        "leave it out",
	"copy-dest":           "leave it out",
	"link-dest":           "leave it out; take a snapshot at the destination",
	"write-batch":         "use rsync for batch files",
	"only-write-batch":    "use rsync for batch files",
	"read-batch":          "use rsync for batch files",
	"daemon":              "use rsync --daemon at the destination",
	"server":              "use rsync at the destination",
	"sender":              "use rsync at the destination",
}

// refuseOthers registers them, with NoOptDefVal so that a value that follows
// is not missed before the flag itself is refused.
func (f *flags) refuseOthers() {
	for _, key := range slices.Sorted(maps.Keys(others)) {
		name, short := key, ""
		if n := len(key); n > 2 && key[n-2] == ',' {
			name, short = key[:n-2], key[n-1:]
		}
		shown := "--" + name
		if short != "" {
			shown = "-" + short + " (" + shown + ")"
		}
		refuse := func(string) error {
			return &UsageError{What: shown, Reason: "not available in this version", Remedy: others[key]}
		}
		f.VarPF(&option{set: refuse}, name, short, "").NoOptDefVal = given
	}
}

// names are the long names worth suggesting: those that work.
func (f *flags) names() []string {
	var names []string
	f.VisitAll(func(p *pflag.Flag) {
		if !isOther(p.Name, p.Shorthand) && len(p.Name) > 1 {
			names = append(names, p.Name)
		}
	})
	return names
}

func isOther(name, short string) bool {
	if short != "" {
		name += "," + short
	}
	_, ok := others[name]
	return ok
}
