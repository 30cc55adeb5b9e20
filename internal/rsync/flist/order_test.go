package flist

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// part is one component of a key of protocol 6.7.
type part struct {
	dir  int // 0 FILE, 1 DIR
	text string
}

// key follows the words of protocol 6.7 and nothing else.
func key(path string, dir bool) []part {
	if path == "." {
		return nil
	}
	components := strings.Split(path, "/")
	var k []part
	for i, c := range components {
		if i < len(components)-1 || dir {
			k = append(k, part{1, c + "/"})
		} else {
			k = append(k, part{0, c})
		}
	}
	return k
}

func compareParts(a, b part) int {
	return cmp.Or(cmp.Compare(a.dir, b.dir), strings.Compare(a.text, b.text))
}

// naiveOrder sorts by keys.
func naiveOrder(list []Entry, protocol int) []int32 {
	order := make([]int32, len(list))
	keys := make([][]part, len(list))
	for i, e := range list {
		order[i] = int32(i)
		keys[i] = key(e.Path, e.Mode&0o170000 == 0o040000)
	}
	slices.SortStableFunc(order, func(a, b int32) int {
		if protocol < 29 {
			return strings.Compare(list[a].Path, list[b].Path)
		}
		return slices.CompareFunc(keys[a], keys[b], compareParts)
	})
	return order
}

func checkOrder(t *testing.T, list []Entry) {
	t.Helper()
	for protocol := 27; protocol <= 32; protocol++ {
		got, want := Order(list, protocol), naiveOrder(list, protocol)
		if !slices.Equal(got, want) {
			for k := range got {
				if got[k] != want[k] {
					t.Fatalf("protocol %d, index %d of %d: %q, want %q", protocol, k, len(list), list[got[k]].Path, list[want[k]].Path)
				}
			}
			t.Fatalf("protocol %d: %d positions for %d entries", protocol, len(got), len(list))
		}
	}
}

// unrelated makes entries of which no parent need be there, as when paths are deleted.
func unrelated(rng *rand.Rand, n int) []Entry {
	used := make(map[string]bool)
	var list []Entry
	for len(list) < n {
		depth := 1 + rng.IntN(4)
		var c []string
		for range depth {
			c = append(c, randomName(rng))
		}
		path := strings.Join(c, "/")
		if rng.IntN(200) == 0 {
			path = "."
		}
		if !used[path] {
			used[path] = true
			mode := []uint32{0, 0o100644, 0o40755, 0o120777}[rng.IntN(4)]
			if path == "." {
				mode = 0o40755
			}
			list = append(list, Entry{Path: path, Mode: mode})
		}
	}
	return list
}

func TestOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for n := range 40 {
		checkOrder(t, unrelated(rng, n))
	}
	for i := range 12 {
		list := unrelated(rng, rng.IntN(400))
		if i%3 == 0 {
			list = randomList(rng, stock, 400)
		}
		checkOrder(t, list)
		// Sorted, sorted but for a few, and reversed.
		slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
		checkOrder(t, list)
		for range 5 {
			a, b := rng.IntN(len(list)+1), rng.IntN(len(list)+1)
			slices.Reverse(list[min(a, b, min(a, b)+9):min(len(list), min(a, b)+9)])
		}
		checkOrder(t, list)
		slices.Reverse(list)
		checkOrder(t, list)
	}
	checkOrder(t, walked(3000))
}

// Equal paths must not be sent, but Order must not lose any of them.
func TestOrderKeepsDuplicates(t *testing.T) {
	var list []Entry
	for i := range 100 {
		list = append(list, Entry{Path: string(rune('a' + i%3)), Mode: 0o100644}, Entry{Path: string(rune('a' + i%2)), Mode: 0o40755})
	}
	checkOrder(t, list)
}

// The order of 6.7 in the document's own example.
func TestOrderExample(t *testing.T) {
	list := []Entry{
		{Path: "a0", Mode: 0o40755}, {Path: "a", Mode: 0o40755}, {Path: "z", Mode: 0o100644}, {Path: "a-b", Mode: 0o40755},
		{Path: "a/x", Mode: 0o100644}, {Path: "a-b/y", Mode: 0o100644}, {Path: ".", Mode: 0o40755}, {Path: "-", Mode: 0},
	}
	for protocol, want := range map[int]string{29: ". - z a-b a-b/y a a/x a0", 28: "- . a a-b a-b/y a/x a0 z"} {
		var got []string
		for _, at := range Order(list, protocol) {
			got = append(got, list[at].Path)
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("protocol %d: %s, want %s", protocol, s, want)
		}
	}
}

func FuzzOrder(f *testing.F) {
	f.Add("a\x00a/b\x00a-\x00.\x00a0/x\x00a/b/c", uint64(0b10101))
	f.Add("x\x00x/x\x00x/x/x\x00x/", uint64(7))
	f.Fuzz(func(t *testing.T, names string, dirs uint64) {
		var list []Entry
		for i, path := range strings.Split(names, "\x00") {
			e := Entry{Path: path, Mode: 0o100644}
			if dirs>>(i%64)&1 != 0 || path == "." {
				e.Mode = 0o40755
			}
			if Validate(&e, 32) == nil {
				list = append(list, e)
			}
		}
		checkOrder(t, list)
	})
}

// walked returns about n entries as a walk finds them: each directory's children in byte order, subdirectories among
// the files, the content of each subdirectory after that.
func walked(n int) []Entry {
	list := []Entry{{Path: ".", Mode: 0o40755, Dir: Content, Size: 4096, Mtime: 1700000001}}
	for d := 0; len(list) < n; d++ {
		dir := fmt.Sprintf("var/www/site-%03d", d/4)
		if d == 0 {
			list = append(list, Entry{Path: "var", Mode: 0o40755}, Entry{Path: "var/www", Mode: 0o40755})
		}
		if d%4 == 0 {
			list = append(list, Entry{Path: dir, Mode: 0o40755})
			for _, sub := range []string{"a", "cache", "images", "mail"} {
				for i := range 8 {
					list = append(list, Entry{Path: fmt.Sprintf("%s/%s-%02d.html", dir, sub, i), Mode: 0o100644, Size: 900})
				}
				list = append(list, Entry{Path: dir + "/" + sub, Mode: 0o40755})
			}
		}
		dir += "/" + []string{"a", "cache", "images", "mail"}[d%4]
		for i := range 40 {
			list = append(list, Entry{Path: fmt.Sprintf("%s/file-%05d.dat", dir, i*7), Mode: 0o100644, Size: int64(i * 1000),
				Mtime: 1700000000 + int64(i*d), Nsec: int32(i * 1234567), UID: 33, GID: 33})
		}
	}
	return list
}
