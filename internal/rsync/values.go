package rsync

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/attr"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsync/wire"
)

// The list has only digests of the longer values of extended attributes. A server that has other ones asks for them
// with the item of their entry, and gets them where that item is echoed (6.10).

// linked are the flags of an item that says that a name was linked to one that is there.
const linked = uint16(ItemLocal | ItemLink)

// asksValues reports whether an item comes with a question for values. Servers from 3.1.1 on ask with names linked to
// another as well, if we said that we know.
func (x *exchange) asksValues(flags uint16) bool {
	if !x.opts.Xattrs || flags&uint16(ItemXattr) == 0 || x.opts.DryRun {
		return false
	}
	return x.protocol < 31 || x.compat&compatAvoidXattrOptim != 0 || flags&linked != linked
}

// askedValues reads which values the server asks for: their places, in rising order, as differences.
func (x *exchange) askedValues(it *item, e *flist.Entry) error {
	if it.hasXattr = x.asksValues(it.flags); !it.hasXattr {
		return nil
	}
	x.values = x.values[:0]
	set := e.Attrs.XattrSet()
	for at := 0; ; {
		d := x.r.Varint()
		if err := x.r.Err(); err != nil || d == 0 {
			it.values = x.values
			return err
		}
		if d < 0 || int(d) > len(set)-at {
			return wire.Errorf("extended attribute %d of %q asked for, which has %d", int64(at)+int64(d), e.Path, len(set))
		}
		at += int(d)
		x.values = append(x.values, at-1)
	}
}

// sendValues answers. What cannot be had is sent as empty: there is no way to say that there is nothing.
func (x *exchange) sendValues(it *item) {
	set := x.b.Entries[it.place].Attrs.XattrSet()
	last := -1
	for _, at := range it.values {
		x.w.Varint(int32(at - last))
		last = at
		value, err := x.value(it.place, set[at])
		if err != nil {
			value = x.otherValue(it.place, set[at], value)
			x.valueTrouble(it.place, err)
		}
		x.w.Varint(int32(len(value)))
		x.w.Bytes(value)
	}
	x.w.Varint(0)
}

// otherTries is how many other entries are looked at for a value that one does not have any more.
const otherTries = 16

// otherValue finds the value that was listed, which the entry at place does not have any more, with another entry. A
// server asks once for each set and gives the value to all entries that were listed with it: if it cannot be found,
// these are not what they should be either. have is what the entry has instead.
func (x *exchange) otherValue(place int, listed attr.Xattr, have []byte) []byte {
	set := x.b.Entries[place].Attrs.XattrSet()
	sharing := func(i int) bool { return i != place && x.b.Entries[i].Attrs.XattrSet().Equal(set) }
	for i, tries := 0, 0; i < len(x.b.Entries) && tries < otherTries; i++ {
		if sharing(i) {
			if value, err := x.value(i, listed); err == nil {
				return value
			}
			tries++
		}
	}
	for i := range x.b.Entries {
		if sharing(i) {
			x.valueTrouble(i, ErrChanged)
		}
	}
	return have
}

// value reads a value. With ErrChanged there is one, if only another than was listed.
func (x *exchange) value(place int, listed attr.Xattr) ([]byte, error) {
	if listed.Inlined() {
		return []byte(listed.Data), nil
	}
	value, err := x.b.Xattr(place, listed.Name)
	switch {
	case errors.Is(err, unix.ENODATA):
		return nil, ErrChanged
	case err != nil:
		return nil, fmt.Errorf("extended attribute %q: %w", listed.Name, err)
	case len(value) > attr.MaxValue:
		return nil, fmt.Errorf("extended attribute %q has %d bytes", listed.Name, len(value))
	case !listed.Is(value):
		return value, ErrChanged
	}
	return value, nil
}

// valueTrouble records why the server does not have all attributes as they were listed.
func (x *exchange) valueTrouble(place int, err error) {
	res := &x.results[place]
	x.asked[place] |= askedBad
	switch {
	case !errors.Is(err, ErrChanged):
		x.blame(res, err)
	case res.State == Pending:
		res.State, res.Err = Changed, ErrChanged
	}
}
