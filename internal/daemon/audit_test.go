package daemon

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/control"
	"github.com/syncd/syncd/internal/cutover"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// statusOf asks a service.
func statusOf(t *testing.T, socket string) *control.Status {
	t.Helper()
	return ask(t, socket, control.Request{Do: control.DoStatus}).Status
}

// audited is a service over a tree that nobody writes, all of which is proven.
func audited(t *testing.T, interval time.Duration) (src, dst, socket string) {
	t.Helper()
	src = t.TempDir()
	treetest.Random(t, rand.New(rand.NewPCG(7, 1)), src, 100)
	treetest.Write(t, src, treetest.Dir("d"), treetest.File("d/flip", "some content\n"), treetest.File("d/gone", "x"),
		treetest.File("d/stale", "new"), treetest.File("d/mode", "m"), treetest.File("d/swap", "s"),
		treetest.Symlink("d/link", "target"), treetest.Dir("empty"))
	s := rsynctest.Daemon(t, rsynctest.Config{})
	dst = filepath.Join(s.Dir("m"), "dest")
	socket, _ = start(t, src, s.URL("m/dest"), func(c *Config) {
		c.StateDir, c.Audit.Interval = t.TempDir(), interval
	})
	waitFor(t, "the socket is there", func() bool { return answers(socket) })
	waitFor(t, "all is proven", func() bool {
		st := statusOf(t, socket)
		return st.State == control.Live && st.Audit.Files > 0 && st.Audit.ProvenFiles == st.Audit.Files
	})
	if st := statusOf(t, socket); st.Audit.Alarms != 0 {
		t.Fatalf("%d alarms where nobody did anything: %+v", st.Audit.Alarms, st.Audit.Last)
	}
	return src, dst, socket
}

// corruptions are what somebody may do at the destination, with size and time kept where that is possible.
var corruptions = map[string]func(dst string) error{
	"d/flip": func(dst string) error {
		return keepingTimes(dst, "d/flip", func(p string) error {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			b[3] ^= 1
			return os.WriteFile(p, b, 0)
		})
	},
	"d/gone":  func(dst string) error { return os.Remove(filepath.Join(dst, "d/gone")) },
	"d/stale": func(dst string) error { return os.WriteFile(filepath.Join(dst, "d/stale"), []byte("old one"), 0) },
	"d/mode": func(dst string) error {
		return keepingTimes(dst, "d/mode", func(p string) error { return os.Chmod(p, 0o640) })
	},
	"d/swap": func(dst string) error {
		p := filepath.Join(dst, "d/swap")
		return firstError(os.Remove(p), os.MkdirAll(filepath.Join(p, "in/it"), 0o755))
	},
	"d/link": func(dst string) error {
		p := filepath.Join(dst, "d/link")
		return firstError(os.Remove(p), os.Symlink("elsewhere", p))
	},
	"empty/extra": func(dst string) error { return os.WriteFile(filepath.Join(dst, "empty/extra"), nil, 0o644) },
}

func firstError(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

// keepingTimes keeps a file's modification time.
func keepingTimes(dst, name string, f func(p string) error) error {
	p := filepath.Join(dst, name)
	info, err := os.Stat(p)
	if err != nil {
		return err
	}
	return firstError(f(p), os.Chtimes(p, time.Time{}, info.ModTime()))
}

// Whatever somebody does at the destination is found, named, and undone.
func TestAuditFindsDrift(t *testing.T) {
	t.Parallel()
	src, dst, socket := audited(t, 2*time.Second)
	for name, corrupt := range corruptions {
		if err := corrupt(dst); err != nil {
			t.Fatal(name, err)
		}
	}
	var named []string
	defer func() {
		if t.Failed() {
			t.Logf("named: %q; %+v", named, statusOf(t, socket).Audit)
		}
	}()
	waitFor(t, "all of it is named", func() bool {
		for _, a := range statusOf(t, socket).Audit.Last {
			if !slices.Contains(named, a.Path) {
				named = append(named, a.Path)
			}
		}
		for name := range corruptions {
			if !slices.Contains(named, name) {
				return false
			}
		}
		return true
	})
	settled(t, socket, src, dst)
	waitFor(t, "all is proven again", func() bool {
		st := statusOf(t, socket)
		return st.Audit.ProvenFiles == st.Audit.Files
	})
}

// While the source is written, nothing is an alarm.
func TestAuditOfABusyTree(t *testing.T) {
	t.Parallel()
	_, socket, _, _ := following(t, func(c *Config) { c.StateDir, c.Audit.Interval = t.TempDir(), time.Second })
	waitFor(t, "it goes round some times", func() bool { return statusOf(t, socket).Audit.ProvenFiles > 20 })
	first := statusOf(t, socket).Audit.Surveyed
	waitFor(t, "it goes round again", func() bool { return statusOf(t, socket).Audit.Surveyed.After(first) })
	if st := statusOf(t, socket); st.Audit.Alarms != 0 {
		t.Errorf("%d alarms: %+v", st.Audit.Alarms, st.Audit.Last)
	}
}

// A cutover compares by checksum what has changed since it was proven, and relies on the proof of the rest.
func TestCutoverWithProof(t *testing.T) {
	t.Parallel()
	const files = 300
	state := t.TempDir()
	a, socket, dst, _ := following(t, func(c *Config) {
		c.StateDir = state
		for i := range files {
			if err := os.WriteFile(filepath.Join(c.Source, fmt.Sprint("rests", i)), bytes.Repeat([]byte{'x'}, i), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	})
	waitFor(t, "what rests is proven", func() bool { return statusOf(t, socket).Audit.ProvenFiles >= files })
	p := a.plan()
	p.GoHook = "cp -a " + dst + " " + a.marks + "/taken"
	r := cutOver(t, socket, p)
	if r.Outcome != cutover.Succeeded {
		t.Fatalf("%s: %s", r.Outcome, r.Reason)
	}
	v := r.Verified
	if !r.Settled.Catalogue || v.Proven < files || v.Files == 0 || v.Oldest.IsZero() || v.Surveyed.IsZero() {
		t.Errorf("settled %+v, verified %+v", *r.Settled, *v)
	}
	if n := regularFiles(t, a.dir); v.Files+v.Proven != n {
		t.Errorf("%d files compared and %d proven earlier, where there are %d", v.Files, v.Proven, n)
	}
	all := treetest.Snapshot(t, a.dir, plain)
	if diff := treetest.Diff(all, treetest.Snapshot(t, filepath.Join(a.marks, "taken"), plain)); diff != "" {
		t.Error(diff)
	}
	t.Logf("frozen for %.2f s", r.FrozenSeconds)
}

func regularFiles(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
