package e2e

import (
	"math/rand/v2"
	"os/exec"
	"testing"

	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// Changed modes and the ACLs that they are a part of.
func TestChmodWithACLs(t *testing.T) {
	t.Parallel()
	w := newTwins(t, 3, "-AX", "--numeric-ids", "--chmod=Dg+s,g-w,o=,F+X")
	w.options = treetest.Options{Ignore: treetest.HardLinks}
	treetest.Random(t, w.rng, w.src, 80)
	treetest.HostileAttrs(t, w.src)
	for range 3 {
		treetest.MutateAttrs(t, w.rng, w.src, 60)
		w.run(t)
	}
}

// A local directory gets the changed modes too, and a comparison with the flags of the copy finds them equal, but one
// without them not.
func TestChmodOfALocalDirectory(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(4, 1))
	src, ours, theirs := treetest.TempDir(t), treetest.TempDir(t), treetest.TempDir(t)
	treetest.Random(t, rng, src, 80)
	s := rsynctest.Daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Path: ours}}})
	for range 2 {
		args := []string{"-a", "-@-1", "--delete", "--numeric-ids", "--chmod=Dg+s,Fo-r,+X"}
		if out, err := exec.Command(rsynctest.Rsync(t), append(args, src+"/", theirs)...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		syncd(t, 0, append(args, "--full", src, ours)...)
		treetest.Equal(t, theirs, ours, plain)
		for _, dest := range []string{ours, s.URL("m")} {
			syncd(t, 0, append(args, "--verify", src, dest)...)
			syncd(t, 4, append(args[:len(args)-1:len(args)-1], "--verify", src, dest)...)
		}
		treetest.Mutate(t, rng, src, 30)
	}
}

// Changes arrive with changed modes.
func TestChmodWhileFollowing(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 1))
	src, theirs := t.TempDir(), treetest.TempDir(t) // of which the first is watched
	treetest.Random(t, rng, src, 80)
	d := rsynctest.Daemon(t, rsynctest.Config{})
	const chmod = "--chmod=Dg+s,Fo-r,+X"
	s := follow(t, src, d.Dir("m"), d.URL("m"), chmod)
	s.src = theirs
	for range 3 {
		cmd := exec.Command(rsynctest.Rsync(t), "-a", "-@-1", "--delete", "--numeric-ids", chmod, src+"/", theirs)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		s.converged()
		treetest.Mutate(t, rng, src, 30)
	}
}
