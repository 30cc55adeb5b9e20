package filter

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// matchNaively tries everything; it is the definition of a glob in 5.3.
func matchNaively(ops []op, text string) bool {
	if len(ops) == 0 {
		return text == ""
	}
	switch o := &ops[0]; o.kind {
	case opStar, opStars:
		for i := 0; ; i++ {
			if matchNaively(ops[1:], text[i:]) {
				return true
			}
			if i == len(text) || o.kind == opStar && text[i] == '/' {
				return false
			}
		}
	default:
		return text != "" && o.one(text[0]) && matchNaively(ops[1:], text[1:])
	}
}

func TestGlobMatchersAgree(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 1))
	draw := func(from string, n int) string {
		b := make([]byte, g.IntN(n))
		for i := range b {
			b[i] = from[g.IntN(len(from))]
		}
		return string(b)
	}
	matched := 0
	for range 100_000 {
		pattern, text := draw("aab/?**", 9), draw("aab/", 9)
		ops := compileGlob(pattern)
		want := matchNaively(ops, text)
		if want {
			matched++
		}
		if got, done := matchGreedy(ops, text, 1<<20); got != want || !done {
			t.Fatalf("greedy: %q on %q: %v", pattern, text, got)
		}
		if got := matchAll(ops, text); got != want {
			t.Fatalf("all at once: %q on %q: %v", pattern, text, got)
		}
	}
	if matched < 1000 {
		t.Errorf("only %d matches were seen", matched)
	}
}

func TestHostilePatternsStayPolynomial(t *testing.T) {
	// Trying everything would take longer than the universe has.
	text := strings.Repeat("a", 4000)
	for _, pattern := range []string{
		strings.Repeat("*a", 2000) + "b", strings.Repeat("**a", 1300) + "b", strings.Repeat("**a*a", 800) + "b",
		strings.Repeat("*?", 2000) + "b", strings.Repeat("**[ab]*", 580) + "/",
	} {
		if p := compile(pattern); p.match("", text, false) {
			t.Errorf("%.20q... matches", pattern)
		}
	}
	deep := strings.Repeat("a/", 2000) + "a"
	if p := compile("x**" + strings.Repeat("a*/", 1300)); p.match("", deep, true) {
		t.Error("matches")
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no string // paths, a directory with a slash at the end
	}{
		// rsync(1), PATTERN MATCHING RULES
		{"*.o", "a.o dir/b.o .o", "a.oo a.o/x o"},
		{"/foo", "foo foo/", "x/foo foo/x"},
		{"foo/", "foo/ x/foo/", "foo x/foo"},
		{"foo/*/bar", "foo/x/bar y/foo/x/bar", "foo/bar foo/x/y/bar"},
		{"/foo/**/bar", "foo/x/bar foo/x/y/bar", "foo/bar y/foo/x/bar"},
		{"foo/bar", "foo/bar x/foo/bar", "xfoo/bar bar foo/bar/x"},
		{"dir_name/***", "dir_name/ dir_name/x dir_name/x/y x/dir_name/", "dir_name xdir_name/"},
		{`foo\bar`, `foo\bar`, "foobar"},
		{`foo\bar*`, "foobar foobarx", `foo\bar`},
		{`foo\\bar*`, `foo\bar`, "foobar"},
		{"**/x", "x a/x a/b/x", "ax a/xa"},
		{"a**b", "ab a/b x/a/c/b acb", "b xab/c"},
		{"foo*", "foo foobar d/foo1", "xfoo"},
		{"[a-c]", "a b x/c", "d - ab"}, {"[!a-c]", "d -", "a b"}, {"[^a]x", "bx", "ax"}, {"[]a]", "] a", "b"}, {"[!]a]", "b", "] a"},
		{"[a-]", "a -", "b"}, {"[[:digit:]-z]", "5 - z", "a y"}, {"[[:upper:][:digit:]]", "A 7", "a"}, {`[\]]`, "]", `\`},
		{`[a\-c]`, "a - c", `b \`},
		{`[+-\-]`, "+ , -", `\ .`}, {"[[:nope:]]", "", "n : o"}, {"[a", "", "a [a"},
		{"[[:a]", "[ : a", "b"},
		{`a\`, `a\`, "a"}, {`*\`, "", `a\ a`}, {"[.-0]x", "0x .x", "/x"},
		{"?", "a -", "ab"}, {"/", "", "a a/"}, {"foo//", "", "foo foo/"}, {"***", "a a/ a/b", ""},
		{"/*/", "a/", "a a/b/"}, {"/**", "a a/b a/b/", ""}, {"a/**", "a/b x/a/b a/b/", "a a/ b"},
	} {
		p := compile(c.pattern)
		for _, want := range []bool{true, false} {
			paths := c.yes
			if !want {
				paths = c.no
			}
			for _, path := range strings.Fields(paths) {
				name, isDir := strings.CutSuffix(path, "/")
				if p.match("", name, isDir) != want {
					t.Errorf("%q on %q: %v", c.pattern, path, !want)
				}
			}
		}
	}
	if p := compile("?"); p.match("", "é", false) {
		t.Error("? matches two bytes")
	}
}

func TestMatchingDoesNotAllocate(t *testing.T) {
	var l List
	for _, r := range []string{
		"- *.o", "- /a/b", "- x/y/*.c", "- **/q", "- core", "- a**b", "- d/***", "-/ /z/**", "- [ab]?c*d",
	} {
		if err := l.Filter(r); err != nil {
			t.Fatal(err)
		}
	}
	l.Base = "/srv/data"
	s := mustRoot(t, &l, none)
	if n := testing.AllocsPerRun(100, func() { s.Excluded("some/where/deep/in/the/tree/name.txt", true) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkExcluded(b *testing.B) {
	var l List
	for _, r := range []string{
		"- *.o", "- *.tmp", "- core", "- .git/", "- /var/cache/", "- *~", "+ *.[ch]", "- cache*", "- **/tmp/x",
	} {
		if err := l.Filter(r); err != nil {
			b.Fatal(err)
		}
	}
	s, err := l.Root(none)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Excluded("home/user/project/src/main/file-0001.txt", false)
	}
}
