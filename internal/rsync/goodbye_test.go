package rsync_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsync/wire"
	"github.com/syncd/syncd/internal/rsynctest"
)

// tape records what comes from a server.
type tape struct {
	io.ReadWriteCloser
	mu    sync.Mutex
	heard bytes.Buffer
}

func (t *tape) Read(p []byte) (int, error) {
	n, err := t.ReadWriteCloser.Read(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard.Write(p[:n])
	return n, err
}

// afterData returns the messages that follow the last frame of data, which is that of the goodbye, and the end of that.
func (t *tape) afterData(tb testing.TB, protocol int) (messages []string, goodbye []byte) {
	tb.Helper()
	say := t.heard.Bytes()
	at := bytes.Index(say, []byte("@RSYNCD: OK\n")) + len("@RSYNCD: OK\n")
	if protocol >= 30 {
		at += 2                // compat flags
		at += 1 + int(say[at]) // checksum names
	}
	for at += 4; at < len(say); { // seed
		h := binary.LittleEndian.Uint32(say[at:])
		tag, size := wire.Tag(h>>24-7), int(h&0xffffff)
		payload := say[at+4 : at+4+size]
		at += 4 + size
		if tag == wire.DataTag {
			messages, goodbye = nil, append(goodbye, payload...)
		} else {
			messages = append(messages, fmt.Sprintf("%v %q", tag, payload))
		}
	}
	return messages, goodbye[max(0, len(goodbye)-4):]
}

// trouble is a session at whose end a server has as much to say as possible.
type trouble struct {
	name    string
	options func(*rsync.Options)
	// there prepares the destination, dir, in which the server works as nobody.
	there func(t *testing.T, dir string)
	edit  func(t *testing.T, src string, b *rsync.Batch)
	exit  int
}

var troubles = []trouble{
	{name: "none"},
	{name: "acknowledgements"},
	{name: "directories that may not be changed", exit: 23,
		there: func(t *testing.T, dir string) {
			for _, d := range []string{dir, filepath.Join(dir, "d")} {
				must(t, os.MkdirAll(d, 0o777))
				must(t, os.Chmod(d, 0o777))
			}
		}},
	{name: "files that may not be made", exit: 23,
		there: func(t *testing.T, dir string) { must(t, os.MkdirAll(filepath.Join(dir, "d"), 0o755)) }, edit: few},
	{name: "deletions", options: func(o *rsync.Options) { o.Delete = true }, there: surplus, edit: contentDirs},
	{name: "too many deletions", exit: 25, options: func(o *rsync.Options) { o.Delete, o.MaxDelete = true, 2 },
		there: surplus, edit: contentDirs},
	{name: "deletions that fail", exit: 23, edit: contentDirs,
		options: func(o *rsync.Options) { o.Delete, o.Acks = true, false }, // see few
		there: func(t *testing.T, dir string) {
			surplus(t, dir)
			must(t, os.Chown(filepath.Join(dir, "d"), 0, 0))
		}},
	{name: "a directory in the way", exit: 23,
		there: func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "file1", "inner"), "x")
			give(t, dir)
		}},
	{name: "files that fail verification", edit: func(t *testing.T, src string, b *rsync.Batch) {
		open := b.Open
		b.Open = func(i int) (rsync.File, error) {
			f, err := open(i)
			if err != nil {
				return nil, err
			}
			return changing{f}, nil
		}
	}},
	{name: "files that vanish", exit: 24, edit: func(t *testing.T, src string, b *rsync.Batch) {
		must(t, os.RemoveAll(filepath.Join(src, "d", "file2")))
		must(t, os.RemoveAll(filepath.Join(src, "file1")))
	}},
}

// few leaves as many files in d as a server that acknowledges can fail to make: of more it stops for ever.
func few(_ *testing.T, _ string, b *rsync.Batch) {
	left := 8
	b.Entries = slices.DeleteFunc(b.Entries, func(e flist.Entry) bool {
		if strings.HasPrefix(e.Path, "d/") {
			left--
		}
		return left < 0 && strings.HasPrefix(e.Path, "d/")
	})
}

