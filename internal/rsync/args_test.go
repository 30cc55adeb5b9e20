package rsync

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/rsync/wire"
)

// args returns what a daemon gets, readable: NUL as a space, the lists' ends as a bar.
func sentArgs(t *testing.T, d Dest, o Options, protocol, server int) (string, error) {
	t.Helper()
	var b bytes.Buffer
	w := wire.NewWriter(&b)
	if err := (&Dialer{Dest: d}).sendArgs(w, &o, protocol, server); err != nil {
		return "", err
	}
	w.Flush()
	end := "\x00"
	if protocol < 30 {
		end = "\n"
	}
	s := strings.ReplaceAll(b.String(), end+end, "|")
	return strings.ReplaceAll(strings.ReplaceAll(s, end, " "), "\x00\x00", "|"), nil
}

func TestArgs(t *testing.T) {
	all := Options{Links: true, Perms: true, Times: true, Owner: true, Group: true, Devices: true, Specials: true, MaxDelete: -1}
	with := func(f func(*Options)) Options {
		o := all
		f(&o)
		return o
	}
	to := Dest{Kind: Daemon, Host: "h", Module: "m", Path: "t"}
	at := func(path string) Dest { return Dest{Kind: Daemon, Host: "h", Module: "m", Path: path} }
	for _, c := range []struct {
		name     string
		dest     Dest
		o        Options
		protocol int
		want     string
	}{
		{"archive", to, all, 32, "--server -logDtpe.LsfxCIvu . m/t/|"},
		{"module itself", at(""), all, 32, "--server -logDtpe.LsfxCIvu . m/|"},
		{"nothing", to, Options{}, 32, "--server -e.LsfxCIvu . m/t/|"},
		{"old", to, with(func(o *Options) { o.Protocol = 29; o.ModifyWindow = -1 }), 29, "--server -logDtp . m/t/|"},
		{"old server", to, with(func(o *Options) { o.ModifyWindow = -1 }), 30, "--server -logDtpe.LsfxCIvu . m/t/|"},
		{"all letters", to, with(func(o *Options) {
			o.DryRun, o.Delete, o.OmitDirTimes, o.WholeFile, o.HardLinks, o.Checksum, o.IgnoreTimes = true, true, true, true, true, true, true
		}), 32, "--server -nldOWHogDtpcIe.LsfxCIvu --no-r --delete-during . m/t/|"},
		{"selective", to, with(func(o *Options) {
			o.Update, o.MinSize, o.MaxSize, o.Existing, o.IgnoreExisting = true, 5, 10240, true, true
		}), 32, "--server -ulogDtpe.LsfxCIvu --min-size=5 --max-size=10240 --ignore-existing --existing . m/t/|"},
		{"backup", to, with(func(o *Options) { o.Backup, o.Suffix = true, "~" }), 32, "--server -blogDtpe.LsfxCIvu . m/t/|"},
		{"backup directory", to, with(func(o *Options) { o.Backup, o.BackupDir, o.Suffix, o.Timeout = true, "bk", ".o", time.Second }), 32,
			"--server -blogDtpe.LsfxCIvu --timeout=1 --backup-dir bk --suffix=.o . m/t/|"},
		{"access times", to, with(func(o *Options) { o.Atimes, o.OpenNoatime = true, true }), 32,
			"--server -logDtUpe.LsfxCIvu --open-noatime . m/t/|"},
		{"append", to, with(func(o *Options) { o.AppendVerify, o.Inplace = true, true }), 32,
			"--server -logDtpe.LsfxCIvu --append --append . m/t/|"},
		{"devices only", to, with(func(o *Options) { o.Specials = false }), 32, "--server -logDtpe.LsfxCIvu --no-specials . m/t/|"},
		{"specials only", to, with(func(o *Options) { o.Devices = false }), 32, "--server -logtpe.LsfxCIvu --specials . m/t/|"},
		{"no deletions at all", to, with(func(o *Options) { o.DeleteMissing = true; o.MaxDelete = 0 }), 32,
			"--server -logDtpe.LsfxCIvu --max-delete=-1 --force --delete-missing-args . m/t/|"},
		{"limit without deletions", to, with(func(o *Options) { o.MaxDelete = 0 }), 32, "--server -logDtpe.LsfxCIvu . m/t/|"},
		{"all long ones", to, with(func(o *Options) {
			o.Itemize, o.BlockSize, o.Timeout, o.ChecksumChoice, o.Delete, o.MaxDelete = true, 700, 1500*time.Millisecond, "md5", true, 7
			o.SizeOnly, o.DeleteMissing, o.ModifyWindow, o.ChecksumSeed, o.PartialDir, o.NumericIDs = true, true, -1, 5, ".part", true
			o.IgnoreExisting, o.Existing, o.Inplace, o.Acks, o.Mkpath = true, true, true, true, true
		}), 32, "--server -ldogDtpe.LsfxCIvu --checksum-choice=md5 --no-r --log-format=%i -B700 --timeout=2 --max-delete=7 " +
			"--delete-during --force --size-only --delete-missing-args -@-1 --checksum-seed=5 --partial-dir .part --numeric-ids " +
			"--ignore-existing --existing --inplace --remove-source-files --mkpath . m/t/|"},
		{"window", to, with(func(o *Options) { o.ModifyWindow = 2 }), 32, "--server -logDtpe.LsfxCIvu --modify-window=2 . m/t/|"},
		{"space", at("a b"), all, 32, "--server -slogDtpe.LsfxCIvu|rsync . m/a b/|"},
		{"space, old", at("a b"), with(func(o *Options) { o.Protocol = 29 }), 29, "--server -slogDtp|rsync\x00.\x00m/a b/|"},
	} {
		got, err := sentArgs(t, c.dest, c.o, c.protocol, 32)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	if got, err := sentArgs(t, at("a b"), with(func(o *Options) { o.Protocol = 29 }), 29, 29); err != nil || got != "--server -logDtp . m/a b/|" {
		t.Errorf("space to a server without secluded arguments: %q, %v", got, err)
	}
}

func TestArgsRefused(t *testing.T) {
	at := func(path string) Dest { return Dest{Kind: Daemon, Host: "h", Module: "m", Path: path} }
	for name, c := range map[string]struct {
		dest             Dest
		o                Options
		protocol, server int
	}{
		"star":                 {at("a*b"), Options{}, 32, 32},
		"bracket":              {at("a[b]"), Options{}, 32, 32},
		"too old to delete":    {at("a"), Options{DeleteMissing: true}, 30, 30},
		"old to delete in":     {at("a"), Options{Delete: true}, 28, 28},
		"too old for acks":     {at("a"), Options{Acks: true}, 28, 28},
		"line break, old":      {at("a\nb"), Options{Protocol: 29}, 29, 29},
		"line break in option": {at("a"), Options{Protocol: 29, PartialDir: "x\ny"}, 29, 29},
	} {
		got, err := sentArgs(t, c.dest, c.o, c.protocol, c.server)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Kind != KindRefused {
			t.Errorf("%s: %q, %v; want an error of kind %v", name, got, err, KindRefused)
		}
	}
}

// TestQuote lets a real shell read what we quote.
func TestQuote(t *testing.T) {
	sh := need.Program(t, "sh")
	for _, s := range []string{"plain", "a b", "it's", `back\slash`, "$HOME `x` $(x)", "*?[a-z]", "", "\xff\xc3\xa9", "a\nb", "#x", "!x", `"q"`, "a~b", "~'x"} {
		cmd := exec.Command(sh, "-c", "printf %s "+quoteArg(s))
		cmd.Env = []string{"HOME=/home/x"}
		out, err := cmd.Output()
		if err != nil || string(out) != s {
			t.Errorf("%q quoted as %s is read as %q, %v", s, quoteArg(s), out, err)
		}
	}
	for s, want := range map[string]string{"~/a b": "/home/x/a b", "~": "/home/x"} {
		cmd := exec.Command(sh, "-c", "printf %s "+quoteArg(s))
		cmd.Env = []string{"HOME=/home/x"}
		out, err := cmd.Output()
		if err != nil || string(out) != want {
			t.Errorf("%q is read as %q, %v; want %q", s, out, err, want)
		}
	}
}

func TestShellTarget(t *testing.T) {
	for path, want := range map[string]string{"": ".", "/": "/", "/a/": "/a/", "a": "a/", "~": "~/", "~/x": "~/x/", "-n": "./-n/"} {
		if got := (Dest{Kind: Shell, Host: "h", Path: path}).target(); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}

// TestFormat has the examples of rsync(1) and what rsync 3.5.0 prints.
func TestFormat(t *testing.T) {
	const file, dir, link, dev, fifo = 0o100644, 0o040755, 0o120777, 0o020644, 0o010644
	for _, c := range []struct {
		f    ItemFlags
		mode uint32
		want string
	}{
		{ItemTransfer | ItemNew, file, "<f+++++++++"},
		{ItemTransfer | ItemSize | ItemTime, file, "<f.st......"},
		{ItemTransfer | ItemContent | ItemSize | ItemTime, file, "<fcst......"},
		{ItemTransfer | ItemTime | ItemTimeSet, file, "<f..T......"},
		{ItemTransfer, file, "<f........."},
		{ItemTransfer | ItemUnknown, file, "<f?????????"},
		{ItemLocal | ItemNew, dir, "cd+++++++++"},
		{ItemTime, dir, ".d..t......"},
		{ItemPerms | ItemOwner | ItemGroup, file, ".f...pog..."},
		{ItemLocal | ItemNew, link, "cL+++++++++"},
		{ItemLocal | ItemContent, link, "cLc........"},
		{ItemLocal | ItemContent | ItemSize | ItemTime, link, "cLc.T......"},
		{ItemLocal | ItemNew, dev, "cD+++++++++"},
		{ItemLocal | ItemNew, fifo, "cS+++++++++"},
		{ItemLocal | ItemLink | ItemNew, file, "hf+++++++++"},
		{ItemLocal | ItemLink, file, "hf         "},
		{0, file, ".f         "},
		{ItemAtime | ItemACL | ItemXattr, file, ".f......uax"},
	} {
		if got := c.f.Format(c.mode); got != c.want {
			t.Errorf("%#x of %#o: %q, want %q", uint16(c.f), c.mode, got, c.want)
		}
	}
	if len(Deleting) != 11 {
		t.Errorf("%q has %d letters, want 11", Deleting, len(Deleting))
	}
}
