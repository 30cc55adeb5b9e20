package catalogue

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// walkOrder compares paths as a depth-first walk in byte order meets their directories, and then their names.
func walkOrder(a, b string) int {
	cut := func(p string) (dir []string, name string) {
		parts := strings.Split(p, "/")
		return parts[:len(parts)-1], parts[len(parts)-1]
	}
	adir, aname := cut(a)
	bdir, bname := cut(b)
	if c := slices.Compare(adir, bdir); c != 0 {
		return c
	}
	return strings.Compare(aname, bname)
}

func FuzzKeysKeepPathsAndTheirOrder(f *testing.F) {
	for _, p := range []string{"a", "a/b", "a-b/c", "a\x01/b", "a\x02\x01/\x02", "\x01", "ü/ß", "."} {
		f.Add(p, "a/b/c")
		f.Add(p, "a\x01b")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, p := range []string{a, b} {
			if checkPath(p) != nil || strings.Contains(p, "//") || strings.HasPrefix(p, "./") {
				return
			}
			if got, ok := pathOf(appendKey(nil, p)); !ok || got != p {
				t.Fatalf("%q came back as %q, %v", p, got, ok)
			}
		}
		ka, kb := appendKey(nil, a), appendKey(nil, b)
		if got, want := bytes.Compare(ka, kb), walkOrder(a, b); got != want {
			t.Errorf("%q and %q: %d, want %d", a, b, got, want)
		}
		lower, upper := below(a)
		in := bytes.Compare(lower, kb) <= 0 && bytes.Compare(kb, upper) < 0
		if want := a == "." || strings.HasPrefix(b, a+"/"); in != want {
			t.Errorf("%q below %q: %v", b, a, in)
		}
		if in := bytes.HasPrefix(kb, appendMark(nil, a)); a != "." && in && !strings.HasPrefix(b, a+"/") {
			t.Errorf("%q is not a child of %q", b, a)
		}
	})
}

func FuzzRecordDecodes(f *testing.F) {
	r := Record{State: Known, Version: file, Verified: 9, Digest: [16]byte{1, 2}, Sum: MD5}
	f.Add(appendRecord(nil, &r, 1))
	f.Add(appendRecord(nil, &Record{}, 1<<40))
	f.Add([]byte{hasVerified, 0, 0, 48, 0}) // verified, but never
	f.Add([]byte{hasVersion, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, value []byte) {
		d := decoder{rest: value}
		d.byte()
		epoch := d.uvarint()
		var r, again Record
		if decodeRecord(&r, value, epoch) != nil {
			return
		}
		if err := decodeRecord(&again, appendRecord(nil, &r, epoch), epoch); err != nil || again != r {
			t.Errorf("%+v, %v; want %+v", again, err, r)
		}
	})
}

func TestRecordKeepsExtremes(t *testing.T) {
	for _, v := range []Version{
		{},
		{Size: math.MaxInt64, Mtime: math.MinInt64, Ctime: math.MaxInt64, Ino: math.MaxUint64, Mode: math.MaxUint32,
			UID: math.MaxUint32, GID: math.MaxUint32},
		{Size: math.MinInt64, Mtime: math.MaxInt64, Ctime: math.MinInt64, Mode: unix.S_IFIFO},
	} {
		for _, r := range []Record{
			{Version: v},
			{State: Racy, Version: v, Verified: -1},
			{State: Known, Version: v, Verified: math.MaxInt64, Digest: [16]byte{15: 1}, Sum: 255},
		} {
			var got Record
			value := appendRecord(nil, &r, math.MaxUint64)
			if err := decodeRecord(&got, value, math.MaxUint64); err != nil || got != r {
				t.Errorf("%+v, %v; want %+v", got, err, r)
			}
			for i := range value {
				if decodeRecord(&got, value[:i], math.MaxUint64) == nil {
					t.Errorf("%d of %d bytes decode", i, len(value))
				}
			}
		}
	}
}

func TestChangesThatMakeNoSense(t *testing.T) {
	s, _ := mustOpen(t, tempDir(t), nil, Options{})
	for _, c := range []Change{
		MarkDoubt(""), MarkDoubt("/a"), Put("a/", file, false), Forget("a\x00b"), Complete("/", true),
		Moved("a", "a"), Moved("a", "a/b"), Moved("a/b", "a"), Moved(".", "a"), Moved("a", "."), Moved("a", ""),
	} {
		if err := s.Apply(MarkDoubt("first"), c); err == nil {
			t.Errorf("%+v is applied", c)
		}
	}
	if _, found, err := s.Get("first"); found || err != nil {
		t.Errorf("half of it was applied: %v, %v", found, err)
	}
	mustApply(t, s, MarkDoubt("later"))
}
