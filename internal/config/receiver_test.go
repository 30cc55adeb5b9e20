package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncd/syncd/internal/rsync"
)

func TestReceiver(t *testing.T) {
	s := parse(t, "-rSy", "--preallocate", "--fsync", "-T", "tmp", "--usermap=1-9:joe,*:root", "--chown=:users").Session
	want := rsync.Options{
		Sparse: true, Fuzzy: true, Preallocate: true, Fsync: true, TempDir: "tmp", MaxDelete: -1,
		UserMap: "1-9:joe,*:root", GroupMap: "*:users", Owner: true, Group: true,
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	s = parse(t, "-ru", "--existing", "--ignore-existing", "--min-size=1.5K", "--max-size=2G-1").Session
	want = rsync.Options{
		Update: true, Existing: true, IgnoreExisting: true, MinSize: 1536, MaxSize: 2<<30 - 1, MaxDelete: -1,
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if c := parse(t, "-a", "--chmod=D755", "--chmod=F644,+X").Session.Chmod; c == nil || c.String() != "D755,F644,+X" {
		t.Errorf("--chmod, twice: %v", c)
	}
	if s := parse(t, "-aSy", "--no-S", "--no-fuzzy").Session; s.Sparse || s.Fuzzy {
		t.Errorf("not taken back: %+v", s)
	}
}

// What was backed up is not deleted by the next run.
func TestBackupsAreProtected(t *testing.T) {
	for _, tt := range []struct{ flags, dest, rules string }{
		{"-b", "h::m", "-r *~"},
		{"-b --suffix=.o[1]", "h::m", `-r *.o\[1]`},
		{"-b --exclude=*", "h::m", "- *\n-r *~"},
		{"--backup-dir=a/b", "h::m", "-r /a/b\n-r /a"},
		{"--backup-dir=a*b --suffix=x", "h:/d", `-r /a\*b`},
		{"--backup-dir=../a", "h::m/d", ""},
		{"--backup-dir=../../a", "h::m", "-r /a"}, // a daemon does not let it leave the module
		{"--backup-dir=../d/a", "h:d", "-r /a"},
		{"--backup-dir=../a", "h:", ""},
		{"--backup-dir=./a", "h:", "-r /a"},
		{"--backup-dir=/d/a", "h::m/d", "-r /a"},
		{"--backup-dir=/da", "h::m/d", ""},
		{"--backup-dir=/a", "h::m", "-r /a"},
		{"--backup-dir=/d/../e", "h:/d", ""},
	} {
		c, err := Parse(append(strings.Fields(tt.flags), "--full", "-a", "--delete", "src", tt.dest), noEnv, nil)
		if err != nil {
			t.Errorf("%s: %v", tt.flags, err)
			continue
		}
		scope, err := c.Filter.Root(nil)
		if err != nil {
			t.Fatal(err)
		}
		rules, err := scope.Wire(32, false)
		if got := strings.Join(rules, "\n"); err != nil || got != tt.rules {
			t.Errorf("%s: rules %q (%v), want %q", tt.flags, got, err, tt.rules)
		}
		if c.Session.OmitDirTimes != (c.Session.BackupDir == "") {
			t.Errorf("%s: times of directories", tt.flags)
		}
	}
}

func TestCompression(t *testing.T) {
	type compression struct {
		On     bool
		Choice string
		Level  int
	}
	for args, want := range map[string]compression{
		"-a":                               {},
		"-az":                              {true, "", 0},
		"-a --compress":                    {true, "", 0},
		"-az --no-z":                       {},
		"-a --no-compress -z":              {true, "", 0},
		"-a --zc=ZSTD":                     {true, "zstd", 0},
		"-a --compress-choice lz4":         {true, "lz4", 0},
		"-a --zc=zstd --no-compress":       {false, "zstd", 0},
		"-az --zc=none":                    {},
		"-a --zc=auto":                     {},
		"-az --zc=lz4 --zc=auto":           {true, "", 0},
		"-a --new-compress":                {true, "zlibx", 0},
		"-a --new-compress --old-compress": {true, "zlib", 0},
		"-a --zl=9":                        {true, "", 9},
		"-a --compress-level=-3":           {true, "", -3},
		"-a --zl=0":                        {true, "", 0},
		"-a --zl=0 --zc=zlib":              {false, "zlib", 0},
		"-a --new-compress --zl=0":         {false, "zlibx", 0},
		"-a --zc=zlib --zl=999":            {true, "zlib", 999},
	} {
		s := parse(t, strings.Fields(args)...).Session
		if got := (compression{s.Compress, s.CompressChoice, s.CompressLevel}); got != want {
			t.Errorf("%s: %+v, want %+v", args, got, want)
		}
		if s.Incompressible != nil {
			t.Errorf("%s: suffixes given", args)
		}
	}
	for list, gz := range map[string]bool{"gz/jpg": true, "jpg": false, "": false} {
		s := parse(t, "-az", "--skip-compress="+list).Session
		if s.Incompressible == nil || s.Incompressible.Match("a.gz") != gz {
			t.Errorf("--skip-compress=%s: a.gz is compressed: %v", list, gz)
		}
	}
}
