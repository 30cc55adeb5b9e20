package flist

import "github.com/syncd/syncd/internal/rsync/wire"

// Entry flags (protocol 6.2). Some bits mean different things at different protocols or for different types.
const (
	flagTopDir      = 0x0001
	flagSameMode    = 0x0002
	flagExtended    = 0x0004 // from protocol 28 on
	flagSameRdev27  = 0x0004 // protocol 27
	flagSameUID     = 0x0008
	flagSameGID     = 0x0010
	flagSameName    = 0x0020
	flagLongName    = 0x0040
	flagSameTime    = 0x0080
	flagSameMajor   = 0x0100 // devices, and specials before protocol 31
	flagNoContent   = 0x0100 // directories, from protocol 30 on
	flagLinked      = 0x0200
	flagSameDev     = 0x0400 // protocols 28 and 29: dev of the hard link as before
	flagMinor8      = 0x0800 // protocols 28 and 29
	flagLinkedFirst = 0x1000 // from protocol 30 on
	flagIOErrorEnd  = 0x1000 // at the end of a list
	flagModNsec     = 0x2000 // from protocol 31 on
	flagSameAtime   = 0x4000 // from protocol 28 on

	highFlags = 0xff00 // those in the second byte
)

// maxPrefix is how much of a name at most is taken from the name before.
const maxPrefix = 255

// What stands for the device in the pairs that tell hard links apart before protocol 30. The numbers are only compared
// for equality, so inventing them is as good; two devices keep groups apart from files with one name (protocol 6.8).
const (
	devGroups  = 1
	devSingles = 2
)

// An encoder holds what one list carries on from entry to entry (protocol 6.3).
type encoder struct {
	w         *wire.Writer
	o         Options
	p         int // o.Protocol
	entries   []Entry
	leaders   map[int32]int32 // hard-link group to position of its first member; nil if there are none
	recursive bool            // before protocol 30: all directories are the content of the root

	first     bool // no entry has been written
	name      string
	mode      uint32
	mtime     int64
	atime     int64
	uid, gid  uint32
	major     uint32
	rdev27    uint32
	linkedDev bool // protocols 28 and 29: an entry with devGroups has been written

	sets sets
}

// entry writes entry i.
func (x *encoder) entry(i int) {
	e := &x.entries[i]
	leader, linked := -1, false
	if x.o.HardLinks && e.Link > 0 {
		leader, linked = int(x.leaders[e.Link]), true
	}
	// A later member of a group ends with the index of the first one, whose attributes then are the state.
	abbreviated := x.p >= 30 && linked && leader != i
	a := e
	if abbreviated {
		a = &x.entries[leader]
	}

	f := x.attributeFlags(a) | x.linkFlags(i, linked, leader)
	prefix := min(commonPrefix(x.name, e.Path), maxPrefix)
	suffix := e.Path[prefix:]
	if prefix > 0 {
		f |= flagSameName
	}
	if len(suffix) > 255 {
		f |= flagLongName
	}
	f = x.flags(f, e.IsDir())
	if prefix > 0 {
		x.w.Byte(byte(prefix))
	}
	if f&flagLongName != 0 {
		x.v4(uint32(len(suffix)))
	} else {
		x.w.Byte(byte(len(suffix)))
	}
	x.w.String(suffix)

	if abbreviated {
		x.w.Varint(int32(leader))
	} else {
		x.attributes(a, f)
		if x.p < 30 {
			x.inode(i, f, linked)
		}
		x.sum(a)
	}
	x.extras(e, a.Mode)
	x.remember(a)
	x.name = e.Path
}

// attributeFlags says which attributes of a are those of the state, and what kind of directory it is.
func (x *encoder) attributeFlags(a *Entry) uint32 {
	f := x.rdevFlags(a)
	if a.IsDir() {
		f |= x.dirFlags(a)
	}
	if a.Mode == x.mode {
		f |= flagSameMode
	}
	if mtime(a) == x.mtime {
		f |= flagSameTime
	}
	if nsec(a) != 0 && x.p >= 31 {
		f |= flagModNsec
	}
	if x.o.Atimes && !a.IsDir() && x.p >= 28 && atime(a) == x.atime {
		f |= flagSameAtime
	}
	// The first entry states its ids even if they are 0: so stock writers do, and old readers may count on it. Whose
	// path is to be deleted has no owner.
	deleted := a.Mode == 0
	if !x.o.Owner || !x.first && (a.UID == x.uid || deleted) {
		f |= flagSameUID
	}
	if !x.o.Group || !x.first && (a.GID == x.gid || deleted) {
		f |= flagSameGID
	}
	return f
}

// dirFlags follows protocol 6.6. The root is marked as the argument that it is in any stock client.
func (x *encoder) dirFlags(a *Entry) uint32 {
	if x.p < 30 {
		if a.Dir == Content && !(x.recursive && a.Path != ".") {
			return flagTopDir
		}
		return 0
	}
	switch {
	case a.Dir == Implied:
		return flagTopDir | flagNoContent
	case a.Dir == NoContent:
		return flagNoContent
	case a.Path == ".":
		return flagTopDir
	}
	return 0
}

// rdevFlags follows protocol 6.4.
func (x *encoder) rdevFlags(a *Entry) uint32 {
	var f uint32
	switch {
	case a.isDevice() && x.p < 28:
		if rdev27(a) == x.rdev27 {
			f = flagSameRdev27
		}
	case a.isSpecial() && x.p < 28:
		f = flagSameRdev27
	case a.isDevice() || a.isSpecial() && x.p < 31:
		if a.isSpecial() || a.Major == x.major {
			f = flagSameMajor
		}
		if x.p < 30 && (a.isSpecial() || a.Minor <= 0xff) {
			f |= flagMinor8
		}
	}
	return f
}

