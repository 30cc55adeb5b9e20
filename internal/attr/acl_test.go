package attr

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// form makes the kernel's form of an ACL from tag, permissions and id of each entry.
func form(version uint32, entries ...[3]uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, version)
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint16(b, uint16(e[0]))
		b = binary.LittleEndian.AppendUint16(b, uint16(e[1]))
		b = binary.LittleEndian.AppendUint32(b, e[2])
	}
	return b
}

const none = 0xffffffff

func TestParseACL(t *testing.T) {
	b := form(2, [3]uint32{1, 6, none}, [3]uint32{2, 7, 1000}, [3]uint32{2, 0, 4000000000}, [3]uint32{4, 4, none},
		[3]uint32{8, 5, 10}, [3]uint32{16, 7, none}, [3]uint32{32, 1, none})
	got, err := ParseACL(b)
	if err != nil {
		t.Fatal(err)
	}
	want := &ACL{User: 6, Group: 4, Other: 1, Mask: 7,
		Names: []ACE{{ID: 1000, Perm: 7}, {ID: 4000000000}, {ID: 10, Group: true, Perm: 5}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if back := got.Bytes(); !bytes.Equal(back, b) {
		t.Errorf("written as %x, want %x", back, b)
	}
	if got.Minimal() {
		t.Error("minimal")
	}
	minimal, err := ParseACL(form(2, [3]uint32{1, 6, none}, [3]uint32{4, 4, none}, [3]uint32{32, 4, none}))
	if err != nil || !minimal.Minimal() {
		t.Errorf("%+v, %v: want a minimal one", minimal, err)
	}
}

func TestParseACLRefuses(t *testing.T) {
	user, group, other := [3]uint32{1, 6, none}, [3]uint32{4, 4, none}, [3]uint32{32, 4, none}
	mask, name := [3]uint32{16, 4, none}, [3]uint32{2, 4, 5}
	for what, b := range map[string][]byte{
		"empty":        nil,
		"version":      form(1, user, group, other),
		"length":       append(form(2, user, group, other), 0),
		"no user":      form(2, group, other),
		"no group":     form(2, user, other),
		"no other":     form(2, user, group),
		"no mask":      form(2, user, name, group, other),
		"user twice":   form(2, user, user, group, other),
		"mask twice":   form(2, user, group, mask, mask, other),
		"name twice":   form(2, user, name, name, group, mask, other),
		"name of none": form(2, user, [3]uint32{2, 4, none}, group, mask, other),
		"permissions":  form(2, [3]uint32{1, 8, none}, group, other),
		"tag":          form(2, user, group, other, [3]uint32{64, 1, none}),
		"two tags":     form(2, [3]uint32{1 | 4, 1, none}, other),
	} {
		if a, err := ParseACL(b); err == nil {
			t.Errorf("%s: read as %+v", what, a)
		}
	}
}

// Ids that were mapped may meet.
func TestBytesSortsAndDropsTwins(t *testing.T) {
	a := &ACL{User: 7, Group: 5, Other: 5, Mask: 7, Names: []ACE{
		{ID: 9, Group: true, Perm: 1}, {ID: 5, Perm: 7}, {ID: 3, Perm: 1}, {ID: 5, Perm: 0}, {ID: 3, Group: true},
	}}
	got, err := ParseACL(a.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	want := []ACE{{ID: 3, Perm: 1}, {ID: 5, Perm: 7}, {ID: 3, Group: true}, {ID: 9, Group: true, Perm: 1}}
	if diff := cmp.Diff(want, got.Names); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Whatever is read is written back the same, but for the order of names.
func FuzzParseACL(f *testing.F) {
	f.Add(form(2, [3]uint32{1, 6, none}, [3]uint32{2, 7, 1}, [3]uint32{4, 4, none}, [3]uint32{16, 7, none}, [3]uint32{32, 1, none}))
	f.Add(form(2, [3]uint32{1, 6, none}, [3]uint32{4, 4, none}, [3]uint32{32, 1, none}))
	f.Add([]byte{2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseACL(b)
		if err != nil {
			return
		}
		again, err := ParseACL(a.Bytes())
		if err != nil || !a.Equal(again) || len(a.Bytes()) != len(b) {
			t.Errorf("%x: %+v, then %+v, %v", b, a, again, err)
		}
	})
}
