package flist

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/syncd/syncd/internal/attr"
	"github.com/syncd/syncd/internal/rsync/wire"
)

// A decoder reads lists back, by protocol 6 and without any of the encoder's code.
type decoder struct {
	Options

	src *bytes.Reader
	in  []byte
	r   *wire.Reader

	name      string
	mode      uint32
	mtime     int64
	atime     int64
	uid, gid  uint32
	major     uint32
	rdev27    uint32
	dev       int64
	list      []Entry
	inodes    map[[2]int64]int32 // before protocol 30: position of the first entry with this dev and inode, plus 1
	ioError   int32
	users     map[uint32]string
	groups    map[uint32]string
	blanks    [][2]int // ranges whose value is the sender's invention
	flagsSeen uint32

	access, defaults []*attr.ACL
	said             []attr.Set
	named            map[bool][]uint32 // ids that ACLs name; true: groups
	reused           int
}

func newDecoder(in []byte, o Options) *decoder {
	d := &decoder{Options: o, in: in, src: bytes.NewReader(in), inodes: make(map[[2]int64]int32),
		named: map[bool][]uint32{}}
	d.r = wire.NewReader(d.src)
	return d
}

// at returns how much of the input has been decoded.
func (d *decoder) at() int { return len(d.in) - d.src.Len() - d.r.Buffered() }

// decode reads the whole list and returns it in sending order.
func (d *decoder) decode() error {
	for {
		more, err := d.entry()
		if err != nil {
			return fmt.Errorf("entry %d: %w", len(d.list), err)
		}
		if err := d.r.Err(); err != nil {
			return fmt.Errorf("entry %d at %d: %w", len(d.list), d.at(), err)
		}
		if !more {
			break
		}
	}
	if !d.NumericIDs {
		if d.Owner || d.ACLs {
			d.users = d.idList()
		}
		if d.Group || d.ACLs {
			d.groups = d.idList()
		}
	}
	if d.Protocol < 30 {
		d.ioError = d.r.Int32()
	}
	d.findGroups()
	return d.r.Err()
}

func (d *decoder) v4() uint32 {
	if d.Protocol >= 30 {
		return uint32(d.r.Varint())
	}
	return uint32(d.r.Int32())
}

func (d *decoder) bytes(n int) []byte {
	if n < 0 || n > len(d.in) {
		panic("length beyond the input")
	}
	b := make([]byte, n)
	d.r.Full(b)
	return b
}

func (d *decoder) flags() (flags uint32, end bool) {
	if d.VarintFlags {
		f := uint32(d.r.Varint())
		if f == 0 {
			d.ioError = d.r.Varint()
			return 0, true
		}
		return f, false
	}
	f := uint32(d.r.Byte())
	if d.Protocol >= 28 && f&4 != 0 {
		f |= uint32(d.r.Byte()) << 8
	}
	if f == 0 {
		return 0, true
	}
	if f == 0x1004 && (d.Protocol >= 31 || d.SafeFlist) {
		d.ioError = d.r.Varint()
		return 0, true
	}
	return f, false
}

func (d *decoder) entry() (more bool, err error) {
	f, end := d.flags()
	if end {
		return false, nil
	}
	d.flagsSeen |= f
	p := d.Protocol
	if len(d.list) == 0 && (d.Owner && f&0x08 != 0 || d.Group && f&0x10 != 0) {
		return false, errors.New("the first entry does not state its ids")
	}
	if !d.Owner && f&0x08 == 0 || !d.Group && f&0x10 == 0 {
		return false, errors.New("no SAME_UID or SAME_GID though the option is off")
	}
	if f&0x4000 != 0 && !d.Atimes {
		return false, errors.New("SAME_ATIME though the option is off")
	}
	prefix := 0
	if f&0x20 != 0 {
		prefix = int(d.r.Byte())
	}
	suffix := 0
	if f&0x40 != 0 {
		suffix = int(d.v4())
	} else {
		suffix = int(d.r.Byte())
	}
	if prefix > len(d.name) {
		return false, fmt.Errorf("prefix of %d bytes of %q", prefix, d.name)
	}
	e := Entry{Path: d.name[:prefix] + string(d.bytes(suffix))}
	d.name = e.Path
	self := int32(len(d.list))
	if p >= 30 && f&0x200 != 0 {
		e.Link = self + 1
		if f&0x1000 == 0 {
			leader := d.r.Varint()
			if leader < 0 || leader >= self || d.list[leader].Link != leader+1 {
				return false, fmt.Errorf("leader %d", leader)
			}
			l := d.list[leader]
			e, l.Path = l, e.Path
			e.Path = l.Path
			d.remember(&e)
			d.list = append(d.list, e)
			d.extras()
			return true, nil
		}
	}
	d.attributes(&e, f)
	if p < 30 && d.HardLinks {
		d.inode(&e, f)
	}
	if d.SumLen > 0 && e.Mode&0o170000 == 0o100000 {
		e.Sum = d.bytes(d.SumLen)
	} else if d.SumLen > 0 && p == 27 {
		if !bytes.Equal(d.bytes(d.SumLen), make([]byte, d.SumLen)) {
			return false, errors.New("sum of something that is no file")
		}
	}
	d.remember(&e)
	d.list = append(d.list, e)
	d.extras()
	return true, nil
}

