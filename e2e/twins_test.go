package e2e

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// twins are two modules of one daemon, one to be filled by syncd and one by rsync with the same flags. Each has a
// directory .tmp of its own, which no copy knows of.
type twins struct {
	src          string
	ours, theirs string
	flags        []string // of both
	own          []string // of syncd alone
	options      treetest.Options
	looked       func() // before both are compared, which reads them; may be nil
	local        bool   // the directories are written without a daemon

	daemon *rsynctest.Server
	rng    *rand.Rand
}

func newTwins(t *testing.T, seed uint64, flags ...string) *twins {
	t.Helper()
	return newTwinsIn(t, map[string]string{"use chroot": "no", "numeric ids": "no"}, seed, flags...) // in a chroot there are no names
}

// newTwinsIn is newTwins with other options of the modules.
func newTwinsIn(t *testing.T, module map[string]string, seed uint64, flags ...string) *twins {
	t.Helper()
	rsynctest.Rsync(t)
	s := rsynctest.Daemon(t, rsynctest.Config{Modules: []rsynctest.Module{
		{Name: "a", Path: treetest.TempDir(t), Options: module}, {Name: "b", Path: treetest.TempDir(t), Options: module},
	}})
	w := &twins{
		src: treetest.TempDir(t), ours: s.Dir("a"), theirs: s.Dir("b"), daemon: s,
		flags:   append([]string{"-a", "-@-1", "--delete", "--exclude=/.tmp"}, flags...),
		options: plain, rng: rand.New(rand.NewPCG(seed, 11)),
	}
	w.settleTmp(t)
	return w
}

// dest is how module a or b is named.
func (w *twins) dest(module string) string {
	if w.local {
		return w.daemon.Dir(module)
	}
	return w.daemon.URL(module)
}

// settleTmp makes the directories .tmp equal, whatever was in them.
func (w *twins) settleTmp(t *testing.T) {
	t.Helper()
	for _, dir := range []string{w.ours, w.theirs} {
		tmp := filepath.Join(dir, ".tmp")
		if err := errors.Join(os.RemoveAll(tmp), os.Mkdir(tmp, 0o700), os.Chtimes(tmp, time.Unix(1, 0), time.Unix(1, 0))); err != nil {
			t.Fatal(err)
		}
	}
}

// run copies to both, which then must be equal. It reports whether both did all that they were to do.
func (w *twins) run(t *testing.T) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ours := exec.CommandContext(ctx, program, slices.Concat([]string{"--full"}, w.own, w.flags, []string{w.src, w.dest("a")})...)
	said, _ := ours.CombinedOutput()
	theirs := exec.CommandContext(ctx, rsynctest.Rsync(t), append(w.flags[:len(w.flags):len(w.flags)], w.src+"/", w.dest("b"))...)
	heard, _ := theirs.CombinedOutput()
	got, want := ours.ProcessState.ExitCode(), theirs.ProcessState.ExitCode()
	if done := got == 0 && want == 0; !done && (got != 3 || want != 23) {
		t.Fatalf("%q: exit status %d, of rsync %d\n%s\n%s", w.flags, got, want, said, heard)
	}
	for _, dir := range []string{w.ours, w.theirs} {
		if err := os.Chtimes(filepath.Join(dir, ".tmp"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if w.looked != nil {
		w.looked()
	}
	treetest.Equal(t, w.theirs, w.ours, w.options)
	if t.Failed() {
		t.Fatalf("after %q\n%s\n%s", w.flags, said, heard)
	}
	return got == 0
}

// changeDest changes both destinations in the same way.
func (w *twins) changeDest(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(w.ours, ".tmp")); err != nil {
		t.Fatal(err)
	}
	treetest.Random(t, w.rng, w.ours, 30)
	treetest.Mutate(t, w.rng, w.ours, 30)
	cmd := exec.Command(rsynctest.Rsync(t), "-aHAXI", "-@-1", "--delete", w.ours+"/", w.theirs)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("rsync: %v\n%s", err, out)
	}
	w.settleTmp(t)
}

// changes runs several times, with changes of the source in between and, if dest is set, of both destinations.
func (w *twins) changes(t *testing.T, dest bool) {
	t.Helper()
	for round := range 3 {
		if round > 0 {
			treetest.Mutate(t, w.rng, w.src, 40)
		}
		if dest {
			w.changeDest(t)
		}
		w.run(t)
	}
}
