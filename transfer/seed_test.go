package transfer

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsynctest"
)

// A seeding destination remembers what parts were made, and does something when that was done.
type seeding struct {
	destination
	then func()

	mu    sync.Mutex
	parts []string
}

func (s *seeding) Send(ctx context.Context, b *rsync.Batch, o rsync.Options) (*rsync.Report, error) {
	report, err := s.destination.Send(ctx, b, o)
	made := false
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range b.Entries {
		if p := b.Entries[i].Path; isRegular(b.Entries[i].Mode) && strings.Contains(p, DefaultPartialDir) {
			s.parts = append(s.parts, p)
			made = true
		}
	}
	if made && s.then != nil {
		s.then()
	}
	return report, err
}

func (s *seeding) made() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.parts)
	return s.parts
}

func seedingEngine(t *testing.T, c Config, then func()) (*Engine, *seeding) {
	t.Helper()
	c.BigFile = 1 << 20
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	s := &seeding{destination: e.dest, then: then}
	e.dest = s
	return e, s
}

// Empty parts are made for files that are large and new, and for no others. Whatever they were, they are gone then.
func TestSeeds(t *testing.T) {
	src := t.TempDir()
	url, dst, _ := daemon(t, rsynctest.Config{})
	large := func(c string) string { return strings.Repeat(c, 2<<20) }
	write(t, filepath.Join(src, "d/old"), large("1"))
	write(t, filepath.Join(src, "d/small"), strings.Repeat("1", 2<<20-1))
	pass(t, src, url, nil)
	write(t, filepath.Join(src, "d/old"), large("2"))
	write(t, filepath.Join(src, "d/small"), strings.Repeat("2", 2<<20-1))
	write(t, filepath.Join(src, "d/new"), large("3"))
	write(t, filepath.Join(src, "d/new too"), large("4"))
	write(t, filepath.Join(src, "e/ne*w"), large("5"))
	if err := os.Symlink(large("x")[:100], filepath.Join(src, "d/link")); err != nil {
		t.Fatal(err)
	}
	none := func(what string, edit func(*Config)) {
		c, _ := config(t, src, url, edit)
		e, s := seedingEngine(t, c, nil)
		if err := e.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := s.made(); len(got) > 0 {
			t.Errorf("%s: parts %q", what, got)
		}
	}
	none("dry", func(c *Config) { c.Session.DryRun = true })
	c, rec := config(t, src, url, deleting)
	e, s := seedingEngine(t, c, nil)
	if err := e.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	rec.clean(t)
	equal(t, src, dst)
	if got, want := s.made(), []string{"d/.syncd-partial/new", "d/.syncd-partial/new too", "e/.syncd-partial/ne*w"}; !slices.Equal(got, want) {
		t.Errorf("parts %q, want %q", got, want)
	}
	for _, name := range []string{"d/new", "d/old", "e/ne*w"} {
		write(t, filepath.Join(src, name), large("6"))
	}
	none("there already", deleting)
	write(t, filepath.Join(src, "d/newer"), large("7"))
	none("protocol 29", func(c *Config) { c.Session.Protocol, c.Session.ModifyWindow, c.NanosecondsAuto = 29, 0, false })
	write(t, filepath.Join(src, "d/newest"), large("8"))
	none("similar files", func(c *Config) { c.Session.Fuzzy = true })
	write(t, filepath.Join(src, "d/newest of all"), large("9"))
	none("in place", func(c *Config) { c.Session.Inplace = true })
	equal(t, src, dst)
}

// Where the file does not come after all, or is none any more that has a part, its part goes as well.
func TestUnusedSeed(t *testing.T) {
	for what, change := range map[string]func(p string) error{
		"gone":  os.Remove,
		"small": func(p string) error { return os.Truncate(p, 10) },
	} {
		t.Run(what, func(t *testing.T) {
			src := t.TempDir()
			url, dst, _ := daemon(t, rsynctest.Config{})
			big := filepath.Join(src, "d/big")
			write(t, big, strings.Repeat("1", 2<<20))
			c, rec := config(t, src, url, deleting)
			e, s := seedingEngine(t, c, func() {
				if err := change(big); err != nil {
					t.Error(err)
				}
			})
			if err := e.Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			rec.clean(t)
			equal(t, src, dst)
			if len(s.made()) == 0 {
				t.Error("no part was made")
			}
		})
	}
}
