package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/filesfrom"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/internal/treetest"
)

func named(t *testing.T, names ...string) *filesfrom.Set {
	t.Helper()
	s, err := filesfrom.Read(strings.NewReader(strings.Join(names, "\x00")), true, false)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// With many batches, and connections that break anywhere, a list brings what it brings with rsync; the destination's own
// directory stays as it is.
func TestOnlyOverBrokenConnections(t *testing.T) {
	for seed := range seeds(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 22))
			src, want, module := treetest.TempDir(t), treetest.TempDir(t), treetest.TempDir(t)
			treetest.Random(t, rng, src, 300)
			var names []string
			err := filepath.WalkDir(src, func(p string, d fs.DirEntry, err error) error {
				if rel := strings.TrimPrefix(p, src+"/"); err == nil && p != src && rng.IntN(2) == 0 {
					names = append(names, "/"+rel)
				}
				return err
			})
			list := filepath.Join(t.TempDir(), "list")
			if err = errors.Join(err, os.Chmod(src, 0o751), os.WriteFile(list, []byte(strings.Join(names, "\x00")), 0o600)); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(rsynctest.Rsync(t), "-a0", "-@-1", "--numeric-ids", "--files-from="+list, src+"/", want).CombinedOutput()
			if err != nil {
				t.Fatalf("rsync: %v\n%s", err, out)
			}
			s := rsynctest.Daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Path: module}}})
			relay := rsynctest.Proxy(t, s.Addr(), rsynctest.Faults{})
			c, rec := config(t, src, relay.URL("m"), func(c *Config) { c.Only = named(t, names...) })
			c.tuning.entries = 10 + rng.IntN(50)
			e, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			sessions := 0
			e.dest = meddler{e.dest, func() {
				if sessions++; seed > 0 && sessions%4 == 2 { // not the first: before it nobody knows whether the address is right
					relay.Set(cut(rng))
				}
			}}
			if err := e.Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			rec.clean(t)
			for _, dir := range []string{want, module} { // when something was made in it
				if err := os.Chtimes(dir, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
					t.Fatal(err)
				}
			}
			equal(t, want, module)
			if p := e.Progress(); seed == 0 && p.Entries != p.TotalEntries { // what is tried again may count again
				t.Errorf("%d entries of %d", p.Entries, p.TotalEntries)
			}
		})
	}
}

// A directory that is another thing by the time when it is listed leads nowhere: the names below it are told.
func TestOnlyWhatIsReplaced(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "elsewhere/file"), "not asked for")
	for _, d := range []string{"gone", "link"} {
		write(t, filepath.Join(src, d, "file"), "")
	}
	c, _ := config(t, src, t.TempDir(), func(c *Config) { c.Only = named(t, "gone/file", "link/file", "link/sub/file") })
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	root := e.list(ctx, &listJob{path: "."}, new(scratch))
	if err := errors.Join(os.RemoveAll(src+"/gone"), os.RemoveAll(src+"/link"), os.Symlink("elsewhere", src+"/link")); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]string{"gone": "[gone/file]", "link": "[link/file link/sub/file]"} {
		l := e.list(ctx, &listJob{path: p, parent: root.dir}, new(scratch))
		var failed []string
		for _, f := range l.failed {
			failed = append(failed, f.path)
			if !errors.Is(f.err, fs.ErrNotExist) && !errors.Is(f.err, scan.ErrNotDir) {
				t.Errorf("%s: %v", f.path, f.err)
			}
		}
		if got := fmt.Sprint(failed); got != want || len(l.children) > 0 || !l.vanished {
			t.Errorf("%s: failed %s, want %s; %d children, vanished %v", p, got, want, len(l.children), l.vanished)
		}
	}
}

// What is about whole directories does not go with a list.
func TestOnlyRefuses(t *testing.T) {
	merge := new(filter.List)
	if err := merge.PerDirectory(false); err != nil {
		t.Fatal(err)
	}
	for what, edit := range map[string]func(*Config){
		"deletion":  deleting,
		"catalogue": remembering(t, t.TempDir()),
		"rules":     func(c *Config) { c.Filter = merge },
	} {
		c, _ := config(t, t.TempDir(), t.TempDir(), edit)
		c.Only = named(t, "a")
		if _, err := New(c); err == nil {
			t.Errorf("with %s: no error", what)
		}
	}
}
