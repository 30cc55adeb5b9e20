package flist

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/rsync/wire"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "|", "", "\n", "", "\t", "").Replace(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var (
	root  = Entry{Path: ".", Mode: 0o40755, Size: 240, Mtime: 1700000001, Dir: Content}
	small = Entry{Path: "small", Mode: 0o100644, Size: 12, Mtime: 1700000000}
	stock = Options{Protocol: 32, VarintFlags: true, ID0Names: true, SafeFlist: true, Owner: true, Group: true,
		Devices: true, Specials: true, Links: true, HardLinks: true}
)

func with(o Options, f func(*Options)) Options {
	f(&o)
	return o
}

func at(protocol int) Options {
	return with(stock, func(o *Options) {
		o.Protocol = protocol
		o.VarintFlags, o.ID0Names, o.SafeFlist = protocol > 30, protocol > 30, protocol >= 30
	})
}

// The examples of the protocol document and of the recordings, and the traps of 6.2.
func TestEncodeVectors(t *testing.T) {
	numeric := func(o *Options) { o.NumericIDs = true }
	plain := func(o *Options) { o.VarintFlags, o.ID0Names = false, false }
	dir := Entry{Path: "d", Mode: 0o40755, Size: 60, Mtime: 1700000001}
	content := dir
	content.Dir = Content
	implied := dir
	implied.Dir = Implied
	null := Entry{Path: "null", Mode: 0o20644, Major: 1, Minor: 3, Mtime: 1700000000}
	disk := Entry{Path: "blk", Mode: 0o60644, Major: 1, Minor: 300, Mtime: 1700000000}
	fifo := Entry{Path: "fifo", Mode: 0o10644, Mtime: 1700000000}
	for _, c := range []struct {
		name string
		o    Options
		list []Entry
		want string
	}{
		{"empty list", stock, nil, "00 00 | 00 04 726f6f74 | 00 04 726f6f74"},
		{"empty list at 29", at(29), nil, "00 | 00000000 | 00000000 | 00000000"},
		{"root at 27 (6.5)", with(at(27), numeric), []Entry{root},
			"01 | 01 2e | f0 00 00 00 | 01 f1 53 65 | ed 41 00 00 | 00 00 00 00 | 00 00 00 00 || 00 | 00000000"},
		{"second entry of 6.5", with(stock, numeric), []Entry{root, {Path: "big", Mode: 0o100644, Size: 1<<32 + 1, Mtime: 1700000000}},
			"01 | 01 2e | 00 f0 00 | 65 01 f1 53 | ed 41 00 00 | 00 | 00 || 18 | 03 62 69 67 | c1 01 00 00 00 | 65 00 f1 53 | a4 81 00 00 || 00 00"},
		{"deletion (6.11)", with(stock, numeric), []Entry{small, {Path: "extra"}, {Path: "olddir"}},
			`04 05 736d616c6c 00 0c 00 65 00 f1 53 a4 81 00 00 00 00
			 18 05 65 78 74 72 61 00 00 00 00 00 00 00 00 00 00 00
			 80 9a 06 6f6c64646972 00 00 00 || 00 00`},
		{"deletion keeps the owner's state", with(at(31), numeric),
			[]Entry{{Path: "a", Mode: 0o100644, UID: 5, GID: 6, Mtime: 1}, {Path: "b", UID: 7}, {Path: "c", Mode: 0o100644, UID: 5, GID: 6, Mtime: 1}},
			`04 01 61 00 00 00 00 01 00 00 a4 81 00 00 05 06
			 18 01 62 00 00 00 00 00 00 00 00 00 00 00
			 18 01 63 00 00 00 00 01 00 00 a4 81 00 00 || 00 00`},
		{"deletion first states id 0", with(stock, numeric), []Entry{{Path: "x", UID: 7}}, "80 82 01 78 00 00 00 00 00 || 00 00"},
		{"owner and group off", with(stock, func(o *Options) { o.Owner, o.Group = false, false }), []Entry{small},
			"18 05 736d616c6c 00 0c 00 65 00 f1 53 a4 81 00 00 || 00 00"},
		{"file with flags 0, varint", with(stock, numeric), []Entry{small},
			"04 05 736d616c6c 00 0c 00 65 00 f1 53 a4 81 00 00 00 00 || 00 00"},
		{"file with flags 0 at 30", with(at(30), numeric), []Entry{small},
			"01 05 736d616c6c 00 0c 00 65 00 f1 53 a4 81 00 00 00 00 || 00"},
		{"file with flags 0 at 27", with(at(27), func(o *Options) { o.NumericIDs, o.HardLinks = true, false }), []Entry{small},
			"01 05 736d616c6c 0c 00 00 00 00 f1 53 65 a4 81 00 00 00 00 00 00 00 00 00 00 || 00 | 00000000"},
		{"directory with flags 0, varint", with(stock, numeric), []Entry{content},
			"04 01 64 00 3c 00 65 01 f1 53 ed 41 00 00 00 00 || 00 00"},
		{"directory with flags 0 at 30", with(at(30), numeric), []Entry{content},
			"04 00 01 64 00 3c 00 65 01 f1 53 ed 41 00 00 00 00 || 00"},
		{"directory with flags 0 at 29", with(at(29), numeric), []Entry{dir},
			"04 00 01 64 3c 00 00 00 01 f1 53 65 ed 41 00 00 00 00 00 00 00 00 00 00 || 00 | 00000000"},
		{"directory with flags 0 at 27", with(at(27), numeric), []Entry{dir},
			"40 01 00 00 00 64 3c 00 00 00 01 f1 53 65 ed 41 00 00 00 00 00 00 00 00 00 00 || 00 | 00000000"},
		{"implied directory", with(stock, numeric), []Entry{implied},
			"81 01 01 64 00 3c 00 65 01 f1 53 ed 41 00 00 00 00 || 00 00"},
		{"directory without content", with(stock, numeric), []Entry{dir},
			"81 00 01 64 00 3c 00 65 01 f1 53 ed 41 00 00 00 00 || 00 00"},
		{"directory without content at 31 before varint flags", with(with(at(31), numeric), plain), []Entry{dir},
			"04 01 01 64 00 3c 00 65 01 f1 53 ed 41 00 00 00 00 || 00"},
		{"content directory at 29", with(at(29), numeric), []Entry{content},
			"01 01 64 3c 00 00 00 01 f1 53 65 ed 41 00 00 00 00 00 00 00 00 00 00 || 00 | 00000000"},
		{"below the root in a recursive session at 29", with(at(29), func(o *Options) { o.NumericIDs, o.Recurse = true, true }), []Entry{root, content},
			`01 01 2e f0 00 00 00 01 f1 53 65 ed 41 00 00 00 00 00 00 00 00 00 00
			 9a 01 64 3c 00 00 00 || 00 | 00000000`},
		{"state of time and mode 0", with(stock, numeric), []Entry{{Path: "x", Mode: 0o100000, Size: 1}},
			"80 80 01 78 00 01 00 00 80 00 00 00 00 || 00 00"},
		{"nanoseconds have no memory", with(stock, numeric),
			[]Entry{{Path: "x", Mode: 0o100644, Mtime: 9, Nsec: 500000000}, {Path: "y", Mode: 0o100644, Mtime: 9}},
			`a0 00 01 78 00 00 00 00 09 00 00 f0 00 65 cd 1d a4 81 00 00 00 00
			 80 9a 01 79 00 00 00 || 00 00`},
		{"no nanoseconds at 30", with(at(30), numeric), []Entry{{Path: "x", Mode: 0o100644, Mtime: 9, Nsec: 5}},
			"01 01 78 00 00 00 00 09 00 00 a4 81 00 00 00 00 || 00"},
		{"devices at 32", with(stock, numeric), []Entry{null, disk, fifo},
			`04 04 6e756c6c 00 00 00 65 00 f1 53 a4 21 00 00 00 00 01 03
			 81 98 03 626c6b 00 00 00 a4 61 00 00 81 2c
			 80 98 04 6669666f 00 00 00 a4 11 00 00 || 00 00`},
		{"special at 31", with(at(31), numeric), []Entry{fifo}, "04 04 6669666f 00 00 00 65 00 f1 53 a4 11 00 00 00 00 || 00 00"},
		{"devices at 30", with(at(30), numeric), []Entry{null, fifo},
			`01 04 6e756c6c 00 00 00 65 00 f1 53 a4 21 00 00 00 00 01 03
			 9c 01 04 6669666f 00 00 00 a4 11 00 00 00 || 00`},
		{"devices at 28", with(at(28), numeric), []Entry{null, disk, fifo},
			`04 08 04 6e756c6c 00 00 00 00 00 f1 53 65 a4 21 00 00 00 00 00 00 00 00 00 00 01 00 00 00 03
			 9c 01 03 626c6b 00 00 00 00 a4 61 00 00 2c 01 00 00
			 9c 09 04 6669666f 00 00 00 00 a4 11 00 00 00 || 00 | 00000000`},
		{"same device at 27", with(at(27), numeric), []Entry{null, {Path: "nulm", Mode: 0o20644, Major: 1, Minor: 3, Mtime: 1700000000}, fifo, disk},
			`01 04 6e756c6c 00 00 00 00 00 f1 53 65 a4 21 00 00 00 00 00 00 00 00 00 00 03 01 00 00
			 be 03 01 6d 00 00 00 00
			 9c 04 6669666f 00 00 00 00 a4 11 00 00
			 98 03 626c6b 00 00 00 00 a4 61 00 00 2c 01 10 00 || 00 | 00000000`},
	} {
		got := encoded(t, c.list, c.o, rootNames{}, 0)
		if want := unhex(t, c.want); !bytes.Equal(got, want) {
			t.Errorf("%s: differs at %d\ngot  % x\nwant % x", c.name, commonPrefix(string(got), string(want)), got, want)
		}
	}
}

