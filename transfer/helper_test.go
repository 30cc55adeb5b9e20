package transfer

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/internal/treetest"
)

// record is what an Observer was told.
type record struct {
	t       testing.TB
	items   []string // "%i path"
	deleted []string
	failed  map[string]error
	notes   []string
}

func (r *record) Item(f rsync.ItemFlags, e *flist.Entry) {
	r.items = append(r.items, f.Format(e.Mode)+" "+e.Path)
}
func (r *record) Deleted(p string, dir bool) { r.deleted = append(r.deleted, p) }
func (r *record) Failed(p string, err error) {
	if r.failed[p] != nil {
		r.t.Errorf("%s failed twice: %v, %v", p, r.failed[p], err)
	}
	r.failed[p] = err
}
func (r *record) Note(text string) { r.notes = append(r.notes, text) }

// archive is what -a asks of a session; owners only where the test can set them.
func archive() rsync.Options {
	root := os.Geteuid() == 0
	return rsync.Options{
		Links: true, Perms: true, Times: true, Owner: root, Group: true, Devices: root, Specials: true, NumericIDs: true,
		MaxDelete: -1,
	}
}

// config is syncd --full -a from src to dest; edit changes it.
func config(t testing.TB, src, dest string, edit func(*Config)) (Config, *record) {
	t.Helper()
	root, err := scan.OpenRoot(src)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	d, err := rsync.ParseDest(dest)
	if err != nil {
		t.Fatal(err)
	}
	rec := &record{t: t, failed: map[string]error{}}
	c := Config{
		Root: root, Dialer: rsync.Dialer{Dest: d}, Session: archive(), NanosecondsAuto: true, MaxDelete: -1,
		Observer: rec, tuning: defaults,
	}
	c.tuning.pathBackoff = queue.Backoff{First: 10 * time.Millisecond, Max: 50 * time.Millisecond}
	c.tuning.sessionBackoff = c.tuning.pathBackoff
	if os.Getenv("SYNCD_LOG") != "" {
		c.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if edit != nil {
		edit(&c)
	}
	return c, rec
}

// pass runs a full pass that is expected to come to its end.
func pass(t testing.TB, src, dest string, edit func(*Config)) (Summary, *record) {
	t.Helper()
	c, rec := config(t, src, dest, edit)
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(context.Background()); err != nil {
		t.Fatalf("Run: %v (failed: %v)", err, rec.failed)
	}
	slices.Sort(rec.items)
	slices.Sort(rec.deleted)
	return e.Summary(), rec
}

func deleting(c *Config) { c.Delete = true }

// clean fails the test if a path failed.
func (r *record) clean(t testing.TB) {
	t.Helper()
	for p, err := range r.failed {
		t.Errorf("failed: %q: %v", p, err)
	}
}

// daemon starts a daemon with the module "m" and returns the URL and the directory of a path in it.
func daemon(t testing.TB, c rsynctest.Config) (url, dir string, s *rsynctest.Server) {
	t.Helper()
	s = rsynctest.Daemon(t, c)
	return s.URL("m/dest"), filepath.Join(s.Dir("m"), "dest"), s
}

// plain leaves out what -a does not copy.
var plain = treetest.Options{Ignore: treetest.HardLinks | treetest.Xattrs}

func equal(t testing.TB, src, dst string) {
	t.Helper()
	treetest.Equal(t, src, dst, plain)
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func exists(t testing.TB, path string) bool {
	t.Helper()
	_, err := os.Lstat(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func words(err error, want string) bool { return err != nil && strings.Contains(err.Error(), want) }
