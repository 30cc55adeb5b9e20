package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// Files with names all over a tree that is larger than a session's batch arrive as rsync -aH brings them, at the first copy
// and after links were made, broken and removed and contents changed; and verification agrees.
func TestHardLinksAsRsync(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"daemon", "local", "state"} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			src, module := treetest.TempDir(t), treetest.TempDir(t)
			rng := rand.New(rand.NewPCG(uint64(len(form)), 11))
			const dirs, groups = 60, 3000
			name := func() string {
				return filepath.Join(src, fmt.Sprintf("d%d/%d", rng.IntN(dirs), rng.IntN(4*groups)))
			}
			// No two contents have the same time: rsync would take the one for the other.
			clock := time.Unix(1_500_000_000, 0)
			write := func(p string, content []byte) {
				t.Helper()
				clock = clock.Add(time.Second)
				if err := errors.Join(os.WriteFile(p, content, 0o644), os.Chtimes(p, time.Time{}, clock)); err != nil {
					t.Fatal(err)
				}
			}
			for i := range dirs {
				treetest.Write(t, src, treetest.Dir(fmt.Sprintf("d%d", i)))
			}
			var names []string
			for i := range groups {
				first := name()
				write(first, fmt.Appendf(nil, "content %d", i))
				names = append(names, first)
				for range 1 + rng.IntN(3) {
					other := name()
					if os.Link(first, other) == nil {
						names = append(names, other)
					}
				}
			}
			daemon := rsynctest.Daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Path: module}}})
			to := daemon.URL("m/ours")
			flags := []string{"-aH", "--delete", "--numeric-ids", "-@-1"}
			ours := flags
			switch form {
			case "local":
				to = filepath.Join(module, "ours")
			case "state":
				ours = append(ours[:len(ours):len(ours)], "--state-dir="+t.TempDir())
			}
			run := func() (changed []string) {
				t.Helper()
				cmd := exec.Command(rsynctest.Rsync(t), append(flags, src+"/", daemon.URL("m/theirs")+"/")...)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("rsync: %v\n%s", err, out)
				}
				changed = changes(t, append(ours[:len(ours):len(ours)], src, to)...)
				treetest.Equal(t, filepath.Join(module, "theirs"), filepath.Join(module, "ours"), treetest.Options{})
				treetest.Equal(t, src, filepath.Join(module, "ours"), treetest.Options{})
				return changed
			}
			run()
			if changed := run(); len(changed) > 0 {
				t.Errorf("nothing was to be done: %q", changed)
			}
			for round := range 2 {
				for i := range 400 {
					p := names[rng.IntN(len(names))]
					switch other := names[rng.IntN(len(names))]; rng.IntN(5) {
					case 0:
						os.Remove(p)
						write(p, fmt.Appendf(nil, "broken %d %d", round, i))
					case 1:
						write(p, fmt.Appendf(nil, "changed %d %d", round, i))
					case 2:
						if _, err := os.Lstat(other); err == nil && other != p {
							os.Remove(p)
							os.Link(other, p)
						}
					case 3:
						os.Chmod(p, 0o600+os.FileMode(rng.IntN(64)))
					case 4:
						os.Remove(p)
					}
				}
				run()
			}
			if form != "local" {
				out, err := exec.Command(program, append(flags, "--verify", src, to)...).CombinedOutput()
				if err != nil {
					t.Errorf("--verify: %v\n%s", err, out)
				}
			}
		})
	}
}
