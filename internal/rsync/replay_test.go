package rsync_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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

// A player is the transport of a server that says what was recorded, and then waits for the client to end.
type player struct {
	mu     sync.Mutex
	more   sync.Cond
	say    []byte // what it may say now
	rest   []byte // what follows when it has got the list
	armed  bool   // the list is next
	heard  bytes.Buffer
	over   bool // nothing more will come
	closed bool

	farewell bool // over when the client has sent MSG_ERROR_EXIT with a code
}

// newPlayer says only the setup at first.
func newPlayer(say []byte, protocol int) *player {
	p := &player{}
	setup := bytes.Index(say, []byte("@RSYNCD: OK\n")) + len("@RSYNCD: OK\n")
	if protocol >= 30 {
		setup += 2                   // compat flags
		setup += 1 + int(say[setup]) // checksum names
	}
	setup += 4 // seed
	p.say, p.rest = say[:setup], say[setup:]
	p.more.L = &p.mu
	return p
}

func (p *player) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.say) == 0 && (!p.over || len(p.rest) > 0) && !p.closed {
		p.more.Wait()
	}
	if len(p.say) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.say)
	p.say = p.say[n:]
	return n, nil
}

func (p *player) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard.Write(b)
	if p.armed {
		p.say, p.rest, p.armed = append(p.say, p.rest...), nil, false
		p.more.Broadcast()
	}
	if bytes.HasSuffix(b, []byte{0, 0, 0, 93}) || p.farewell && len(b) >= 8 && b[len(b)-5] == 93 { // the empty MSG_ERROR_EXIT ends a server that waits for it
		p.over = true
		p.more.Broadcast()
	}
	return len(b), nil
}

// arm says that what the client writes next is the list.
func (p *player) arm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = true
}

func (p *player) CloseWrite() error { return p.Close() }

func (p *player) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.more.Broadcast()
	return nil
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

// memFile is a file in memory.
type memFile struct {
	*bytes.Reader
	closed error
}

func (f memFile) Close() error { return f.closed }

// deltaContent is the file "delta" of the recordings.
func deltaContent() string {
	b := make([]byte, 3000)
	for i := range b {
		b[i] = byte(i*i*7 + i*3 + (i>>5)*11)
	}
	return string(b)
}

// recordedTree is source tree 1 of the recordings, in the order in which it was sent.
func recordedTree() ([]flist.Entry, map[string]string) {
	content := map[string]string{"edge1": "e1", "edge2": "e2", "naïve.txt": "non-ascii name\n", "delta": deltaContent(),
		"hard": "hello world\n", "small": "hello world\n", "empty": "", "d/inner": "inner\n"}
	const file, dir = 0o100644, 0o040755
	entries := []flist.Entry{
		{Path: ".", Mode: dir, Size: 240, Mtime: 1700000001, Dir: flist.Content},
		{Path: "big", Mode: file, Size: 4294967297, Mtime: 1700000000},
		{Path: "edge2", Mode: file, Mtime: 16777216},
		{Path: "edge1", Mode: file, Mtime: 16777215},
		{Path: "naïve.txt", Mode: file, Mtime: 1700000000},
		{Path: "sym", Mode: 0o120777, Size: 5, Mtime: 1700000000, Nsec: 500000000, Target: "small"},
		{Path: "delta", Mode: file, Mtime: 1700000000},
		{Path: "hard", Mode: file, Mtime: 1700000000, Link: 1},
		{Path: "small", Mode: file, Mtime: 1700000000, Link: 1},
		{Path: "empty", Mode: file, Mtime: 5},
		{Path: "d", Mode: dir, Size: 60, Mtime: 1700000001, Dir: flist.Content},
		{Path: "d/inner", Mode: file, Mtime: 2147483648, Nsec: 123456789},
	}
	for i := range entries {
		if c, ok := content[entries[i].Path]; ok {
			entries[i].Size = int64(len(c))
		}
	}
	return entries, content
}

func without(entries []flist.Entry, path string) []flist.Entry {
	return slices.DeleteFunc(entries, func(e flist.Entry) bool { return e.Path == path })
}

func pick(entries []flist.Entry, paths ...string) []flist.Entry {
	var out []flist.Entry
	for _, p := range paths {
		i := slices.IndexFunc(entries, func(e flist.Entry) bool { return e.Path == p })
		e := entries[max(i, 0)]
		if i < 0 {
			e = flist.Entry{Path: p}
		}
		if e.Path == "d" {
			e.Dir = flist.Implied
		}
		out = append(out, e)
	}
	return out
}

// recordedDevices is source tree 3.
func recordedDevices() ([]flist.Entry, map[string]string) {
	const m = 1700000000
	return []flist.Entry{
		{Path: ".", Mode: 0o040755, Size: 140, Mtime: m + 1, Dir: flist.Content},
		{Path: "reg", Mode: 0o100644, Size: 3, Mtime: m},
		{Path: "blk", Mode: 0o060644, Mtime: m, Major: 8, Minor: 300},
		{Path: "zero", Mode: 0o020644, Mtime: m, Major: 1, Minor: 5},
		{Path: "null", Mode: 0o020644, Mtime: m, Major: 1, Minor: 3},
		{Path: "fifo", Mode: 0o010644, Mtime: m},
	}, map[string]string{"reg": "reg"}
}

type rootNames struct{}

func (rootNames) User(id uint32) string {
	if id == 0 {
		return "root"
	}
	return ""
}
func (n rootNames) Group(id uint32) string { return n.User(id) }

// recordedBatch is a batch whose files are in memory. With -c it needs the session for the sums.
func recordedBatch(t testing.TB, s *rsync.Session, o rsync.Options, entries []flist.Entry, content map[string]string) *rsync.Batch {
	t.Helper()
	if o.Checksum {
		for i := range entries {
			e := &entries[i]
			if c, ok := content[e.Path]; ok {
				sum, err := s.Checksum().List(strings.NewReader(c), nil)
				if err != nil {
					t.Fatal(err)
				}
				e.Sum = sum
			}
		}
	}
	return &rsync.Batch{Entries: entries, Names: rootNames{}, Open: func(i int) (rsync.File, error) {
		c, ok := content[entries[i].Path]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return memFile{Reader: bytes.NewReader([]byte(c))}, nil
	}}
}

// recordings are the sessions that we can repeat. Not among them: incremental recursion, compression, ACLs and xattrs,
// times of last access.
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
