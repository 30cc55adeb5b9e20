package rsync_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
)

// A recording is a session of the protocol document: what was said to the server, and what it said.
type recording struct{ c2s, s2c []byte }

func loadRecording(t testing.TB, name string) recording {
	t.Helper()
	var r recording
	for to, suffix := range map[*[]byte]string{&r.c2s: ".c2s.bin", &r.s2c: ".s2c.bin"} {
		b, err := os.ReadFile(filepath.Join("testdata", "sessions", name+suffix))
		if err != nil {
			t.Fatal(err)
		}
		*to = b
	}
	return r
}

// stream is what a client sent after the setup: the data without frames, and its messages.
type stream struct {
	hello    string // what came before the arguments
	data     []byte
	messages []string
}

// parseStream takes a client's side of a session apart.
func parseStream(t testing.TB, b []byte, protocol int, secluded bool) stream {
	t.Helper()
	var s stream
	args := bytes.Index(b, []byte("--server"))
	if args < 0 {
		t.Fatal("no arguments")
	}
	s.hello = string(b[:args])
	b = b[args:]
	end := []byte{0, 0}
	if protocol < 30 {
		end = []byte("\n\n")
	}
	lists := 1
	if secluded {
		lists = 2
	}
	for range lists {
		i := bytes.Index(b, end)
		if i < 0 {
			t.Fatal("arguments have no end")
		}
		b = b[i+2:]
	}
	if protocol < 30 {
		s.data = b
		return s
	}
	b = b[1+b[0]:] // checksum names
	for len(b) > 0 {
		h := binary.LittleEndian.Uint32(b)
		p := b[4 : 4+h&0xffffff]
		b = b[4+h&0xffffff:]
		if h>>24 == 7 {
			s.data = append(s.data, p...)
		} else {
			s.messages = append(s.messages, string(append([]byte{byte(h>>24 - 7)}, p...)))
		}
	}
	return s
}

// recordings are the sessions that we can repeat. Not among them: incremental recursion, compression, times of
// last access.
var recordings = []struct {
	name    string
	options func(o *rsync.Options)
	entries func() ([]flist.Entry, map[string]string)
	filter  []string
	hello   string // what must be said before the arguments
	answers int    // where the data after the list begins, if the list holds the inode numbers of a lost machine
	fails   rsync.Kind
}{
	{name: "02-p32-aH-noinc", options: func(o *rsync.Options) { o.HardLinks = true }},
	{name: "03-p32-aHc", options: func(o *rsync.Options) { o.HardLinks, o.Checksum = true, true }, entries: noBig},
	{name: "08-p32-aHAX", options: func(o *rsync.Options) { o.HardLinks, o.ACLs, o.Xattrs = true, true, true },
		entries: recordedAttrs},
	{name: "09-p32-delete-missing", options: func(o *rsync.Options) { o.DeleteMissing = true },
		entries: func() ([]flist.Entry, map[string]string) {
			e, c := recordedTree()
			return pick(e, "small", "extra", "olddir", "nope", "d", "d/gone"), c
		}},
	{name: "10-p32-remove-source", options: func(o *rsync.Options) { o.Acks = true }},
	{name: "11-p32-batch-R", options: func(o *rsync.Options) {
		*o = rsync.Options{Links: true, Times: true, Perms: true, MaxDelete: -1}
	}, entries: func() ([]flist.Entry, map[string]string) {
		e, c := recordedTree()
		return pick(e, "small", "d", "d/inner"), c
	}},
	{name: "12-p32-dry-c-delete", options: func(o *rsync.Options) { o.DryRun, o.Checksum, o.Delete, o.Itemize = true, true, true, true },
		entries: noBig, filter: []string{"- big"}},
	{name: "13-p32-delete-filter", options: func(o *rsync.Options) { o.Delete = true }, filter: []string{"-r extra", "- *.o"}},
	{name: "14-p32-secluded", options: func(o *rsync.Options) { o.PartialDir = "needs seclusion" }},
	{name: "15-p32-auth", hello: "@RSYNCD: 32.0 sha512\nauth\njoe DIGEST\n"},
	{name: "16-p32-readonly", fails: rsync.KindReadOnly},
	{name: "22-p30-aH-noinc-c", options: func(o *rsync.Options) { o.HardLinks, o.Checksum = true, true }, entries: noBig},
	{name: "23-p29-aH", options: func(o *rsync.Options) { o.HardLinks = true }, answers: 319},
	{name: "25-p28-aH", options: func(o *rsync.Options) { o.HardLinks = true }, answers: 319},
	{name: "26-p27-aH", options: func(o *rsync.Options) { o.HardLinks = true }, answers: 377},
	{name: "28-p29-a-devices", entries: recordedDevices},
	{name: "29-p27-a-devices", entries: recordedDevices},
}

func noBig() ([]flist.Entry, map[string]string) {
	e, c := recordedTree()
	return without(e, "big"), c
}

