package embedded

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/treetest"
	"golang.org/x/sys/unix"
)

// pair makes a source and two equal destinations.
func pair(t *testing.T, src, dst []treetest.Entry) (from, to, want string) {
	t.Helper()
	dir := treetest.TempDir(t)
	from, to, want = filepath.Join(dir, "src"), filepath.Join(dir, "dst"), filepath.Join(dir, "want")
	for _, d := range []string{from, to} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	treetest.Write(t, from, src...)
	treetest.Write(t, to, dst...)
	copyTree(t, to, want, true)
	return from, to, want
}

// likeRsync compares dry run and run with rsync's.
func likeRsync(t *testing.T, from, to, want string, o rsync.Options) (*rsync.Report, *recorder) {
	t.Helper()
	dry := o
	dry.DryRun = true
	lines := oracle(t, from, to, dry)
	_, rec := sendTree(t, from, to, dry)
	if diff := sameLines(lines, rec.lines); diff != "" {
		t.Errorf("dry run itemizes otherwise:\n%s", diff)
	}
	treetest.Equal(t, want, to, treetest.Options{})
	oracle(t, from, want, o)
	rep, rec := sendTree(t, from, to, o)
	treetest.Equal(t, want, to, treetest.Options{})
	return rep, rec
}

// deletesLikeRsync compares the run with rsync's run, and the dry run with the run: rsync's announces to delete some
// directories that it then keeps for what is protected in them. The times of what is left are those of the test.
func deletesLikeRsync(
	t *testing.T, from, to, want string, o rsync.Options, rules ...string,
) (*rsync.Report, *recorder) {
	t.Helper()
	var args []string
	for _, r := range rules {
		args = append(args, "--filter="+r)
	}
	dry := o
	dry.DryRun = true
	_, dryRec := sendTree(t, from, to, dry, rules...)
	treetest.Equal(t, want, to, treetest.Options{})
	lines := oracle(t, from, want, o, args...)
	rep, rec := sendTree(t, from, to, o, rules...)
	treetest.Equal(t, want, to, treetest.Options{Ignore: treetest.DirMtime})
	if diff := sameLines(lines, rec.lines); diff != "" {
		t.Errorf("run itemizes otherwise:\n%s", diff)
	}
	if diff := sameLines(rec.lines, dryRec.lines); diff != "" {
		t.Errorf("run does otherwise than the dry run (first) said:\n%s", diff)
	}
	return rep, rec
}

func result(t *testing.T, rep *rsync.Report, rec *recorder, path string) rsync.Result {
	t.Helper()
	i := slices.IndexFunc(rec.b.Entries, func(e flist.Entry) bool { return e.Path == path })
	if i < 0 {
		t.Fatalf("%q is not in the batch", path)
	}
	return rep.Results[i]
}

