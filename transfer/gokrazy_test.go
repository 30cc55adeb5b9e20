package transfer

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/gokrazy/rsync/rsyncd"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/treetest"
)

type silentLog struct{}

func (silentLog) Printf(string, ...any)    {}
func (silentLog) Output(int, string) error { return nil }

// gokrazy serves a directory with the receiver of gokrazy/rsync, which speaks protocol 27 and knows few options.
func gokrazy(t *testing.T, dir string) (url string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server, err := rsyncd.NewServer([]rsyncd.Module{{Name: "m", Path: dir, Writable: true}},
		rsyncd.DontRestrict(), rsyncd.WithStderr(io.Discard), rsyncd.WithLogger(silentLog{}))
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(context.Background(), listener)
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	return "rsync://" + listener.Addr().String() + "/m/"
}

// What gokrazy/rsync's receiver cannot do is an error that names it, or done without; the rest arrives.
func TestGokrazyReceiver(t *testing.T) {
	src, dst := treetest.TempDir(t), treetest.TempDir(t)
	treetest.Write(t, src, treetest.File("d/a", "a"), treetest.Symlink("l", "d/a"), treetest.File("b", "b", treetest.Mode(0o600)))
	url := gokrazy(t, dst)
	for option, ask := range map[string]func(*Config){
		"--delete-during": deleting, "--numeric-ids": func(*Config) {}, "--xattrs": func(c *Config) { c.Session.Xattrs = true },
	} {
		c, _ := config(t, src, url, ask)
		e, err := New(c)
		must(t, err)
		if err := e.Run(context.Background()); kindOf(err) != rsync.KindRefused || !words(err, option) {
			t.Errorf("%s: %v", option, err)
		}
	}
	known := func(c *Config) { c.Session.NumericIDs = false }
	_, rec := pass(t, src, url, known)
	rec.clean(t)
	ignored := treetest.Options{Ignore: plain.Ignore | treetest.Nanosecond | treetest.DirMtime | treetest.LinkMtime | treetest.UID | treetest.GID}
	treetest.Equal(t, src, dst, ignored)
	if sum, rec := pass(t, src, url, known); sum.TransferredFiles > 0 {
		t.Errorf("the second pass sent %q", rec.items)
	}
	f := follow(t, src, url, func(c *Config) { known(c); c.Delete = false })
	write(t, src+"/d/new", "live")
	f.Changed(queue.Item{Path: "d/new"}, queue.Item{Path: "d"})
	waitFor(t, func() bool { return has(dst+"/d/new", "live") })
	if s, err := f.Snapshot(context.Background()); err != nil || s.Trouble != nil {
		t.Errorf("%v, %v", err, s.Trouble)
	}
}