// flat leaves only the root with content: that is how the flags of a recursive session look before protocol 30.
func flat(tree func() ([]flist.Entry, map[string]string)) func() ([]flist.Entry, map[string]string) {
	return func() ([]flist.Entry, map[string]string) {
		e, c := tree()
		for i := range e {
			if e[i].Path != "." {
				e[i].Dir = flist.NoContent
			}
		}
		return e, c
	}
}

// TestReplay repeats recorded sessions: with the server's side as it was, what we send must be what stock rsync sent.
func TestReplay(t *testing.T) {
	for _, rec := range recordings {
		t.Run(rec.name, func(t *testing.T) {
			recorded := loadRecording(t, rec.name)
			protocol := int(rec.name[4]-'0')*10 + int(rec.name[5]-'0')
			o := archive()
			o.Protocol, o.ModifyWindow, o.ChecksumSeed = protocol, 0, 1
			if rec.options != nil {
				rec.options(&o)
			}
			if rec.entries == nil {
				rec.entries = recordedTree
			}
			if protocol < 30 {
				rec.entries = flat(rec.entries)
			}
			p := newPlayer(recorded.s2c, protocol)
			d := &rsync.Dialer{
				Dest:     rsync.Dest{Kind: rsync.Daemon, User: "joe", Host: "h", Module: "m", Path: "t"},
				Dial:     func(context.Context) (io.ReadWriteCloser, error) { return p, nil },
				Password: func() (string, error) { return "pass word", nil },
			}
			if rec.name[3:] == "p32-auth" {
				d.Dest.Module = "auth"
			}
			s, err := d.Connect(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			entries, content := rec.entries()
			b := recordedBatch(t, s, o, entries, content)
			b.Filter = rec.filter
			p.arm()
			r, err := s.Send(t.Context(), b)
			if rec.fails != 0 {
				wantKind(t, err, rec.fails)
			} else if err != nil {
				t.Fatal(err)
			} else if got := states(b, r); got != "" {
				t.Errorf("not acknowledged:\n%s", got)
			}
			secluded := rec.name[3:] == "p32-secluded"
			want := parseStream(t, recorded.c2s, protocol, secluded)
			got := parseStream(t, p.heard.Bytes(), protocol, secluded)
			wantData, gotData := want.data, got.data
			if rec.answers > 0 {
				wantData = recorded.c2s[rec.answers:]
				gotData = gotData[max(0, len(gotData)-len(wantData)):]
			}
			if !bytes.Equal(gotData, wantData) {
				t.Errorf("data differs:\ngot  %x\nwant %x", gotData, wantData)
			}
			if diff := cmp.Diff(want.messages, got.messages); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
			checkHello(t, rec.hello, recorded, got.hello)
		})
	}
}

// checkHello compares what was said before the arguments; DIGEST stands for the recorded answer to the challenge.
func checkHello(t *testing.T, want string, recorded recording, got string) {
	t.Helper()
	if want == "" {
		return
	}
	_, answer, ok := strings.Cut(string(recorded.c2s), "\njoe ")
	if !ok {
		t.Fatal("no answer in the recording")
	}
	answer, _, _ = strings.Cut(answer, "\n")
	if want = strings.ReplaceAll(want, "DIGEST", answer); got != want {
		t.Errorf("said %q, want %q", got, want)
	}
}

// TestReplayCut ends the recorded server at every byte: that is an error each time, never a hang, and what is
// acknowledged by then was acknowledged by the server.
func TestReplayCut(t *testing.T) {
	recorded := loadRecording(t, "10-p32-remove-source")
	for n := range recorded.s2c {
		p := newPlayer(recorded.s2c, 32)
		p.over = true // the end of the recording is the end of the connection
		if n < len(p.say) {
			p.say, p.rest = recorded.s2c[:n], nil
		} else {
			p.rest = recorded.s2c[len(p.say):n]
		}
		d := &rsync.Dialer{
			Dest: rsync.Dest{Kind: rsync.Daemon, Host: "h", Module: "m", Path: "t"},
			Dial: func(context.Context) (io.ReadWriteCloser, error) { return p, nil },
		}
		o := archive()
		o.Acks = true
		s, err := d.Connect(t.Context(), o)
		if err != nil {
			if _, ok := errors.AsType[*rsync.Error](err); !ok {
				t.Fatalf("cut at %d: error %v (%T)", n, err, err)
			}
			continue
		}
		entries, content := recordedTree()
		b := recordedBatch(t, s, o, entries, content)
		p.arm()
		r, err := s.Send(t.Context(), b)
		if err == nil {
			t.Fatalf("cut at %d of %d: no error", n, len(recorded.s2c))
		}
		wantKind(t, err, rsync.KindLost)
		acked := 0
		for _, res := range r.Results {
			if res.State == rsync.Acked {
				acked++
			}
		}
		if whole := bytes.Count(recorded.s2c[:n], []byte{4, 0, 0, 0x6b}); r.Complete || acked > whole {
			t.Fatalf("cut at %d: complete %v, %d entries acked after %d messages", n, r.Complete, acked, whole)
		}
	}
	checkGoroutines(t)
}
