package attr

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Reader reads the attributes of entries. It keeps what it needs from one to the next; the zero value is ready. It is
// not for concurrent use.
type Reader struct {
	list, value []byte
	name, attr  []byte // as the kernel takes them
	last        *Attrs // what was read before: neighbours tend to have the same
}

// Read returns what an entry of this mode has. A file system without attributes has none. A removal between two looks at
// the entry is no error: it moves the entry's ctime.
func (r *Reader) Read(dir int, name string, mode uint32, w Which) (*Attrs, error) {
	if r.list == nil {
		r.list, r.value = make([]byte, MaxList), make([]byte, MaxValue)
	}
	r.name = append(append(r.name[:0], name...), 0)
	var a Attrs
	var err error
	if w.Xattrs {
		if a.Set, err = r.set(dir, name); err != nil {
			return nil, err
		}
	}
	if kind := mode & unix.S_IFMT; w.ACLs && kind != unix.S_IFLNK {
		if a.Access, err = r.acl(dir, name, accessName); err != nil {
			return nil, err
		}
		if a.Access != nil && a.Access.Minimal() {
			a.Access = nil
		}
		if kind == unix.S_IFDIR {
			if a.Default, err = r.acl(dir, name, defaultName); err != nil {
				return nil, err
			}
		}
	}
	switch {
	case a.Set == nil && a.Access == nil && a.Default == nil:
		return nil, nil
	case r.last == nil || !r.last.Equal(&a):
		r.last = &a
	}
	return r.last, nil
}

// Forget lets go of what was read before.
func (r *Reader) Forget() { r.last = nil }

// set reads all attributes that are to be copied.
func (r *Reader) set(dir int, name string) (Set, error) {
	n, err := r.listNames(dir, name)
	switch {
	case err == unix.ENOTSUP || err == nil && n == 0:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("list extended attributes: %w", err)
	}
	var set Set
	for attr := range bytes.SplitSeq(bytes.TrimSuffix(r.list[:n], []byte{0}), []byte{0}) {
		if hidden(attr) {
			continue
		}
		n, err := r.get(dir, name, attr)
		if err == unix.ENODATA {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read extended attribute %q: %w", attr, err)
		}
		set = append(set, r.xattr(attr, r.value[:n]))
	}
	slices.SortFunc(set, func(x, y Xattr) int { return strings.Compare(x.Name, y.Name) })
	return set, nil
}

// xattr is New without a copy of what the entry before had too.
func (r *Reader) xattr(name, value []byte) Xattr {
	for _, x := range r.last.XattrSet() {
		if x.Name == string(name) {
			if x.Inlined() && x.Size == len(value) && x.Data == string(value) {
				return x
			}
			return New(x.Name, value)
		}
	}
	return New(string(name), value)
}

func (r *Reader) acl(dir int, name, attr string) (*ACL, error) {
	r.attr = append(r.attr[:0], attr...)
	n, err := r.get(dir, name, r.attr)
	switch {
	case err == unix.ENODATA || err == unix.ENOTSUP:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read ACL: %w", err)
	}
	a, err := ParseACL(r.value[:n])
	if err != nil {
		return nil, fmt.Errorf("read ACL: %w", err)
	}
	return a, nil
}

func (r *Reader) listNames(dir int, name string) (int, error) {
	return sparing(r.list, func(buf []byte) (int, error) {
		if calls() {
			return listAt(dir, r.name, buf)
		}
		return retry(func() (int, error) { return unix.Llistxattr(viaProc(dir, name), buf) })
	})
}

func (r *Reader) get(dir int, name string, attr []byte) (int, error) {
	if !calls() {
		return get(dir, name, string(attr), r.value)
	}
	r.attr = append(append(r.attr[:0], attr...), 0)
	return sparing(r.value, func(buf []byte) (int, error) { return getAt(dir, r.name, r.attr, buf) })
}
