package compress

import (
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		offered string
		wanted  []Method
		want    Method
	}{
		{"zstd lz4 zlibx zlib none", Methods, Zstd},
		{"zlib ZLIBX none", Methods, Zlibx},
		{"zlib", Methods, Zlib},
		{"none brotli", Methods, None},
		{"", Methods, None},
		{"zstd lz4", []Method{LZ4}, LZ4},
		{"zstd", []Method{LZ4}, None},
	} {
		if got := Choose(strings.Fields(tt.offered), tt.wanted...); got != tt.want {
			t.Errorf("%v of %q: %v, want %v", tt.wanted, tt.offered, got, tt.want)
		}
	}
	for _, m := range append(Methods, None) {
		if got, ok := Parse(strings.ToUpper(m.String())); got != m || !ok {
			t.Errorf("%v is read as %v, %v", m, got, ok)
		}
	}
	if m, ok := Parse("gzip"); ok {
		t.Errorf("gzip is read as %v", m)
	}
}

func TestSuffixes(t *testing.T) {
	for _, tt := range []struct{ list, yes, no string }{
		{DefaultSuffixes, "a.gz d.d/PHOTO.JPG x.jpeg a.b.mp4 .zip v.m2ts o.ods", "gz a.txt a.gz.txt d.gz/a a. .mp jpeg a.mp5 x.jp"},
		{"gz/jpg/mp[34]/7z/", "a.gz a.mp3 a.mp4 a.7Z", "a.mp2 a.mp[34] a.mp a."},
		{"[ab][cd]x", "n.acx n.bdx", "n.abx n.x"},
		{"", "", "a.gz a. a"},
		{"*/?", "a.* a.?", "a.b a.gz"},
	} {
		s, err := ParseSuffixes(tt.list)
		if err != nil {
			t.Errorf("%q: %v", tt.list, err)
		}
		for _, name := range strings.Fields(tt.yes) {
			if !s.Match(name) {
				t.Errorf("%q does not match %q", tt.list, name)
			}
		}
		for _, name := range strings.Fields(tt.no) {
			if s.Match(name) {
				t.Errorf("%q matches %q", tt.list, name)
			}
		}
	}
	if (Suffixes{}).Match("a.gz") {
		t.Error("no suffixes match")
	}
	for _, bad := range []string{"a[", "a[]", "a[bc", strings.Repeat("a", 40), strings.Repeat("[abcdefghij]", 8)} {
		if _, err := ParseSuffixes(bad); err == nil {
			t.Errorf("%q is no error", bad)
		}
	}
	s, _ := ParseSuffixes("gz")
	if n := testing.AllocsPerRun(100, func() { s.Match("some/long/path/name.TXT") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// The list of rsync(1), as its manual writes it.
func TestDefaultSuffixes(t *testing.T) {
	const manual = `3g2 3gp 7z aac ace apk avi bz2 deb dmg ear f4v flac flv gpg gz iso jar jpeg jpg lrz lz lz4 lzma lzo m1a
		m1v m2a m2ts m2v m4a m4b m4p m4r m4v mka mkv mov mp1 mp2 mp3 mp4 mpa mpeg mpg mpv mts odb odf odg odi odm odp ods
		odt oga ogg ogm ogv ogx opus otg oth otp ots ott oxt png qt rar rpm rz rzip spx squashfs sxc sxd sxg sxm sxw sz
		tbz tbz2 tgz tlz ts txz tzo vob war webm webp xz z zip zst`
	s, err := ParseSuffixes(DefaultSuffixes)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Fields(manual)
	for _, suffix := range all {
		if !s.Match("name." + suffix) {
			t.Errorf("%s is missing", suffix)
		}
	}
	if len(s.set) != len(all) {
		t.Errorf("%d suffixes, want %d", len(s.set), len(all))
	}
}
