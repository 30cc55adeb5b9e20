package filesfrom

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/syncd/syncd/internal/scan"
)

// listed is what a set was made of: "." is the root itself, and a slash stands for what is in a directory.
func (s *Set) listed() []string {
	var names []string
	var add func(path string, n *node)
	add = func(path string, n *node) {
		if n.self {
			names = append(names, path)
		}
		if n.in {
			names = append(names, path+"/")
		}
		for name, below := range n.below {
			add(scan.Join(path, name), below)
		}
	}
	add(".", &s.root)
	if s.self {
		names = append(names, ".")
	}
	slices.Sort(names)
	return names
}

// What lists stand for is what rsync 3.5.0 made of them.
func TestRead(t *testing.T) {
	for _, c := range []struct{ list, want string }{
		{"", ""},
		{"a", "a"},
		{"a\nb\r\nc\rd", "a|b|c|d"},
		{"\n\na\n\n\r\r\n", "a"},
		{"#a\n;b\nc\n# e\n", "c"},
		{" #d\n/;e\n/#f\n", " #d|#f|;e"},
		{" a \n  \n", "  | a "},
		{"a/b/c", "a/b/c"},
		{"///a//b///c", "a/b/c"},
		{"a/", "a/"},
		{"a//", "a/"},
		{"a/.", "a/"},
		{"a\na/\n/a", "a|a/"},
		{"a/b/..", "a/"},
		{"a/..", "./"},
		{"..", "./"},
		{"../", "./"},
		{".", "./"},
		{"/", "./"},
		{"../../a", "a"},
		{"a/../../b/../c", "c"},
		{"x/../a/", "a/"},
		{"./a", ".|a"},
		{"./", ".|./"},
		{"/./a", ".|a"},
		{".//a", ".|a"},
		{"x/.././a", ".|a"},
		{"./../a", "a"},
		{"a/b\na/\na/c/d", "a/|a/b|a/c/d"},
		{"...\n..a\na..\n.a", "...|..a|.a|a.."},
		{"*\n[a]\n!\n- a\n", "!|*|- a|[a]"},
		{"\xff\xfe\n\x01", "\x01|\xff\xfe"},
		{"a\nb\x00\r\x00\x00#c\x00;d\x00e", "\r|a\nb|e"},
		{"\x00\x00", ""},
	} {
		s, err := Read(strings.NewReader(c.list), strings.Contains(c.list, "\x00"), false)
		if err != nil {
			t.Errorf("%q: %v", c.list, err)
		} else if got := strings.Join(s.listed(), "|"); got != c.want {
			t.Errorf("%q: %q, want %q", c.list, got, c.want)
		}
	}
}

func TestReadErrors(t *testing.T) {
	for _, c := range []struct {
		list string
		line int
		err  error
	}{
		{"a\n\n#\r\nb/./c\n", 4, ErrPivot},
		{"a/./\n", 1, ErrPivot},
		{"x/../a/././b", 1, ErrPivot},
		{"a\nb\x00c\n", 2, ErrZero},
	} {
		_, err := Read(strings.NewReader(c.list), false, false)
		var at *LineError
		if !errors.As(err, &at) || at.Line != c.line || !errors.Is(err, c.err) {
			t.Errorf("%q: %v, want %v in line %d", c.list, err, c.err, c.line)
		}
	}
	broken := errors.New("broken")
	if _, err := Read(iotest.ErrReader(broken), false, false); !errors.Is(err, broken) {
		t.Errorf("of a file that cannot be read: %v", err)
	}
}

// Whatever a list has, the names of its set are names of entries, and make the same set again.
func FuzzRead(f *testing.F) {
	f.Add("a\nb/c/\n../d\r\n./e\n#f\n", false)
	f.Add("a/./b", false)
	f.Add("a\nb\x00c/../.\x00", true)
	f.Fuzz(func(t *testing.T, list string, nul bool) {
		s, err := Read(strings.NewReader(list), nul, false)
		if err != nil {
			if !errors.As(err, new(*LineError)) {
				t.Fatal(err)
			}
			return
		}
		var again strings.Builder
		var check func(n *node)
		check = func(n *node) {
			if n != &s.root && !n.named() && len(n.below) == 0 {
				t.Errorf("a node is there for nothing")
			}
			for name, below := range n.below {
				if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
					t.Errorf("%q is no name", name)
				}
				check(below)
			}
		}
		check(&s.root)
		for _, name := range s.listed() {
			switch name {
			case ".":
				name = "./x/"
				s.find([]string{"x"}).in = true
			case "./":
				name = "/"
			default:
				name = "/" + name
			}
			again.WriteString(name + "\x00")
		}
		same, err := Read(strings.NewReader(again.String()), true, false)
		if err != nil || !slices.Equal(same.listed(), s.listed()) {
			t.Errorf("%q: %q, read again %q (%v)", list, s.listed(), same.listed(), err)
		}
	})
}
