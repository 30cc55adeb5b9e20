package rsync

import "github.com/syncd/syncd/internal/rsync/flist"

// ItemFlags is what the server reports about one entry (7.1).
type ItemFlags uint16

// The bits of ItemFlags. ItemTimeSet and ItemUnknown are ours: servers do not use their places with our options.
const (
	ItemAtime    ItemFlags = 0x0001 // time of last access differs
	ItemContent  ItemFlags = 0x0002 // content differs, or a symlink's target, or a device
	ItemSize     ItemFlags = 0x0004 // size differs; of a symlink: its time cannot be set
	ItemTime     ItemFlags = 0x0008
	ItemPerms    ItemFlags = 0x0010
	ItemOwner    ItemFlags = 0x0020
	ItemGroup    ItemFlags = 0x0040
	ItemACL      ItemFlags = 0x0080
	ItemXattr    ItemFlags = 0x0100
	ItemTimeSet  ItemFlags = 0x0200 // times are not kept: ItemTime means the time of the transfer
	ItemUnknown  ItemFlags = 0x0400 // before protocol 29 the server does not say what differs
	ItemLink     ItemFlags = 0x1000 // with ItemLocal: made as a hard link
	ItemNew      ItemFlags = 0x2000 // did not exist
	ItemLocal    ItemFlags = 0x4000 // changed or created there, without data
	ItemTransfer ItemFlags = 0x8000 // data is sent
)

// The same bits as they stand on the wire.
const (
	itemBasisFollows = 0x0800
	itemXnameFollows = uint16(ItemLink)
	itemIsNew        = uint16(ItemNew)
	itemTransfer     = uint16(ItemTransfer)
)

// Deleting is what stands in an itemized list in place of Format's letters when something is deleted.
const Deleting = "*deleting  "

// flags makes the item flags of a report on the wire.
func (x *exchange) flags(wire uint16, e *flist.Entry) ItemFlags {
	f := ItemFlags(wire) &^ (ItemTimeSet | ItemUnknown | itemBasisFollows)
	if f&ItemLocal == 0 {
		f &^= ItemLink // the name of a fuzzy basis
	}
	if x.protocol < 29 {
		f |= ItemUnknown
	}
	if !x.opts.Times || x.opts.OmitDirTimes && isDir(e.Mode) {
		f |= ItemTimeSet
	}
	return f
}

// Format returns the 11 letters that rsync's %i prints for an entry of this mode: rsync(1), --itemize-changes.
func (f ItemFlags) Format(mode uint32) string {
	b := []byte("...........")
	switch {
	case f&ItemTransfer != 0:
		b[0] = '<'
	case f&ItemLocal != 0 && f&ItemLink != 0:
		b[0] = 'h'
	case f&ItemLocal != 0:
		b[0] = 'c'
	}
	b[1] = typeLetter(mode)
	if f&(ItemNew|ItemUnknown) != 0 {
		fill := byte('+')
		if f&ItemNew == 0 {
			fill = '?'
		}
		for i := 2; i < len(b); i++ {
			b[i] = fill
		}
		return string(b)
	}
	set := func(at int, bit ItemFlags, letter byte) {
		if f&bit != 0 {
			b[at] = letter
		}
	}
	set(2, ItemContent, 'c')
	timeLetter := byte('t')
	if f&ItemTimeSet != 0 {
		timeLetter = 'T'
	}
	if mode&modeType == modeSymlink {
		if f&ItemSize != 0 {
			timeLetter = 'T'
		}
	} else {
		set(3, ItemSize, 's')
	}
	set(4, ItemTime, timeLetter)
	set(5, ItemPerms, 'p')
	set(6, ItemOwner, 'o')
	set(7, ItemGroup, 'g')
	set(8, ItemAtime, 'u')
	set(9, ItemACL, 'a')
	set(10, ItemXattr, 'x')
	// Where nothing differs the dots become spaces, but for a file whose content is sent all the same.
	if string(b[2:]) == "........." && (b[0] == '.' || b[0] == 'h' || b[0] == 'c' && b[1] == 'f') {
		for i := 2; i < len(b); i++ {
			b[i] = ' '
		}
	}
	return string(b)
}

func typeLetter(mode uint32) byte {
	switch mode & modeType {
	case modeDir:
		return 'd'
	case modeSymlink:
		return 'L'
	case 0o020000, 0o060000:
		return 'D'
	case 0o010000, 0o140000:
		return 'S'
	}
	return 'f'
}
