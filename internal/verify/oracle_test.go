package verify

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// What is named in random trees that differ in everything is what the real rsync would do to them, however small the
// lists are.
func TestOracle(t *testing.T) {
	seeds := 8
	if testing.Short() {
		seeds = 3
	}
	s := rsynctest.Daemon(t, rsynctest.Config{})
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			src, name := treetest.TempDir(t), fmt.Sprint(seed)
			dst := filepath.Join(s.Dir("m"), name)
			check(t, os.Mkdir(dst, 0o755))
			rng := rand.New(rand.NewPCG(7, uint64(seed)))
			treetest.Random(t, rng, src, 150)
			mirror(t, src, dst)
			treetest.Mutate(t, rng, dst, 60)
			dest := s.URL("m/" + name)
			if seed%4 == 3 {
				dest = dst
			}
			want := itemized(t, src, dst)
			_, rec := tree(t, src, dest, func(c *Config) {
				c.Session.HardLinks = false // which name rsync calls the link depends on the list
				c.tuning.entries = 20 + 400*(seed%2)
				c.tuning.bytes = 100_000
			})
			var got []string
			for _, line := range rec.found {
				line = escaped(line)
				if dest == dst && line[0] == '<' {
					line = ">" + line[1:]
				}
				got = append(got, strings.Replace(line, ">", "<", 1))
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-rsync +got:\n%s", diff)
			}
			if len(want) < 20 {
				t.Errorf("only %d differences: this proves little", len(want))
			}
		})
	}
}

// itemized is what the real rsync would do, sorted.
func itemized(t *testing.T, src, dst string) []string {
	t.Helper()
	out, err := exec.Command(rsynctest.Rsync(t), "-8nac", "--numeric-ids", "-@-1", "--delete", "--out-format=%i %n", src+"/",
		dst+"/").CombinedOutput()
	if err != nil {
		t.Fatalf("rsync: %v: %s", err, out)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		line = strings.Replace(strings.TrimSuffix(line, "\n"), ">", "<", 1)
		if strings.HasPrefix(line, "*") || strings.Trim(line[2:11], ".") != "" {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

var special = regexp.MustCompile(`[\x00-\x1f\x7f]|\\#[0-7]{3}`)

// escaped is a line as rsync -8 prints it.
func escaped(line string) string {
	return special.ReplaceAllStringFunc(line, func(s string) string {
		return fmt.Sprintf(`\#%03o`, s[0]) + s[1:]
	})
}
