package rsync_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
)

// data frames bytes as a server does.
func data(s string) string {
	return string([]byte{byte(len(s)), byte(len(s) >> 8), byte(len(s) >> 16), 7}) + s
}

// message frames a message.
func message(tag byte, s string) string {
	return string([]byte{byte(len(s)), byte(len(s) >> 8), byte(len(s) >> 16), 7 + tag}) + s
}

// TestViolations has servers that break the protocol. The error must name what came, and the server must be told.
func TestViolations(t *testing.T) {
	const none = "\x00\x00\x00\x00"
	const head = none + none + none + none
	for _, c := range []struct {
		name, say, text string
	}{
		{"index too large", data("\x05\x00\x80" + head), "index 4 of a list of 3"},
		{"negative index", data("\xff\x64\x00\x80"), "index -101"},
		{"data of a directory", data("\x03\x00\x80" + head), `data of "d" asked for`},
		{"data of a symlink", data("\x02\x00\x80" + head), `data of "s" asked for`},
		{"data after the last phase", data("\x00\x00\x01\x00\x80" + head), `data of "f" asked for after`},
		{"data again and again", data(strings.Repeat("\x01\x00\x80"+head+"", 1) + strings.Repeat("\xfe\x00\x00\x00\x80"+head, 20)), "too often"},
		{"block count", data("\x01\x00\x80\xff\xff\xff\xff" + none + none + none), "protocol error"},
		{"block length", data("\x01\x00\x80\x01\x00\x00\x00\x00\x00\x00\x7f\x02\x00\x00\x00" + none), "protocol error"},
		{"sum length", data("\x01\x00\x80\x01\x00\x00\x00\x00\x10\x00\x00\x7f\x00\x00\x00" + none), "protocol error"},
		{"name too long", data("\x01\x00\x10\xff\xff"), "protocol error"},
		{"index too large after the last phase", data("\x00\x00\x00" + "\x05\x00\x80" + head), "index 4 of a list of 3"},
		{"data of a directory after the last phase", data("\x00\x00\x00" + "\x03\x00\x80" + head), `data of "d" asked for`},
		{"block count after the last phase", data("\x00\x00\x00" + "\x01\x00\x80\xff\xff\xff\xff" + none + none + none), "protocol error"},
		{"unknown frame", "\x00\x00\x00\x0e", "unknown type 14"},
		{"no frame", "\x00\x00\x00\x00", "unknown type 0"},
		{"a client's message", message(102, "\x00\x00\x00\x00"), "NO_SEND"},
		{"success too large", message(100, "\x03\x00\x00\x00"), "success of index 3 of a list of 3"},
		{"negative success", message(100, "\xff\xff\xff\xff"), "success of index -1"},
		{"success of nothing", message(100, ""), "SUCCESS of 0 bytes"},
		{"deletion of nothing", message(101, ""), "deletion of"},
		{"deletion with NUL", message(101, "a\x00b"), "deletion of"},
		{"timeout of nothing", message(33, "\x01"), "IO_TIMEOUT of 1 bytes"},
		{"exit code of 3 bytes", message(86, "\x01\x00\x00"), "ERROR_EXIT of 3 bytes"},
		{"endless text", "\x00\x00\x10\x09" + strings.Repeat("x", 1<<20), "protocol error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			const setup = "@RSYNCD: 32.0 md5\n@RSYNCD: OK\n\x81\xfe\x06xxh128\x01\x00\x00\x00"
			p := newPlayer([]byte(setup+c.say), 32)
			p.farewell = true
			d := &rsync.Dialer{Dest: rsync.Dest{Kind: rsync.Daemon, Host: "h", Module: "m"},
				Dial: func(context.Context) (io.ReadWriteCloser, error) { return p, nil }}
			s, err := d.Connect(t.Context(), archive())
			must(t, err)
			b := fakeBatch(func(string) (rsync.File, error) { return fake(""), nil }, "f")
			b.Entries = append(b.Entries, flist.Entry{Path: "s", Mode: 0o120777, Target: "x"}, flist.Entry{Path: "d", Mode: 0o040755})
			p.arm()
			r, err := s.Send(t.Context(), b)
			e := wantKind(t, err, rsync.KindProtocol)
			if !strings.Contains(e.Error(), c.text) {
				t.Errorf("error %v, want %q in it", e, c.text)
			}
			if r.Complete {
				t.Error("complete")
			}
			for i, res := range r.Results {
				if res.State == rsync.Acked {
					t.Errorf("%s is acked", b.Entries[i].Path)
				}
			}
			if c.say[3] == 7 && !bytes.HasSuffix(p.heard.Bytes(), []byte{4, 0, 0, 93, 12, 0, 0, 0}) {
				t.Error("the server was not told")
			}
		})
	}
	checkGoroutines(t)
}

// TestBadBatch has batches that cannot be sent, as a whole or in part.
func TestBadBatch(t *testing.T) {
	const setup = "@RSYNCD: 32.0 md5\n@RSYNCD: OK\n\x81\xfe\x06xxh128\x01\x00\x00\x00"
	end := data("\x00\x00\x00\x00\x00")
	send := func(b *rsync.Batch, o rsync.Options) (*rsync.Report, error) {
		p := newPlayer([]byte(setup+end), 32)
		d := &rsync.Dialer{Dest: rsync.Dest{Kind: rsync.Daemon, Host: "h", Module: "m"},
			Dial: func(context.Context) (io.ReadWriteCloser, error) { return p, nil }}
		s, err := d.Connect(t.Context(), o)
		must(t, err)
		p.arm()
		return s.Send(t.Context(), b)
	}
	b := fakeBatch(nil, "fine", "a/../b", "with\x00nul", "bad\x00dir/below", "fine/")
	b.Entries = append(b.Entries, flist.Entry{Path: "bad\x00dir", Mode: 0o040755}, flist.Entry{Path: "sym", Mode: 0o120777, Target: "x"})
	o := archive()
	o.Links = false
	r, err := send(b, o)
	must(t, err)
	for i, res := range r.Results {
		want := rsync.NotSent
		if b.Entries[i].Path == "fine" {
			want = rsync.Acked
		}
		if res.State != want || (res.Err == nil) != (want == rsync.Acked) {
			t.Errorf("%q is %v: %v, want %v", b.Entries[i].Path, res.State, res.Err, want)
		}
	}
	for _, rule := range []string{"", strings.Repeat("x", 5120)} {
		o := archive()
		o.Delete = true
		b := fakeBatch(nil, "fine")
		b.Filter = []string{"- x", rule}
		r, err := send(b, o)
		if err == nil || !strings.Contains(err.Error(), "filter rule of") || r.Results[0].State != rsync.Pending {
			t.Errorf("rule of %d bytes: %v", len(rule), err)
		}
	}
	r, err = send(&rsync.Batch{}, archive())
	if err != nil || !r.Complete || len(r.Results) != 0 {
		t.Errorf("empty batch: %+v, %v", r, err)
	}
	checkGoroutines(t)
}
