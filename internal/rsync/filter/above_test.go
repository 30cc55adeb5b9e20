package filter

import (
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

func TestRulesAboveTheRoot(t *testing.T) {
	above := map[string]string{
		"/.rsync-filter":          "- /srv/*/a\n- deep\n",
		"/srv/.rsync-filter":      "- /data/b/\n- /c\n- /data/\n-! /other\nP /*/d\n",
		"/srv/data/.rsync-filter": "nonsense: not above",
	}
	l := List{Base: "/srv/data", Open: func(name string) (io.ReadCloser, error) {
		if s, ok := above[name]; ok {
			return io.NopCloser(strings.NewReader(s)), nil
		}
		return nil, fs.ErrNotExist
	}}
	if err := l.PerDirectory(false); err != nil {
		t.Fatal(err)
	}
	s := mustRoot(t, &l, mapReader(files(".rsync-filter", "+ own")))
	got, err := s.Wire(32, false)
	want := []string{": /.rsync-filter", "+ own", "- /b/", "-! /", "-r /d", "- /a", "- deep"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got  %q (%v)\nwant %q", got, err, want)
	}
	if !s.Excluded("a", false) || !s.Excluded("x/deep", false) || s.Excluded("own", false) {
		t.Error("wrong rules in force")
	}
	l.Base = ""
	if got, _ := mustRoot(t, &l, none).Wire(32, false); !slices.Equal(got, []string{": /.rsync-filter"}) {
		t.Errorf("without a base: %q", got)
	}
}

func TestAnchorAbove(t *testing.T) {
	for _, c := range []struct {
		text, want string
		absolute   bool
	}{
		{"/b/c/x", "/x", false}, {"/b/c/x/", "/x/", false}, {"/*/c/x", "/x", false}, {"/b/?/*.o", "/*.o", false},
		{"/x", "", false}, {"/b", "", false}, {"/b/c", "", false}, {"/b/c/", "", false}, {"/q/c/x", "", false}, {"/b/", "", false},
		{"/**/x", "/a/**/x", true}, {"/b/***", "/a/b/***", true}, {"/[b]/c/x", "/a/[b]/c/x", true},
		{`/b/*/x\y`, `/a/b/*/x\y`, true}, {`/b/c/x\y`, `/x\y`, false}, {"/b/c/**", "/**", false},
	} {
		got, absolute := anchorAbove("/a", "b/c", c.text)
		if got != c.want || absolute != c.absolute {
			t.Errorf("%s: %q %v", c.text, got, absolute)
		}
	}
}

func TestRuleAboveThatNoServerCanPlace(t *testing.T) {
	l := List{Base: "/srv/data", Open: func(name string) (io.ReadCloser, error) {
		if name == "/srv/.r" {
			return io.NopCloser(strings.NewReader("- /d**/x")), nil
		}
		return nil, fs.ErrNotExist
	}}
	if err := l.Filter(": /.r"); err != nil {
		t.Fatal(err)
	}
	s := mustRoot(t, &l, none)
	if !s.Excluded("a/x", false) {
		t.Error("the sender does not heed it")
	}
	if _, err := s.Wire(32, false); err == nil || !strings.Contains(err.Error(), "/d**/x") {
		t.Errorf("error %v", err)
	}
}
