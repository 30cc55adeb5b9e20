package rsync_test

import (
	"bytes"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/syncd/syncd/internal/attr"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
)

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
	return map[uint32]string{0: "root", 65534: "nobody"}[id]
}

func (rootNames) Group(id uint32) string {
	return map[uint32]string{0: "root", 65534: "nogroup"}[id]
}

// longValue is the one value of the recordings that is not in the list.
var longValue = strings.Repeat("v", 40)

// recordedAttrs is recordedTree with what session 08 has beyond it.
func recordedAttrs() ([]flist.Entry, map[string]string) {
	entries, content := recordedTree()
	const nobody = 65534
	at := map[string]*attr.Attrs{
		"edge1": {Access: &attr.ACL{User: 6, Group: 4, Other: 4, Mask: 6,
			Names: []attr.ACE{{ID: nobody, Perm: 6}, {ID: nobody, Group: true, Perm: 4}}}},
		"delta": {Set: attr.Set{attr.New("user.long", []byte(longValue))}},
		"small": {Set: attr.Set{attr.New("user.short", []byte("abc"))}},
		"hard":  {Set: attr.Set{attr.New("user.short", []byte("abc"))}},
		"d": {Default: &attr.ACL{User: 7, Group: 5, Other: 5, Mask: 7,
			Names: []attr.ACE{{ID: nobody, Perm: 7}}}},
	}
	for i := range entries {
		e := &entries[i]
		if e.Attrs = at[e.Path]; e.Attrs != nil && e.Attrs.Access != nil {
			e.Mode = 0o100664 // its group bits are the mask
		}
	}
	return entries, content
}

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
	value := func(int, string) ([]byte, error) { return []byte(longValue), nil }
	return &rsync.Batch{Entries: entries, Names: rootNames{}, Xattr: value, Open: func(i int) (rsync.File, error) {
		c, ok := content[entries[i].Path]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return memFile{Reader: bytes.NewReader([]byte(c))}, nil
	}}
}
