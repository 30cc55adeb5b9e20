package config

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncd/syncd/internal/rsync"
)

func noEnv(string) string { return "" }

// parse is Parse with SRC, DEST and --full added.
func parse(t *testing.T, args ...string) *Config {
	t.Helper()
	c, err := Parse(append(args, "--full", "src", "rsync://host/mod"), noEnv, strings.NewReader(""))
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return c
}

func TestArchiveAndNoForms(t *testing.T) {
	archive := rsync.Options{
		Links: true, Perms: true, Times: true, Owner: true, Group: true, Devices: true, Specials: true,
		MaxDelete: -1,
	}
	without := func(change func(*rsync.Options)) rsync.Options {
		o := archive
		change(&o)
		return o
	}
	for _, tt := range []struct {
		args []string
		want rsync.Options
	}{
		{[]string{"-a"}, archive},
		{[]string{"-rlptgoD"}, archive},
		{[]string{"--archive"}, archive},
		{[]string{"--recursive", "--links", "--perms", "--times", "--group", "--owner", "--devices", "--specials"}, archive},
		{[]string{"-a", "--no-o"}, without(func(o *rsync.Options) { o.Owner = false })},
		{[]string{"-a", "--no-owner", "--no-g"}, without(func(o *rsync.Options) { o.Owner, o.Group = false, false })},
		{[]string{"--no-o", "-a"}, archive},
		{[]string{"-a", "--no-D"}, without(func(o *rsync.Options) { o.Devices, o.Specials = false, false })},
		{[]string{"-a", "--no-D", "--specials"}, without(func(o *rsync.Options) { o.Devices = false })},
		{[]string{"-a", "--no-perms", "-p"}, archive},
		{[]string{"-aHWcI"}, without(func(o *rsync.Options) {
			o.HardLinks, o.WholeFile, o.Checksum, o.IgnoreTimes = true, true, true, true
		})},
		{[]string{"-aW", "--no-whole-file"}, archive},
		{[]string{"-aAX"}, without(func(o *rsync.Options) { o.ACLs, o.Xattrs = true, true })},
		{[]string{"-a", "--no-p", "--acls"}, without(func(o *rsync.Options) { o.ACLs = true })},
		{[]string{"-aAX", "--no-A", "--no-xattrs"}, archive},
		{[]string{"-aX", "--protocol=29", "--ignore-unsupported"}, without(func(o *rsync.Options) {
			o.Xattrs, o.Protocol = true, 29
		})},
		{[]string{"-a", "-@-1"}, without(func(o *rsync.Options) { o.ModifyWindow = -1 })},
		{[]string{"-a", "--modify-window=2"}, without(func(o *rsync.Options) { o.ModifyWindow = 2 })},
		{[]string{"-aB700"}, without(func(o *rsync.Options) { o.BlockSize = 700 })},
		{[]string{"-a", "--block-size", "64k"}, without(func(o *rsync.Options) { o.BlockSize = 65536 })},
		{[]string{"-a", "--timeout=30"}, without(func(o *rsync.Options) { o.Timeout = 30 * time.Second })},
		{[]string{"-a", "--numeric-ids", "--inplace", "--size-only", "-O", "--mkpath"}, without(func(o *rsync.Options) {
			o.NumericIDs, o.Inplace, o.SizeOnly, o.OmitDirTimes, o.Mkpath = true, true, true, true, true
		})},
		{[]string{"-a", "--protocol=29"}, without(func(o *rsync.Options) { o.Protocol = 29 })},
	} {
		if diff := cmp.Diff(tt.want, parse(t, tt.args...).Session); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.args, diff)
		}
	}
}

func TestClusterWithValue(t *testing.T) {
	for _, args := range [][]string{{"-aviPe", "ssh -p 22"}, {"-aviPessh -p 22"}, {"-aviP", "--rsh=ssh -p 22"}} {
		c, err := Parse(append(args, "--full", "src", "host:/dst"), noEnv, nil)
		if err != nil || c.RemoteShell != "ssh -p 22" || c.Verbose != 1 || c.Itemize != 1 || !c.Progress {
			t.Errorf("%q: %+v, %v", args, c, err)
		}
	}
}

