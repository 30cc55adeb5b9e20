package flist

import (
	"errors"
	"os/user"
	"strconv"
	"sync"
	"testing"

	"github.com/syncd/syncd/internal/need"
)

func TestSystemNames(t *testing.T) {
	n := SystemNames()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.ParseUint(me.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.ParseUint(me.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	g, err := user.LookupGroupId(me.Gid)
	if err != nil {
		need.Lacking(t, "the group of this process has no name: ", err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 2 { // looked up and remembered
				if s := n.User(uint32(uid)); s != me.Username {
					t.Errorf("user %d is %q, want %q", uid, s, me.Username)
				}
				if s := n.Group(uint32(gid)); s != g.Name {
					t.Errorf("group %d is %q, want %q", gid, s, g.Name)
				}
				if s := n.User(4294967000); s != "" {
					t.Errorf("an id that nobody has is %q", s)
				}
				if s := n.Group(4294967000); s != "" {
					t.Errorf("an id that no group has is %q", s)
				}
			}
		})
	}
	wg.Wait()
}

// An answer is remembered, also that there is no name; a failure is not.
func TestNamesRemembered(t *testing.T) {
	n := SystemNames().(*systemNames)
	asked := 0
	answer := func(name string, err error) func(string) (string, error) {
		return func(id string) (string, error) {
			if asked++; id != "4000000000" {
				t.Errorf("asked for %q", id)
			}
			return name, err
		}
	}
	const id = 4000000000
	if s := n.name(n.users, id, answer("", errors.New("directory service is down"))); s != "" {
		t.Errorf("failed lookup gives %q", s)
	}
	if s := n.name(n.users, id, answer("joe", nil)); s != "joe" {
		t.Errorf("got %q after a failure", s)
	}
	if s := n.name(n.users, id, answer("no", nil)); s != "joe" || asked != 2 {
		t.Errorf("got %q after %d lookups", s, asked)
	}
	n.name(n.groups, id, answer("", user.UnknownGroupIdError("4000000000")))
	if s := n.name(n.groups, id, answer("no", nil)); s != "" || asked != 3 {
		t.Errorf("got %q after %d lookups", s, asked)
	}
}
