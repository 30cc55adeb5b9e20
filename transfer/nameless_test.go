package transfer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsynctest"
)

// modeless is a server as 3.4.3 is: it ends a session that names what is to be deleted.
type modeless struct{ destination }

func (m modeless) Send(ctx context.Context, b *rsync.Batch, o rsync.Options) (*rsync.Report, error) {
	for i := range b.Entries {
		if b.Entries[i].Mode == 0 {
			return &rsync.Report{Results: make([]rsync.Result, len(b.Entries))},
				&rsync.Error{Kind: rsync.KindProtocol, Err: errors.New("invalid file mode 00 for " + b.Entries[i].Path)}
		}
	}
	return m.destination.Send(ctx, b, o)
}

func TestServerThatCannotDeleteByName(t *testing.T) {
	for name, limit := range map[string]int{"without a limit": -1, "with a limit": 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := t.TempDir()
			for _, p := range []string{"d/stays", "d/goes", "d/sub/1", "e/f/g", "e/f/h"} {
				write(t, filepath.Join(src, p), "content")
			}
			url, dst, _ := daemon(t, rsynctest.Config{})
			c, _ := config(t, src, url, deleting)
			c.MaxDelete = limit
			e, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			e.dest = modeless{e.dest}
			following(t, e)
			settles(t, src, dst)
			for _, p := range []string{"d/goes", "d/sub", "e/f"} {
				if err := os.RemoveAll(filepath.Join(src, p)); err != nil {
					t.Fatal(err)
				}
				e.Changed(queue.Item{Path: p}, queue.Item{Path: filepath.Dir(p)})
			}
			write(t, filepath.Join(src, "d/new"), "goes on")
			e.Changed(queue.Item{Path: "d/new"})
			settles(t, src, dst)
		})
	}
}
