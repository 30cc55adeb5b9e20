package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// An argued connection notes the arguments that a daemon is given.
type argued struct {
	net.Conn
	mu   *sync.Mutex
	seen map[string]bool // options
	sent bytes.Buffer
}

func (c *argued) Write(p []byte) (int, error) {
	if c.seen != nil {
		c.sent.Write(p)
		if _, rest, ok := bytes.Cut(c.sent.Bytes(), []byte("--server\x00")); ok && bytes.Contains(rest, []byte("\x00\x00")) {
			c.mu.Lock()
			args := strings.Split(string(rest), "\x00")
			for i, arg := range args {
				if arg == "." || arg == "" {
					break
				}
				if i == 0 && !strings.HasPrefix(arg, "--") { // the cluster
					letters, _, _ := strings.Cut(arg[1:], "e.")
					for _, l := range letters {
						c.seen["-"+string(l)] = true
					}
				} else if strings.HasPrefix(arg, "-") {
					name, _, _ := strings.Cut(arg, "=")
					c.seen[name] = true
				}
			}
			c.mu.Unlock()
			c.seen = nil
		}
	}
	return c.Conn.Write(p)
}

// noting has the dialer of c note in seen which options servers are given.
func noting(c *Config, seen map[string]bool) {
	var mu sync.Mutex
	d := c.Dialer.Dest
	c.Dialer.Dial = func(ctx context.Context) (io.ReadWriteCloser, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(d.Host, fmt.Sprint(d.Port)))
		return &argued{Conn: conn, mu: &mu, seen: seen}, err
	}
}

// A workout copies a tree to an empty destination, and does to it whatever makes sessions of all kinds. It returns why
// that came to nothing.
type workout func(t *testing.T, url, dst string, edit func(*Config)) error

// workouts ask servers for all that they are ever asked for.
var workouts = map[string]workout{
	"service": serviceWorkout,
	"full, everything": fullWorkout(func(c *Config) {
		o := &c.Session
		o.Sparse, o.Fuzzy, o.Preallocate, o.Fsync, o.OpenNoatime, o.WholeFile, o.Atimes, o.Mkpath = true, true, true, true, true, true, true, true
		o.Backup, o.BackupDir, o.Suffix, o.UserMap, o.GroupMap = true, ".kept", "~", "7:8", "7:8"
		o.ChecksumChoice, o.ChecksumSeed, o.BlockSize = "xxh64", 5, 700
		o.Compress, o.CompressChoice, o.ACLs, o.Xattrs, o.OmitDirTimes = true, "zlibx", true, true, true
		o.NumericIDs, c.Dialer.Timeout = false, time.Minute
	}),
	"full, in place": fullWorkout(func(c *Config) {
		o := &c.Session
		o.Inplace, o.Sparse, o.SizeOnly, o.IgnoreTimes, o.HardLinks = true, true, true, true, true
		o.Devices, o.Specials, c.MaxDelete = true, false, 5
	}),
	"full, selective": fullWorkout(func(c *Config) {
		o := &c.Session
		o.AppendVerify, o.MinSize, o.MaxSize, o.Update, o.Devices, c.MaxDelete = true, 1, 1<<20, true, false, 0
		c.NanosecondsAuto, o.ModifyWindow = false, 1
	}),
	"full, selective in another way": fullWorkout(func(c *Config) {
		o := &c.Session
		o.Checksum, o.IgnoreExisting, o.TempDir, o.Compress, o.CompressChoice = true, true, "..", true, "lz4"
	}),
}

// fullWorkout is passes with a catalogue, between which something changes.
func fullWorkout(options func(*Config)) workout {
	return func(t *testing.T, url, dst string, edit func(*Config)) error {
		src, state := workoutTree(t), t.TempDir()
		for _, change := range []func(){
			func() {},
			func() { write(t, filepath.Join(src, "d/a"), "b"); os.Remove(filepath.Join(src, "d/gone")) },
		} {
			change()
			c, rec := config(t, src, url, func(c *Config) {
				c.Delete, c.BigFile = true, 64<<10
				options(c)
				remembering(t, state)(c)
				edit(c)
			})
			e, err := New(c)
			if err == nil {
				err = e.Run(context.Background())
			}
			c.Catalogue.Close()
			if err != nil {
				return err
			}
			for p, err := range rec.failed {
				return fmt.Errorf("%s: %w", p, err)
			}
		}
		if !exists(t, filepath.Join(dst, "d/l1")) {
			return errors.New("nothing was copied")
		}
		return nil
	}
}

func workoutTree(t *testing.T) string {
	src := treetest.TempDir(t)
	treetest.Write(t, src, treetest.File("d/a", "a"), treetest.File("d/big", strings.Repeat("x", 100<<10)), treetest.File("d/gone", "g"),
		treetest.File("d/l1", "linked"), treetest.Link("d/l2", "d/l1"), treetest.Symlink("d/s", "a"))
	return src
}

