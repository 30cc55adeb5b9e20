package scan

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Lookups find what a Lookup finds, in whatever order, also after one that failed and after Close.
func TestLookups(t *testing.T) {
	dir := t.TempDir()
	ok(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755))
	for _, name := range []string{"f", "a/f", "a/g", "a/b/f"} {
		write(t, filepath.Join(dir, name), name)
	}
	bothWays(t, dir, func(t *testing.T, r *Root) {
		l := r.Lookups()
		defer l.Close()
		for _, path := range []string{"a/f", "a/g", "a/b/f", "nope/f", "nope/f", "a/b/f", "a/nope", "a/g", "f", ".", "a", "../a/f", "a/f"} {
			want, missing := r.Lookup(path, Options{})
			got, err := l.Lookup(path, Options{})
			if got.Name != want.Name || got.Stat != want.Stat || errors.Is(err, fs.ErrNotExist) != errors.Is(missing, fs.ErrNotExist) ||
				(err == nil) != (missing == nil) {
				t.Errorf("%s: %+v, %v; want %+v, %v", path, got, err, want, missing)
			}
			if err == nil && path != "." {
				check(t, filepath.Join(dir, path), got.Stat, got.Target)
			}
		}
		l.Close()
		if e, err := l.Lookup("a/g", Options{}); err != nil || e.Name != "g" {
			t.Errorf("after Close: %+v, %v", e, err)
		}
	})
}
