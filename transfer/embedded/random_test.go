package embedded

import (
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/need"
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
	{"attributes", func(o *rsync.Options) { o.ACLs, o.Xattrs, o.Delete = true, true, true }},
	{"attributes of links", func(o *rsync.Options) { o.ACLs, o.Xattrs, o.HardLinks, o.Delete = true, true, true, true }},
	{"acls", func(o *rsync.Options) { o.ACLs = true }},
	{"xattrs", func(o *rsync.Options) { o.Xattrs, o.IgnoreTimes = true, true }},
	{"names only", func(o *rsync.Options) { *o = rsync.Options{MaxDelete: -1} }},
}

// Random trees over random others: the dry run says what rsync's says, and the run does what rsync does.
func TestLikeRsync(t *testing.T) {
	for _, v := range variants {
		o := archive()
		v.set(&o)
		attrs := o.ACLs || o.Xattrs
		if attrs && os.Getenv(asNobody) != "" {
			continue // rsync leaves inherited ACLs to what it makes in directories of odd modes: it is no model
		}
		t.Run(strings.ReplaceAll(v.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			if attrs {
				need.Root(t)
			}
			for seed := range *seeds {
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
	attributes := func() {
		if o.ACLs || o.Xattrs {
			treetest.MutateAttrs(t, rng, path("first"), 60)
		}
	}
	attributes()
	copyTree(t, path("first"), path("dst"), o.HardLinks)
	copyTree(t, path("dst"), path("want"), o.HardLinks)
	treetest.Mutate(t, rng, path("first"), 40)
	attributes()
	copyTree(t, path("first"), path("src"), o.HardLinks)
	if o.IgnoreExisting {
		unblock(t, path("src"), path("dst"), path("want"))
	}

	dry := o
	dry.DryRun = true
	before := treetest.Snapshot(t, path("dst"), treetest.Options{})
	want, ok := tryOracle(t, path("src"), path("dst"), dry)
	if !ok {
		return
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

// unblock removes from trees what stands, in the first of them, in the place of a directory of src. With
// --ignore-existing it stays, and rsync then writes through it if it is a symlink, or announces what it cannot do.
func unblock(t *testing.T, src string, dsts ...string) {
	for p, n := range treetest.Snapshot(t, src, treetest.Options{}) {
		if st, err := os.Lstat(filepath.Join(dsts[0], p)); isDir(n.Mode) && err == nil && !st.IsDir() {
			for _, dst := range dsts {
				if err := os.Remove(filepath.Join(dst, p)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// comparable is a snapshot without what rsync has no clear rule for: times that are those of the test itself, or that a
// window leaves as near as they are; without -p the mode of a node that replaces something else.
func comparable(t *testing.T, dir string, o rsync.Options) treetest.Tree {
	var ignore treetest.Field
	if !o.Times {
		ignore = treetest.FileMtime | treetest.DirMtime | treetest.LinkMtime
	}
	if o.OmitDirTimes {
		ignore |= treetest.DirMtime
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
