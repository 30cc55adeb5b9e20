package flist

import (
	"io"
	"math"
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/rsync/wire"
)

func file(path string) Entry { return Entry{Path: path, Mode: 0o100644} }

func TestValidate(t *testing.T) {
	long := strings.Repeat("x/", 2047) + "y" // 4095 bytes
	for _, c := range []struct {
		e    Entry
		from int    // first protocol at which it can be sent, 0 for none
		want string // part of the error below that
	}{
		{file("a"), 27, ""},
		{file("a/b c/\xff\n.../..x"), 27, ""},
		{file(long), 27, ""},
		{file(long + "z"), 0, "longer than 4095"},
		{file(""), 0, "empty"},
		{file("/a"), 0, "relative"},
		{file("a/"), 0, "relative"},
		{file("a//b"), 0, "relative"},
		{file("./a"), 0, "relative"},
		{file("a/."), 0, "relative"},
		{file("a/./b"), 0, "relative"},
		{file(".."), 0, "relative"},
		{file("../a"), 0, "relative"},
		{file("a/.."), 0, "relative"},
		{file("a/../b"), 0, "relative"},
		{file("a\x00b"), 0, "NUL"},
		{file("."), 0, "root is not a directory"},
		{Entry{Path: ".", Mode: 0o40755}, 27, ""},
		{Entry{Path: "."}, 0, "root cannot be deleted"},
		{Entry{Path: "gone"}, 27, ""},
		{Entry{Path: "gone", Mtime: -1, Size: -1}, 27, ""}, // only the path counts
		{Entry{Path: "gone", Link: 1}, 0, "hard-link group"},
		{Entry{Path: "a", Mode: 0o644}, 0, "file type"},
		{Entry{Path: "a", Mode: 0o130644}, 0, "file type"},
		{Entry{Path: "a", Mode: 0o1100644}, 0, "unknown bits"},
		{Entry{Path: "a", Mode: 0o100644, Size: -1}, 0, "size -1"},
		{Entry{Path: "a", Mode: 0o40755, Size: -1}, 0, "size -1"},
		{Entry{Path: "a", Mode: 0o40755, Dir: 3}, 0, "kind of directory"},
		{Entry{Path: "a", Mode: 0o40755, Link: 1}, 0, "hard-link group"},
		{Entry{Path: "a", Mode: 0o100644, Link: -1}, 0, "hard-link group"},
		{Entry{Path: "a", Mode: 0o100644, Size: math.MaxInt64, Link: 1}, 27, ""},
		{Entry{Path: "a", Mode: 0o120777}, 0, "target"},
		{Entry{Path: "a", Mode: 0o120777, Target: "x\x00"}, 0, "target"},
		{Entry{Path: "a", Mode: 0o120777, Target: long + "z"}, 0, "target"},
		{Entry{Path: "a", Mode: 0o120777, Target: "../" + long[3:]}, 27, ""},
		{Entry{Path: "a", Mode: 0o20644, Major: 0xfff, Minor: 0x7ffff}, 27, ""},
		{Entry{Path: "a", Mode: 0o20644, Major: 0x1000}, 28, "does not fit"},
		{Entry{Path: "a", Mode: 0o60644, Minor: 0x80000}, 28, "does not fit"},
		{Entry{Path: "a", Mode: 0o10644}, 27, ""},
		{Entry{Path: "a", Mode: 0o140644}, 27, ""},
		{Entry{Path: "a", Mode: 0o100644, Mtime: math.MaxUint32}, 27, ""},
		{Entry{Path: "a", Mode: 0o100644, Mtime: math.MaxUint32 + 1}, 30, "does not fit"},
		{Entry{Path: "a", Mode: 0o40755, Mtime: -1}, 30, "does not fit"},
		{Entry{Path: "a", Mode: 0o100644, Nsec: 999999999}, 27, ""},
		{Entry{Path: "a", Mode: 0o100644, Nsec: 1000000000}, 0, "nanoseconds"},
		{Entry{Path: "a", Mode: 0o100644, Nsec: -1}, 0, "nanoseconds"},
	} {
		for protocol := 27; protocol <= 32; protocol++ {
			err := Validate(&c.e, protocol)
			if fine := c.from != 0 && protocol >= c.from; fine != (err == nil) {
				t.Errorf("protocol %d, %.40q mode %o: error %v", protocol, c.e.Path, c.e.Mode, err)
			} else if err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("protocol %d, %.40q: error %q does not speak of %q", protocol, c.e.Path, err, c.want)
			}
		}
	}
}

