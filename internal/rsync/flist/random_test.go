package flist

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/syncd/syncd/internal/attr"
)

// Pieces of hostile names: bytes around "/" and "." in value, prefixes of each other, no UTF-8, long.
var pieces = []string{
	"a", "b", "A", "0", "-", ".", "..", "...", " ", "\x01", "\n", "\xff", "\xc3", "\xa4", "~", "*", "a-", "a.", "a0",
	strings.Repeat("x", 100), strings.Repeat("y", 300),
}

func randomName(rng *rand.Rand) string {
	for {
		var b strings.Builder
		for range 1 + rng.IntN(3) {
			b.WriteString(pieces[min(rng.IntN(len(pieces)), rng.IntN(2*len(pieces)))])
		}
		if s := b.String(); s != "." && s != ".." {
			return s
		}
	}
}

// randomOptions makes options of any bits that fit together.
func randomOptions(rng *rand.Rand, protocol int) Options {
	bit := func() bool { return rng.IntN(2) == 0 }
	o := Options{
		Protocol: protocol, Owner: bit(), Group: bit(), Devices: bit(), Specials: bit(), Links: bit(),
		HardLinks: bit(), NumericIDs: bit(), Recurse: bit(), Atimes: bit(),
	}
	if protocol >= 30 {
		o.VarintFlags, o.ID0Names, o.SafeFlist = bit(), bit(), bit()
		o.ACLs, o.Xattrs = bit(), bit()
	}
	if bit() {
		o.SumLen = []int{1, 8, 16, 20}[rng.IntN(4)]
	}
	return o
}

// randomList makes a list that can be sent with these options, in any order.
func randomList(rng *rand.Rand, o Options, n int) []Entry {
	used := map[string]bool{"": true}
	dirs := []string{""}
	kinds := map[string]DirKind{"": NoContent}
	var list []Entry
	if rng.IntN(2) == 0 {
		e := randomEntry(rng, o, typeDir)
		e.Path = "."
		kinds[""] = e.Dir
		list = append(list, e)
	}
	types := []uint32{typeReg, typeReg, typeReg, typeDir, typeDir, 0}
	if o.Links {
		types = append(types, typeLink)
	}
	if o.Devices {
		types = append(types, typeChar, typeBlock)
	}
	if o.Specials {
		types = append(types, typeFifo, typeSock)
	}
	for range n {
		dir := dirs[rng.IntN(len(dirs))]
		path := strings.TrimPrefix(dir+"/"+randomName(rng), "/")
		if used[path] || len(path) > maxPath {
			continue
		}
		used[path] = true
		e := randomEntry(rng, o, types[rng.IntN(len(types))])
		e.Path = path
		if e.IsDir() {
			if o.Protocol < 30 && o.Recurse && kinds[dir] == Content {
				e.Dir = Content
			}
			dirs = append(dirs, path)
			kinds[path] = e.Dir
		}
		list = append(list, e)
	}
	if o.Protocol < 30 && o.Recurse { // a directory between may be no content; what is above still counts
		spreadContent(list)
	}
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func randomEntry(rng *rand.Rand, o Options, kind uint32) Entry {
	if kind == 0 {
		return Entry{}
	}
	e := Entry{
		Mode:  kind | []uint32{0o644, 0o755, 0o7777, 0, rng.Uint32N(0o10000)}[rng.IntN(5)],
		Size:  int64(rng.Uint64() >> (1 + rng.IntN(63))),
		Mtime: []int64{0, 1, 1700000000, math.MaxInt32, math.MaxUint32, rng.Int64N(1 << 32)}[rng.IntN(6)],
		Nsec:  []int32{0, 0, 1, maxNsec, rng.Int32N(maxNsec)}[rng.IntN(5)],
		UID:   []uint32{0, 1000, 1000, 65534, math.MaxUint32, rng.Uint32()}[rng.IntN(6)],
		GID:   []uint32{0, 100, 100, 65534, math.MaxUint32, rng.Uint32()}[rng.IntN(6)],
	}
	e.Atime = []int64{0, e.Mtime, 1700000000, rng.Int64()}[rng.IntN(4)]
	if o.Protocol >= 30 {
		e.Mtime = []int64{e.Mtime, -1, math.MinInt64, math.MaxInt64, int64(rng.Uint64())}[rng.IntN(5)]
	}
	if kind != typeDir && rng.IntN(3) == 0 {
		e.Link = int32(kind) + rng.Int32N(4) // groups of one type
	}
	if rng.IntN(2) == 0 {
		e.Attrs = randomAttrs(rng, e.Mode)
	}
	switch kind {
	case typeDir:
		e.Dir = DirKind(rng.IntN(3))
	case typeLink:
		e.Target = randomName(rng)
	case typeReg:
		e.Sum = make([]byte, o.SumLen)
		for i := range e.Sum {
			e.Sum[i] = byte(rng.Uint32())
		}
	case typeChar, typeBlock:
		e.Major = []uint32{0, 1, 8, 0xfff, rng.Uint32N(0x1000)}[rng.IntN(5)]
		e.Minor = []uint32{0, 1, 255, 256, maxMinor27}[rng.IntN(5)]
		if o.Protocol >= 28 && rng.IntN(4) == 0 {
			e.Major, e.Minor = rng.Uint32(), rng.Uint32()
		}
	}
	return e
}

// randomAttrs makes attributes that tend to be equal to others.
func randomAttrs(rng *rand.Rand, mode uint32) *attr.Attrs {
	var a attr.Attrs
	for _, name := range []string{"security.a", "trusted.\xff\n", "user.a", "user.b"} {
		if rng.IntN(2) == 0 {
			n := []int{0, 1, attr.Inline, attr.Inline + 1, attr.MaxValue}[rng.IntN(5)]
			a.Set = append(a.Set, attr.New(name, bytes.Repeat([]byte{byte(rng.IntN(2))}, n)))
		}
	}
	acl := func() *attr.ACL {
		l := &attr.ACL{Group: uint8(rng.IntN(8)), Mask: uint8(rng.IntN(8)), User: uint8(mode >> 6 & 7), Other: uint8(mode & 7)}
		for range rng.IntN(3) {
			id := []uint32{0, 1000, 65534, math.MaxUint32 - 1, rng.Uint32()}[rng.IntN(5)]
			l.Names = append(l.Names, attr.ACE{ID: id, Group: rng.IntN(2) == 0, Perm: uint8(rng.IntN(8))})
		}
		return l
	}
	if rng.IntN(2) == 0 {
		a.Access = acl()
	}
	if rng.IntN(2) == 0 {
		a.Default = acl()
		if len(a.Default.Names) == 0 && rng.IntN(2) == 0 {
			a.Default.Mask = attr.NoMask
		}
	}
	return &a
}