type changing struct{ rsync.File }

func (c changing) Close() error {
	c.File.Close()
	return rsync.ErrChanged
}

func surplus(t *testing.T, dir string) {
	for i := range 5 {
		write(t, filepath.Join(dir, "d", fmt.Sprint("surplus", i)), "x")
		write(t, filepath.Join(dir, fmt.Sprint("old", i), "inner"), "x")
	}
	give(t, dir)
}

// give makes all below dir nobody's.
func give(t *testing.T, dir string) {
	must(t, filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(p, 65534, 65534)
		}
		return err
	}))
}

func contentDirs(_ *testing.T, _ string, b *rsync.Batch) {
	for i := range b.Entries {
		if b.Entries[i].Mode&0o170000 == 0o040000 {
			b.Entries[i].Dir = flist.Content
		}
	}
}

// Session.Settle goes by this: what a server has to say, of entries and of itself, comes before the last goodbye.
func TestServerSaysNothingAfterTheGoodbye(t *testing.T) {
	need.Root(t) // a daemon of another user
	for _, c := range troubles {
		for _, protocol := range []int{31, 32} {
			t.Run(fmt.Sprintf("%s/%d", c.name, protocol), func(t *testing.T) {
				t.Parallel()
				c.run(t, protocol)
			})
		}
	}
}

func (c *trouble) run(t *testing.T, protocol int) {
	src := t.TempDir()
	for i := range 60 {
		write(t, filepath.Join(src, fmt.Sprint("file", i)), strings.Repeat("x", 100*i))
		write(t, filepath.Join(src, "d", fmt.Sprint("file", i)), strings.Repeat("x", 1000*i))
	}
	b := treeBatch(t, src)
	srv := rsynctest.Daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m",
		Options: map[string]string{"uid": "65534", "gid": "65534"}}}})
	dst := filepath.Join(srv.Dir("m"), "dest")
	must(t, os.Mkdir(dst, 0o755))
	give(t, dst)
	for dir := srv.Dir("m"); dir != os.TempDir(); dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	if c.there != nil {
		c.there(t, dst)
	}
	if c.edit != nil {
		c.edit(t, src, b)
	}
	o := archive()
	o.Protocol, o.Owner, o.Itemize, o.Acks = protocol, false, true, true
	if c.options != nil {
		c.options(&o)
	}
	d := dialer(t, srv, "m/dest")
	var heard *tape
	d.Wrap = func(c io.ReadWriteCloser) io.ReadWriteCloser {
		heard = &tape{ReadWriteCloser: c}
		return heard
	}
	r := send(t, d, o, b)
	if r.ExitCode != c.exit {
		t.Errorf("exit code %d, want %d", r.ExitCode, c.exit)
	}
	messages, goodbye := heard.afterData(t, protocol)
	if len(messages) > 0 {
		t.Errorf("after the goodbye, which ends in % x:\n%s", goodbye, strings.Join(messages, "\n"))
	}
}

// stubborn is the transport of a server that does not close the connection, whatever it is told.
type stubborn struct{ *player }

func (s stubborn) CloseWrite() error { return nil }

func TestSettleDoesNotWaitForTheEndOfTheConnection(t *testing.T) {
	p := stubborn{newPlayer(loadRecording(t, "10-p32-remove-source").s2c, 32)}
	d := &rsync.Dialer{
		Dest: rsync.Dest{Kind: rsync.Daemon, Host: "h", Module: "m", Path: "t"},
		Dial: func(context.Context) (io.ReadWriteCloser, error) { return p, nil },
	}
	o := archive()
	o.Acks = true
	s, err := d.Connect(t.Context(), o)
	must(t, err)
	entries, content := recordedTree()
	b := recordedBatch(t, s, o, entries, content)
	p.arm()
	r, err := s.Settle(t.Context(), b)
	if err != nil || !r.Complete {
		t.Fatalf("complete: %v, error %v", r.Complete, err)
	}
	select {
	case <-s.Done():
		t.Error("the connection has ended")
	default:
	}
	s.Close()
	s.Wait()
	checkGoroutines(t)
}
