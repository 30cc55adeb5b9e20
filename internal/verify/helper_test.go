package verify

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/internal/treetest"
)

// record is what a Sink was told.
type record struct {
	equal map[string]Proof
	found []string // differences, and what was not compared, one line each
	notes []string
	on    func(path string) // is called with every path that is equal; may be nil
}

func (r *record) Equal(p string, proof Proof) {
	r.equal[p] = proof
	if r.on != nil {
		r.on(p)
	}
}

func (r *record) Different(d Difference) {
	line := d.Flags.Format(d.Entry.Mode) + " " + d.Path
	if d.Extra {
		line = "*deleting   " + d.Path
	}
	if d.Dir || d.Entry.IsDir() {
		line += "/"
	}
	r.found = append(r.found, line)
}

func (r *record) Uncompared(p string, err error) {
	r.found = append(r.found, fmt.Sprintf("uncompared %s: %v", p, err))
}

func (r *record) Note(text string) { r.notes = append(r.notes, text) }

func (r *record) sorted() []string {
	slices.SortFunc(r.found, func(a, b string) int {
		_, a, _ = strings.Cut(a, " ")
		_, b, _ = strings.Cut(b, " ")
		return strings.Compare(strings.TrimSpace(a), strings.TrimSpace(b))
	})
	return r.found
}

// archive is what -aH asks of a session; owners only where the test can set them.
func archive() rsync.Options {
	root := os.Geteuid() == 0
	return rsync.Options{
		Links: true, Perms: true, Times: true, Owner: root, Group: true, Devices: root, Specials: true, NumericIDs: true,
		HardLinks: true,
	}
}

// verifier is syncd --verify -aH from src to dest; edit changes it.
func verifier(t testing.TB, src, dest string, edit func(*Config)) (*Verifier, *record) {
	t.Helper()
	root, err := scan.OpenRoot(src)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	d, err := rsync.ParseDest(dest)
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Root: root, Dialer: rsync.Dialer{Dest: d}, Session: archive(), NanosecondsAuto: true, tuning: defaults}
	c.tuning.againAfter, c.tuning.retryAfter = 5*time.Millisecond, 5*time.Millisecond
	if edit != nil {
		edit(&c)
	}
	v, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v, &record{equal: map[string]Proof{}}
}

// tree compares all, which is expected to come to its end.
func tree(t testing.TB, src, dest string, edit func(*Config)) (Summary, *record) {
	t.Helper()
	v, rec := verifier(t, src, dest, edit)
	sum, err := v.Tree(context.Background(), ".", rec)
	if err != nil {
		t.Fatalf("Tree: %v (found: %q)", err, rec.found)
	}
	return sum, rec
}

// mirror makes dst equal to src, with the real rsync.
func mirror(t testing.TB, src, dst string) {
	t.Helper()
	out, err := exec.Command(rsynctest.Rsync(t), "-aHX", "-@-1", "--delete", src+"/", dst+"/").CombinedOutput()
	if err != nil {
		t.Fatalf("rsync: %v: %s", err, out)
	}
	treetest.Equal(t, src, dst, treetest.Options{})
}

// A place is a destination with the directory that it is.
type place struct {
	dest, dir string
	edit      func(*Config)
}

// places are a destination of each kind.
func places(t *testing.T) map[string]place {
	t.Helper()
	s := rsynctest.Daemon(t, rsynctest.Config{})
	at := func(name string) string { return filepath.Join(s.Dir("m"), name) }
	shell := rsynctest.Shell(t)
	all := map[string]place{
		"daemon": {s.URL("m/daemon"), at("daemon"), nil},
		"shell":  {"host:" + at("shell"), at("shell"), func(c *Config) { c.Dialer.RemoteShell = shell }},
		"local":  {at("local"), at("local"), nil},
	}
	for p := 29; p <= 31; p++ {
		name := fmt.Sprintf("protocol %d", p)
		all[name] = place{s.URL("m/p" + fmt.Sprint(p)), at("p" + fmt.Sprint(p)), func(c *Config) { c.Session.Protocol = p }}
	}
	return all
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bump moves a time by so many nanoseconds.
func bump(t testing.TB, path string, ns int64) {
	t.Helper()
	var st unix.Stat_t
	check(t, unix.Lstat(path, &st))
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(st.Mtim.Nano() + ns)}
	check(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, times, unix.AT_SYMLINK_NOFOLLOW))
}

// still runs f and puts the times of the directories back, so that what f does to an entry is all there is.
func still(t testing.TB, f func(), dirs ...string) {
	t.Helper()
	times := map[string]unix.Timespec{}
	for _, d := range dirs {
		var st unix.Stat_t
		check(t, unix.Lstat(d, &st))
		times[d] = st.Mtim
	}
	f()
	for d, at := range times {
		check(t, unix.UtimesNanoAt(unix.AT_FDCWD, d, []unix.Timespec{{Nsec: unix.UTIME_OMIT}, at}, 0))
	}
}
