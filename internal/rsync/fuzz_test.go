package rsync_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/rsync"
)

// FuzzServer lets a server say anything after the setup of a recorded session. It must not crash us, not hang us, and
// not make us believe that something is in place of which it has not said so.
func FuzzServer(f *testing.F) {
	const greeting = "@RSYNCD: 32.0 md5\n@RSYNCD: OK\n\x81\xfe\x06xxh128\x01\x00\x00\x00"
	names, err := filepath.Glob(filepath.Join("testdata", "sessions", "*.s2c.bin"))
	if err != nil || len(names) == 0 {
		f.Fatalf("no recordings: %v", err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		protocol := int(filepath.Base(name)[4]-'0')*10 + int(filepath.Base(name)[5]-'0')
		if _, after, ok := bytes.Cut(b, []byte("\x01\x00\x00\x00")); ok {
			f.Add(after, uint8(protocol), uint8(0))
			f.Add(after, uint8(protocol), uint8(0xff))
		}
	}
	f.Add([]byte("\x1a\x00\x00\x0arsync error: x (code 11) at\n"), uint8(30), uint8(1))
	f.Add([]byte("\x04\x00\x00\x5d\x0b\x00\x00\x00"), uint8(32), uint8(1))
	f.Fuzz(func(t *testing.T, say []byte, protocol, options uint8) {
		o := archive()
		o.Protocol = 27 + int(protocol)%6
		o.Acks, o.Delete, o.DryRun = options&1 != 0, options&2 != 0, options&4 != 0
		o.Inplace, o.HardLinks, o.DeleteMissing = options&8 != 0, options&16 != 0, options&32 != 0
		tree := recordedTree
		if options&64 != 0 && o.Protocol >= 30 {
			o.ACLs, o.Xattrs = true, true
			tree = recordedAttrs
		}
		hello := greeting
		if o.Protocol < 30 {
			hello = "@RSYNCD: 32.0 md5\n@RSYNCD: OK\n\x01\x00\x00\x00"
		}
		p := newPlayer(append([]byte(hello), say...), o.Protocol)
		p.over = true
		d := &rsync.Dialer{Dest: rsync.Dest{Kind: rsync.Daemon, Host: "h", Module: "m", Path: "t"},
			Dial: func(context.Context) (io.ReadWriteCloser, error) { return p, nil }}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		s, err := d.Connect(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		entries, content := tree()
		b := recordedBatch(t, s, o, entries, content)
		b.Events = &recorder{entries: entries}
		p.arm()
		r, err := s.Send(ctx, b)
		if ctx.Err() != nil {
			t.Fatal("hangs")
		}
		if err == nil != r.Complete {
			t.Fatalf("complete %v with error %v", r.Complete, err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("error of more than one line: %q", err)
		}
		for i, res := range r.Results {
			if res.State != rsync.Acked || r.Complete && !(o.Acks && !o.DryRun) {
				continue
			}
			e := entries[i]
			said := bytes.Contains(say, []byte("k")) // the high byte of MSG_SUCCESS's header
			if e.Mode == 0 || e.IsDir() || !o.Acks || o.DryRun || !said {
				if !r.Complete || !e.IsDir() {
					t.Errorf("%s is acked: complete %v, options %+v", e.Path, r.Complete, o)
				}
			}
		}
	})
}
