package filter

import (
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// mapReader reads merge files from a literal tree.
func mapReader(m fstest.MapFS) ReadFunc {
	return func(dir, name string) (io.ReadCloser, error) {
		if dir == "." {
			return m.Open(name)
		}
		return m.Open(dir + "/" + name)
	}
}

func none(string, string) (io.ReadCloser, error) { return nil, fs.ErrNotExist }

func mustRoot(t *testing.T, l *List, read ReadFunc) *Scope {
	t.Helper()
	s, err := l.Root(read)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wireOf(t *testing.T, protocol int, deleteExcluded bool, rules ...string) []string {
	t.Helper()
	var l List
	for _, r := range rules {
		if err := l.Filter(r); err != nil {
			t.Fatal(err)
		}
	}
	got, err := mustRoot(t, &l, none).Wire(protocol, deleteExcluded)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Captured from rsync 3.5.0 as the client, with --delete --filter=RULE.
func TestSendsWhatRsyncSends(t *testing.T) {
	for rule, want := range map[string]string{
		"- foo": "- foo", "-  foo": "-  foo", "-_foo": "- foo", "-, foo": "- foo", "-,s foo": "", "-sr foo": "-sr foo",
		"-rs_foo": "-sr foo", "-ss foo": "", "+ foo": "+ foo", "+! foo": "+! foo", "-!! foo": "-! foo", "-/ /a/b": "-/ /a/b",
		"-/!pr x": "-/!rp x", "!": "", "!,": "", "clear": "", "clear,": "", "exclude foo": "- foo", "exclude_foo": "- foo",
		"exclude,sr_foo": "-sr foo", "P foo": "-r foo", "P,p foo": "-rp foo", "Pp foo": "-rp foo", "P/ foo": "-/r foo",
		"H foo": "", "S foo": "", "R foo": "+r foo", "Rp! foo": "+!rp foo", "protect,! foo": "-!r foo", "risk foo": "+r foo",
		"hide foo": "", "show foo": "", "include foo": "+ foo", "merge /dev/null": "", ".e /dev/null": "- null",
		".w- /dev/null": "", ":C": ":C .cvsignore", ":C foo": ":C foo", ":C_foo": ":C foo", ":Cs": "", ":sC foo": "",
		":Cw foo": ":C foo", ":Cn foo": ":C foo", ":wn foo": ":nw foo", ":nnn foo": ":n foo", ":e foo": "- foo,: foo",
		":es foo": "- foo", ":er foo": "- foo,:r foo", ":ep foo": "- foo,:p foo", ":e/ foo": "- foo,:/ foo",
		":esr foo": "- foo,:sr foo", ":n- foo": ":n- foo", ":+n foo": ":n+ foo", ":p foo": ":p foo", ":x foo": ":x foo",
		": /foo": ": /foo", ":e /foo": "- foo,: /foo", ": ../foo": ": ../foo", ": sub/foo": ": sub/foo",
		"dir-merge,n- foo": ":n- foo", ":r- foo": ":-r foo", ":p- foo": ":-p foo", ":s- foo": "", "- foo/": "- foo/",
		"- /": "- /", "- //": "- //", "- foo/ ": "- foo/ ", "-  ": "-  ", "+ - foo": "+ - foo", "P    foo": "-r    foo",
		"+sr/!p foo": "+/!srp foo", "-xs foo": "",
	} {
		if got := strings.Join(wireOf(t, 32, false, rule), ","); got != want {
			t.Errorf("%q is sent as %q, want %q", rule, got, want)
		}
	}
	sequences := []struct{ rules, want string }{
		{"- a;!;- b", "- b"}, {": x;!;- b", "- b"}, {": x;: x", ": x"}, {": x;:n x", ": x"}, {": x;!;: x", ": x"},
		{": x;: /x", ": x"}, {": x;: ../x;- y", ": x;- y"}, {":C;:C", ":C .cvsignore"},
	}
	for _, c := range sequences {
		if got := strings.Join(wireOf(t, 32, false, strings.Split(c.rules, ";")...), ";"); got != c.want {
			t.Errorf("%q is sent as %q, want %q", c.rules, got, c.want)
		}
	}
}

// The captured translation of section 5.2 of the protocol description.
func TestSendsTheCapturedTranslation(t *testing.T) {
	rules := []string{"- foo", "P keep", "H hid", "S shown", "R risk", ": .rules", ":- .noprefix", ":n .nin", ":e .es",
		"-/ /abs/x", "-! neg", "-p per", "+ inc/"}
	want := []string{"- foo", "-r keep", "+r risk", ": .rules", ":- .noprefix", ":n .nin", "- .es", ": .es", "-/ /abs/x",
		"-! neg", "-p per", "+ inc/"}
	if got := wireOf(t, 32, false, rules...); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	want = []string{"-r b", "-sr c", ": d", ":r g", ":-r h", "-rp j"}
	got := wireOf(t, 32, true, "- a", "P b", "-sr c", ": d", ":- e", ":s f", ":r g", ":r- h", "-p i", "-pr j")
	if !slices.Equal(got, want) {
		t.Errorf("--delete-excluded: got %q, want %q", got, want)
	}
}

func TestOldProtocols(t *testing.T) {
	if got := wireOf(t, 29, false, "-p a", "-! b", "P c"); !slices.Equal(got, []string{"- a", "-! b", "-r c"}) {
		t.Errorf("protocol 29: %q", got)
	}
	got := wireOf(t, 28, false, "- foo/", "+ - x", "- - y", "- !", "-p u", "S g", "H h", "P y")
	if want := []string{"foo/", "+ - x", "- - y", "- !", "u", "y"}; !slices.Equal(got, want) {
		t.Errorf("protocol 28: %q, want %q", got, want)
	}
	for _, rule := range []string{": y", "-/ y", "-! y", "P! y"} {
		var l List
		if err := l.Filter(rule); err != nil {
			t.Fatal(err)
		}
		_, err := mustRoot(t, &l, none).Wire(28, false)
		if err == nil || !strings.Contains(err.Error(), "y") || !strings.Contains(err.Error(), "without --delete") {
			t.Errorf("%q at protocol 28: error %v", rule, err)
		}
	}
}

func TestRefusesWhatRsyncRefuses(t *testing.T) {
	for _, rule := range []string{
		"", "-foo", "-,foo", "-s,r foo", "-n foo", "-e foo", "-w foo", "-- foo", "-+ foo", "! ", "!x", "! x", "!_",
		"clear ", "clear x", "clearx", "clear_", "excludefoo", "excludes foo", "exclude", "exclude ", "-", "- ", "-_", "-s",
		"P", "P,s foo", "Pr foo", "Hs foo", "HC", "PC", "incl foo", "foo", "h foo", " - foo", "./dev/null", ".! /dev/null",
		".-+ /dev/null", ".-- /dev/null", ".C /nonexistent", ".", ": ", ":", ":C- foo", ":-C foo", ":! foo", "dir-merge",
		".rule", ". /nonexistent", ": sub/", ": /", "- " + strings.Repeat("a", MaxPattern),
	} {
		var l List
		err := l.Filter(rule)
		if err == nil {
			t.Errorf("%q is accepted", rule)
			continue
		}
		if strings.Contains(err.Error(), "\n") || len(rule) < 100 && !strings.Contains(err.Error(), rule) {
			t.Errorf("%q: error does not name the rule on one line: %v", rule, err)
		}
		if !l.Empty() {
			t.Errorf("%q left rules behind", rule)
		}
	}
}

func TestFiles(t *testing.T) {
	read := func(f func(*List, io.Reader) error, content string) string {
		var l List
		if err := l.Filter("- first"); err != nil {
			t.Fatal(err)
		}
		if err := f(&l, strings.NewReader(content)); err != nil {
			return err.Error()
		}
		got, err := mustRoot(t, &l, none).Wire(32, false)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(got, ",")
	}
	from := func(l *List, r io.Reader) error { return l.ExcludeFrom("f", r, false) }
	include := func(l *List, r io.Reader) error { return l.IncludeFrom("f", r, false) }
	nul := func(l *List, r io.Reader) error { return l.ExcludeFrom("f", r, true) }
	merge := func(rule string) func(*List, io.Reader) error {
		return func(l *List, r io.Reader) error {
			l.Open = func(string) (io.ReadCloser, error) { return io.NopCloser(r), nil }
			return l.Filter(rule)
		}
	}
	for _, c := range []struct {
		f             func(*List, io.Reader) error
		content, want string
	}{
		{from, "foo\n- bar\r\n+ baz\n\n#c\n;d\n -z\nP v", "- first,- foo,- bar,+ baz,-  -z,- P v"},
		{from, "a\n!\nb", "- b"},
		{from, "a\n- \n", `f:2: filter rule "- ": it has no pattern; write the pattern after one space or underscore`},
		{include, "foo\n- bar\n+ baz\n", "- first,+ foo,- bar,+ baz"},
		{nul, "a\x00#b\x00;c\x00d\ne\x00\x00- f", "- first,- a,- d\ne,- f"},
		{nul, "a\x00!\x00g", "- g"},
		{merge(". m"), "# x\n; y\n\n- z\n-r q", "- first,- z,-r q"},
		{merge(". m"), "- a\n!\n- b", "- b"},
		{merge(". m"), "- a\n! \n", `m:2: filter rule "! ": nothing may follow a clearing rule; remove what stands after it`},
		{merge(".- m"), "foo\n! \n!\n- x\n+ y\n#c\n !\nP z\n  sp \n", "- first,- foo,- ! ,- !,- - x,- + y,-  !,- P z,-   sp "},
		{merge(".+ m"), "foo\n!", "- first,+ foo,+ !"},
		{merge(".C m"), "foo ! bar - x\n#c ;d", "- bar,- -,- x,- #c,- ;d"},
		{merge(".w m"), "-_foo H_bar\n+_x", "- first,- foo,+ x"},
		{merge(".w- m"), "foo # bar\n- x y", "- first,- foo,- #,- bar,- -,- x,- y"},
		{merge(".s m"), "- foo", "- first"},
		{merge(".r m"), "- foo\n: q\n+ z", "- first,-r foo,:r q,+r z"},
		{merge(".r m"), "P foo\n",
			`m:1: filter rule "P foo": it names a side, but the merge rule of its file does already; remove one of the two`},
		{merge(".p m"), "- foo\n-! b\n: q", "- first,-p foo,-!p b,:p q"},
		{merge("./ m"), "- foo\n: q", "- first,-/ foo,:/ q"},
		{merge(".x m"), "- foo\n: q", "- first,- foo,: q"},
		{merge(".p/r+ m"), "foo", "- first,+/rp foo"},
		{merge(".er- m"), "foo\n", "- first,- m,-r foo"},
	} {
		if got := read(c.f, c.content); got != c.want {
			t.Errorf("%q\ngot  %q\nwant %q", c.content, got, c.want)
		}
	}
}

func TestOptionsTakeOldPrefixes(t *testing.T) {
	for pattern, want := range map[string]string{
		"- foo": "- foo", "+ foo": "+ foo", "! ": "- ! ", "!x": "- !x", "": "", "-": "- -", "-_x": "- -_x", " x": "-  x",
		"#x": "- #x", "P x": "- P x", "-  x": "-  x", "!": "",
	} {
		var l List
		if err := l.Exclude(pattern); err != nil {
			t.Fatal(err)
		}
		got, err := mustRoot(t, &l, none).Wire(32, false)
		if err != nil || strings.Join(got, ",") != want {
			t.Errorf("--exclude=%q is sent as %q (%v), want %q", pattern, got, err, want)
		}
	}
	if err := new(List).Exclude("- "); err == nil {
		t.Error(`--exclude="- " is accepted`)
	}
}

func TestMergeFileThatMergesItself(t *testing.T) {
	l := List{Open: func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(". m\n")), nil }}
	if err := l.Filter(". m"); err == nil || !strings.Contains(err.Error(), "m:1:") {
		t.Errorf("error %v", err)
	}
}

func TestCVS(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("CVSIGNORE", "env1  env2")
	write(t, home+"/.cvsignore", "hh1 - hh2\nhh3")
	var l List
	if err := l.CVS(); err != nil {
		t.Fatal(err)
	}
	if err := l.Filter("- last"); err != nil {
		t.Fatal(err)
	}
	got, err := mustRoot(t, &l, none).Wire(32, false)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(got, ",")
	if !strings.HasPrefix(all, "- last,:C .cvsignore,-p RCS,-p SCCS,") ||
		!strings.HasSuffix(all, ",-p .bzr/,- hh1,- -,- hh2,- hh3,- env1,- env2") || len(got) != 44 {
		t.Errorf("%d rules: %q", len(got), got)
	}
	if !l.HasMerge() || l.Empty() {
		t.Error("-C is not seen as a rule with merge files")
	}
}