func (d *decoder) attributes(e *Entry, f uint32) {
	p := d.Protocol
	if p >= 30 {
		e.Size = d.r.Varlong(3)
	} else {
		e.Size = d.r.Longint()
	}
	e.Mtime = d.mtime
	switch {
	case f&0x80 != 0:
	case p >= 30:
		e.Mtime = d.r.Varlong(4)
	default:
		e.Mtime = int64(uint32(d.r.Int32()))
	}
	if p >= 31 && f&0x2000 != 0 {
		e.Nsec = d.r.Varint()
	}
	e.Mode = d.mode
	if f&0x02 == 0 {
		e.Mode = uint32(d.r.Int32())
	}
	kind := e.Mode & 0o170000
	if d.Atimes && kind != 0o040000 {
		if f&0x4000 == 0 {
			d.atime = d.r.Varlong(4)
		}
		e.Atime = d.atime
	}
	e.UID, e.GID = d.uid, d.gid
	if f&0x08 == 0 {
		e.UID = d.v4()
	}
	if f&0x10 == 0 {
		e.GID = d.v4()
	}
	device := kind == 0o020000 || kind == 0o060000
	special := kind == 0o010000 || kind == 0o140000
	if device && d.Devices || special && d.Specials && p < 31 {
		d.rdev(e, f, device)
	}
	if kind == 0o120000 && d.Links {
		e.Target = string(d.bytes(int(d.v4())))
	}
	if kind == 0o040000 {
		e.Dir = dirKind(f, p)
	}
}

func dirKind(f uint32, p int) DirKind {
	switch {
	case p < 30 && f&1 != 0:
		return Content
	case p < 30:
		return NoContent
	}
	return map[uint32]DirKind{0: Content, 1: Content, 0x100: NoContent, 0x101: Implied}[f&0x101]
}

func (d *decoder) rdev(e *Entry, f uint32, device bool) {
	switch {
	case d.Protocol == 27:
		if f&4 == 0 {
			d.rdev27 = uint32(d.r.Int32())
		}
		if device {
			e.Major = d.rdev27 >> 8 & 0xfff
			e.Minor = d.rdev27&0xff | d.rdev27>>12&0xfff00
		}
		return
	case f&0x100 == 0:
		d.major = d.v4()
	}
	minor := uint32(0)
	if d.Protocol < 30 && f&0x800 != 0 {
		minor = uint32(d.r.Byte())
	} else {
		minor = d.v4()
	}
	if device {
		e.Major, e.Minor = d.major, minor
	}
}

// inode reads field 17 and keeps in Link who was first with these numbers.
func (d *decoder) inode(e *Entry, f uint32) {
	if d.Protocol == 27 && e.Mode&0o170000 != 0o100000 || d.Protocol > 27 && f&0x200 == 0 {
		return
	}
	from := d.at()
	if d.Protocol == 27 || f&0x400 == 0 {
		d.dev = d.r.Longint()
	}
	key := [2]int64{d.dev, d.r.Longint()}
	d.blanks = append(d.blanks, [2]int{from, d.at()})
	if d.inodes[key] == 0 {
		d.inodes[key] = int32(len(d.list)) + 1
	}
	e.Link = d.inodes[key]
}

func (d *decoder) remember(e *Entry) {
	d.mode, d.mtime, d.uid, d.gid = e.Mode, e.Mtime, e.UID, e.GID
	if e.Mode&0o170000 != 0o040000 {
		d.atime = e.Atime
	}
	switch e.Mode & 0o170000 {
	case 0o020000, 0o060000:
		d.major = e.Major
	case 0o010000, 0o140000:
	default:
		d.rdev27 = 0
	}
}

