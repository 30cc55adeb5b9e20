package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/treetest"
)

// accessed are the times of last access, in seconds, of all but directories.
func accessed(t *testing.T, root string) map[string]int64 {
	t.Helper()
	times := map[string]int64{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() { // to read a symlink is to access it
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(p, &st); err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		times[rel] = st.Atim.Sec
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return times
}

// Times of last access arrive, also if nothing else changed, and reading for the copy does not change them here.
func TestAccessTimes(t *testing.T) {
	t.Parallel()
	w := newTwins(t, 6, "-U")
	treetest.Random(t, w.rng, w.src, 100)
	for round := range 3 {
		for p := range accessed(t, w.src) {
			name := filepath.Join(w.src, p)
			if st, err := os.Lstat(name); err == nil && st.Mode().IsRegular() && w.rng.IntN(2) == 0 {
				if err := os.Chtimes(name, time.Unix(w.rng.Int64N(1<<32), 0), st.ModTime()); err != nil {
					t.Fatal(err)
				}
			}
		}
		before := accessed(t, w.src)
		w.looked = func() {
			ours, theirs := accessed(t, w.ours), accessed(t, w.theirs)
			for p, want := range theirs {
				if ours[p] != want {
					t.Errorf("round %d: %q was accessed at %d, with rsync at %d; here at %d", round, p, ours[p], want, before[p])
				}
			}
			for p, want := range before {
				if ours[p] != want {
					t.Errorf("round %d: %q was accessed at %d, here at %d", round, p, ours[p], want)
				}
			}
		}
		w.run(t)
		treetest.Mutate(t, w.rng, w.src, 20)
	}
}
