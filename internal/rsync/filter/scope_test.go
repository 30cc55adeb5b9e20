package filter

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func files(pairs ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

func scopeOf(t *testing.T, m fstest.MapFS, rules ...string) *Scope {
	t.Helper()
	var l List
	for _, r := range rules {
		if err := l.Filter(r); err != nil {
			t.Fatal(err)
		}
	}
	return mustRoot(t, &l, mapReader(m))
}

func enter(t *testing.T, s *Scope, dir string) *Scope {
	t.Helper()
	in, err := s.Enter(dir)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestSidesOfTheSender(t *testing.T) {
	s := scopeOf(t, nil, "P a", "R a", "-r a", "H h", "S *.k", "-x *", "- *.k", "-! */")
	for path, want := range map[string]bool{"a": true, "h": true, "x.k": false, "f": true} {
		if got := s.Excluded(path, false); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	if s.Excluded("a", true) || s.Excluded(".", true) {
		t.Error("a directory is excluded")
	}
}

// Skip is Excluded, whether or not it can tell without the path.
func TestSkip(t *testing.T) {
	for _, rules := range [][]string{{"- d/"}, {"H /a/d/"}, {"- f"}, {"- a/f", "- d/"}, {"-! d/"}, {"+ d/", "- *"}} {
		s := scopeOf(t, nil, rules...)
		for _, name := range []string{"d", "f"} {
			for _, isDir := range []bool{false, true} {
				if got, want := s.Skip(".", name, isDir), s.Excluded(name, isDir); got != want {
					t.Errorf("%q: %s, directory %v: %v, want %v", rules, name, isDir, got, want)
				}
				if got, want := s.Skip("a", name, isDir), s.Excluded("a/"+name, isDir); got != want {
					t.Errorf("%q: a/%s, directory %v: %v, want %v", rules, name, isDir, got, want)
				}
			}
		}
	}
}

func TestLiteral(t *testing.T) {
	for name, other := range map[string]string{"plain": "plai", `back\slash`: "backslash", "a*b": "axb", `\*`: "*x", "a?[bc]": "axb"} {
		s := scopeOf(t, nil, "- "+Literal(name))
		if !s.Excluded(name, false) || s.Excluded(other, false) {
			t.Errorf("%q as a pattern: itself %v, %q %v", name, s.Excluded(name, false), other, s.Excluded(other, false))
		}
	}
}

func TestScopesAreSharedWhereNothingChanges(t *testing.T) {
	s := scopeOf(t, nil, "- *.o")
	if enter(t, s, "a") != s {
		t.Error("without merge files, a new scope")
	}
	m := files("a/.r", "- x", "a/.n", "- once", "a/b/.r", "- y\n- /z")
	s = scopeOf(t, m, ": .r", ":n .n")
	a := enter(t, s, "a")
	c, d := enter(t, a, "a/c"), enter(t, a, "a/d")
	if enter(t, s, "q") != s || a == s || c != d || enter(t, c, "a/c/e") != c {
		t.Error("scopes are not shared")
	}
	b := enter(t, a, "a/b")
	for _, q := range []struct {
		s    *Scope
		path string
		want bool
	}{
		{s, "x", false}, {a, "a/x", true}, {a, "a/once", true}, {c, "a/c/once", false}, {c, "a/c/x", true},
		{b, "a/b/x", true}, {b, "a/b/y", true}, {b, "a/b/z", true}, {enter(t, b, "a/b/z2"), "a/b/z2/z", false},
	} {
		if got := q.s.Excluded(q.path, false); got != q.want {
			t.Errorf("%s: %v", q.path, got)
		}
	}
}

func TestClearInAMergeFileClearsWhatItInherited(t *testing.T) {
	s := scopeOf(t, files(".r", "- x", "a/.r", "!\n- y"), ": .r", "- z")
	a := enter(t, s, "a")
	if !s.Excluded("x", false) || a.Excluded("a/x", false) || !a.Excluded("a/y", false) || !a.Excluded("a/z", false) {
		t.Error("wrong rules in force")
	}
}

func TestWireHasTheInheritedRulesInTheirPlace(t *testing.T) {
	m := files(".r", "- top\n- /rooted\nH hidden\nP safe",
		"a/.r", "+ /deep*\n-! */\n-p gone", "a/.n", "- once", "a/b*/.r", "- /q")
	s := scopeOf(t, m, "- first", ": .r", ":n .n", "- last")
	b := enter(t, enter(t, s, "a"), "a/b*")
	got, err := b.Wire(30, false)
	want := []string{
		"- first", ": .r", "- /a/b*/q", "+ /a/deep*", "-! */", "-p gone", "- top", "- /rooted", "-r safe", ":n .n", "- last",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got  %q (%v)\nwant %q", got, err, want)
	}
	got, err = b.Wire(30, true)
	if want := []string{": .r", "-r safe", ":n .n"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("--delete-excluded: got %q (%v), want %q", got, err, want)
	}
}

func TestMergeFilesThatCannotBeUsed(t *testing.T) {
	s := scopeOf(t, files("a/.r", "\n\nnonsense"), ": .r")
	_, err := s.Enter("a")
	if err == nil || !strings.HasPrefix(err.Error(), `a/.r:3: filter rule "nonsense": `) {
		t.Errorf("malformed: %v", err)
	}
	var l List
	if err := l.Filter(": .r"); err != nil {
		t.Fatal(err)
	}
	_, err = l.Root(func(string, string) (io.ReadCloser, error) { return nil, fs.ErrPermission })
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), `".r"`) {
		t.Errorf("unreadable: %v", err)
	}
}

func TestWhatAPerDirectoryFileMerges(t *testing.T) {
	m := files("a/.r", ". .m\n. ./.m\n- /rest", ".m", "P /a/one", "a/.m", "-s two")
	a := enter(t, scopeOf(t, m, ": .r"), "a")
	for path, want := range map[string]bool{"a/one": true, "a/two": true, "a/rest": true, "a/a/one": false} {
		if got := a.Excluded(path, false); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	got, err := a.Wire(32, true)
	if want := []string{": .r", "-sr /a/one", "-sr two"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
}

func TestAbsoluteRules(t *testing.T) {
	l := List{Base: "/srv/data"}
	for _, r := range []string{"-/ /srv/data/a", "-/ data/b", "- /srv/data/c", "-/ /srv/*/d/***"} {
		if err := l.Filter(r); err != nil {
			t.Fatal(err)
		}
	}
	s := mustRoot(t, &l, none)
	for path, want := range map[string]bool{"a": true, "x/a": false, "b": true, "c": false, "d": true, "d/e": true} {
		if got := s.Excluded(path, true); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

func TestShorthands(t *testing.T) {
	var l List
	if err := errors.Join(l.PerDirectory(false), l.PerDirectory(true), l.Include("q")); err != nil {
		t.Fatal(err)
	}
	got, err := mustRoot(t, &l, none).Wire(32, false)
	if want := []string{": /.rsync-filter", "- .rsync-filter", "+ q"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
}

// rsync(1), SIMPLE INCLUDE/EXCLUDE EXAMPLE, and the examples below it.
func TestManualExamples(t *testing.T) {
	s := scopeOf(t, nil, "+ x/", "+ x/y/", "+ x/y/file.txt", "- *")
	for path, want := range map[string]bool{
		"x/": false, "x/file.txt": true, "x/y/": false, "x/y/file.txt": false, "x/y/zzz.txt": true, "x/z/": true,
	} {
		name, isDir := strings.CutSuffix(path, "/")
		if got := s.Excluded(name, isDir); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	s = scopeOf(t, nil, "+ */", "+ *.c", "- *")
	if s.Excluded("d", true) || s.Excluded("d/a.c", false) || !s.Excluded("d/a.h", false) {
		t.Error("+ */, + *.c, - *")
	}
}

func FuzzRules(f *testing.F) {
	for _, r := range []string{"- *.o", "+/ a/**", ": .r", ":C", "-C", ".w- x", "P,p [a-", "!", "-! a/***/", "exclude,sr_q"} {
		f.Add(r, "- /a\n+ b*\n!\n: .s", "dir/a.o")
	}
	f.Fuzz(func(t *testing.T, rule, file, path string) {
		l := List{Open: func(string) (io.ReadCloser, error) { return nil, fs.ErrNotExist }}
		if l.Filter(rule) != nil && !l.Empty() {
			t.Fatal("a refused rule left something behind")
		}
		_ = l.ExcludeFrom("f", strings.NewReader(file), len(file)%2 == 0)
		s, err := l.Root(mapReader(files("d/.r", file, "d/.cvsignore", file)))
		if err != nil {
			return
		}
		if in, err := s.Enter("d"); err == nil {
			s = in
		}
		s.Excluded(path, len(path)%2 == 0)
		wire, err := s.Wire(32, false)
		if err != nil {
			return
		}
		var back List
		for _, r := range wire {
			if err := back.Filter(r); err != nil {
				t.Fatalf("own wire rule %q: %v", r, err)
			}
		}
		again, err := back.Root(none)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := again.Wire(32, false); err != nil || !slices.Equal(wire, twice) {
			t.Fatalf("wire %q becomes %q (%v)", wire, twice, err)
		}
	})
}
