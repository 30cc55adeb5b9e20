package transfer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/catalogue"
)

// What a cutover does in the freeze: the whole tree against the catalogue. -benchtime=3x is plenty.
func BenchmarkRecount(b *testing.B) {
	const dirs, perDir = 2000, 100
	src, dst := b.TempDir(), b.TempDir()
	for d := range dirs {
		dir := filepath.Join(src, fmt.Sprintf("dir%02d/sub%02d", d/100, d%100))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		for f := range perDir {
			name := filepath.Join(dir, fmt.Sprintf("file%04d.dat", f))
			if err := os.WriteFile(name, nil, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	old(b)
	c, _ := config(b, src, dst, remembering(b, b.TempDir()))
	c.Sync = func(context.Context) error { return nil }
	e, err := New(c)
	if err != nil {
		b.Fatal(err)
	}
	f := following(b, e)
	rests(b, f)
	for after := ""; ; {
		paths, next, err := c.Catalogue.Unproven(b.Context(), after, 0, 4096)
		if err != nil {
			b.Fatal(err)
		}
		for _, p := range paths {
			r, _, err := c.Catalogue.Get(p)
			if err == nil {
				err = c.Catalogue.Apply(catalogue.Put(p, r.Version, false), catalogue.Verified(p, r.Version, time.Now().Unix(), [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, catalogue.XXH128))
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		if after = next; after == "" {
			break
		}
	}
	for e.ledger.doubts.Load() > 0 { // directories, for as long as other sessions may set their times
		rests(b, f)
	}
	b.ResetTimer()
	for b.Loop() {
		if err := f.Recount(b.Context()); err != nil {
			b.Fatal(err)
		}
		rests(b, f)
		if got, _, err := f.Census(b.Context()); err != nil || got.Files != dirs*perDir {
			b.Fatalf("%d proven, %v", got.Files, err)
		}
	}
}
