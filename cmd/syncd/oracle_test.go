package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// On random trees with random changes, -n says what rsync -n -i says and a real
// run what rsync -i says; then both trees are equal and nothing is left to say.
func TestOutputIsRsyncs(t *testing.T) {
	rsync := rsynctest.Rsync(t)
	// Both escape names by the locale.
	t.Setenv("LC_ALL", "C.UTF-8")
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("daemon", seed), func(t *testing.T) {
			server := rsynctest.Daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "a"}, {Name: "b"}}})
			sameOutput(t, rsync, seed, [2]string{server.URL("a"), server.Dir("a")}, [2]string{server.URL("b"), server.Dir("b")})
		})
		t.Run(fmt.Sprint("local", seed), func(t *testing.T) {
			a, b := t.TempDir(), t.TempDir()
			sameOutput(t, rsync, seed, [2]string{a, a}, [2]string{b, b})
		})
	}
}

// sameOutput compares syncd to ours with rsync to theirs, each of them DEST and
// the directory behind it.
func sameOutput(t *testing.T, rsync string, seed uint64, ours, theirs [2]string) {
	rng := rand.New(rand.NewPCG(seed, 7))
	src := treetest.TempDir(t)
	treetest.Random(t, rng, src, 150)
	for _, dst := range []string{ours[1], theirs[1]} {
		command(t, rsync, "-a", "-@-1", src+"/", dst+"/")
	}
	treetest.Mutate(t, rng, src, 60)

	want := lines(command(t, rsync, "-an", "-i", "-@-1", "--delete", src+"/", ours[0]))
	if len(want) < 10 {
		t.Fatalf("only %d changes", len(want))
	}
	got := lines(syncd(t, "--full", "-an", "--delete", src, ours[0]))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-n differs from rsync's (-rsync +syncd):\n%s", diff)
	}
	want = lines(command(t, rsync, "-a", "-i", "-@-1", "--delete", src+"/", theirs[0]))
	got = lines(syncd(t, "--full", "-ai", "--delete", src, ours[0]))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-i differs from rsync's (-rsync +syncd):\n%s", diff)
	}
	treetest.Equal(t, src, ours[1], treetest.Options{Ignore: treetest.HardLinks})
	if again := syncd(t, "--full", "-ai", "--delete", src, ours[0]); again != "" {
		t.Errorf("a second run does something: %s", again)
	}
}

// syncd runs the whole command in this process and returns its standard output.
func syncd(t *testing.T, args ...string) string {
	t.Helper()
	var out, stderr bytes.Buffer
	noEnv := func(string) string { return "" }
	code := run(context.Background(), args, streams{strings.NewReader(""), &out, &stderr}, noEnv)
	if code != exitDone {
		t.Fatalf("syncd %q: exit %d: %s", args, code, stderr.String())
	}
	return out.String()
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// lines are in byte order: the order in which several connections end is anyone's.
func lines(s string) []string {
	l := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	slices.Sort(l)
	return l
}