func TestObstacles(t *testing.T) {
	src := []treetest.Entry{
		treetest.File("file-for-dir", "x"), treetest.File("file-for-link", "x"), treetest.File("file-for-fifo", "x"),
		treetest.File("file-for-full-dir", "x"),
		treetest.Dir("dir-for-file"), treetest.File("dir-for-file/f", "x"), treetest.Dir("dir-for-link"),
		treetest.File("dir-for-link/f", "x"),
		treetest.Symlink("link-for-file", "x"), treetest.Symlink("link-for-dir", "x"), treetest.Symlink("link", "new"),
		treetest.Symlink("link-for-full-dir", "x"),
		treetest.Fifo("fifo-for-file"), treetest.Fifo("fifo", treetest.Mode(0o600)), treetest.Socket("socket-for-fifo"),
	}
	for name, set := range map[string]func(*rsync.Options){
		"plain":  func(*rsync.Options) {},
		"delete": func(o *rsync.Options) { o.Delete = true },
		"force":  func(o *rsync.Options) { o.Force = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outside := t.TempDir()
			from, to, want := pair(t, src, []treetest.Entry{
				treetest.Dir("file-for-dir"), treetest.Symlink("file-for-link", "/etc/passwd"),
				treetest.Fifo("file-for-fifo"), treetest.Dir("file-for-full-dir"), treetest.Dir("file-for-full-dir/sub"),
				treetest.File("file-for-full-dir/sub/f", ""),
				treetest.File("dir-for-file", ""), treetest.Symlink("dir-for-link", outside),
				treetest.File("link-for-file", ""), treetest.Dir("link-for-dir"), treetest.Symlink("link", "old"),
				treetest.Dir("link-for-full-dir"), treetest.Fifo("link-for-full-dir/f"),
				treetest.File("fifo-for-file", ""), treetest.Fifo("fifo", treetest.Mode(0o666)),
				treetest.Fifo("socket-for-fifo"),
				treetest.Dir("extra"), treetest.Dir("extra/sub"), treetest.File("extra/sub/f", ""),
				treetest.Symlink("extra/l", "/"),
			})
			o := archive()
			set(&o)
			rep, rec := likeRsync(t, from, to, want, o)
			for _, p := range []string{"file-for-full-dir", "link-for-full-dir"} {
				got := result(t, rep, rec, p)
				switch kept := name == "plain"; {
				case kept && (got.State != rsync.Failed || !strings.Contains(got.Err.Error(), "not empty")):
					t.Errorf("%s: %v %v", p, got.State, got.Err)
				case !kept && got.State != rsync.Acked:
					t.Errorf("%s: %v %v", p, got.State, got.Err)
				}
			}
			if all, err := os.ReadDir(outside); err != nil || len(all) > 0 {
				t.Errorf("something was written through a symlink: %v, %v", all, err)
			}
		})
	}
}

// Which name of a group stays, is sent, or becomes a link; and what is said of it.
func TestHardLinks(t *testing.T) {
	when := treetest.Mtime(1e9, 5)
	file := func(p, content string) treetest.Entry { return treetest.File(p, content, when) }
	src := []treetest.Entry{
		file("a", "1"), treetest.Link("b", "a"), treetest.Link("c", "a"), treetest.Dir("z", when), treetest.Link("z/a", "a"),
		file("e", "2"), treetest.Link("f", "e"), treetest.Link("g", "e"),
		file("h", "3"), treetest.Link("i", "h"),
		file("k", "4"), treetest.Link("l", "k"),
		treetest.Symlink("m", "T", when), treetest.Link("n", "m"),
		treetest.Fifo("o", when), treetest.Link("p", "o"),
		file("t", "6"), treetest.Link("u", "t"),
		file("v", "77"), treetest.Link("w", "v"),
	}
	dst := []treetest.Entry{
		file("f", "2"), treetest.File("h", "old"), file("k", "4"), file("l", "4"),
		treetest.File("t", "6", when, treetest.Mode(0o600)), treetest.Link("u", "t"),
		treetest.File("v", "other", when), treetest.Link("w", "v"),
	}
	for name, set := range map[string]func(*rsync.Options){
		"archive":         func(*rsync.Options) {},
		"existing":        func(o *rsync.Options) { o.Existing = true },
		"ignore existing": func(o *rsync.Options) { o.IgnoreExisting = true },
		"ignore times":    func(o *rsync.Options) { o.IgnoreTimes = true },
		"checksum":        func(o *rsync.Options) { o.Checksum = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to, want := pair(t, src, dst)
			o := archive()
			o.HardLinks = true
			set(&o)
			rep, rec := likeRsync(t, from, to, want, o)
			for i, r := range rep.Results {
				if r.State != rsync.Acked {
					t.Errorf("%s: %v %v", rec.b.Entries[i].Path, r.State, r.Err)
				}
			}
		})
	}
}

func protectionTree() []treetest.Entry {
	return []treetest.Entry{
		treetest.Dir("x"), treetest.Dir("x/y"), treetest.File("x/y/keep", ""), treetest.File("x/y/go", ""),
		treetest.File("x/go", ""), treetest.Dir("p"), treetest.File("p/a.tmp", ""), treetest.File("top.tmp", ""),
		treetest.File("keep", ""), treetest.File("go", ""), treetest.Dir("listed"), treetest.File("listed/a.tmp", ""),
		treetest.File("listed/here", ""), treetest.File("listed/go", ""),
		treetest.File("listed/.rules", "P here\n# comment\nH go\n- *.tmp\n"),
		treetest.Dir("gone"), treetest.File("gone/.rules", "protect here\n"), treetest.File("gone/here", ""),
		treetest.File("gone/go", ""),
	}
}

