// Package attr has extended attributes and POSIX ACLs as values, and reads and sets them on Linux.
//
// It is a leaf: what lists a source, what speaks of it to a server and what writes a destination all know it, and it
// knows none of them. Entries are named by the descriptor of their directory and their name in it, of which no symlink
// is followed; the directory itself is ".".
package attr

import (
	"bytes"
	"crypto/md5"
	"strings"
)

const (
	// Inline is the longest value that a Set holds itself, in bytes. Of longer ones it has the digest: a list of many
	// files would not fit into memory otherwise, and rsync's protocol (6.10) wants it so.
	Inline = 32

	// MaxValue and MaxList are what the kernel allows: bytes of one value, and of all names of an entry together, each
	// with a NUL behind it.
	MaxValue = 64 << 10
	MaxList  = 64 << 10
)

// Attrs is what an entry has beyond its stat. It is not changed once made, so that entries may share one. The nil
// pointer is an entry that has none, or whose were not asked for.
type Attrs struct {
	Set     Set
	Access  *ACL // nil: what the mode says
	Default *ACL // of directories; nil: none
}

// Set is the extended attributes of an entry, in byte order of names. ACLs are not among them.
type Set []Xattr

// Xattr is one attribute.
type Xattr struct {
	Name string // with its namespace, as in user.mime_type
	Size int    // of the value, bytes
	// Data is the value if it is no longer than Inline, else its MD5.
	Data string
}

// New returns the attribute of this name and value.
func New(name string, value []byte) Xattr {
	x := Xattr{Name: name, Size: len(value)}
	if len(value) <= Inline {
		x.Data = string(value)
	} else {
		sum := md5.Sum(value)
		x.Data = string(sum[:])
	}
	return x
}

// Is reports whether value is that of x, as far as a digest tells.
func (x Xattr) Is(value []byte) bool { return New(x.Name, value) == x }

// Inlined reports whether Data is the value itself.
func (x Xattr) Inlined() bool { return x.Size <= Inline }

// Find returns the attribute called name.
func (s Set) Find(name string) (Xattr, bool) {
	for _, x := range s {
		if x.Name == name {
			return x, true
		}
	}
	return Xattr{}, false
}

// Equal reports whether both have the same names and, as far as a digest tells, the same values.
func (s Set) Equal(t Set) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range s {
		if s[i] != t[i] {
			return false
		}
	}
	return true
}

// Equal reports whether both say the same of an entry.
func (a *Attrs) Equal(b *Attrs) bool {
	return a == b || a.XattrSet().Equal(b.XattrSet()) &&
		a.ACL(false).Equal(b.ACL(false)) && a.ACL(true).Equal(b.ACL(true))
}

// XattrSet returns the extended attributes; a may be nil.
func (a *Attrs) XattrSet() Set {
	if a == nil {
		return nil
	}
	return a.Set
}

// ACL returns the access ACL, or the default one; a may be nil.
func (a *Attrs) ACL(ofDefault bool) *ACL {
	switch {
	case a == nil:
		return nil
	case ofDefault:
		return a.Default
	}
	return a.Access
}

// Which says what is to be read of an entry.
type Which struct{ Xattrs, ACLs bool }

// Any reports whether anything is asked for.
func (w Which) Any() bool { return w.Xattrs || w.ACLs }

// Hidden reports whether an attribute is none to be copied, as with rsync's single -X: what the kernel keeps in the
// system namespace are other things in disguise, ACLs above all, and rsync's own notes for --fake-super belong to where
// they are.
func Hidden(name string) bool {
	return strings.HasPrefix(name, "system.") || strings.HasPrefix(name, "user.rsync.%")
}

// hidden is Hidden for a name that is no string yet.
func hidden(name []byte) bool {
	return bytes.HasPrefix(name, []byte("system.")) || bytes.HasPrefix(name, []byte("user.rsync.%"))
}