// linkFlags follows protocol 6.8.
func (x *encoder) linkFlags(i int, linked bool, leader int) uint32 {
	switch {
	case !linked || x.p < 28:
		return 0
	case x.p >= 30 && leader == i:
		return flagLinked | flagLinkedFirst
	case x.p < 30 && x.linkedDev:
		return flagLinked | flagSameDev
	}
	return flagLinked
}

// flags writes f in the form that the protocol has for it and returns what was written: a zero would end the list
// (protocol 6.2).
func (x *encoder) flags(f uint32, dir bool) uint32 {
	switch {
	case x.o.VarintFlags:
		if f == 0 {
			f = flagExtended
		}
		x.w.Varint(int32(f))
	case x.p >= 28:
		if f == 0 && !dir {
			f = flagTopDir
		}
		if f == 0 || f&highFlags != 0 {
			f |= flagExtended
			x.w.Uint16(uint16(f))
		} else {
			x.w.Byte(byte(f))
		}
	default:
		switch {
		case f == 0 && dir:
			f = flagLongName
		case f == 0:
			f = flagTopDir
		}
		x.w.Byte(byte(f))
	}
	return f
}

// attributes writes fields 6 to 16 of protocol 6.3.
func (x *encoder) attributes(a *Entry, f uint32) {
	if x.p >= 30 {
		x.w.Varlong(size(a), 3)
	} else {
		x.w.Longint(size(a))
	}
	switch {
	case f&flagSameTime != 0:
	case x.p >= 30:
		x.w.Varlong(mtime(a), 4)
	default:
		x.w.Int32(int32(uint32(mtime(a))))
	}
	if f&flagModNsec != 0 {
		x.w.Varint(nsec(a))
	}
	if f&flagSameMode == 0 {
		x.w.Int32(int32(a.Mode))
	}
	if x.o.Atimes && !a.IsDir() && f&flagSameAtime == 0 {
		x.w.Varlong(atime(a), 4)
	}
	if f&flagSameUID == 0 {
		x.v4(owner(a.Mode, a.UID))
	}
	if f&flagSameGID == 0 {
		x.v4(owner(a.Mode, a.GID))
	}
	x.rdev(a, f)
	if a.isSymlink() {
		x.v4(uint32(len(a.Target)))
		x.w.String(a.Target)
	}
}

func (x *encoder) rdev(a *Entry, f uint32) {
	switch {
	case x.p < 28:
		if a.isDevice() && f&flagSameRdev27 == 0 {
			x.w.Int32(int32(rdev27(a)))
		}
		return
	case !a.isDevice() && !(a.isSpecial() && x.p < 31):
		return
	}
	var minor uint32
	if a.isDevice() {
		minor = a.Minor
	}
	if f&flagSameMajor == 0 {
		x.v4(a.Major)
	}
	if x.p < 30 && f&flagMinor8 != 0 {
		x.w.Byte(byte(minor))
	} else {
		x.v4(minor)
	}
}

// inode writes field 17, only before protocol 30.
func (x *encoder) inode(i int, f uint32, linked bool) {
	e := &x.entries[i]
	switch {
	case !x.o.HardLinks:
	case x.p < 28:
		if !e.IsRegular() {
			return
		}
		dev, ino := int64(devSingles), int64(i)+1
		if linked {
			dev, ino = devGroups, int64(e.Link)
		}
		x.w.Longint(dev + 1)
		x.w.Longint(ino)
	case linked:
		if f&flagSameDev == 0 {
			x.w.Longint(devGroups + 1)
		}
		x.w.Longint(int64(e.Link))
		x.linkedDev = true
	}
}

// zeroSum is what protocol 27 has for entries without a checksum.
var zeroSum [64]byte

// sum writes field 18.
func (x *encoder) sum(a *Entry) {
	switch {
	case x.o.SumLen == 0:
	case a.IsRegular():
		x.w.Bytes(a.Sum)
	case x.p < 28:
		x.w.Bytes(zeroSum[:x.o.SumLen])
	}
}

// remember makes the attributes of a the state.
func (x *encoder) remember(a *Entry) {
	x.first = false
	x.mode, x.mtime = a.Mode, mtime(a)
	if !a.IsDir() {
		x.atime = atime(a)
	}
	if a.Mode != 0 {
		x.uid, x.gid = a.UID, a.GID
	}
	switch {
	case a.isDevice():
		x.major, x.rdev27 = a.Major, rdev27(a)
	case !a.isSpecial():
		x.rdev27 = 0
	}
}

// The attributes of an entry as they are sent: what does not belong to its type is 0.

func size(a *Entry) int64 {
	switch {
	case a.IsRegular() || a.IsDir():
		return a.Size
	case a.isSymlink():
		return int64(len(a.Target))
	}
	return 0
}

func mtime(a *Entry) int64 {
	if a.Mode == 0 {
		return 0
	}
	return a.Mtime
}

func atime(a *Entry) int64 {
	if a.Mode == 0 {
		return 0
	}
	return a.Atime
}

func nsec(a *Entry) int32 {
	if a.Mode == 0 {
		return 0
	}
	return a.Nsec
}

func owner(mode, id uint32) uint32 {
	if mode == 0 {
		return 0
	}
	return id
}

// rdev27 is the device number of Linux in 32 bits.
func rdev27(a *Entry) uint32 {
	return a.Minor&0xff | (a.Major&maxMajor27)<<8 | (a.Minor&^0xff)<<12
}