func TestProtection(t *testing.T) {
	sets := [][]string{
		{"- keep"}, {"P keep"}, {"-r keep"}, {"-p *.tmp"}, {"H keep"}, {"-s keep"}, {"R x/y/keep", "P keep"},
		{"+ keep", "P *e*"}, {"P /keep"}, {"P y/"}, {"P x/**"}, {"-! *e*"}, {": .rules"}, {":n .rules"}, {":- .rules"},
		{"-rp *.tmp", "P go"}, {"!", "P keep"}, {"P x/y/"}, {"P /listed/*"}, {":r- .rules"},
	}
	rng := rand.New(rand.NewPCG(1, 1))
	kinds := []string{
		"- ", "+ ", "P ", "R ", "H ", "S ", "-! ", "-p ", "-r ", "+r ", "-s ", "+rp ", "-_", "protect,! ", "hide ",
	}
	patterns := []string{
		"keep", "go", "*.tmp", "x/", "/x", "x/y", "**/go", "*e*", "y/", "listed/*", "top.*", "[gk]*", "x/**", "/*", "*/",
	}
	for range 3 * *seeds {
		var rules []string
		for range 1 + rng.IntN(3) {
			rules = append(rules, kinds[rng.IntN(len(kinds))]+patterns[rng.IntN(len(patterns))])
		}
		sets = append(sets, rules)
	}
	for _, rules := range sets {
		t.Run(strings.Join(rules, ","), func(t *testing.T) {
			t.Parallel()
			from, to, want := pair(t, []treetest.Entry{treetest.Dir("listed")}, protectionTree())
			o := archive()
			o.Delete = true
			rules = append([]string{"S /listed"}, rules...) // rsync's sender looks at them too
			deletesLikeRsync(t, from, to, want, o, rules...)
		})
	}
}

// By rules that are not understood nothing is deleted.
func TestMalformedRules(t *testing.T) {
	from, to, want := pair(t, []treetest.Entry{treetest.Dir("listed")}, protectionTree())
	o := archive()
	o.Delete = true
	rep, rec := sendTree(t, from, to, o, "P /*", ":w .rules") // "P here" is two words
	if len(rec.deleted) > 0 || len(rep.DeleteErrors) == 0 || rep.ExitCode != codePartial {
		t.Errorf("deleted %q, errors %q, exit code %d", rec.deleted, rep.DeleteErrors, rep.ExitCode)
	}
	treetest.Equal(t, want, to, treetest.Options{Ignore: treetest.DirMtime})
	d := open(t, to)
	b := batch(t, from, o, nil)
	b.Filter = []string{"frobnicate x"}
	if _, err := d.Send(t.Context(), b, o); err == nil {
		t.Error("no error from a rule that is none")
	}
}

func TestMaxDelete(t *testing.T) {
	tree := []treetest.Entry{
		treetest.Dir("x"), treetest.Dir("x/y"), treetest.File("x/y/a", ""), treetest.File("x/y/b", ""),
		treetest.File("x/c", ""),
		treetest.Dir("k"), treetest.File("k/k", ""), treetest.File("e1", ""), treetest.File("e2", ""), treetest.Dir("in"),
		treetest.File("in/e3", ""), treetest.File("a", ""),
	}
	for limit := range 13 {
		from, to, want := pair(t, []treetest.Entry{treetest.Dir("in"), treetest.Dir("a")}, tree)
		o := archive()
		o.Delete, o.MaxDelete = true, limit
		rep, rec := deletesLikeRsync(t, from, to, want, o)
		const extra = 10 // the file in the place of a directory is none
		if hit := limit < extra; rep.LimitHit != hit || len(rec.deleted) != min(limit, extra) {
			t.Errorf("limit %d: hit %v, %d deleted", limit, rep.LimitHit, len(rec.deleted))
		}
		if wantCode := map[bool]int{true: codeLimit}[rep.LimitHit]; rep.ExitCode != wantCode {
			t.Errorf("limit %d: exit code %d, want %d", limit, rep.ExitCode, wantCode)
		}
	}
}

