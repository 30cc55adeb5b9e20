package scan_test

import (
	"context"
	"crypto/sha256"
	"io"
	"testing"

	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/internal/treetest"
)

// TestHostileTree compares a walk, and every file read through it, with an independent look at the same tree.
func TestHostileTree(t *testing.T) {
	dir := treetest.TempDir(t)
	treetest.Hostile(t, dir, 3000)
	o := treetest.Options{Ignore: treetest.Xattrs | treetest.HardLinks}
	r, err := scan.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := treetest.Tree{}
	node := func(s scan.Stat, target string) treetest.Node {
		n := treetest.Node{
			Mode: s.Mode, UID: s.UID, GID: s.GID, Mtime: s.Mtime, Nsec: s.MtimeNsec, Target: target,
			Major: s.Major, Minor: s.Minor,
		}
		if s.IsRegular() {
			n.Size = s.Size
		}
		return n
	}
	err = scan.Walk(context.Background(), r, ".", scan.WalkOptions{}, func(l *scan.Listing) error {
		if l.Dir == "." {
			got["."] = node(l.Self, "")
		}
		for _, e := range l.Entries {
			path := scan.Join(l.Dir, e.Name)
			n := node(e.Stat, e.Target)
			if e.Stat.IsRegular() {
				n.Sum = sum(t, r, path)
			}
			got[path] = n
		}
		return l.Err
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := treetest.Diff(treetest.Snapshot(t, dir, o), got); d != "" {
		t.Errorf("the walk differs from the tree:\n%s", d)
	}
}

func sum(t *testing.T, r *scan.Root, path string) (sum [sha256.Size]byte) {
	t.Helper()
	f, err := r.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	h.Sum(sum[:0])
	return sum
}
