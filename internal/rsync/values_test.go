package rsync

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/attr"
	"github.com/syncd/syncd/internal/rsynctest"
)

// Before 3.1.1 a server does not ask for values with names that it links to another, from protocol 31 on; the one here
// does as they did when it is not told that we know better.
func TestLinksWithAttributesAsOlderServersTakeThem(t *testing.T) {
	s := rsynctest.Daemon(t, rsynctest.Config{})
	ours := capabilities
	defer func() { capabilities = ours }()
	value := random(3, 100)
	for _, c := range []string{ours, "e.LsfCIvu", "e."} {
		for protocol := 30; protocol <= 32; protocol++ {
			capabilities = c
			name := c[2:] + string(rune('0'+protocol-30))
			d, dir := destination(t, s, name)
			b := one("a", []byte("content"))
			b.Entries[0].Link = 1
			b.Entries[0].Attrs = &attr.Attrs{Set: attr.Set{attr.New("user.long", value), attr.New("user.short", []byte("x"))}}
			for _, path := range []string{"b", "c"} {
				e := b.Entries[0]
				e.Path = path
				b.Entries = append(b.Entries, e)
			}
			b.Xattr = func(int, string) ([]byte, error) { return value, nil }
			o := Options{Protocol: protocol, Times: true, Perms: true, HardLinks: true, Xattrs: true, Acks: true, Itemize: true, MaxDelete: -1}
			for range 2 {
				sendAll(t, d, o, b)
				for _, e := range b.Entries {
					got, err := attr.Get(unix.AT_FDCWD, filepath.Join(dir, e.Path), "user.long")
					if err != nil || string(got) != string(value) {
						t.Errorf("%s: %s: value of %d bytes, %v", name, e.Path, len(got), err)
					}
				}
				// One that is linked again, to a file whose attributes differ.
				if err := os.Remove(filepath.Join(dir, "b")); err != nil {
					t.Fatal(err)
				}
				if err := unix.Setxattr(filepath.Join(dir, "a"), "user.long", []byte("another"), 0); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