// A long name has a long length, and at most 255 bytes are taken from the name before.
func TestLongNames(t *testing.T) {
	long := strings.Repeat("n", 200)
	limit := strings.Repeat("l", 255)
	dir := Entry{Path: long, Mode: 0o40755}
	list := []Entry{dir, {Path: long + "/" + long, Mode: 0o40755}, {Path: long + "/" + long + "/" + long, Mode: 0o100644}, {Path: strings.Repeat("m", 300), Mode: 0o100644},
		{Path: limit, Mode: 0o100644}, {Path: "m" + limit, Mode: 0o100644}}
	for protocol := 27; protocol <= 32; protocol++ {
		d := newDecoder(encoded(t, list, at(protocol), nil, 0), at(protocol))
		if err := d.decode(); err != nil {
			t.Fatal(err)
		}
		for i := range list {
			if d.list[i].Path != list[i].Path {
				t.Errorf("protocol %d: entry %d comes back as %q", protocol, i, d.list[i].Path)
			}
		}
	}
}

// Protocol 27 has numbers for files that are in no group; they must not be those of a group.
func TestInodesAreDistinct(t *testing.T) {
	var list []Entry
	for i := range int32(6) {
		list = append(list, Entry{Path: string(rune('a' + i)), Mode: 0o100644, Link: []int32{0, 5, 2, 0, 0, 2}[i]})
	}
	d := newDecoder(encoded(t, list, at(27), nil, 0), at(27))
	if err := d.decode(); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int32{0, 0, 3, 0, 0, 3} {
		if d.list[i].Link != want {
			t.Errorf("entry %d is linked to entry %d, want %d", i+1, d.list[i].Link, want)
		}
	}
}