func TestSettings(t *testing.T) {
	c := parse(t, "-avvxnP", "--delete", "--max-delete=7", "--sessions=3", "--big-file=1.5M", "--stats", "--json",
		"--rsync-path=/opt/rsync", "--contimeout=9", "--port=8730", "--partial-dir=.p", "--no-motd", "-q", "-8h")
	type settings struct {
		Verbose, Itemize, MaxDelete, Sessions, Port                  int
		OneFS, Progress, Delete, Stats, JSON, Quiet, Human, Bit, Dry bool
		NoMOTD                                                       bool
		BigFile                                                      int64
		RsyncPath, PartialDir                                        string
		Connect                                                      time.Duration
	}
	got := settings{c.Verbose, c.Itemize, c.MaxDelete, c.Sessions, c.Dest.Port,
		c.OneFS, c.Progress, c.Delete, c.Stats, c.JSON, c.Quiet, c.Human, c.EightBit, c.Session.DryRun, !c.MOTD,
		c.BigFile, c.RsyncPath, c.PartialDir, c.ConnectTimeout}
	want := settings{2, 1, 7, 3, 8730, true, true, true, true, true, true, true, true, true, true,
		3 << 19, "/opt/rsync", ".p", 9 * time.Second}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if d := parse(t, "-a"); !d.NanosecondsAuto || d.MaxDelete != -1 || d.Bandwidth != nil || !d.MOTD {
		t.Errorf("defaults: %+v", d)
	}
	if parse(t, "-aX").IgnoreUnsupported || !parse(t, "-aX", "--ignore-unsupported").IgnoreUnsupported {
		t.Error("--ignore-unsupported does not come through")
	}
	if parse(t, "-a", "--modify-window=0").NanosecondsAuto {
		t.Error("--modify-window=0 is still nanoseconds")
	}
}

func TestBandwidth(t *testing.T) {
	at := time.Date(2026, 5, 4, 12, 0, 0, 0, time.Local)
	for arg, want := range map[string]int64{
		"--bwlimit=4096":                        4 << 20,
		"--bwlimit=1.5m":                        3 << 19,
		"--bwlimit=08:00-23:00=4M,23:00-8:00=0": 4 << 20,
	} {
		if got := parse(t, "-a", arg).Bandwidth.At(at); got != want {
			t.Errorf("%s: %d bytes/s, want %d", arg, got, want)
		}
	}
}

// Directories for parts are left out of the source, whatever else is let in.
func TestPartsAreLeftOut(t *testing.T) {
	for args, want := range map[string]map[string]bool{
		"-a":                          {".syncd-partial": true, "a/.syncd-partial": true, ".part": false},
		"-a --include=*/":             {"a/.syncd-partial": true, "a/b": false},
		"-a --partial-dir=.part[1]/":  {".syncd-partial": false, "a/.part[1]": true, "a/.part1": false},
		"-a --partial-dir=/tmp/parts": {".syncd-partial": false, "tmp/parts": false},
	} {
		scope, err := parse(t, strings.Fields(args)...).Filter.Root(nil)
		if err != nil {
			t.Fatal(err)
		}
		for p, out := range want {
			if got := scope.Excluded(p, true); got != out {
				t.Errorf("%s: the directory %s: left out %v, want %v", args, p, got, out)
			}
			if scope.Excluded(p, false) {
				t.Errorf("%s: the file %s is left out", args, p)
			}
		}
	}
}

