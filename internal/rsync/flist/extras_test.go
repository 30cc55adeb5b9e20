package flist

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/attr"
	"github.com/syncd/syncd/internal/rsync/wire"
)

// attributed returns n files in one directory, with what each has.
func attributed(n int, of func(i int) *attr.Attrs) []Entry {
	list := []Entry{{Path: ".", Mode: 0o40755, Attrs: of(0)}}
	for i := range n {
		list = append(list, Entry{Path: fmt.Sprintf("f%06d", i), Mode: 0o100644, Attrs: of(i)})
	}
	return list
}

var withAll = Options{Protocol: 32, VarintFlags: true, ACLs: true, Xattrs: true}

// What many entries have is said once, whether they share it in memory or not.
func TestEqualSetsAreSentOnce(t *testing.T) {
	fresh := func(v string) *attr.Attrs {
		acl := &attr.ACL{User: 6, Group: 4, Other: 4, Mask: 4, Names: []attr.ACE{{ID: 1000, Perm: 6}}}
		return &attr.Attrs{Set: attr.Set{attr.New("user.a", []byte(v))}, Access: acl, Default: acl}
	}
	one := fresh(strings.Repeat("x", 100))
	for name, of := range map[string]func(i int) *attr.Attrs{
		"shared":     func(int) *attr.Attrs { return one },
		"equal":      func(int) *attr.Attrs { return fresh(strings.Repeat("x", 100)) },
		"in turns":   func(i int) *attr.Attrs { return []*attr.Attrs{nil, one, fresh("other")}[i%3] },
		"none":       func(int) *attr.Attrs { return nil },
		"empty sets": func(int) *attr.Attrs { return &attr.Attrs{} },
	} {
		d := newDecoder(encoded(t, attributed(1000, of), withAll, nil, 0), withAll)
		if err := d.decode(); err != nil {
			t.Fatal(err)
		}
		if d.reused < 2*1000-6 || len(d.said) > 3 || len(d.access) > 3 {
			t.Errorf("%s: %d sets and %d ACLs were sent, %d by number", name, len(d.said), len(d.access), d.reused)
		}
	}
}

func TestCheckAttrs(t *testing.T) {
	good := func() *attr.Attrs {
		return &attr.Attrs{Set: attr.Set{attr.New("user.a", nil), attr.New("user.b", make([]byte, 99))},
			Access: &attr.ACL{Mask: 4, Names: []attr.ACE{{ID: 1}}}}
	}
	e := Entry{Path: "f", Mode: 0o100644, Attrs: good()}
	if err := withAll.Check(&e); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(a *attr.Attrs){
		"order":     func(a *attr.Attrs) { a.Set[0].Name = "user.c" },
		"twice":     func(a *attr.Attrs) { a.Set[0].Name = "user.b" },
		"no name":   func(a *attr.Attrs) { a.Set[0].Name = "" },
		"NUL":       func(a *attr.Attrs) { a.Set[0].Name = "user.\x00" },
		"long name": func(a *attr.Attrs) { a.Set[1].Name = "user." + strings.Repeat("x", 2000) },
		"size":      func(a *attr.Attrs) { a.Set[1].Size = -1 },
		"too large": func(a *attr.Attrs) { a.Set[1].Size = attr.MaxValue + 1 },
		"value":     func(a *attr.Attrs) { a.Set[0].Data = "x" },
		"digest":    func(a *attr.Attrs) { a.Set[1].Data = "x" },
		"perm":      func(a *attr.Attrs) { a.Access.Names[0].Perm = 8 },
		"user":      func(a *attr.Attrs) { a.Access.User = 8 },
		"mask":      func(a *attr.Attrs) { a.Access.Mask = attr.NoMask },
		"default":   func(a *attr.Attrs) { a.Default = &attr.ACL{Other: 9, Mask: attr.NoMask} },
	} {
		e.Attrs = good()
		spoil(e.Attrs)
		if withAll.Check(&e) == nil {
			t.Errorf("%s: accepted", what)
		}
		if err := (Options{Protocol: 32}).Check(&e); err != nil {
			t.Errorf("%s: refused where it is not sent: %v", what, err)
		}
	}
}

func TestNoAttrsBeforeProtocol30(t *testing.T) {
	w := wire.NewWriter(io.Discard)
	for _, o := range []Options{{Protocol: 29, ACLs: true}, {Protocol: 27, Xattrs: true}} {
		if err := Encode(w, nil, o, nil, 0); err == nil || w.Written() > 0 {
			t.Errorf("%+v: %v, %d bytes", o, err, w.Written())
		}
	}
}