// extras reads ACLs and extended attributes (protocol 6.10).
func (d *decoder) extras() {
	e := &d.list[len(d.list)-1]
	var a attr.Attrs
	if d.ACLs && e.Mode&0o170000 != 0o120000 {
		a.Access = d.acl(&d.access, e.Mode)
		if e.Mode&0o170000 == 0o040000 {
			a.Default = d.acl(&d.defaults, 0)
		}
	}
	if d.Xattrs {
		a.Set = d.xattrs()
	}
	e.Attrs = nil
	if a.Access != nil || a.Default != nil || a.Set != nil {
		e.Attrs = &a
	}
}

// acl reads an ACL and puts in what the mode has of it, which a default one does not have.
func (d *decoder) acl(said *[]*attr.ACL, mode uint32) *attr.ACL {
	if n := d.r.Varint(); n != 0 {
		d.reused++
		return fill((*said)[n-1], mode)
	}
	const open = 0xf0 // not said
	a := &attr.ACL{User: open, Group: open, Mask: open, Other: open}
	f := d.r.Byte()
	for i, to := range []*uint8{&a.User, &a.Group, &a.Mask, &a.Other} {
		if f>>i&1 != 0 {
			*to = uint8(d.r.Varint())
		}
	}
	if f&0x10 != 0 {
		for range d.r.Varint() {
			id, perm := uint32(d.r.Varint()), d.r.Varint()
			a.Names = append(a.Names, attr.ACE{ID: id, Group: perm&2 == 0, Perm: uint8(perm >> 2)})
			if perm&1 != 0 {
				panic("a name in a list that is not incremental")
			}
			if id != 0 {
				d.named[perm&2 == 0] = append(d.named[perm&2 == 0], id)
			}
		}
	}
	if f == 0 {
		a = nil
	}
	*said = append(*said, a)
	return fill(a, mode)
}

func fill(a *attr.ACL, mode uint32) *attr.ACL {
	if a == nil {
		return nil
	}
	b := *a
	group := uint8(mode >> 3 & 7)
	for _, v := range []struct {
		to *uint8
		by uint8
	}{{&b.User, uint8(mode >> 6 & 7)}, {&b.Group, group}, {&b.Other, uint8(mode & 7)}} {
		if *v.to > 7 {
			*v.to = v.by
		}
	}
	if b.Mask > 7 && len(b.Names) > 0 {
		b.Mask = group
	} else if b.Mask > 7 {
		b.Mask = attr.NoMask
	}
	return &b
}

func (d *decoder) xattrs() attr.Set {
	if n := d.r.Varint(); n != 0 {
		d.reused++
		return d.said[n-1]
	}
	var set attr.Set
	for range d.r.Varint() {
		name, size := int(d.r.Varint()), int(d.r.Varint())
		held := size
		if held > 32 {
			held = 16
		}
		set = append(set, attr.Xattr{Name: strings.TrimSuffix(string(d.bytes(name)), "\x00"), Size: size})
		set[len(set)-1].Data = string(d.bytes(held))
	}
	d.said = append(d.said, set)
	return set
}

// idList reads one list of names.
func (d *decoder) idList() map[uint32]string {
	m := make(map[uint32]string)
	for {
		v := d.v4()
		if v == 0 || d.r.Err() != nil {
			break
		}
		if _, twice := m[v]; twice {
			panic("an id is listed twice")
		}
		m[v] = string(d.bytes(int(d.r.Byte())))
	}
	if d.ID0Names {
		if s := string(d.bytes(int(d.r.Byte()))); s != "" {
			m[0] = s
		}
	}
	return m
}

// findGroups makes groups of one member none: protocol 27 knows no difference.
func (d *decoder) findGroups() { dropSingles(d.list) }

func dropSingles(list []Entry) {
	members := make(map[int32]int)
	for _, e := range list {
		members[e.Link]++
	}
	for i := range list {
		if members[list[i].Link] == 1 {
			list[i].Link = 0
		}
	}
}

// kept returns the decoded bytes with zeros for what senders invent.
func (d *decoder) kept() []byte {
	b := bytes.Clone(d.in[:d.at()])
	for _, r := range d.blanks {
		clear(b[r[0]:r[1]])
	}
	return b
}

// rest returns what follows the list.
func (d *decoder) rest() []byte {
	b, _ := io.ReadAll(d.r)
	return b
}
