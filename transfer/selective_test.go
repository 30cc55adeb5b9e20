package transfer

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsynctest"
)

// vague is a server whose words about a file name no file, in every session that has one.
type vague struct {
	destination
	acks *bool // it was asked for acknowledgements
}

func (v vague) Send(ctx context.Context, b *rsync.Batch, o rsync.Options) (*rsync.Report, error) {
	*v.acks = *v.acks || o.Acks
	r, err := v.destination.Send(ctx, b, o)
	for i := range b.Entries {
		if isRegular(b.Entries[i].Mode) {
			r.Results[i].State = rsync.Pending
			r.Loose = []string{"something went wrong"}
		}
	}
	return r, err
}

// A server that leaves files out acknowledges none of these: it is not asked to, and what cannot be told of a file is a
// failure of that file.
func TestSelectiveAsksForNoAcknowledgements(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "f"), "content")
	url, _, _ := daemon(t, rsynctest.Config{})
	c, rec := config(t, src, url, func(c *Config) { c.Session.Update = true })
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	acks := false
	e.dest = vague{e.dest, &acks}
	if err := e.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if acks || !words(rec.failed["f"], "something went wrong") {
		t.Errorf("acknowledgements asked for: %v; failed: %v", acks, rec.failed)
	}
}

// What was left out is not taken for what is there.
func TestSelectiveRemembersNothing(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "large"), "more than five bytes")
	url, _, _ := daemon(t, rsynctest.Config{})
	c, rec := config(t, src, url, remembering(t, t.TempDir()))
	c.Session.MaxSize = 5
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	rec.clean(t)
	if r, _, err := c.Catalogue.Get("large"); err != nil || r.State != catalogue.Doubt && r.Name != "" {
		t.Errorf("the catalogue has %+v (%v)", r, err)
	}
}
