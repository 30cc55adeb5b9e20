package attr

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// An ACL is a POSIX ACL. The three entries that every mode has are always there; with Names there is a mask.
type ACL struct {
	User, Group, Other uint8 // permissions 0 to 7 of owner, owning group and the rest
	Mask               uint8 // 0 to 7, or NoMask
	Names              []ACE // users by id, then groups by id
}

// NoMask is the Mask of an ACL without one.
const NoMask = 0xff

// ACE is the entry of one user or group.
type ACE struct {
	ID    uint32
	Group bool
	Perm  uint8 // 0 to 7
}

// Equal reports whether both allow the same to the same; the nil ACL equals only itself.
func (a *ACL) Equal(b *ACL) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.User == b.User && a.Group == b.Group && a.Other == b.Other && a.Mask == b.Mask &&
		slices.Equal(a.Names, b.Names)
}

// Minimal reports whether the ACL says no more than a mode can.
func (a *ACL) Minimal() bool { return a.Mask == NoMask && len(a.Names) == 0 }

// The kernel's form of an ACL as an extended attribute (linux/posix_acl_xattr.h): a version, then entries of tag,
// permissions and id.
const (
	aclVersion = 2
	aclHeader  = 4
	aclEntry   = 8

	tagUserObj  = 0x01
	tagUser     = 0x02
	tagGroupObj = 0x04
	tagGroup    = 0x08
	tagMask     = 0x10
	tagOther    = 0x20

	noID    = 0xffffffff // of entries that name nobody
	maxPerm = 7
)

var (
	errACLForm  = errors.New("not an ACL as this kernel writes them")
	errACLTwice = errors.New("ACL with an entry twice")
	errACLLacks = errors.New("ACL without an entry that it must have")
)

// ParseACL reads an ACL in the kernel's form. It refuses what no kernel writes.
func ParseACL(b []byte) (*ACL, error) {
	if len(b) < aclHeader || (len(b)-aclHeader)%aclEntry != 0 || binary.LittleEndian.Uint32(b) != aclVersion {
		return nil, errACLForm
	}
	a := &ACL{Mask: NoMask}
	seen := 0
	for b = b[aclHeader:]; len(b) > 0; b = b[aclEntry:] {
		tag, perm := int(binary.LittleEndian.Uint16(b)), binary.LittleEndian.Uint16(b[2:])
		if perm > maxPerm {
			return nil, fmt.Errorf("ACL with permissions %#o", perm)
		}
		if err := a.take(tag, uint8(perm), binary.LittleEndian.Uint32(b[4:])); err != nil {
			return nil, err
		}
		if tag != tagUser && tag != tagGroup && seen&tag != 0 {
			return nil, errACLTwice
		}
		seen |= tag
	}
	const always = tagUserObj | tagGroupObj | tagOther
	if seen&always != always || len(a.Names) > 0 && a.Mask == NoMask {
		return nil, errACLLacks
	}
	return a, a.sort()
}

func (a *ACL) take(tag int, perm uint8, id uint32) error {
	switch tag {
	case tagUserObj:
		a.User = perm
	case tagGroupObj:
		a.Group = perm
	case tagMask:
		a.Mask = perm
	case tagOther:
		a.Other = perm
	case tagUser, tagGroup:
		if id == noID {
			return errACLForm
		}
		a.Names = append(a.Names, ACE{ID: id, Group: tag == tagGroup, Perm: perm})
	default:
		return errACLForm
	}
	return nil
}

// sort brings the names into their order and looks for one that is there twice.
func (a *ACL) sort() error {
	slices.SortFunc(a.Names, compare)
	for i := 1; i < len(a.Names); i++ {
		if compare(a.Names[i-1], a.Names[i]) == 0 {
			return errACLTwice
		}
	}
	return nil
}

func compare(x, y ACE) int {
	if x.Group != y.Group {
		if y.Group {
			return -1
		}
		return 1
	}
	return cmp.Compare(x.ID, y.ID)
}

// Bytes returns the ACL in the kernel's form. Of names that are there twice the first counts: who maps ids may have
// made two one.
func (a *ACL) Bytes() []byte {
	names := slices.Clone(a.Names)
	slices.SortStableFunc(names, compare)
	names = slices.CompactFunc(names, func(x, y ACE) bool { return compare(x, y) == 0 })
	b := make([]byte, 0, aclHeader+aclEntry*(len(names)+4))
	b = binary.LittleEndian.AppendUint32(b, aclVersion)
	b = appendEntry(b, tagUserObj, a.User, noID)
	groups := slices.IndexFunc(names, func(e ACE) bool { return e.Group })
	if groups < 0 {
		groups = len(names)
	}
	for _, e := range names[:groups] {
		b = appendEntry(b, tagUser, e.Perm, e.ID)
	}
	b = appendEntry(b, tagGroupObj, a.Group, noID)
	for _, e := range names[groups:] {
		b = appendEntry(b, tagGroup, e.Perm, e.ID)
	}
	if a.Mask != NoMask {
		b = appendEntry(b, tagMask, a.Mask, noID)
	}
	return appendEntry(b, tagOther, a.Other, noID)
}

func appendEntry(b []byte, tag uint16, perm uint8, id uint32) []byte {
	b = binary.LittleEndian.AppendUint16(b, tag)
	b = binary.LittleEndian.AppendUint16(b, uint16(perm))
	return binary.LittleEndian.AppendUint32(b, id)
}
