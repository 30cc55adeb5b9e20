package flist

import (
	"fmt"
	"strings"

	"github.com/syncd/syncd/internal/attr"
	"github.com/syncd/syncd/internal/rsync/wire"
)

// Flags of an ACL on the wire (protocol 6.10).
const (
	aclUser  = 0x01
	aclGroup = 0x02
	aclMask  = 0x04
	aclOther = 0x08
	aclNames = 0x10

	aceUser  = 0x02 // in the permissions of a name
	aceShift = 2
)

// sets holds what one list has said of ACLs and extended attributes: equal ones are said once and then meant by number.
type sets struct {
	access, defaults, xattrs map[string]int32 // as they stand on the wire, to their number
	users, groups            []uint32         // that ACLs name
	scratch                  []byte
	last                     *attr.Attrs // whose number is lastXattrs; entries may share one
	lastXattrs               int32
}

// extras writes what stands behind an entry's fields: its ACLs, the default one of directories, its extended attributes.
// mode is the one that the receiver knows of the entry.
func (x *encoder) extras(e *Entry, mode uint32) {
	if x.o.ACLs && !e.isSymlink() {
		x.acl(e.Attrs.ACL(false), mode, &x.sets.access)
		if e.IsDir() {
			x.acl(e.Attrs.ACL(true), 0, &x.sets.defaults)
		}
	}
	if x.o.Xattrs {
		x.xattrs(e.Attrs)
	}
}

// acl writes an ACL. What of it the mode tells is left out; a default one has no mode.
func (x *encoder) acl(a *attr.ACL, mode uint32, said *map[string]int32) {
	s := &x.sets
	s.scratch = append(s.scratch[:0], 0)
	if a != nil {
		s.scratch = appendACL(s.scratch[:0], a, mode)
		for _, n := range a.Names {
			if n.Group {
				s.groups = addID(s.groups, n.ID)
			} else {
				s.users = addID(s.users, n.ID)
			}
		}
	}
	x.say(said)
}

// addID adds an id whose name is to be sent; that of id 0 has a place of its own.
func addID(ids []uint32, id uint32) []uint32 {
	if id == 0 || len(ids) > 0 && ids[len(ids)-1] == id {
		return ids
	}
	return append(ids, id)
}

func appendACL(b []byte, a *attr.ACL, mode uint32) []byte {
	group, isDefault := uint8(mode>>3&7), mode == 0
	values := [4]struct {
		flag  byte
		value uint8
		said  bool
	}{
		{aclUser, a.User, isDefault},
		{aclGroup, a.Group, isDefault || a.Mask != attr.NoMask && a.Group != group},
		{aclMask, a.Mask, a.Mask != attr.NoMask && (isDefault || len(a.Names) == 0 || a.Mask != group)},
		{aclOther, a.Other, isDefault},
	}
	at := len(b)
	b = append(b, 0)
	for _, v := range values {
		if v.said {
			b[at] |= v.flag
			b = append(b, v.value) // a varint of at most 7 is its byte
		}
	}
	if len(a.Names) == 0 {
		return b
	}
	b[at] |= aclNames
	b = wire.AppendVarint(b, int32(len(a.Names)))
	for _, n := range a.Names {
		perm := int32(n.Perm) << aceShift
		if !n.Group {
			perm |= aceUser
		}
		b = wire.AppendVarint(wire.AppendVarint(b, int32(n.ID)), perm)
	}
	return b
}

// xattrs writes a set.
func (x *encoder) xattrs(a *attr.Attrs) {
	s := &x.sets
	if a != nil && a == s.last {
		x.w.Varint(s.lastXattrs)
		return
	}
	set := a.XattrSet()
	b := wire.AppendVarint(s.scratch[:0], int32(len(set)))
	for i := range set {
		t := &set[i]
		b = wire.AppendVarint(wire.AppendVarint(b, int32(len(t.Name)+1)), int32(t.Size))
		b = append(append(b, t.Name...), 0)
		b = append(b, t.Data...)
	}
	s.scratch = b
	s.last, s.lastXattrs = a, x.say(&s.xattrs)
}

// say writes what stands in scratch, or its number if that was said before, and returns the number.
func (x *encoder) say(said *map[string]int32) int32 {
	b := x.sets.scratch
	n, ok := (*said)[string(b)]
	x.w.Varint(n)
	if ok {
		return n
	}
	x.w.Bytes(b)
	if *said == nil {
		*said = make(map[string]int32)
	}
	n = int32(len(*said)) + 1
	(*said)[string(b)] = n
	return n
}

// What a receiver takes of one entry (protocol 6.10): more than any kernel has.
const maxXattrName = 1 << 10

// checkAttrs refuses what a receiver would understand differently.
func (o Options) checkAttrs(e *Entry) error {
	if o.ACLs {
		for _, a := range []*attr.ACL{e.Attrs.Access, e.Attrs.Default} {
			if a != nil && !sendableACL(a) {
				return fmt.Errorf("%q: ACL %+v", e.Path, *a)
			}
		}
	}
	if !o.Xattrs {
		return nil
	}
	last := ""
	for i := range e.Attrs.Set {
		x := &e.Attrs.Set[i]
		held := x.Size
		if !x.Inlined() {
			held = digestLen
		}
		switch {
		case x.Name <= last || len(x.Name) > maxXattrName || strings.IndexByte(x.Name, 0) >= 0:
			return fmt.Errorf("%q: extended attribute %q out of order, or with no name for one", e.Path, x.Name)
		case x.Size < 0 || x.Size > attr.MaxValue || len(x.Data) != held:
			return fmt.Errorf("%q: extended attribute %q of %d bytes", e.Path, x.Name, x.Size)
		}
		last = x.Name
	}
	return nil
}

// digestLen is what stands for a value that is too long to be in the list, in bytes.
const digestLen = 16

func sendableACL(a *attr.ACL) bool {
	const all = 7
	ok := a.User <= all && a.Group <= all && a.Other <= all && (a.Mask <= all || a.Mask == attr.NoMask && len(a.Names) == 0)
	for _, n := range a.Names {
		ok = ok && n.Perm <= all
	}
	return ok
}
