package filesfrom

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/internal/treetest"
)

// walked is what a walk finds of a tree that a list asks for: paths, with a slash for directories that are asked for
// themselves, and in brackets what leads to others; and the reasons why names are not there.
func walked(t *testing.T, dir string, s *Set, rules *filter.Scope) (found string, failed map[string]error) {
	t.Helper()
	root, err := scan.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	sel := s.Select(rules)
	var paths []string
	failed = map[string]error{}
	var o scan.WalkOptions
	sel.Choose(&o.Options)
	err = scan.Walk(context.Background(), root, ".", o, func(l *scan.Listing) error {
		sel.Sift(l)
		p := l.Dir + "/"
		if !sel.Asked(l.Dir) {
			p = "(" + l.Dir + ")"
		}
		paths = append(paths, p)
		for _, e := range l.Entries {
			if !e.Stat.IsDir() {
				paths = append(paths, scan.Join(l.Dir, e.Name))
			}
		}
		for _, e := range l.Errors {
			if failed[e.Path] != nil {
				t.Errorf("%s failed twice: %v, %v", e.Path, failed[e.Path], e)
			}
			failed[e.Path] = e
		}
		if !slices.IsSortedFunc(l.Errors, func(a, b *scan.PathError) int { return strings.Compare(a.Path, b.Path) }) {
			t.Errorf("errors out of order: %v", l.Errors)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(paths)
	return strings.Join(paths, " "), failed
}

func TestSelection(t *testing.T) {
	dir := treetest.TempDir(t)
	treetest.Write(t, dir,
		treetest.File("a/b/c/d", ""), treetest.File("a/b/e", ""), treetest.File("a/f", ""), treetest.Dir("a/empty"),
		treetest.File("a-b", ""), treetest.File("top", ""), treetest.Symlink("a/link", "b"), treetest.Symlink("out", "/etc"),
		treetest.Fifo("fifo"))
	for _, c := range []struct {
		list    string
		recurse bool
		exclude string
		want    string
		failed  string // names, in order
	}{
		{list: "", want: "(.)"},
		{list: "a/b/c/d", want: "(.) (a) (a/b) (a/b/c) a/b/c/d"},
		{list: "a", want: "(.) a/"},
		{list: "a/", want: "(.) a/ a/b/ a/empty/ a/f a/link"},
		{list: "a/ a/b/e", want: "(.) a/ a/b/ a/b/e a/empty/ a/f a/link"},
		{list: "a/b a/b/c/d", want: "(.) (a) (a/b/c) a/b/ a/b/c/d"},
		{list: "./a-b", want: "./ a-b"},
		{list: ".", want: "./ a-b a/ fifo out top"},
		{list: "a", recurse: true, want: "(.) a/ a/b/ a/b/c/ a/b/c/d a/b/e a/empty/ a/f a/link"},
		{list: "./top a/b", recurse: true, want: "(a) ./ a/b/ a/b/c/ a/b/c/d a/b/e top"},
		{list: ".", recurse: true, exclude: "/a", want: "./ a-b fifo out top"},
		// What is not there, or is no directory.
		{list: "none top", want: "(.) top", failed: "none"},
		{list: "none/a/b none/c none", want: "(.)", failed: "none none/a/b none/c"},
		{list: "a/none/b a/b/e", want: "(.) (a) (a/b) a/b/e", failed: "a/none/b"},
		{list: "top/x top/x/y fifo/", want: "(.) fifo", failed: "top/x top/x/y"},
		{list: "top/x top/", want: "(.) top", failed: "top/x"},
		{list: "a a/none a/b/none a/f/x", recurse: true, want: "(.) a/ a/b/ a/b/c/ a/b/c/d a/b/e a/empty/ a/f a/link",
			failed: "a/b/none a/f/x a/none"},
		{list: "a/ a/none a/f/x", want: "(.) a/ a/b/ a/empty/ a/f a/link", failed: "a/f/x a/none"},
		{list: strings.Repeat("n", 256), want: "(.)", failed: strings.Repeat("n", 256)},
		// Symlinks are entries, and lead nowhere.
		{list: "a/link out", want: "(.) (a) a/link out"},
		{list: "a/link out", recurse: true, want: "(.) (a) a/link out"},
		{list: "a/link/e out/passwd", want: "(.) (a)", failed: "a/link/e out/passwd"},
		{list: "a/link/ out/.", want: "(.) (a)", failed: "a/link out"},
		{list: "a a/link/c/d a/link/", recurse: true, want: "(.) a/ a/b/ a/b/c/ a/b/c/d a/b/e a/empty/ a/f a/link",
			failed: "a/link a/link/c/d"},
		// Rules hold for names, not for what leads there.
		{list: "a/f a/b/e", exclude: "f", want: "(.) (a) (a/b) a/b/e"},
		{list: "a/b/e top", exclude: "/a", want: "(.) (a) (a/b) a/b/e top"},
		{list: "a/ a/b/e", exclude: "/a/", want: "(.) (a) (a/b) a/b/e"},
		{list: "a a/b/e", recurse: true, exclude: "/a", want: "(.) (a) (a/b) a/b/e"},
		{list: "a a/b/e", recurse: true, exclude: "/a/b", want: "(.) (a/b) a/ a/b/e a/empty/ a/f a/link"},
		{list: "a/ a/b", exclude: "/a/b", want: "(.) (a/b) a/ a/empty/ a/f a/link"}, // walked for nothing
		{list: "a/", exclude: "b", want: "(.) a/ a/empty/ a/f a/link"},
		{list: "none a/link/", exclude: "*", want: "(.) (a)", failed: "none"},
	} {
		s, err := Read(strings.NewReader(strings.ReplaceAll(c.list, " ", "\n")), false, c.recurse)
		if err != nil {
			t.Fatal(err)
		}
		found, failed := walked(t, dir, s, rules(t, c.exclude))
		names := []string{}
		for name, err := range failed {
			names = append(names, name)
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, scan.ErrNotDir) && !errors.Is(err, ErrSymlink) && len(name) < 256 {
				t.Errorf("%q: %s: %v", c.list, name, err)
			}
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); found != c.want || got != c.failed {
			t.Errorf("%q, recurse %v, exclude %q:\n got %s; failed %s\nwant %s; failed %s",
				c.list, c.recurse, c.exclude, found, got, c.want, c.failed)
		}
	}
}

func rules(t *testing.T, exclude string) *filter.Scope {
	t.Helper()
	if exclude == "" {
		return nil
	}
	var l filter.List
	if err := l.Exclude(exclude); err != nil {
		t.Fatal(err)
	}
	scope, err := l.Root(func(string, string) (io.ReadCloser, error) { return nil, fs.ErrNotExist })
	if err != nil {
		t.Fatal(err)
	}
	return scope
}

// A directory that could not be listed is an error of every name below it, with its reason.
func TestSiftNothing(t *testing.T) {
	s, err := Read(strings.NewReader("a/b\na/c/d\n"), false, false)
	if err != nil {
		t.Fatal(err)
	}
	reason := errors.New("reason")
	l := &scan.Listing{Dir: "a", Err: &scan.PathError{Op: "open", Path: "a", Err: reason}}
	s.Select(nil).Sift(l)
	if len(l.Errors) != 2 || l.Errors[0].Path != "a/b" || l.Errors[1].Path != "a/c/d" || !errors.Is(l.Errors[1], reason) {
		t.Errorf("%v", l.Errors)
	}
}
