package transfer

import (
	"reflect"
	"testing"

	"github.com/syncd/syncd/internal/rsync"
)

// A harmless option that is none any more would be a name that nobody looks at.
func TestHarmlessOptionsExist(t *testing.T) {
	for name := range harmless {
		if _, ok := reflect.TypeFor[rsync.Options]().FieldByName(name); !ok {
			t.Errorf("rsync.Options has no field %s", name)
		}
	}
}

// What changes the meaning of equal makes another identity, what changes the way to it does not.
func TestIdentity(t *testing.T) {
	c, _ := config(t, t.TempDir(), "rsync://host/m", nil)
	before, err := c.identity()
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"owner": func(c *Config) { c.Session.Owner = !c.Session.Owner }, "delete": func(c *Config) { c.Delete = !c.Delete },
		"dest": func(c *Config) { c.Dialer.Dest.Path = "other" },
	} {
		other := c
		change(&other)
		if id, err := other.identity(); err != nil || reflect.DeepEqual(id, before) {
			t.Errorf("%s: the same identity (%v)", name, err)
		}
	}
	other := c
	other.Session.WholeFile, other.Session.Timeout, other.Session.BlockSize = true, 5, 700
	if id, err := other.identity(); err != nil || !reflect.DeepEqual(id, before) {
		t.Errorf("another identity for whole files: %v, %v", id, err)
	}
}
