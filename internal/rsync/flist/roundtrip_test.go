package flist

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncd/syncd/internal/attr"
)

// A namesMap has names for some ids only.
type namesMap map[uint32]string

func (m namesMap) User(id uint32) string  { return m[id] }
func (m namesMap) Group(id uint32) string { return m[id] + m[id] }

// received says how a receiver sees list: without what the dialect cannot carry.
func received(list []Entry, o Options) []Entry {
	got := make([]Entry, len(list))
	first := make(map[int32]int)
	for i, e := range list {
		if e.Mode == 0 {
			got[i] = Entry{Path: e.Path}
			continue
		}
		linked := e.Link != 0 && o.HardLinks && (o.Protocol > 27 || e.IsRegular())
		if at, ok := first[e.Link]; linked && ok {
			if o.Protocol >= 30 {
				l := got[at]
				l.Path, l.Attrs = e.Path, seen(e.Attrs, l.Mode, o)
				got[i] = l
				continue
			}
			e.Link = int32(at) + 1
		} else if linked {
			first[e.Link] = i
			e.Link = int32(i) + 1
		} else {
			e.Link = 0
		}
		got[i] = plain(e, o)
	}
	dropSingles(got)
	return got
}

// plain drops what does not belong to the entry's type or to the options.
func plain(e Entry, o Options) Entry {
	if !o.Owner {
		e.UID = 0
	}
	if !o.Group {
		e.GID = 0
	}
	if o.Protocol < 31 {
		e.Nsec = 0
	}
	if !o.Atimes || e.IsDir() {
		e.Atime = 0
	}
	if o.Protocol < 30 && e.Dir == Implied {
		e.Dir = NoContent
	}
	e.Attrs = seen(e.Attrs, e.Mode, o)
	if len(e.Sum) == 0 {
		e.Sum = nil
	}
	switch e.Mode & typeMask {
	case typeReg, typeDir:
	case typeLink:
		e.Size = int64(len(e.Target))
	default:
		e.Size = 0
	}
	return e
}

// seen is what a receiver sees of a, of an entry that it knows to have this mode.
func seen(a *attr.Attrs, mode uint32, o Options) *attr.Attrs {
	if a == nil {
		return nil
	}
	b := *a
	if !o.Xattrs {
		b.Set = nil
	}
	if mode&typeMask != typeDir || !o.ACLs {
		b.Default = nil
	}
	if mode&typeMask == typeLink || !o.ACLs {
		b.Access = nil
	}
	if b.Access != nil {
		acl := *b.Access
		acl.User, acl.Other = uint8(mode>>6&7), uint8(mode&7)
		b.Access = &acl
	}
	if b.Set == nil && b.Access == nil && b.Default == nil {
		return nil
	}
	return &b
}

// roundTrip encodes a random list and compares what comes back.
func roundTrip(t *testing.T, rng *rand.Rand, protocol int) {
	t.Helper()
	o := randomOptions(rng, protocol)
	list := randomList(rng, o, rng.IntN(60))
	ioError := []int32{0, 1, 2, 3, 200}[rng.IntN(5)]
	if protocol == 30 && !o.VarintFlags && !o.SafeFlist {
		ioError = 0 // a message, which needs a framed stream
	}
	names := namesMap{0: "root", 1000: "joe", 65534: "nobody"}
	b := encoded(t, list, o, names, ioError)
	d := newDecoder(b, o)
	if err := d.decode(); err != nil {
		t.Fatalf("%+v: %v\n% x", o, err, b)
	}
	if rest := d.rest(); len(rest) > 0 {
		t.Fatalf("%+v: %d bytes follow the list", o, len(rest))
	}
	if protocol < 30 && o.Recurse {
		spreadContent(d.list)
	}
	for i := range d.list {
		if e := &d.list[i]; e.Mode == 0 { // has no owner: whatever the state is
			e.UID, e.GID = 0, 0
		}
	}
	if diff := cmp.Diff(received(list, o), d.list); len(list)+len(d.list) > 0 && diff != "" {
		t.Fatalf("%+v: (-sent +received)\n%s", o, diff)
	}
	if d.ioError != ioError {
		t.Fatalf("%+v: io_error %d, want %d", o, d.ioError, ioError)
	}
	if o.ACLs && !o.NumericIDs {
		checkNamed(t, d, list, names)
		return
	}
	users := func(e Entry) (uint32, bool) { return e.UID, o.Owner }
	groups := func(e Entry) (uint32, bool) { return e.GID, o.Group }
	if diff := cmp.Diff(expectedNames(list, o, users, names.User), d.users); diff != "" {
		t.Fatalf("%+v: users (-want +got)\n%s", o, diff)
	}
	if diff := cmp.Diff(expectedNames(list, o, groups, names.Group), d.groups); diff != "" {
		t.Fatalf("%+v: groups (-want +got)\n%s", o, diff)
	}
}

// checkNamed checks that the names of all ids are there, also of those that only ACLs have.
func checkNamed(t *testing.T, d *decoder, list []Entry, names namesMap) {
	t.Helper()
	for _, e := range list {
		if e.Mode != 0 && d.Owner {
			d.named[false] = append(d.named[false], e.UID)
		}
		if e.Mode != 0 && d.Group {
			d.named[true] = append(d.named[true], e.GID)
		}
	}
	for _, id := range d.named[false] {
		if id != 0 && d.users[id] != names.User(id) {
			t.Fatalf("user %d is %q, want %q", id, d.users[id], names.User(id))
		}
	}
	for _, id := range d.named[true] {
		if id != 0 && d.groups[id] != names.Group(id) {
			t.Fatalf("group %d is %q, want %q", id, d.groups[id], names.Group(id))
		}
	}
}

func expectedNames(list []Entry, o Options, id func(Entry) (uint32, bool), name func(uint32) string) map[uint32]string {
	if _, on := id(Entry{}); !on || o.NumericIDs {
		return nil
	}
	m := make(map[uint32]string)
	if o.ID0Names {
		m[0] = name(0)
	}
	for _, e := range list {
		if v, _ := id(e); v != 0 && name(v) != "" && e.Mode != 0 {
			m[v] = name(v)
		}
	}
	return m
}

func TestRoundTrip(t *testing.T) {
	for protocol := 27; protocol <= 32; protocol++ {
		t.Run(fmt.Sprint(protocol), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, uint64(protocol)))
			for range 200 {
				roundTrip(t, rng, protocol)
			}
		})
	}
}

func FuzzRoundTrip(f *testing.F) {
	for protocol := 27; protocol <= 32; protocol++ {
		f.Add(uint64(0), uint64(protocol), protocol)
	}
	f.Fuzz(func(t *testing.T, a, b uint64, protocol int) {
		roundTrip(t, rand.New(rand.NewPCG(a, b)), 27+int(uint(protocol)%6))
	})
}
