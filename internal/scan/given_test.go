package scan

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/attr"
)

// given is Options.Names of a map; of other directories all names count.
func given(names map[string][]string) func(string) ([]string, bool) {
	return func(dir string) ([]string, bool) {
		n, known := names[dir]
		return n, known
	}
}

// A directory whose names are given is not read, and may be one that cannot be.
func TestGivenNames(t *testing.T) {
	dir := t.TempDir()
	if unprivileged(t, dir) {
		mkdirs(t, dir+"/d/sub", dir+"/d/other/below", dir+"/all")
		for _, name := range []string{"d/a", "d/b", "d/unasked", "d/sub/x", "all/y"} {
			write(t, filepath.Join(dir, name), name)
		}
		ok(t, os.Symlink("a", dir+"/d/link"))
		ok(t, os.Chmod(dir+"/d", 0o311))
		defer os.Chmod(dir+"/d", 0o755)
		bothWays(t, dir, func(t *testing.T, r *Root) {
			var asked []string
			o := Options{
				Names: given(map[string][]string{".": {"d", "all"}, "d": {"sub", "link", "b", "a"}, "d/sub": nil}),
				Skip: func(dir, name string, isDir bool) bool {
					asked = append(asked, Join(dir, name))
					return name == "b"
				},
			}
			l := list(t, r, "d", o)
			if got := strings.Join(names(l), " "); got != "a link sub" {
				t.Errorf("listed %q", got)
			}
			if link, sub := find(t, l, "link"), find(t, l, "sub"); link.Target != "a" || !sub.Stat.IsDir() {
				t.Errorf("read %+v", l.Entries)
			}
			check(t, dir+"/d", l.Self, "")
			if slices.Sort(asked); !slices.Equal(asked, []string{"d/a", "d/b", "d/link", "d/sub"}) {
				t.Errorf("asked about %q", asked)
			}
			if l := list(t, r, "d/sub", o); len(l.Entries) != 0 {
				t.Errorf("of no name, listed %q", names(l))
			}
			if n, err := r.Count(context.Background(), Options{Names: o.Names}, nil); n != 7 || err != nil { // with what is in all
				t.Errorf("counted %d: %v", n, err)
			}
		})
	}
}

// What is given and not there is left out as what has vanished is, and what can be no name leads nowhere.
func TestGivenNamesThatAreNot(t *testing.T) {
	dir := t.TempDir()
	mkdirs(t, dir+"/d")
	write(t, dir+"/d/file", "")
	write(t, dir+"/out", "")
	long := strings.Repeat("n", 256)
	bothWays(t, dir, func(t *testing.T, r *Root) {
		bad := []string{"", ".", "..", "../out", "/", "file/", "a\x00b"}
		o := Options{Names: given(map[string][]string{"d": append([]string{"none", "file", long}, bad...)})}
		l, err := r.List(context.Background(), "d", o)
		ok(t, err)
		if got := strings.Join(names(l), " "); got != "file" {
			t.Errorf("listed %q", got)
		}
		wantError(t, l.Err, ErrIncomplete)
		reasons := map[error]int{}
		for _, e := range l.Errors {
			reasons[e.Err]++
		}
		if reasons[unix.ENAMETOOLONG] != 1 || reasons[fs.ErrInvalid] != len(bad) || len(reasons) != 2 {
			t.Errorf("errors: %v", l.Errors)
		}
		o.Names = given(map[string][]string{"none": {"x"}, "d/file": {"x"}})
		_, err = r.List(context.Background(), "none", o)
		wantError(t, err, fs.ErrNotExist)
		_, err = r.List(context.Background(), "d/file", o)
		wantError(t, err, ErrNotDir)
	})
}

// Given names go through everything that read ones do: sorting by inode, attributes, the bound of a walk.
func TestManyGivenNames(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for i := range 3 * inodeOrderFrom {
		name := fmt.Sprint(i)
		write(t, filepath.Join(dir, name), "")
		want = append(want, name)
	}
	r := openRoot(t, dir)
	o := WalkOptions{Prefetch: 10, Workers: 2, Options: Options{
		Names: given(map[string][]string{".": want}), Attrs: attr.Which{Xattrs: true},
	}}
	err := Walk(context.Background(), r, ".", o, func(l *Listing) error {
		slices.Sort(want)
		if l.Err != nil || !slices.Equal(names(l), want) {
			t.Errorf("%d names: %v", len(l.Entries), l.Err)
		}
		return nil
	})
	ok(t, err)
}
