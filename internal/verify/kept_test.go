package verify

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
	"github.com/syncd/syncd/transfer"
)

// What a destination is known not to keep is no difference, but only that; without such knowledge it is named.
func TestWhatIsNotKept(t *testing.T) {
	t.Parallel()
	src := treetest.TempDir(t)
	at := time.Unix(1_000_000_000, 123_000_000)
	for _, p := range []string{"mode", "nanoseconds", "seconds", "both"} {
		check(t, os.WriteFile(filepath.Join(src, p), []byte(p), 0o644))
		check(t, os.Chtimes(filepath.Join(src, p), at, at))
	}
	s := rsynctest.Daemon(t, rsynctest.Config{})
	dst := filepath.Join(s.Dir("m"), "dest")
	mirror(t, src, dst)
	check(t, os.Chmod(filepath.Join(dst, "mode"), 0o600))
	check(t, os.Chmod(filepath.Join(dst, "both"), 0o600))
	for p, there := range map[string]time.Time{"nanoseconds": at.Truncate(time.Second), "seconds": at.Add(time.Second), "both": at.Add(time.Minute)} {
		check(t, os.Chtimes(filepath.Join(dst, p), there, there))
	}
	for _, c := range []struct {
		name string
		kept *transfer.Kept
		want []string
	}{
		{"nobody knows", nil, []string{".f..tp..... both", ".f...p..... mode", ".f..t...... nanoseconds", ".f..t...... seconds"}},
		{"all of it", &transfer.Kept{Window: -1}, []string{".f..tp..... both", ".f...p..... mode", ".f..t...... nanoseconds", ".f..t...... seconds"}},
		{"no modes", &transfer.Kept{Window: -1, Lost: rsync.ItemPerms}, []string{".f..tp..... both", ".f..t...... nanoseconds", ".f..t...... seconds"}},
		{"whole seconds", &transfer.Kept{}, []string{".f..tp..... both", ".f...p..... mode", ".f..t...... seconds"}},
		{"two seconds", &transfer.Kept{Window: 1}, []string{".f..tp..... both", ".f...p..... mode"}},
	} {
		_, rec := tree(t, src, s.URL("m/dest"), func(conf *Config) {
			if c.kept != nil {
				conf.Kept = func() (transfer.Kept, bool) { return *c.kept, true }
			}
		})
		if got := rec.sorted(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// A server that is not root compares no owners: that is said, for nothing is said of them otherwise.
func TestOwnersThatAreNotCompared(t *testing.T) {
	t.Parallel()
	src := treetest.TempDir(t)
	check(t, os.WriteFile(filepath.Join(src, "file"), nil, 0o644))
	for user, notes := range map[string]int{"root": 0, "nobody": 1} {
		s := rsynctest.Daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Path: treetest.TempDir(t),
			Options: map[string]string{"uid": user, "use chroot": "no"}}}})
		dst := filepath.Join(s.Dir("m"), "dest")
		mirror(t, src, dst)
		_, rec := tree(t, src, s.URL("m/dest"), nil)
		if len(rec.notes) != notes {
			t.Errorf("as %s: %q", user, rec.notes)
		}
	}
}

// A server that has room for one connection is compared with over one.
func TestOneConnection(t *testing.T) {
	t.Parallel()
	src := treetest.TempDir(t)
	for i := range 40 {
		check(t, os.WriteFile(filepath.Join(src, fmt.Sprint(i)), []byte("content"), 0o644))
	}
	s := rsynctest.Daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Path: treetest.TempDir(t),
		Options: map[string]string{"max connections": "1"}}}})
	dst := filepath.Join(s.Dir("m"), "dest")
	mirror(t, src, dst)
	sum, rec := tree(t, src, s.URL("m/dest"), func(c *Config) { c.Sessions, c.tuning.entries = 4, 10 })
	if len(rec.found) > 0 || sum.Compared == 0 {
		t.Errorf("%+v: %q", sum, rec.found)
	}
}
