package flist

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/syncd/syncd/internal/rsync/wire"
)

// A decoder reads lists back, by protocol 6 and without any of the encoder's code. It also knows what the encoder
// does not send: access times, ACLs and extended attributes of recorded sessions.
type decoder struct {
	Options
	atimes, acls, xattrs bool

	src *bytes.Reader
	in  []byte
	r   *wire.Reader

	name      string
	mode      uint32
	mtime     int64
	uid, gid  uint32
	major     uint32
	rdev27    uint32
	dev       int64
	list      []Entry
	inodes    map[[2]int64]int32 // before protocol 30: position of the first entry with this dev and inode, plus 1
	ioError   int32
	users     map[uint32]string
	groups    map[uint32]string
	cuts      [][2]int // ranges of the input that the encoder has nothing for
	blanks    [][2]int // ranges whose value is the sender's invention
	flagsSeen uint32
}

func newDecoder(in []byte, o Options) *decoder {
	d := &decoder{Options: o, in: in, src: bytes.NewReader(in), inodes: make(map[[2]int64]int32)}
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
		if d.Owner || d.acls {
			d.users = d.idList(func(e Entry) uint32 { return e.UID })
		}
		if d.Group || d.acls {
			d.groups = d.idList(func(e Entry) uint32 { return e.GID })
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
			d.extras(&e)
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
	d.extras(&e)
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
	if d.atimes && kind != 0o040000 && f&0x4000 == 0 {
		d.r.Varlong(4)
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
	switch e.Mode & 0o170000 {
	case 0o020000, 0o060000:
		d.major = e.Major
	case 0o010000, 0o140000:
	default:
		d.rdev27 = 0
	}
}

// extras skips ACLs and xattrs (protocol 6.10) and notes where they are.
func (d *decoder) extras(e *Entry) {
	from := d.at()
	if d.acls && e.Mode&0o170000 != 0o120000 {
		d.skipACL()
		if e.Mode&0o170000 == 0o040000 {
			d.skipACL()
		}
	}
	if d.xattrs && d.r.Varint() == 0 {
		for range d.r.Varint() {
			name, value := d.r.Varint(), d.r.Varint()
			if value > 32 {
				value = 16
			}
			d.bytes(int(name + value))
		}
	}
	if to := d.at(); to > from {
		d.cuts = append(d.cuts, [2]int{from, to})
	}
}

func (d *decoder) skipACL() {
	if d.r.Varint() != 0 {
		return
	}
	f := d.r.Byte()
	for _, bit := range []byte{1, 2, 4, 8} {
		if f&bit != 0 {
			d.r.Varint()
		}
	}
	if f&0x10 != 0 {
		for range d.r.Varint() {
			d.r.Varint()
			d.r.Varint()
		}
	}
}

// idList reads one list of names. What is there only because of ACLs is cut.
func (d *decoder) idList(id func(Entry) uint32) map[uint32]string {
	m := make(map[uint32]string)
	for {
		from := d.at()
		v := d.v4()
		if v == 0 || d.r.Err() != nil {
			break
		}
		if _, twice := m[v]; twice {
			panic("an id is listed twice")
		}
		m[v] = string(d.bytes(int(d.r.Byte())))
		if !slices.ContainsFunc(d.list, func(e Entry) bool { return id(e) == v }) {
			d.cuts = append(d.cuts, [2]int{from, d.at()})
		}
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

// kept returns the decoded bytes without what the encoder has nothing for, and with zeros for what senders invent.
func (d *decoder) kept() []byte {
	b := bytes.Clone(d.in[:d.at()])
	for _, r := range d.blanks {
		clear(b[r[0]:r[1]])
	}
	for i := len(d.cuts) - 1; i >= 0; i-- {
		b = append(b[:d.cuts[i][0]], b[d.cuts[i][1]:]...)
	}
	return b
}

// rest returns what follows the list.
func (d *decoder) rest() []byte {
	b, _ := io.ReadAll(d.r)
	return b
}
