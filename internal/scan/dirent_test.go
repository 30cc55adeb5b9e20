package scan

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// record is one record as the kernel makes it.
func record(ino uint64, typ uint8, name string) []byte {
	b := make([]byte, (direntName+len(name)+1+7)&^7)
	binary.NativeEndian.PutUint64(b, ino)
	binary.NativeEndian.PutUint16(b[direntReclen:], uint16(len(b)))
	b[direntType] = typ
	copy(b[direntName:], name)
	return b
}

func TestParseDirent(t *testing.T) {
	long := string(bytes.Repeat([]byte{'\xff'}, 255))
	buf := slices.Concat(record(1<<63, unix.DT_DIR, "."), record(7, unix.DT_REG, long), record(0, unix.DT_UNKNOWN, "\n"))
	for _, want := range []dirent{
		{1 << 63, unix.DT_DIR, []byte(".")}, {7, unix.DT_REG, []byte(long)}, {0, unix.DT_UNKNOWN, []byte("\n")},
	} {
		d, rest, err := parseDirent(buf)
		ok(t, err)
		if d.ino != want.ino || d.typ != want.typ || !bytes.Equal(d.name, want.name) {
			t.Errorf("record is %+v, want %+v", d, want)
		}
		buf = rest
	}
	if len(buf) != 0 {
		t.Errorf("%d bytes left", len(buf))
	}
	good := record(1, unix.DT_REG, "name")
	set := func(reclen uint16) []byte {
		b := bytes.Clone(good)
		binary.NativeEndian.PutUint16(b[direntReclen:], reclen)
		return b
	}
	for what, bad := range map[string][]byte{
		"no length": set(0), "short length": set(uint16(direntName)), "length past the end": set(uint16(len(good) + 1)),
		"cut": good[:direntName+2], "empty name": record(1, unix.DT_REG, ""), "slash": record(1, unix.DT_REG, "a/b"),
		"no NUL": set(uint16(direntName + 4)), "nothing": nil,
	} {
		if d, _, err := parseDirent(bad); err != unix.EIO {
			t.Errorf("%s: %+v, %v", what, d, err)
		}
	}
}

func FuzzParseDirent(f *testing.F) {
	f.Add(slices.Concat(record(1, unix.DT_DIR, ".."), record(2, unix.DT_REG, "name")))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, buf []byte) {
		for len(buf) > 0 {
			d, rest, err := parseDirent(buf)
			if err != nil {
				return
			}
			if len(rest) >= len(buf) || len(d.name) == 0 || bytes.ContainsAny(d.name, "/\x00") {
				t.Fatalf("record %+v leaves %d of %d bytes", d, len(rest), len(buf))
			}
			d.dots()
			buf = rest
		}
	})
}

func TestOrders(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		prefix := string(bytes.Repeat([]byte{'p'}, rng.IntN(12)))
		refs := make([]ref, rng.IntN(60))
		for i := range refs {
			name := []byte(prefix)
			for range rng.IntN(12) {
				name = append(name, "\x01aab\xff"[rng.IntN(5)])
			}
			refs[i] = ref{name: string(name), ino: rng.Uint64N(100)}
		}
		order := byName(refs, nil)
		var got, want []string
		for _, k := range order {
			got = append(got, refs[k.pos].name)
		}
		for _, r := range refs {
			want = append(want, r.name)
		}
		if want = sorted(want); !slices.Equal(got, want) {
			t.Fatalf("order of names is %q, want %q", got, want)
		}
		inodes := byInode(refs, order, nil)
		seen := map[uint32]bool{}
		for i, k := range inodes {
			seen[k.pos] = true
			if i > 0 && refs[order[inodes[i-1].pos].pos].ino > refs[order[k.pos].pos].ino {
				t.Fatalf("inodes are out of order at %d", i)
			}
		}
		if len(seen) != len(refs) {
			t.Fatalf("%d of %d entries are visited", len(seen), len(refs))
		}
	}
}
