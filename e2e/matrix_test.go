package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/treetest"
)

// matrix are flags of which one of each row goes with those of the others.
var matrix = [][]string{
	{"", "--inplace", "-S", "-S --inplace", "--preallocate", "--fsync", "--temp-dir=.tmp", "-W", "-y"},
	{"", "", "-z", "-z --zc=lz4", "--old-compress"},
	{"", "", "-c", "-I", "--size-only", "-u", "--existing", "-u --existing", "--max-size=2000", "--min-size=100"},
	{"", "-X", "-A", "-AX", "--numeric-ids", "--chmod=Dg+s,Fo-r,+X", "-A --chmod=u=rwX,go=", "--chown=1:2", "--no-p --no-o", "-O"},
	{"", "", "-b", "--backup-dir=.tmp/old", "-b --suffix=.old"},
	{"", "", "", "--protocol=31"},
}

// own are flags that rsync does not have.
var own = []string{"", "", "--sessions=1", "--big-file=1000"}

// trees are what is copied.
var trees = map[string]func(t *testing.T, rng *rand.Rand, src string){
	"random":  func(t *testing.T, rng *rand.Rand, src string) { treetest.Random(t, rng, src, 100) },
	"hostile": func(t *testing.T, rng *rand.Rand, src string) { treetest.Hostile(t, src, 50) },
	"sparse": func(t *testing.T, rng *rand.Rand, src string) {
		for i := range 10 {
			treetest.Write(t, src, treetest.File(fmt.Sprintf("d%d/image", i), strings.Repeat("x", rng.IntN(100_000)),
				treetest.Size(rng.Int64N(1<<20)), treetest.Mtime(int64(i), 1)))
		}
	},
	"attributes": func(t *testing.T, rng *rand.Rand, src string) {
		treetest.Random(t, rng, src, 60)
		treetest.MutateAttrs(t, rng, src, 100)
	},
}

// TestMatrix compares what syncd and rsync make of random combinations of flags and trees, one for each seed: the first
// SYNCD_MATRIX of them, or the one that SYNCD_SEED names.
func TestMatrix(t *testing.T) {
	t.Parallel()
	first, n := 0, 8
	if testing.Short() {
		n = 4
	}
	if s, err := strconv.Atoi(os.Getenv("SYNCD_MATRIX")); err == nil {
		n = s
	}
	if s, err := strconv.Atoi(os.Getenv("SYNCD_SEED")); err == nil {
		first, n = s, 1
	}
	for seed := first; seed < first+n; seed++ {
		rng := rand.New(rand.NewPCG(uint64(seed), 3))
		kind := []string{"random", "hostile", "sparse", "attributes"}[rng.IntN(4)]
		var flags []string
		for _, row := range matrix {
			one := row[rng.IntN(len(row))]
			if kind == "hostile" && (strings.HasPrefix(one, "-b") || strings.HasPrefix(one, "--backup")) {
				continue // names there are as long as names can be; rsync ends when it cannot rename one
			}
			flags = append(flags, strings.Fields(one)...)
		}
		ours := strings.Fields(own[rng.IntN(len(own))])
		t.Run(fmt.Sprint(seed, " ", kind, " ", strings.Join(append(flags, ours...), " ")), func(t *testing.T) {
			t.Parallel()
			w := newTwins(t, uint64(seed), flags...)
			w.own = ours
			line := " " + strings.Join(flags, " ")
			if strings.Contains(line, " -AX") {
				w.options.Ignore &^= treetest.Xattrs
			}
			if strings.Contains(line, " -b") || strings.Contains(line, " --backup") || strings.Contains(line, " -O") {
				w.options.Ignore |= treetest.DirMtime // nobody sets them
			}
			trees[kind](t, w.rng, w.src)
			w.changes(t, kind != "attributes")
			if kind == "attributes" {
				treetest.MutateAttrs(t, w.rng, w.src, 50)
				w.run(t)
			}
		})
	}
}
