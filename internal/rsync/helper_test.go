package rsync_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsync/wire"
	"github.com/syncd/syncd/internal/rsynctest"
)

// list returns the entries of a tree, "." included, directories of the given kind.
func list(t testing.TB, root string, kind flist.DirKind) []flist.Entry {
	t.Helper()
	var entries []flist.Entry
	links := make(map[uint64]int32)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		fi, err := os.Lstat(name)
		if err != nil {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		e := flist.Entry{Path: rel, Mode: st.Mode, Size: st.Size, Mtime: st.Mtim.Sec, Nsec: int32(st.Mtim.Nsec),
			UID: st.Uid, GID: st.Gid}
		if fi.IsDir() {
			e.Dir = kind
		} else if st.Nlink > 1 {
			if links[st.Ino] == 0 {
				links[st.Ino] = int32(len(links) + 1)
			}
			e.Link = links[st.Ino]
		}
		if fi.Mode()&fs.ModeSymlink != 0 {
			if e.Target, err = os.Readlink(name); err != nil {
				return err
			}
		}
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// diskFile is a file as it is on the disk.
type diskFile struct{ *os.File }

func (f diskFile) Size() int64 {
	fi, err := f.Stat()
	if err != nil {
		return 0
	}
	return fi.Size()
}

// treeBatch is the batch of all of a directory.
func treeBatch(t testing.TB, root string) *rsync.Batch {
	t.Helper()
	entries := list(t, root, flist.NoContent)
	return &rsync.Batch{Entries: entries, Names: flist.SystemNames(), Open: opener(root, entries)}
}

func opener(root string, entries []flist.Entry) func(i int) (rsync.File, error) {
	return func(i int) (rsync.File, error) {
		f, err := os.Open(filepath.Join(root, entries[i].Path))
		if err != nil {
			return nil, err
		}
		return diskFile{f}, nil
	}
}

// archive is -a.
func archive() rsync.Options {
	return rsync.Options{Links: true, Perms: true, Times: true, Owner: true, Group: true, Devices: true, Specials: true,
		ModifyWindow: -1, MaxDelete: -1}
}

func dialer(t testing.TB, s *rsynctest.Server, path string) *rsync.Dialer {
	t.Helper()
	dest, err := rsync.ParseDest(s.URL(path))
	if err != nil {
		t.Fatal(err)
	}
	return &rsync.Dialer{Dest: dest, Timeout: time.Minute}
}

// send connects and sends, and wants the session to end well.
func send(t testing.TB, d *rsync.Dialer, o rsync.Options, b *rsync.Batch) *rsync.Report {
	t.Helper()
	r, err := trySend(t, d, o, b)
	if err != nil {
		t.Fatalf("send: %v", err)
	}
	if !r.Complete {
		t.Fatal("the session ended well and is not complete")
	}
	return r
}

func trySend(t testing.TB, d *rsync.Dialer, o rsync.Options, b *rsync.Batch) (*rsync.Report, error) {
	t.Helper()
	s, err := d.Connect(t.Context(), o)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	return s.Send(t.Context(), b)
}

// states returns a line for each entry that is not Acked.
func states(b *rsync.Batch, r *rsync.Report) string {
	var lines []string
	for i, res := range r.Results {
		if res.State != rsync.Acked {
			lines = append(lines, fmt.Sprintf("%s: %v: %v", b.Entries[i].Path, res.State, res.Err))
		}
	}
	for _, l := range r.Loose {
		lines = append(lines, "loose: "+l)
	}
	return strings.Join(lines, "\n")
}

// result returns what is known of a path.
func result(t testing.TB, b *rsync.Batch, r *rsync.Report, path string) rsync.Result {
	t.Helper()
	for i := range b.Entries {
		if b.Entries[i].Path == path {
			return r.Results[i]
		}
	}
	t.Fatalf("no entry %q", path)
	return rsync.Result{}
}

// recorder remembers all events.
type recorder struct {
	mu       sync.Mutex
	entries  []flist.Entry
	items    []string
	deleted  []string
	messages []string
	sent     int64
	hook     func(event string)
}

func (r *recorder) add(to *[]string, line string) {
	r.mu.Lock()
	*to = append(*to, line)
	hook := r.hook
	r.mu.Unlock()
	if hook != nil {
		hook(line)
	}
}

func (r *recorder) Item(i int, f rsync.ItemFlags) {
	r.add(&r.items, f.Format(r.entries[i].Mode)+" "+r.entries[i].Path)
}
func (r *recorder) Sending(i int) {}
func (r *recorder) Sent(n int64) {
	r.mu.Lock()
	r.sent += n
	r.mu.Unlock()
}
func (r *recorder) Deleted(path string, dir bool) {
	if dir {
		path += "/"
	}
	r.add(&r.deleted, path)
}
func (r *recorder) Message(tag wire.Tag, text string) { r.add(&r.messages, text) }

// wantKind checks the type of an error.
func wantKind(t testing.TB, err error, kind rsync.Kind) *rsync.Error {
	t.Helper()
	e, ok := errors.AsType[*rsync.Error](err)
	if !ok {
		t.Fatalf("error %v (%T), want a *rsync.Error of kind %v", err, err, kind)
	}
	if e.Kind != kind {
		t.Fatalf("error of kind %v: %v; want kind %v", e.Kind, e, kind)
	}
	if strings.ContainsAny(e.Error(), "\n\r\x00") {
		t.Errorf("error of more than one line: %q", e.Error())
	}
	return e
}

// checkGoroutines waits until no goroutine of this package's code is left.
func checkGoroutines(t testing.TB) {
	t.Helper()
	var last string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		buf := make([]byte, 1<<20)
		last = ""
		for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "/internal/rsync.") && !strings.Contains(g, "_test.checkGoroutines") {
				last = g
			}
		}
		if last == "" {
			return
		}
	}
	t.Errorf("a goroutine is left:\n%s", last)
}

func write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
