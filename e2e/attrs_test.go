package e2e

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// Two destinations, one filled by rsync and one by syncd with the same flags, stay equal with all metadata: at the first
// copy, when nothing is to be done, and after random changes of everything.
func TestAttributesAsRsync(t *testing.T) {
	t.Parallel()
	for _, flags := range []string{"-aHAX", "-aAX", "-aX", "-aA", "-aAXc"} {
		for _, form := range []string{"daemon", "local"} {
			t.Run(flags+" "+form, func(t *testing.T) {
				t.Parallel()
				seed := uint64(len(flags) + len(form))
				attributesAsRsync(t, flags, form == "local", rand.New(rand.NewPCG(seed, 7)))
			})
		}
	}
}

func attributesAsRsync(t *testing.T, flags string, local bool, rng *rand.Rand) {
	src, module := treetest.TempDir(t), treetest.TempDir(t)
	treetest.Random(t, rng, src, 150)
	treetest.MutateAttrs(t, rng, src, 200)
	treetest.HostileAttrs(t, src)
	daemon := rsynctest.Daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Path: module}}})
	theirs, ours := filepath.Join(module, "theirs"), filepath.Join(module, "ours")
	to := daemon.URL("m/ours")
	if local {
		to = ours
	}
	all := []string{flags, "--delete", "--numeric-ids", "-@-1"}
	run := func() (changed []string) {
		t.Helper()
		cmd := exec.Command(rsynctest.Rsync(t), append(all, src+"/", daemon.URL("m/theirs")+"/")...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("rsync: %v\n%s", err, out)
		}
		changed = changes(t, append(all, src, to)...)
		treetest.Equal(t, theirs, ours, treetest.Options{})
		o := treetest.Options{}
		if !strings.Contains(flags, "H") {
			o.Ignore |= treetest.HardLinks
		}
		if !strings.Contains(flags, "AX") {
			o.Ignore |= treetest.Xattrs // what one of the two leaves out
		}
		treetest.Equal(t, src, ours, o)
		return changed
	}
	run()
	if changed := run(); len(changed) > 0 {
		t.Errorf("nothing was to be done: %q", changed)
	}
	for range 4 {
		// What -H makes of names that were links to one file and are no more depends, in rsync, on the order of its work.
		if !strings.Contains(flags, "H") {
			treetest.Mutate(t, rng, src, 40)
		}
		treetest.MutateAttrs(t, rng, src, 60)
		run()
	}
}

// The tree that has everything in it, with all that -aHAX copies of it.
func TestHostileTreeWithAttributes(t *testing.T) {
	t.Parallel()
	src := treetest.TempDir(t)
	treetest.Hostile(t, src, 1000)
	treetest.HostileAttrs(t, src)
	s := rsynctest.Daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Path: treetest.TempDir(t)}}})
	dst := filepath.Join(s.Dir("m"), "dest")
	for _, dest := range []string{s.URL("m/dest"), filepath.Join(treetest.TempDir(t), "local")} {
		t.Run(fmt.Sprint("local ", dest[0] == '/'), func(t *testing.T) {
			if dest[0] == '/' {
				dst = dest
			}
			args := []string{"-aHAX", "--delete", "--numeric-ids", src, dest}
			syncd(t, 0, append([]string{"--full"}, args...)...)
			treetest.Equal(t, src, dst, treetest.Options{})
			if again := changes(t, args...); len(again) > 0 {
				t.Errorf("the second run changed %d entries: %.500q", len(again), again)
			}
			treetest.Equal(t, src, dst, treetest.Options{})
		})
	}
}
