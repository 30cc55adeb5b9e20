package embedded

import (
	"flag"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/treetest"
	"golang.org/x/sys/unix"
)

var seeds = flag.Int("seeds", 4, "random trees for each set of options")

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
	for _, v := range variants {
		t.Run(strings.ReplaceAll(v.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			for seed := range *seeds {
				o := archive()
				v.set(&o)
				compareWithRsync(t, uint64(seed), o)
			}
		})
	}
}

func compareWithRsync(t *testing.T, seed uint64, o rsync.Options) {
	t.Helper()
	dir := treetest.TempDir(t)
	path := func(name string) string { return filepath.Join(dir, name) }
	rng := rand.New(rand.NewPCG(seed, 1))
	if err := os.Mkdir(path("first"), 0o755); err != nil {
		t.Fatal(err)
	}
	treetest.Random(t, rng, path("first"), 60)
	copyTree(t, path("first"), path("dst"), o.HardLinks)
	copyTree(t, path("dst"), path("want"), o.HardLinks)
	treetest.Mutate(t, rng, path("first"), 40)
	copyTree(t, path("first"), path("src"), o.HardLinks)

	dry := o
	dry.DryRun = true
	before := treetest.Snapshot(t, path("dst"), treetest.Options{})
	want, ok := tryOracle(t, path("src"), path("dst"), dry)
	if !ok {
		return
	}
	if o.IgnoreExisting {
		want = slices.DeleteFunc(want, blocked(path("src"), path("dst")))
	}
	normal := linked(t, path("src"))
	want = normal(want)
	_, rec := sendTree(t, path("src"), path("dst"), dry)
	if diff := sameLines(want, normal(rec.lines)); diff != "" {
		t.Errorf("seed %d: dry run itemizes otherwise:\n%s", seed, diff)
	}
	if diff := treetest.Diff(before, treetest.Snapshot(t, path("dst"), treetest.Options{})); diff != "" {
		t.Fatalf("seed %d: dry run changed the destination:\n%s", seed, diff)
	}

	oracle(t, path("src"), path("want"), o)
	_, rec = sendTree(t, path("src"), path("dst"), o)
	if diff := treetest.Diff(comparable(t, path("want"), o), comparable(t, path("dst"), o)); diff != "" {
		t.Errorf("seed %d: the result is another:\n%s", seed, diff)
	}
	// A real run of rsync says less than its dry run, about links and specials: compare with that.
	if diff := sameLines(want, normal(rec.lines)); diff != "" && !o.HardLinks {
		t.Errorf("seed %d: run itemizes otherwise:\n%s", seed, diff)
	}
}

// linked returns a function that leaves of the lines about names of one file only that there is one. What rsync says
// of them on random trees depends on the order of its work, and in dry runs on what it only believes to have done.
func linked(t *testing.T, src string) func(lines []string) []string {
	many := make(map[string]bool)
	for p, n := range treetest.Snapshot(t, src, treetest.Options{}) {
		if n.Link != "" {
			many[p] = true
		}
	}
	return func(lines []string) []string {
		out := slices.Clone(lines)
		for i, l := range out {
			if many[l[12:]] && !strings.HasPrefix(l, rsync.Deleting) {
				out[i] = "linked      " + l[12:]
			}
		}
		slices.Sort(out)
		return slices.Compact(out)
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

// comparable is a snapshot without what rsync has no clear rule for: times that are those of the test itself, that a
// window leaves as near as they are, or that rsync gives to a file which keeps a directory's place; without -p the mode of a node that replaces something else.
func comparable(t *testing.T, dir string, o rsync.Options) treetest.Tree {
	var ignore treetest.Field
	if !o.Times {
		ignore = treetest.FileMtime | treetest.DirMtime | treetest.LinkMtime
	}
	if o.OmitDirTimes {
		ignore |= treetest.DirMtime
	}
	if o.IgnoreExisting {
		ignore |= treetest.FileMtime | treetest.LinkMtime
	}
	tree := treetest.Snapshot(t, dir, treetest.Options{Ignore: ignore})
	for p, n := range tree {
		if !o.Perms && !isDir(n.Mode) && !isRegular(n.Mode) {
			n.Mode &= unix.S_IFMT
		}
		if o.ModifyWindow >= 0 && !isRegular(n.Mode) {
			n.Mtime, n.Nsec = 0, 0
		}
		tree[p] = n
	}
	return tree
}
