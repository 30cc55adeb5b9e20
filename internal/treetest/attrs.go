package treetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The names under which the kernel keeps ACLs.
const (
	accessACL  = "system.posix_acl_access"
	defaultACL = "system.posix_acl_default"
)

// ACL is the access ACL of an entry with this mode: perm for each of the users and groups given by id, all of which the
// mask of the mode allows.
func ACL(mode uint32, users, groups []uint32, perm uint8) Attr {
	return Xattr(accessACL, aclForm(mode, users, groups, perm))
}

// DefaultACL is the default ACL of a directory, of the same form.
func DefaultACL(mode uint32, users, groups []uint32, perm uint8) Attr {
	return Xattr(defaultACL, aclForm(mode, users, groups, perm))
}

// aclForm writes an ACL as the kernel has it in extended attributes.
func aclForm(mode uint32, users, groups []uint32, perm uint8) string {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	add := func(tag uint16, perm uint32, id uint32) {
		b = binary.LittleEndian.AppendUint16(b, tag)
		b = binary.LittleEndian.AppendUint16(b, uint16(perm&7))
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	const nobody = 0xffffffff
	add(0x01, mode>>6, nobody)
	for _, id := range users {
		add(0x02, uint32(perm), id)
	}
	add(0x04, uint32(perm)^mode>>3, nobody)
	for _, id := range groups {
		add(0x08, uint32(perm), id)
	}
	add(0x10, mode>>3, nobody)
	add(0x20, mode, nobody)
	return string(b)
}

// HostileAttrs fills dir with entries whose extended attributes and ACLs a copy may get wrong: their number, sizes,
// names and namespaces, on entries of every kind. The file system must have room for them, as tmpfs has and ext4 has
// not. Without root there is only the user namespace, and symlinks and special files have nothing.
func HostileAttrs(t testing.TB, dir string) {
	t.Helper()
	root := os.Geteuid() == 0
	var many []Attr
	for i := range 1000 {
		many = append(many, Xattr(fmt.Sprintf("user.many.%04d", i), strings.Repeat("v", i%70)))
	}
	long := strings.Repeat("0123456789abcdef", 4096) // the longest that the kernel takes
	e := []Entry{
		Dir("attrs", Xattr("user.dir", "of a directory"), DefaultACL(0o775, []uint32{1, 4000000000}, []uint32{0}, 5)),
		File("attrs/many", "", many...),
		File("attrs/empty", "", Xattr("user.empty", "")),
		File("attrs/largest", "", Xattr("user.largest", long), Xattr("user.largest2", long[:65535])),
		File("attrs/around the limit", "", Xattr("user.31", long[:31]), Xattr("user.32", long[:32]),
			Xattr("user.33", long[:33]), Xattr("user.16", long[:16])),
		File("attrs/names", "", Xattr("user. ", "x"), Xattr("user.\xff\xfe", "x"), Xattr("user.a\nb", "x"),
			Xattr("user."+strings.Repeat("n", 250), "x"), Xattr("user.=", "x"), Xattr("user.é", "\x00\x01\xff")),
		File("attrs/prefix", "", Xattr("user.a", "1"), Xattr("user.a.b", "2"), Xattr("user.ab", "3")),
		File("attrs/looks like a digest", "", Xattr("user.d", long[:16]), Xattr("user.e", strings.Repeat("\x00", 40))),
		File("attrs/acl", "", Mode(0o640), ACL(0o640, []uint32{0, 1, 65534, 4000000000}, []uint32{0, 100}, 6)),
		File("attrs/acl that allows nothing", "", Mode(0o600), ACL(0o600, []uint32{1}, nil, 0)),
		File("attrs/acl with a mask alone", "", Mode(0o640), ACL(0o640, nil, nil, 7)),
		File("attrs/setuid", "", Mode(0o4755), ACL(0o755, []uint32{1}, nil, 7), Xattr("user.s", long[:40])),
		Dir("attrs/acls", Mode(0o3770), ACL(0o770, []uint32{1}, []uint32{1}, 7), DefaultACL(0o700, nil, nil, 0)),
		File("attrs/acls/inherits", "", Mode(0o600)),
		File("attrs/one of two", "linked", Xattr("user.linked", long[:100])),
		Link("attrs/two of two", "attrs/one of two"),
	}
	ids := make([]uint32, 400)
	for i := range ids {
		ids[i] = uint32(i * i)
	}
	e = append(e, File("attrs/acl with many names", "", Mode(0o644), ACL(0o644, ids, ids, 5)))
	for i := range 200 {
		e = append(e, File(fmt.Sprintf("attrs/same/%03d", i), "", Mode(0o644), Xattr("user.same", long[:1000]),
			Xattr("user.other", fmt.Sprint(i%3)), ACL(0o644, []uint32{7}, nil, 4)))
	}
	if root {
		e = append(e,
			File("attrs/namespaces", "", Xattr("trusted.t", long[:50]), Xattr("security.s", "s"), Xattr("user.u", "u")),
			Symlink("attrs/link", "namespaces", Xattr("trusted.t", long[:50]), Xattr("security.s", "")),
			Fifo("attrs/fifo", Mode(0o640), Xattr("trusted.t", long[:50]), ACL(0o640, []uint32{1}, nil, 6)),
			Socket("attrs/socket", Mode(0o640), Xattr("security.s", long[:50]), ACL(0o640, []uint32{1}, nil, 6)),
			Device("attrs/device", 'c', 1, 3, Mode(0o640), Xattr("trusted.t", "t"), ACL(0o640, []uint32{1}, nil, 6)))
	}
	Write(t, dir, e...)
}

// MutateAttrs changes n extended attributes and ACLs of entries of dir, chosen by rng, and says what it did. Times stay
// as they are.
func MutateAttrs(t testing.TB, rng *rand.Rand, dir string, n int) (log []string) {
	t.Helper()
	r := newRandom(t, rng, dir)
	for range n {
		path := pick(rng, r.dirs)
		if len(r.others) > 0 && rng.IntN(4) > 0 {
			path = pick(rng, r.others)
		}
		what, err := r.attr(path)
		check(t, pathError(what, path, err))
		if what != "" {
			log = append(log, what+" "+quote(path))
		}
	}
	return log
}

// attr changes one attribute of an entry. What an entry of its kind cannot have is left alone.
func (r *random) attr(path string) (what string, err error) {
	at := r.at(path)
	var st unix.Stat_t
	if err := unix.Lstat(at, &st); err != nil {
		return "lstat", err
	}
	kind := st.Mode & unix.S_IFMT
	plain := kind == unix.S_IFREG || kind == unix.S_IFDIR
	spaces := []string{}
	if plain {
		spaces = append(spaces, "user.", "user.")
	}
	if r.root {
		spaces = append(spaces, "trusted.", "security.")
	}
	remove := func(name string) (string, error) {
		if err := unix.Lremovexattr(at, name); !errors.Is(err, unix.ENODATA) {
			return "remove " + name, err
		}
		return "", nil
	}
	acl := func(mode uint32) string {
		users := [][]uint32{nil, {1}, {1000, 65534}}[r.rng.IntN(3)]
		groups := [][]uint32{nil, {0}, {3, 70000}}[r.rng.IntN(3)]
		return aclForm(mode, users, groups, uint8(r.rng.IntN(8)))
	}
	switch k := r.rng.IntN(10); {
	case k < 5 && len(spaces) > 0:
		name := pick(r.rng, spaces) + pick(r.rng, []string{"a", "b", "c", "\xff\n"})
		n := pick(r.rng, []int{0, 1, 32, 33, 200, 200})
		value := strings.Repeat(string(rune('a'+r.rng.IntN(3))), n)
		return "set " + quote(name), unix.Lsetxattr(at, name, []byte(value), 0)
	case k < 7 && len(spaces) > 0:
		return remove(pick(r.rng, spaces) + pick(r.rng, []string{"a", "b", "c", "\xff\n"}))
	case kind == unix.S_IFLNK:
		return "", nil
	case k == 7 && kind == unix.S_IFDIR:
		return "default ACL", unix.Lsetxattr(at, defaultACL, []byte(acl(r.rng.Uint32N(0o1000))), 0)
	case k == 8:
		return remove(pick(r.rng, []string{accessACL, defaultACL}))
	default:
		return "ACL", unix.Lsetxattr(at, accessACL, []byte(acl(st.Mode)), 0)
	}
}