// What Encode refuses, it refuses before the first byte.
func TestEncodeRefuses(t *testing.T) {
	dir := func(path string, kind DirKind) Entry { return Entry{Path: path, Mode: 0o40755, Dir: kind} }
	link := Entry{Path: "l", Mode: 0o120777, Target: "x"}
	linked := func(path string, mode uint32) Entry {
		return Entry{Path: path, Mode: mode, Target: "x", Link: 1}
	}
	recursive := with(at(29), func(o *Options) { o.Recurse = true })
	for _, c := range []struct {
		name string
		o    Options
		list []Entry
		want string // part of the error; "" if it can be sent
	}{
		{"invalid entry", stock, []Entry{file("a"), file("../b")}, `"../b"`},
		{"unknown protocol", with(stock, func(o *Options) { o.Protocol = 33 }), nil, "protocol 33"},
		{"old protocol", with(stock, func(o *Options) { o.Protocol = 26 }), nil, "protocol 26"},
		{"impossible sums", with(stock, func(o *Options) { o.SumLen = 65 }), nil, "65"},
		{"negative sums", with(stock, func(o *Options) { o.SumLen = -1 }), nil, "-1"},
		{"duplicate", stock, []Entry{file("a"), file("b"), file("a")}, `"a": twice`},
		{"duplicate of another type", stock, []Entry{file("a"), dir("a", Content)}, `"a": twice`},
		{"duplicate of a deletion", stock, []Entry{file("a"), {Path: "a"}}, `"a": twice`},
		{"no parent", stock, []Entry{file("a/b")}, `"a/b": its directory`},
		{"no parent between", stock, []Entry{dir("a", NoContent), file("a/b/c")}, `"a/b/c": its directory`},
		{"parent is a file", stock, []Entry{file("a"), file("a/b")}, `"a/b": its directory`},
		{"parent is to be deleted", stock, []Entry{{Path: "a"}, file("a/b")}, `"a/b": its directory`},
		{"parent comes later", stock, []Entry{file("a/b"), file("a/c"), dir("a", NoContent)}, ""},
		{"deletion without parent", stock, []Entry{{Path: "a/b"}}, ""},
		{"symlinks off", with(stock, func(o *Options) { o.Links = false }), []Entry{link}, "symlinks"},
		{"devices off", with(stock, func(o *Options) { o.Devices = false }), []Entry{{Path: "d", Mode: 0o60600}}, "devices"},
		{"specials off", with(stock, func(o *Options) { o.Specials = false }), []Entry{{Path: "d", Mode: 0o10600}}, "special"},
		{"no sum", with(stock, func(o *Options) { o.SumLen = 16 }), []Entry{link, dir("d", Content), file("f")}, `"f": checksum`},
		{"group of two types", stock, []Entry{linked("a", 0o100644), linked("b", 0o120777)}, "another type"},
		{"group of two types without H", with(stock, func(o *Options) { o.HardLinks = false }),
			[]Entry{linked("a", 0o100644), linked("b", 0o120777)}, ""},
		{"no content below content", recursive, []Entry{dir(".", Content), dir("a", NoContent)}, `"a": before protocol 30`},
		{"implied deep below content", recursive, []Entry{dir("a", Content), dir("a/b", Content), dir("a/b/c", Implied)}, `"a/b/c": before protocol 30`},
		{"no content beside content", recursive, []Entry{dir(".", NoContent), dir("a", Content), dir("b", NoContent), dir("a/b", Content)}, ""},
		{"no content below content at 30", with(at(30), func(o *Options) { o.Recurse = true }), []Entry{dir(".", Content), dir("a", NoContent)}, ""},
		{"no content below content, not recursive", at(29), []Entry{dir(".", Content), dir("a", NoContent)}, ""},
	} {
		w := wire.NewWriter(io.Discard)
		err := Encode(w, c.list, c.o, nil, 0)
		w.Flush()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || w.Written() != 0):
			t.Errorf("%s: error %v, %d bytes written; want %q", c.name, err, w.Written(), c.want)
		}
	}
}

func TestEncodeReportsWriteErrors(t *testing.T) {
	w := wire.NewWriter(brokenWriter{})
	w.Bytes(make([]byte, 100<<10))
	if err := Encode(w, []Entry{file("a")}, stock, nil, 0); err != io.ErrClosedPipe {
		t.Errorf("error %v", err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
