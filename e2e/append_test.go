package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/treetest"
)

// Files that have grown are added to; those that are not what they were before are found out, and those that are not
// longer are left alone: at every protocol, as rsync does it.
func TestAppendVerify(t *testing.T) {
	t.Parallel()
	for p := 29; p <= 32; p++ {
		for _, z := range []string{"", " -z"} {
			flags := fmt.Sprintf("--append-verify --protocol=%d%s", p, z)
			t.Run(flags, func(t *testing.T) {
				t.Parallel()
				w := newTwins(t, uint64(p), strings.Fields(flags)...)
				if p < 31 {
					w.flags = append(w.flags, "-@0") // no nanoseconds travel
					w.options.Ignore |= treetest.Nanosecond
				}
				old := bytes.Repeat([]byte("a line of a log\n"), 20_000)
				grown := append(bytes.Clone(old), "one more line\n"...)
				other := bytes.Clone(grown)
				other[5] = 'X'
				same := bytes.Clone(old)
				same[5] = 'X'
				for _, dir := range []string{w.ours, w.theirs} {
					for _, name := range []string{"log", "rewritten", "same size", "shorter", "sub/log"} {
						treetest.Write(t, dir, treetest.File(name, string(old), treetest.Mtime(1000, 0)))
					}
					treetest.Write(t, dir, treetest.File("empty", "", treetest.Mtime(1000, 0)))
				}
				for name, content := range map[string][]byte{
					"log": grown, "rewritten": other, "same size": same, "shorter": old[:1000], "sub/log": grown, "empty": old, "new": old,
				} {
					treetest.Write(t, w.src, treetest.File(name, string(content), treetest.Mtime(2000, 0)))
				}
				if !w.run(t) {
					t.Error("not all was done")
				}
				for name, want := range map[string][]byte{"log": grown, "rewritten": other, "shorter": old, "same size": old} {
					if b, err := os.ReadFile(filepath.Join(w.ours, name)); err != nil || !bytes.Equal(b, want) {
						t.Errorf("%s: %d bytes, %v", name, len(b), err)
					}
				}
				treetest.Write(t, w.src, treetest.File("log", string(grown)+"and one more\n", treetest.Mtime(3000, 0)))
				out := syncd(t, 0, append(append([]string{"--full", "--stats"}, w.flags...), w.src, w.daemon.URL("a"))...)
				if m := regexp.MustCompile(`Literal data: (\d+) bytes`).FindStringSubmatch(out); m == nil || m[1] != "13" {
					t.Errorf("sent as data: %q", m)
				}
				w.run(t)
			})
		}
	}
}
