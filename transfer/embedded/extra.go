package embedded

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/syncd/syncd/internal/attr"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"golang.org/x/sys/unix"
)

// have reads what stands here. As with rsync, a process without privilege looks after the user namespace only.
func (a *attributes) have(dir int, name string, mode uint32) (*attr.Attrs, error) {
	got, err := a.reader.Read(dir, name, mode, a.which)
	if err != nil || got == nil || a.d.root {
		return got, err
	}
	return &attr.Attrs{Set: a.ours(got.Set), Access: got.Access, Default: got.Default}, nil
}

// ours leaves out what is not for this process to set.
func (a *attributes) ours(set attr.Set) attr.Set {
	if a.d.root {
		return set
	}
	return slices.DeleteFunc(slices.Clone(set), func(x attr.Xattr) bool { return !strings.HasPrefix(x.Name, "user.") })
}

// acl returns an ACL as it is to be here: with the ids that the names have here.
func (a *attributes) acl(l *attr.ACL) *attr.ACL {
	if l == nil || len(l.Names) == 0 || a.idNames() == nil {
		return l
	}
	here := *l
	here.Names = slices.Clone(l.Names)
	for i := range here.Names {
		n := &here.Names[i]
		if n.Group {
			n.ID = a.d.ids.group(n.ID, a.names)
		} else {
			n.ID = a.d.ids.user(n.ID, a.names)
		}
	}
	// In the kernel's order, and what became one entry as one.
	if sorted, err := attr.ParseACL(here.Bytes()); err == nil {
		return sorted
	}
	return &here
}

// accessACL is acl for an access ACL of an entry with this mode.
func (a *attributes) accessACL(l *attr.ACL, mode uint32) *attr.ACL { return withMode(a.acl(l), mode) }

// withMode returns an access ACL with what the mode says of it, as the kernel has it.
func withMode(l *attr.ACL, mode uint32) *attr.ACL {
	if l == nil {
		return nil
	}
	with := *l
	with.User, with.Other = uint8(mode>>6&7), uint8(mode&7)
	if group := uint8(mode >> 3 & 7); with.Mask != attr.NoMask {
		with.Mask = group
	} else {
		with.Group = group
	}
	return &with
}

// differExtra returns the bits of the item for extended attributes and ACLs. What cannot be read is found out when it
// is to be set.
func (a *attributes) differExtra(e *flist.Entry, at place) rsync.ItemFlags {
	if !a.which.Any() || at.st == nil {
		return 0
	}
	have, err := a.have(at.dir, at.name, e.Mode)
	if err != nil {
		return 0
	}
	var f rsync.ItemFlags
	if a.which.Xattrs && !have.XattrSet().Equal(a.ours(e.Attrs.XattrSet())) {
		f |= rsync.ItemXattr
	}
	// rsync calls a difference of what the mode says of an ACL one of permissions.
	if a.which.ACLs && !isSymlink(e.Mode) && (!have.ACL(true).Equal(a.acl(e.Attrs.ACL(true))) ||
		!withMode(have.ACL(false), e.Mode).Equal(a.accessACL(e.Attrs.ACL(false), e.Mode))) {
		f |= rsync.ItemACL
	}
	return f
}

// applyExtra gives t the extended attributes and ACLs of entry i.
func (a *attributes) applyExtra(t target, i int, e *flist.Entry) error {
	if !a.which.Any() || t.time == timeLater {
		return nil
	}
	have, err := a.have(t.dir, t.name, e.Mode)
	if err != nil {
		return fmt.Errorf("attributes of %q: %w", e.Path, err)
	}
	if a.which.ACLs && !isSymlink(e.Mode) {
		if err := applyACLs(t, e, have, a.accessACL(e.Attrs.ACL(false), t.mode), a.acl(e.Attrs.ACL(true))); err != nil {
			return err
		}
	}
	if !a.which.Xattrs {
		return nil
	}
	want := a.ours(e.Attrs.XattrSet())
	for _, x := range have.XattrSet() {
		if _, ok := want.Find(x.Name); ok {
			continue
		}
		if err := attr.Remove(t.dir, t.name, x.Name); err != nil && err != unix.ENODATA {
			return fmt.Errorf("remove extended attribute %q of %q: %w", x.Name, e.Path, err)
		}
	}
	for _, x := range want {
		if got, ok := have.XattrSet().Find(x.Name); ok && got == x {
			continue
		}
		if err := a.setXattr(t, i, e, x); err != nil {
			return err
		}
	}
	return nil
}

func applyACLs(t target, e *flist.Entry, have *attr.Attrs, access, ofDir *attr.ACL) error {
	if !have.ACL(false).Equal(access) {
		if err := attr.PutACL(t.dir, t.name, false, access); err != nil {
			return fmt.Errorf("set ACL of %q: %v", e.Path, err) // as with setXattr
		}
	}
	if isDir(e.Mode) && !have.ACL(true).Equal(ofDir) {
		if err := attr.PutACL(t.dir, t.name, true, ofDir); err != nil {
			return fmt.Errorf("set default ACL of %q: %v", e.Path, err)
		}
	}
	return nil
}

// setXattr sets one attribute, whose value, if it is long, is read at the source now.
func (a *attributes) setXattr(t target, i int, e *flist.Entry, x attr.Xattr) error {
	value := []byte(x.Data)
	if !x.Inlined() {
		var err error
		value, err = a.b.Xattr(i, x.Name)
		switch {
		case errors.Is(err, unix.ENODATA), err == nil && !x.Is(value):
			return fmt.Errorf("extended attribute %q of %q: %w", x.Name, e.Path, rsync.ErrChanged)
		case err != nil:
			return fmt.Errorf("read extended attribute %q of %q: %w", x.Name, e.Path, err)
		}
	}
	if err := attr.Put(t.dir, t.name, x.Name, value); err != nil {
		// Not wrapped: ext4 says that there is no space when one file has too many. The disk need not be full.
		return fmt.Errorf("set extended attribute %q of %q: %v", x.Name, e.Path, err)
	}
	return nil
}
