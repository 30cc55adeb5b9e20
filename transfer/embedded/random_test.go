package embedded

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/rsync"
)

// variants are the option sets of the comparison with rsync, beside -a.
var variants = []struct {
	name string
	set  func(*rsync.Options)
}{
	{"archive", func(o *rsync.Options) {}},
	{"seconds", func(o *rsync.Options) { o.ModifyWindow = 0 }},
	{"window", func(o *rsync.Options) { o.ModifyWindow = 1 }},
	{"delete", func(o *rsync.Options) { o.Delete = true }},
	{"links", func(o *rsync.Options) { o.HardLinks = true; o.Delete = true }},
	{"force", func(o *rsync.Options) { o.Force = true }},
	{"checksum", func(o *rsync.Options) { o.Checksum = true; o.Delete = true }},
	{"ignore times", func(o *rsync.Options) { o.IgnoreTimes = true }},
	{"size only", func(o *rsync.Options) { o.SizeOnly = true }},
	{"existing", func(o *rsync.Options) { o.Existing = true }},
	{"ignore existing", func(o *rsync.Options) { o.IgnoreExisting = true }},
	{"no perms", func(o *rsync.Options) { o.Perms = false; o.Delete = true }},
	{"no times", func(o *rsync.Options) { o.Times = false; o.Delete = true }},
	{"no owners", func(o *rsync.Options) { o.Owner = false; o.Group = false }},
	{"no dir times", func(o *rsync.Options) { o.OmitDirTimes = true }},
	{"names only", func(o *rsync.Options) { *o = rsync.Options{MaxDelete: -1} }},
}

// Random trees over random others: the dry run says what rsync's says, and the run does what rsync does.
func TestLikeRsync(t *testing.T) {
	seeds := 12
	for _, v := range variants {
		t.Run(strings.ReplaceAll(v.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			for seed := range seeds {
				o := archive()
				v.set(&o)
				compareWithRsync(t, uint64(seed), o)
			}
		})
	}
}

func compareWithRsync(t *testing.T, seed uint64, o rsync.Options) {
	t.Helper()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	g := &grower{t: t, r: rand.New(rand.NewPCG(seed, 1)), root: os.Geteuid() == 0, links: o.HardLinks}
	if err := os.Mkdir(path("src"), 0o755); err != nil {
		t.Fatal(err)
	}
	g.fill(path("src"), 12, 3)
	copyTree(t, path("src"), path("dst"))
	g.change(path("src"), 25)
	copyTree(t, path("dst"), path("want"))

	dry := o
	dry.DryRun = true
	before := snapshot(t, path("dst"))
	want, ok := tryOracle(t, path("src"), path("dst"), dry)
	if !ok {
		return
	}
	if o.IgnoreExisting {
		want = slices.DeleteFunc(want, blocked(path("src"), path("dst")))
	}
	_, rec := sendTree(t, path("src"), path("dst"), dry)
	if diff := sameLines(want, rec.lines); diff != "" {
		t.Errorf("seed %d: dry run itemizes otherwise:\n%s", seed, diff)
	}
	if diff := sameLines(before, snapshot(t, path("dst"))); diff != "" {
		t.Fatalf("seed %d: dry run changed the destination:\n%s", seed, diff)
	}

	oracle(t, path("src"), path("want"), o)
	_, rec = sendTree(t, path("src"), path("dst"), o)
	if diff := sameLines(timeless(o, snapshot(t, path("want"))), timeless(o, snapshot(t, path("dst")))); diff != "" {
		t.Errorf("seed %d: the result is another:\n%s", seed, diff)
	}
	// A real run of rsync says less than its dry run, about links and specials.
	if diff := sameLines(want, rec.lines); diff != "" && !o.HardLinks {
		t.Errorf("seed %d: run itemizes otherwise:\n%s", seed, diff)
	}
}

// blocked returns whether a line is about something below a file that keeps the place of a directory, with
// --ignore-existing: rsync announces some of it and fails.
func blocked(src, dst string) func(line string) bool {
	var below []string
	_ = filepath.WalkDir(src, func(p string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(src, p)
		if st, err := os.Lstat(filepath.Join(dst, rel)); d.IsDir() && err == nil && !st.IsDir() {
			below = append(below, rel+"/")
		}
		return err
	})
	return func(line string) bool {
		return slices.ContainsFunc(below, func(dir string) bool { return strings.HasPrefix(line[12:], dir) })
	}
}

// timeless leaves out the times where they are those of the test itself, where rsync leaves a directory's time as near
// as the window allows, or gives it to a file that keeps the directory's place.
func timeless(o rsync.Options, lines []string) []string {
	if o.Times && !o.OmitDirTimes && !o.IgnoreExisting && o.ModifyWindow < 0 {
		return lines
	}
	out := make([]string, len(lines))
	for i, l := range lines {
		at := strings.LastIndexByte(l[:strings.LastIndexByte(l, '"')+1], '"')
		if strings.Contains(l, "-> ") || strings.Contains(l, " = ") {
			at = strings.Index(l[1:], `" `) + 1
		}
		f := strings.SplitN(l[at+1:], " ", 5)
		dir := strings.HasPrefix(f[1], "4")
		if !o.Times || dir && (o.OmitDirTimes || o.ModifyWindow >= 0) || o.IgnoreExisting && !dir {
			f[3] = "-"
		}
		out[i] = fmt.Sprint(l[:at+1], strings.Join(f, " "))
	}
	return out
}