// Large files go another way than the small ones of the other tests.
func TestLargeFiles(t *testing.T) {
	long := strings.Repeat("n", 255)
	src := []treetest.Entry{
		treetest.Dir("setgid", treetest.Mode(0o2755)), treetest.File("setgid/new", large), treetest.File("setgid/small", "x"),
		treetest.File(long, large, treetest.Mode(0o4755), treetest.Mtime(-5, 999999999)), treetest.File("dir", large),
		treetest.File("fifo", large), treetest.File("link", large), treetest.File("old", large, treetest.Mode(0o600)),
	}
	dst := []treetest.Entry{
		treetest.Dir("dir"), treetest.Fifo("fifo"), treetest.Symlink("link", "/etc/passwd"), treetest.File("old", "old"),
		treetest.Dir("setgid", treetest.Mode(0o2755)),
	}
	if os.Geteuid() == 0 {
		dst = append(dst, treetest.Dir("setgid", treetest.Mode(0o2755), treetest.Owner(0, 12)))
	}
	for name, set := range map[string]func(*rsync.Options){
		"archive":    func(*rsync.Options) {},
		"no perms":   func(o *rsync.Options) { o.Perms = false },
		"no owners":  func(o *rsync.Options) { o.Owner, o.Group = false, false },
		"names only": func(o *rsync.Options) { o.Perms, o.Owner, o.Group = false, false, false },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to, want := pair(t, src, dst)
			o := archive()
			set(&o)
			likeRsync(t, from, to, want, o)
			clean(t, to)
		})
	}
}

// Entries of mode 0 are deletions (protocol 9.2).
func TestMissing(t *testing.T) {
	for _, force := range []bool{true, false} {
		dst := treetest.TempDir(t)
		outside := t.TempDir()
		treetest.Write(t, dst, treetest.Dir("d"), treetest.File("d/f", ""), treetest.Symlink("d/link", outside),
			treetest.Dir("d/empty"), treetest.Dir("d/full"), treetest.Dir("d/full/sub"), treetest.File("d/full/sub/f", ""),
			treetest.Fifo("d/fifo"), treetest.File("d/stays", ""))
		treetest.Write(t, outside, treetest.File("f", ""))
		d := open(t, dst)
		rec := &recorder{b: &rsync.Batch{Entries: []flist.Entry{{Path: "d", Mode: unix.S_IFDIR | 0o755, Mtime: 5}}}}
		for _, p := range []string{"f", "link", "empty", "full", "fifo", "nothing", "no/such"} {
			rec.b.Entries = append(rec.b.Entries, flist.Entry{Path: "d/" + p})
		}
		rec.b.Events = rec
		o := archive()
		o.DeleteMissing, o.Force = true, force
		rep, err := d.Send(t.Context(), rec.b, o)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"d/empty/", "d/f", "d/fifo", "d/link"}
		if force {
			want = append(want, "d/full/", "d/full/sub/", "d/full/sub/f")
		}
		if diff := sameLines(want, rec.deleted); diff != "" {
			t.Errorf("force %v: deleted otherwise:\n%s", force, diff)
		}
		for i, r := range rep.Results {
			e := rec.b.Entries[i]
			if wantState := e.Path != "d/full" || force; (r.State == rsync.Acked) != wantState {
				t.Errorf("force %v: %s: %v %v", force, e.Path, r.State, r.Err)
			}
		}
		left := treetest.Snapshot(t, dst, treetest.Options{})
		if n := left["d"]; n.Mtime != 5 || left["d/stays"].Mode == 0 {
			t.Errorf("left: %v", left)
		}
		if _, err := os.Stat(filepath.Join(outside, "f")); err != nil {
			t.Error("a symlink was followed:", err)
		}
	}
}

func TestMissingIsRefusedUnasked(t *testing.T) {
	d := open(t, t.TempDir())
	rep, err := d.Send(t.Context(), &rsync.Batch{Entries: []flist.Entry{{Path: "f"}}}, archive())
	if e, ok := err.(*rsync.Error); !ok || e.Kind != rsync.KindRefused || rep == nil {
		t.Errorf("got %v, %v", rep, err)
	}
}

func open(t *testing.T, dir string) *Dest {
	t.Helper()
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}