// How errors of reading the source reach the receiver (protocol 6.9).
func TestIOError(t *testing.T) {
	numeric := func(o *Options) { o.NumericIDs = true }
	for _, c := range []struct {
		name string
		o    Options
		want string
		msg  string
	}{
		{"varint flags", with(stock, numeric), "00 01", ""},
		{"31", with(at(31), func(o *Options) { o.NumericIDs, o.VarintFlags = true, false }), "04 10 01", ""},
		{"30, safe list", with(at(30), numeric), "04 10 01", ""},
		{"30", with(at(30), func(o *Options) { o.NumericIDs, o.SafeFlist = true, false }), "00", "IO_ERROR 01000000"},
		{"29", with(at(29), numeric), "00 01000000", ""},
		{"27, names", at(27), "00 00000000 00000000 01000000", ""},
	} {
		var b bytes.Buffer
		w := wire.NewWriter(&b)
		w.StartFraming()
		if err := Encode(w, nil, c.o, nil, ErrGeneral); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		msg := ""
		d := wire.NewDemux(&b, func(tag wire.Tag, p []byte) error {
			msg = fmt.Sprintf("%v %x", tag, p)
			return nil
		})
		if err := d.Run(); err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(d.Data())
		if !bytes.Equal(got, unhex(t, c.want)) || msg != c.msg {
			t.Errorf("%s: % x and message %q, want %s and %q", c.name, got, msg, c.want, c.msg)
		}
	}
}

// Only ids that have a name which fits are listed, each once.
func TestIDLists(t *testing.T) {
	names := namesMap{7: strings.Repeat("u", 256), 8: strings.Repeat("v", 127), 9: "nine"}
	var list []Entry
	for i, id := range []uint32{9, 7, 8, 5, 9, 0, 8} {
		list = append(list, Entry{Path: string(rune('a' + i)), Mode: 0o100644, UID: id, GID: id})
	}
	list = append(list, Entry{Path: "gone", UID: 4})
	names[4] = "four"
	d := newDecoder(encoded(t, list, stock, names, 0), stock)
	if err := d.decode(); err != nil {
		t.Fatal(err)
	}
	if len(d.users) != 2 || d.users[8] != names[8] || d.users[9] != "nine" {
		t.Errorf("users %v", d.users)
	}
	if len(d.groups) != 2 || d.groups[8] != names[8]+names[8] || d.groups[9] != "ninenine" {
		t.Errorf("groups %v", d.groups)
	}
	names[0] = strings.Repeat("w", 256)
	d = newDecoder(encoded(t, list, stock, names, 0), stock)
	if err := d.decode(); err != nil || d.users[0] != "" {
		t.Errorf("id 0 is %.10q, error %v", d.users[0], err)
	}
	d = newDecoder(encoded(t, list, stock, nil, 0), stock)
	if err := d.decode(); err != nil || len(d.users) != 0 || len(d.groups) != 0 {
		t.Errorf("without names: %v, %v, error %v", d.users, d.groups, err)
	}
}
