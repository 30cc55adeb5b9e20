package scan

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// All names of an inode are found, and none that a skipped directory holds.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"a/b", "c", "skipped/d"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	first := filepath.Join(dir, "a/first")
	if err := os.WriteFile(first, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "c/other"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"top", "a/b/deep", "skipped/d/hidden"} {
		if err := os.Link(first, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	st, _, err := r.Stat("a/first")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	opts := Options{Skip: func(dir, name string, isDir bool) bool { return name == "skipped" }}
	if err := r.Find(context.Background(), opts, map[uint64]struct{}{st.Ino: {}}, func(p string) { got = append(got, p) }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if want := []string{"a/b/deep", "a/first", "top"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}