// serviceWorkout follows changes of all kinds.
func serviceWorkout(t *testing.T, url, dst string, edit func(*Config)) error {
	src := workoutTree(t)
	coarse := false
	c, rec := config(t, src, url, func(c *Config) {
		c.Delete, c.Session.HardLinks, c.Session.Compress, c.Dialer.Timeout, c.BigFile = true, true, true, time.Minute, 64<<10
		edit(c)
	})
	e, err := New(c)
	if err != nil {
		return err
	}
	f := following(t, e)
	reach := func() error {
		var s Snapshot
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
			if s, err = f.Snapshot(context.Background()); err != nil || kindOf(s.Trouble) == rsync.KindRefused {
				return errors.Join(err, s.Trouble)
			}
			f.tell.mu.Lock()
			coarse = coarse || slices.ContainsFunc(rec.notes, func(n string) bool { return strings.Contains(n, "whole seconds") })
			f.tell.mu.Unlock()
			if s.Idle && exists(t, dst) && (coarse && treetest.Diff(treetest.Snapshot(t, src, seconds), treetest.Snapshot(t, dst, seconds)) == "" ||
				!coarse && difference(t, src, dst) == "") {
				return nil
			}
		}
		return fmt.Errorf("after a minute: %s; %w", difference(t, src, dst), s.Trouble)
	}
	for _, change := range []func(){
		func() {},
		func() {
			write(t, filepath.Join(src, "d/a"), "b")
			f.Changed(queue.Item{Path: "d/a"})
		},
		func() {
			must(t, os.Rename(filepath.Join(src, "d/big"), filepath.Join(src, "d/large")))
			f.Renamed(queue.Rename{From: "d/big", To: "d/large"})
			must(t, os.Remove(filepath.Join(src, "d/gone")))
			f.Changed(queue.Item{Path: "d/gone"}, queue.Item{Path: "d"})
		},
		func() {
			must(t, os.Link(filepath.Join(src, "d/l1"), filepath.Join(src, "d/l3")))
			f.Changed(queue.Item{Path: "d/l3"}, queue.Item{Path: "d"})
		},
	} {
		change()
		if err := reach(); err != nil {
			return err
		}
	}
	return nil
}

var seconds = treetest.Options{Ignore: treetest.HardLinks | treetest.Xattrs | treetest.FileMtime | treetest.DirMtime | treetest.LinkMtime}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Whatever a daemon refuses of what it may be asked for: everything arrives without, or the error names the option before
// anything was done.
func TestRefusedOptions(t *testing.T) {
	need.Root(t)
	for name, work := range workouts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := map[string]bool{}
			url, dst, _ := daemon(t, rsynctest.Config{})
			if err := work(t, url, dst, func(c *Config) { noting(c, seen) }); err != nil {
				t.Fatal(err)
			}
			options := slices.Sorted(maps.Keys(seen))
			var modules []rsynctest.Module
			for i, o := range options {
				modules = append(modules, rsynctest.Module{Name: fmt.Sprint("m", i), Path: treetest.TempDir(t),
					Options: map[string]string{"refuse options": refusedOption(o)}})
			}
			s := rsynctest.Daemon(t, rsynctest.Config{Modules: modules})
			for i, o := range options {
				t.Run(o, func(t *testing.T) {
					t.Parallel()
					m := fmt.Sprint("m", i)
					dst := filepath.Join(s.Dir(m), "dest")
					err := work(t, s.URL(m+"/dest"), dst, func(*Config) {})
					t.Logf("%s: %s: %v", name, o, err)
					switch {
					case err == nil:
					case kindOf(err) != rsync.KindRefused || !strings.Contains(err.Error(), o):
						t.Errorf("want everything equal, or an error that names %s", o)
					case exists(t, filepath.Join(dst, "d")):
						t.Error("work was begun")
					}
					if left, _ := filepath.Glob(filepath.Join(dst, ProbePrefix+"*")); len(left) > 0 {
						t.Errorf("left behind: %q", left)
					}
				})
			}
		})
	}
}

// refusedOption is how rsyncd.conf has what stands in the arguments.
func refusedOption(arg string) string {
	switch {
	case strings.HasPrefix(arg, "-B"):
		return "block-size"
	case strings.HasPrefix(arg, "-@"):
		return "modify-window"
	}
	return strings.TrimLeft(arg, "-")
}

// A server that looks for similar names may stop for ever, so it is always asked to show that it lives.
func TestFuzzyHasATimeout(t *testing.T) {
	for _, timeout := range []time.Duration{0, time.Minute} {
		c, _ := config(t, t.TempDir(), "rsync://host/m", func(c *Config) { c.Session.Fuzzy, c.Dialer.Timeout = true, timeout })
		e, err := New(c)
		must(t, err)
		if o := e.options(&batch{}); (o.Timeout > 0) == (timeout > 0) {
			t.Errorf("with --timeout=%v a session has %v", timeout, o.Timeout)
		}
	}
}
