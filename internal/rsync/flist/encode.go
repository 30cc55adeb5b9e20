package flist

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/syncd/syncd/internal/rsync/wire"
)

// Bits of io_error (protocol 6.9), for Encode.
const (
	ErrGeneral  = 1 // something could not be read: the receiver deletes nothing
	ErrVanished = 2 // something vanished: deletions go on
)

// Encode writes a complete list: the entries in the given order, the end marker with ioError, the names of users and
// groups, and what old protocols have behind them (protocol 6.2 to 6.9). It checks every entry and the list as a whole
// before it writes anything, so that an error means either that or that w has failed. Entries are numbered by the
// receiver as [Order] says. names may be nil.
func Encode(w *wire.Writer, entries []Entry, o Options, names Names, ioError int32) error {
	x := encoder{w: w, o: o, p: o.Protocol, entries: entries, first: true}
	if err := x.check(); err != nil {
		return err
	}
	for i := range entries {
		x.entry(i)
	}
	x.end(ioError)
	if !o.NumericIDs {
		x.idLists(names)
	}
	if x.p < 30 {
		w.Int32(ioError)
	}
	return w.Err()
}

// check checks all that can be wrong with the list and prepares what the entries need to know of each other.
func (x *encoder) check() error {
	if x.p < 27 || x.p > 32 {
		return fmt.Errorf("protocol %d has no known file list", x.p)
	}
	if x.p < 30 && (x.o.ACLs || x.o.Xattrs) {
		return fmt.Errorf("protocol %d has neither ACLs nor extended attributes", x.p)
	}
	if x.o.SumLen < 0 || x.o.SumLen > len(zeroSum) {
		return fmt.Errorf("checksums of %d bytes", x.o.SumLen)
	}
	for i := range x.entries {
		if err := x.o.Check(&x.entries[i]); err != nil {
			return err
		}
	}
	t := newTable(x.entries)
	defer t.free()
	if err := t.fill(); err != nil {
		return err
	}
	if err := t.checkParents(); err != nil {
		return err
	}
	if x.p < 30 && x.o.Recurse {
		x.recursive = t.isContent(".")
		if err := t.checkRecursion(); err != nil {
			return err
		}
	}
	return x.findLinks()
}

// findLinks finds the first member of each hard-link group and checks that the others are of its type.
func (x *encoder) findLinks() error {
	if !x.o.HardLinks {
		return nil
	}
	for i := range x.entries {
		e := &x.entries[i]
		if e.Link == 0 {
			continue
		}
		if x.leaders == nil {
			x.leaders = make(map[int32]int32)
		}
		at, ok := x.leaders[e.Link]
		if !ok {
			x.leaders[e.Link] = int32(i)
			continue
		}
		if l := &x.entries[at]; l.Mode&typeMask != e.Mode&typeMask {
			return fmt.Errorf("%q: in a hard-link group with %q, which is of another type", e.Path, l.Path)
		}
	}
	return nil
}

// end writes the end marker (protocol 6.9, step 1).
func (x *encoder) end(ioError int32) {
	switch {
	case x.o.VarintFlags:
		x.w.Varint(0)
		x.w.Varint(ioError)
	case ioError != 0 && (x.p >= 31 || x.p == 30 && x.o.SafeFlist):
		x.w.Uint16(flagExtended | flagIOErrorEnd)
		x.w.Varint(ioError)
	default:
		x.w.Byte(0)
		if ioError != 0 && x.p == 30 {
			x.w.Message(wire.IOError, binary.LittleEndian.AppendUint32(nil, uint32(ioError)))
		}
	}
}

// idLists writes the names of the users and groups that occur (protocol 6.9, step 2).
func (x *encoder) idLists(names Names) {
	if names == nil {
		names = noNames{}
	}
	if x.o.Owner || x.o.ACLs {
		x.idList(x.sets.users, x.o.Owner, func(e *Entry) uint32 { return e.UID }, names.User)
	}
	if x.o.Group || x.o.ACLs {
		x.idList(x.sets.groups, x.o.Group, func(e *Entry) uint32 { return e.GID }, names.Group)
	}
}

// idList writes the names of ids, and, if owned, of those of entries.
func (x *encoder) idList(ids []uint32, owned bool, id func(*Entry) uint32, name func(uint32) string) {
	last := uint32(0) // id 0 has no place in the list; behind it, where bit 8 allows
	for i := 0; owned && i < len(x.entries); i++ {
		if v := id(&x.entries[i]); v != last && v != 0 && x.entries[i].Mode != 0 {
			ids = append(ids, v)
			last = v
		}
	}
	slices.Sort(ids)
	for _, v := range slices.Compact(ids) {
		if s := name(v); sendable(s) {
			x.v4(v)
			x.shortString(s)
		}
	}
	x.v4(0)
	if x.o.ID0Names {
		s := name(0)
		if !sendable(s) {
			s = ""
		}
		x.shortString(s)
	}
}

// sendable reports whether a name of a user or group can be sent; without its name an id goes as a number.
func sendable(name string) bool { return name != "" && len(name) <= 255 }

type noNames struct{}

func (noNames) User(uint32) string  { return "" }
func (noNames) Group(uint32) string { return "" }

// v4 writes what the protocol document calls V/4.
func (x *encoder) v4(v uint32) {
	if x.p >= 30 {
		x.w.Varint(int32(v))
	} else {
		x.w.Int32(int32(v))
	}
}

func (x *encoder) shortString(s string) {
	x.w.Byte(byte(len(s)))
	x.w.String(s)
}