// The environment is under the flags, and both are over the defaults.
func TestPrecedence(t *testing.T) {
	env := func(name string) string {
		return map[string]string{"RSYNC_RSH": "rsh", "RSYNC_PARTIAL_DIR": ".env", "RSYNC_PASSWORD": "env"}[name]
	}
	file := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(file, []byte("file\nsecond line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, dest          string
		env                 func(string) string
		args                []string
		shell, part, secret string
	}{
		{"defaults", "host:/d", noEnv, nil, "", "", ""},
		{"environment", "host:/d", env, nil, "rsh", ".env", "env"},
		{"flags", "host:/d", env, []string{"-e", "ssh -v", "--partial-dir=.flag"}, "ssh -v", ".flag", "env"},
		{"password file", "host::m", env, []string{"--password-file", file}, "rsh", ".env", "file"},
	} {
		c, err := Parse(append(tt.args, "--full", "-a", "src", tt.dest), tt.env, nil)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		secret, err := c.Password()
		if c.RemoteShell != tt.shell || c.PartialDir != tt.part || secret != tt.secret {
			t.Errorf("%s: shell %q, partial %q, password %q", tt.name, c.RemoteShell, c.PartialDir, secret)
		}
		if (err != nil) != (tt.secret == "") {
			t.Errorf("%s: password error %v", tt.name, err)
		}
	}
}

func TestPasswordFromStdinIsReadOnce(t *testing.T) {
	args := []string{"--full", "-a", "--password-file=-", "src", "h::m"}
	c, err := Parse(args, noEnv, strings.NewReader("secret\nmore\n"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if s, err := c.Password(); s != "secret" || err != nil {
			t.Fatalf("password %q, %v", s, err)
		}
	}
}

// Every rule must reach the filter in the order of the command line: swapping
// a pair changes what is left out.
func TestFilterOrder(t *testing.T) {
	list := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(list, []byte("*.c\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stdin := "a.c\x00b.c\x00"
	for _, tt := range []struct {
		args     []string
		excluded string
	}{
		{[]string{"--exclude=*.c", "--include=a.c"}, "a.c b.c"},
		{[]string{"--include=a.c", "--exclude=*.c"}, "b.c"},
		{[]string{"--include", "a.c", "--exclude-from", list}, "b.c"},
		{[]string{"--exclude-from", list, "--include=a.c"}, "a.c b.c"},
		{[]string{"-f+ a.c", "-f", "- *.c", "--include=b.c"}, "b.c"},
		{[]string{"--exclude-from=-", "-0"}, "a.c b.c"},
		{[]string{"-0", "--include-from=-", "--exclude=*"}, ".rsync-filter d.o"},
		{[]string{"-C"}, "d.o"},
		{[]string{"-C", "--include=*.o"}, ""},
		{[]string{"-FF", "--exclude=a.c"}, ".rsync-filter a.c"},
	} {
		c, err := Parse(append(tt.args, "--full", "-a", "src", "h::m"), noEnv, strings.NewReader(stdin))
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
			continue
		}
		scope, err := c.Filter.Root(func(string, string) (io.ReadCloser, error) { return nil, os.ErrNotExist })
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
			continue
		}
		var excluded []string
		for _, name := range []string{".rsync-filter", "a.c", "b.c", "d.o"} {
			if scope.Excluded(name, false) {
				excluded = append(excluded, name)
			}
		}
		if got := strings.Join(excluded, " "); got != tt.excluded {
			t.Errorf("%q leaves out %q, want %q", tt.args, got, tt.excluded)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	empty := filepath.Join(dir, "empty")
	for name, mode := range map[string]os.FileMode{open: 0o644, empty: 0o600} {
		if err := os.WriteFile(name, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		args string // split at spaces, "~" stands for a space
		want string // regular expression
	}{
		{"", "^SRC and DEST are missing; write: syncd -a SRC DEST"},
		{"--full -a src", "DEST is missing after src"},
		{"--full -a a b h::m", "more than one SRC.*; give the directory above"},
		{"src h::m", "without -r every directory would be skipped; add -a"},
		{"--full src h::m", "without -r every directory would be skipped; add -a"},
		{"--full -a --no-r src h::m", "without -r"},
		{"--full -a h::m dst", "^h::m: SRC is on another host.*; run syncd on that host"},
		{"--full -a --zc=gzip src h::m", "^--zc=gzip: not an algorithm; give one of zstd, lz4, zlibx, zlib, auto or none"},
		{"--full -a --compress-level=max src h::m", "^--compress-level=max: not a number; give 1 to 9"},
		{"--full -a --skip-compress=a[ src h::m", "^--skip-compress=.*without letters.*; write it as gz/jpg"},
		{"--full -a --compress-threads=2 src h::m", "^--compress-threads: not available in this version"},
		{"--full -a --log-file=x src h::m", "^--log-file: not available in this version; send the output"},
		{"--full -a --log-file x src h::m", "^--log-file: not available"},
		{"--full -a --files-from=" + dir + "/none src h::m", "none: no such file or directory; it must be a file of names"},
		{"--full -a --files-from=h:list src h::m", "^--files-from: the list is on another host"},
		{"--full -a --files-from= src h::m", "^--files-from: its value is empty"},
		{"--full -aX --filter=-x~user.a src h::m", "^--filter: rules for names of extended attributes"},
		{"--full -aX --protocol=29 src h::m", "^--protocol: -A and -X need protocol 30"},
		{"--full -aA --protocol=27 src h::m", "^--protocol: -A and -X need protocol 30"},
		{"--full -aN src h::m", "--crtimes.*not available"},
		{"-a --append-verify src h::m", "^--append-verify: a mirror that leaves out changes is none"},
		{"--full -aW --append-verify src h::m", "^--append-verify: it contradicts --whole-file"},
		{"--full -a --append-verify --partial-dir=x src h::m", "^--append-verify: it writes into the file itself"},
		{"--full -a --append src h::m", "^--append: not available in this version; use --append-verify: without"},
		{"-aU src h::m", "^--atimes: no event tells that a file was read; leave it out, or add --full"},
		{"--verify -aU src h::m", "^--atimes: a comparison reads all files"},
		{"--full -aU --state-dir=x src h::m", "^--atimes: a file that was only read counts as unchanged; leave out --state-dir"},
		{"--full -a --open-noatime src dst", "^--open-noatime: not available for a local directory"},
		{"--full -a --chmod=u+q src h::m", "^--chmod=u\\+q: .*; write it as D755,F644"},
		{"-ab src h::m", "^--backup: a service sends a file again whenever"},
		{"--cutover -a --backup-dir=x src h::m", "^--backup-dir: a service sends a file again"},
		{"--full -ab src dst", "^--backup: not available for a local directory"},
		{"--full -ab --suffix= src h::m", "^--suffix: without --backup-dir it cannot be empty"},
		{"--full -ab --suffix=a/b src h::m", "^--suffix=a/b: a suffix has no slash"},
		{"--full -a --suffix=.old src h::m", "^--suffix: nothing is kept without --backup"},
		{"--full -a --backup-dir= src h::m", "^--backup-dir: its value is empty"},
		{"-a --update src h::m", "^--update: a mirror that leaves out changes is none; leave it out, or add --full"},
		{"--cutover -a --existing src h::m", "^--existing: a mirror that leaves out changes is none"},
		{"--verify -a --max-size=1K src h::m", "^--max-size: a comparison names all that differs"},
		{"--full -a --min-size=1K --state-dir=s src h::m", "^--min-size: the server does not say what it leaves out.*; leave out --state-dir$"},
		{"--full -a --ignore-existing src dst", "^--ignore-existing: not available for a local directory"},
		{"--full -a --max-size=0 src h::m", "^--max-size=0: not a size of 1 byte or more"},
		{"--full -aS src dst", "^-S: not available for a local directory"},
		{"--full -a --chown=joe src dst", "^--usermap, --groupmap and --chown: not available for a local directory"},
		{"--full -a --chown=: src h::m", "^--chown=:: not USER:GROUP"},
		{"--full -a --chown=a,b src h::m", "^--chown=a,b: not USER:GROUP"},
		{"--full -a --usermap=a src h::m", "^--usermap=a: not FROM:TO"},
		{"--full -a --groupmap=a:b,c: src h::m", "^--groupmap=a:b,c:: not FROM:TO"},
		{"--full -a --temp-dir= src h::m", "^--temp-dir: its value is empty"},
		{"--verify src h::m", "^without -r every directory would be skipped"},
		{"--verify -a -I src h::m", "^--ignore-times: contents are compared, whatever sizes and times are; leave it out$"},
		{"--verify -a --control=s src h::m", "^--control: a comparison is no service; leave it out$"},
		{"--verify -a --read-limit=x src h::m", "^--read-limit=x: .*; write a rate as 4M"},
		{"--full -a --read-limit=4M src h::m", "^--read-limit: files are read for their checksums by --verify and by a service; leave it out$"},
		{"-a --read-limit=4M src h::m", "^--read-limit: without --state-dir nothing is remembered that could be proven; "},
		{"-a --audit=on src h::m", "^--audit: without --state-dir nothing is remembered that could be proven; "},
		{"-a --state-dir=s --audit=daily src h::m", "^--audit=daily: neither on nor off nor a time; write .* as 7d, 12h or 30m$"},
		{"-a --state-dir=s --audit=0d src h::m", "^--audit=0d: neither on nor off nor a time"},
		{"-a --state-dir=s --audit=99999d src h::m", "^--audit=99999d: neither on nor off nor a time"},
		{"--full -a --audit=off src h::m", "^--audit: a full pass is no service; leave it out$"},
		{"--full -a --delete-after src h::m", "^--delete-after: not available in this version; use --delete"},
		{"--full -a --delte src h::m", "^--delte: unknown option; did you mean --delete\\?"},
		{"--full -a --exlcude=x src h::m", "did you mean --exclude\\?"},
		{"--full -a --bw-limit=3 src h::m", "did you mean --bwlimit\\?"},
		{"--full -a -delete src h::m", "did you mean --delete\\?|--dirs.*not available"},
		{"--full -a -Z src h::m", "^-Z: unknown option; syncd --help"},
		{"--full -avZ src h::m", "^-Z in -Z: unknown option|^-Z: unknown option"},
		{"--full -a --zzzzzzz src h::m", "^--zzzzzzz: unknown option; syncd --help"},
		{"--full -a --bwlimit src", "^--bwlimit=src: "},
		{"--full -a src h::m --bwlimit", "^--bwlimit: a value is missing"},
		{"--full -a --bwlimit=fast src h::m", "^--bwlimit=fast: .*; write a rate, or"},
		{"--full -a --big-file=12Q src h::m", "^--big-file=12Q: not a size.*; write it as"},
		{"--full -a --block-size=1G src h::m", "^--block-size=1G: not a size from 1 to 131072"},
		{"--full -a --timeout=-1 src h::m", "^--timeout=-1: not a number"},
		{"--full -a --port=70000 src h::m", "^--port=70000: not a number from 1 to 65535"},
		{"--full -a --protocol=26 src h::m", "^--protocol=26: not a number from 27 to 32"},
		{"--full -a --sessions=0 src h::m", "^--sessions=0: not a number from 1"},
		{"--full -a --modify-window=x src h::m", "^--modify-window=x: "},
		{"--full -a --max-delete=x --delete src h::m", "^--max-delete=x: "},
		{"--full -a --max-delete=3 src h::m", "^--max-delete: nothing is deleted without --delete"},
		{"--full -a --delete=yes src h::m", "^--delete=yes: this option takes no value"},
		{"--full -a --inplace --partial-dir=x src h::m", "^--inplace: .*; leave one"},
		{"--full -aI --size-only src h::m", "^--size-only: it contradicts"},
		{"--full -a -e ssh src h::m", "^-e: .*not available in this version"},
		{"--full -a --port=1 src h:/d", "^--port: .*; for ssh write"},
		{"--full -a --password-file=" + open + " src h:/d", "^--password-file: it is the password of an rsync daemon"},
		{"--full -a --password-file=" + open + " src h::m", "open: other users can read the password; run: chmod 600"},
		{"--full -a --password-file=" + empty + " src h::m", "no password in .*; write it into the first line"},
		{"--full -a --password-file=" + dir + "/none src h::m", "none: no such file or directory; "},
		{"--full -a --exclude-from=" + dir + "/none src h::m", "none: no such file or directory; "},
		{"--full -a -f bogus~rule src h::m", "--filter"},
		{"--full -a src rsync://", "rsync://"},
		{"--full -a src h::", "::"},
		{"--full -a  h::m", "SRC: it is empty"},
	} {
		var args []string
		if tt.args != "" {
			for _, a := range strings.Split(tt.args, " ") {
				args = append(args, strings.ReplaceAll(a, "~", " "))
			}
		}
		_, err := Parse(args, noEnv, strings.NewReader(""))
		var usage *UsageError
		if !errors.As(err, &usage) {
			t.Errorf("%s: %v, want a usage error", tt.args, err)
			continue
		}
		if !regexp.MustCompile(tt.want).MatchString(err.Error()) {
			t.Errorf("%s:\n  %v\nwant %s", tt.args, err, tt.want)
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one line: %q", tt.args, err)
		}
	}
}

// rsyncFlags are the long options of rsync 3.5's --help that a client takes.
const rsyncFlags = `verbose info debug stderr quiet no-motd checksum archive recursive inc-recursive no-inc-recursive
	relative no-implied-dirs backup backup-dir suffix update inplace append append-verify dirs old-dirs mkpath links
	copy-links copy-unsafe-links safe-links insecure-links confine-root munge-links copy-dirlinks keep-dirlinks hard-links
	perms executability chmod acls xattrs owner group devices copy-devices write-devices specials drop-D times atimes
	open-noatime crtimes omit-dir-times omit-link-times super fake-super sparse preallocate dry-run whole-file
	no-whole-file no-W checksum-choice cc one-file-system block-size rsh rsync-path existing ignore-non-existing
	ignore-existing remove-source-files del delete delete-before delete-during delete-delay delete-after delete-excluded
	ignore-missing-args delete-missing-args ignore-errors force max-delete max-size min-size max-alloc partial partial-dir
	delay-updates prune-empty-dirs numeric-ids usermap groupmap chown timeout contimeout ignore-times size-only
	modify-window temp-dir fuzzy compare-dest copy-dest link-dest compress compress-choice zc compress-level zl
	compress-threads skip-compress cvs-exclude filter exclude exclude-from include include-from files-from from0
	old-args secluded-args trust-sender copy-as address port sockopts blocking-io outbuf stats 8-bit-output
	human-readable progress itemize-changes remote-option out-format log-file log-file-format password-file early-input
	list-only bwlimit stop-after stop-at fsync write-batch only-write-batch read-batch protocol iconv checksum-seed ipv4
	ipv6 version help no-perms no-p no-owner no-o no-group no-g no-times no-t no-links no-l no-D no-devices no-specials
	no-recursive no-r`

func TestSize(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "1": 1, "512B": 512, "1k": 1024, "1K": 1024, "1KB": 1000, "1kib": 1024, "1.5m": 3 << 19,
		"1.5mb-1": 1499999, "2g+1": 2147483649, "1T": 1 << 40, "1P": 1 << 50, ".5K": 512, "8191P": 8191 << 50,
	} {
		if got, err := parseSize(in); got != want || err != nil {
			t.Errorf("%s: %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "x", "K", "1KK", "1Q", "-1", "1e3", "0x10", "8192P", "1.2.3", ".", "1i", "1/2", "+1", " 1", "0-1",
	} {
		if got, err := parseSize(in); err == nil {
			t.Errorf("%q: %d, want an error", in, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("-a\nsrc\nh::m")
	f.Add("--set\nbwlimit=8M\n--json")
	f.Add("--full\n-a\n--exclude=*.o\nsrc\nh::m")
	f.Add("--full\n-avz\n-e\nssh\nsrc\nh:/m")
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\n")
		for _, a := range args {
			if a != "--full" && strings.HasPrefix(a, "-") && strings.Contains(a, "f") {
				t.Skip("may read files: -f, --filter, --exclude-from, --password-file")
			}
		}
		c, err := Parse(args, noEnv, strings.NewReader(""))
		if (c == nil) == (err == nil) {
			t.Fatalf("%q: config %v, error %v", args, c, err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\x00\x1b") {
			t.Fatalf("%q: error of more than one clean line: %q", args, err)
		}
		if err != nil && !errors.As(err, new(*UsageError)) {
			t.Fatalf("%q: %s is no usage error", args, reflect.TypeOf(err))
		}
	})
}
