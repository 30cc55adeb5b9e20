package rsync_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/attr"
	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// withAttrs asks for what attrsBatch has.
func withAttrs(protocol int) rsync.Options {
	o := archive()
	o.Protocol, o.ACLs, o.Xattrs, o.HardLinks, o.Acks, o.Itemize = protocol, true, true, true, true, true
	if protocol < 31 {
		o.ModifyWindow = 0
	}
	return o
}

// attrsBatch is the batch of all of a directory with its attributes, and counts the values that are asked for.
func attrsBatch(t testing.TB, root string, asked *[]string) *rsync.Batch {
	t.Helper()
	b := treeBatch(t, root)
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(dir) })
	var r attr.Reader
	for i := range b.Entries {
		e := &b.Entries[i]
		e.Attrs, err = r.Read(dir, e.Path, e.Mode, attr.Which{Xattrs: true, ACLs: true})
		must(t, err)
	}
	b.Xattr = func(i int, name string) ([]byte, error) {
		*asked = append(*asked, b.Entries[i].Path+" "+name)
		return attr.Get(dir, b.Entries[i].Path, name)
	}
	return b
}

func acl(a attr.ACL) string { return string(a.Bytes()) }

// attrsTree has attributes of all kinds on entries of all kinds.
func attrsTree(t testing.TB, dir string) {
	const access, dflt = "system.posix_acl_access", "system.posix_acl_default"
	named := acl(attr.ACL{User: 6, Group: 4, Other: 4, Mask: 6, Names: []attr.ACE{{ID: 0, Perm: 7}, {ID: 70000, Perm: 2},
		{ID: 1, Group: true, Perm: 5}}})
	long := strings.Repeat("long", 1000)
	treetest.Write(t, dir,
		treetest.Dir("d", treetest.Xattr("user.d", "x"), treetest.Xattr(dflt, named), treetest.Xattr(access, named)),
		treetest.File("d/below", "", treetest.Xattr("user.long", long)),
		treetest.Dir("plain default", treetest.Xattr(dflt, acl(attr.ACL{User: 7, Mask: attr.NoMask}))),
		treetest.File("f", "content", treetest.Xattr("user.empty", ""), treetest.Xattr("user.\xff\n", "\x00\xff"),
			treetest.Xattr("user.32", long[:32]), treetest.Xattr("user.33", long[:33]),
			treetest.Xattr("user.64k", strings.Repeat("x", attr.MaxValue)),
			treetest.Xattr("trusted.t", long), treetest.Xattr("security.s", "s"), treetest.Xattr(access, named)),
		treetest.File("masked", "", treetest.Xattr(access, acl(attr.ACL{User: 6, Group: 6, Other: 0, Mask: 4}))),
		treetest.File("none", "content"),
		treetest.Link("other name", "f"),
		treetest.Symlink("link", "f", treetest.Xattr("trusted.l", long)),
		treetest.Fifo("fifo", treetest.Xattr("trusted.f", long), treetest.Xattr(access, named)),
	)
	for i := range 20 {
		treetest.Write(t, dir, treetest.File(fmt.Sprint("same/", i), "", treetest.Xattr("user.same", long)))
	}
}

func TestAttrs(t *testing.T) {
	need.Root(t)
	for protocol := 30; protocol <= 32; protocol++ {
		t.Run(fmt.Sprint(protocol), func(t *testing.T) {
			src := treetest.TempDir(t)
			attrsTree(t, src)
			s := rsynctest.Daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Path: treetest.TempDir(t)}}})
			d, dst := dialer(t, s, "m"), s.Dir("m")
			same := func() {
				t.Helper()
				o := treetest.Options{}
				if protocol < 31 {
					o.Ignore = treetest.Nanosecond
				}
				treetest.Equal(t, src, dst, o)
			}
			var asked []string
			again := func(want ...string) *recorder {
				t.Helper()
				asked = nil
				b := attrsBatch(t, src, &asked)
				rec := &recorder{entries: b.Entries}
				b.Events = rec
				if got := states(b, send(t, d, withAttrs(protocol), b)); got != "" {
					t.Errorf("not acknowledged:\n%s", got)
				}
				if slices.Sort(asked); want != nil && !slices.Equal(asked, want) {
					t.Errorf("asked for %q, want %q", asked, want)
				}
				return rec
			}
			again()
			same()
			if rec := again([]string{}...); len(asked) > 0 || len(rec.items) > 0 {
				t.Errorf("the second time the server wants %q and reports %q", asked, rec.items)
			}
			same()

			set := func(path, name, value string) {
				must(t, unix.Lsetxattr(filepath.Join(src, path), name, []byte(value), 0))
			}
			set("f", "user.33", strings.Repeat("y", 33))
			set("f", "user.32", strings.Repeat("y", 32))
			set("link", "trusted.l", strings.Repeat("y", 99))
			must(t, unix.Lremovexattr(filepath.Join(src, "same/3"), "user.same"))
			must(t, unix.Lremovexattr(filepath.Join(src, "d"), "system.posix_acl_default"))
			must(t, unix.Lremovexattr(filepath.Join(src, "fifo"), "system.posix_acl_access"))
			rec := again("f user.33", "link trusted.l")
			same()
			for _, item := range rec.items {
				if item[0] == '<' {
					t.Errorf("data was sent: %s", item)
				}
			}
		})
	}
}

// A value that is not what was listed any more leaves its entry unacknowledged, whatever else went well.
func TestValueThatChanged(t *testing.T) {
	s := rsynctest.Daemon(t, rsynctest.Config{})
	d, src := dialer(t, s, "m"), t.TempDir()
	for _, name := range []string{"other", "gone", "broken", "fine"} {
		write(t, filepath.Join(src, name), name)
	}
	b := treeBatch(t, src)
	listed := func(path string) []byte { return []byte(strings.Repeat(path, 100)) }
	for i := range b.Entries[1:] {
		e := &b.Entries[1+i]
		e.Attrs = &attr.Attrs{Set: attr.Set{attr.New("user.a", listed(e.Path))}}
	}
	failure := errors.New("input/output error")
	b.Xattr = func(i int, name string) ([]byte, error) {
		switch b.Entries[i].Path {
		case "other":
			return []byte("not that"), nil
		case "gone":
			return nil, fmt.Errorf("%s: %w", name, unix.ENODATA)
		case "broken":
			return nil, failure
		}
		return listed(b.Entries[i].Path), nil
	}
	for _, acks := range []bool{true, false} {
		o := archive()
		o.Xattrs, o.Acks, o.IgnoreTimes = true, acks, true
		r := send(t, d, o, b)
		for path, want := range map[string]rsync.State{
			"other": rsync.Changed, "gone": rsync.Changed, "broken": rsync.NotSent, "fine": rsync.Acked,
		} {
			res := result(t, b, r, path)
			if res.State != want || want == rsync.NotSent && !errors.Is(res.Err, failure) {
				t.Errorf("%s is %v: %v, want %v", path, res.State, res.Err, want)
			}
		}
		for _, path := range []string{"gone", "other", "broken"} { // or the next time nothing is asked for
			must(t, unix.Removexattr(filepath.Join(s.Dir("m"), path), "user.a"))
		}
	}
}

// A server asks one entry for a value that many were listed with. When that one has changed, the others must neither
// get what it has now nor an empty value unnoticed.
func TestValueThatOneOfManyLost(t *testing.T) {
	const value = "a value that is too long to be in the list of files"
	for _, kept := range []bool{true, false} {
		s := rsynctest.Daemon(t, rsynctest.Config{})
		d, src := dialer(t, s, "m"), t.TempDir()
		for i := range 5 {
			write(t, filepath.Join(src, fmt.Sprint(i)), "")
		}
		b := treeBatch(t, src)
		for i := range b.Entries[1:] {
			b.Entries[1+i].Attrs = &attr.Attrs{Set: attr.Set{attr.New("user.a", []byte(value))}}
		}
		b.Xattr = func(i int, name string) ([]byte, error) {
			if kept && b.Entries[i].Path != "0" {
				return []byte(value), nil
			}
			return []byte("another"), nil
		}
		o := archive()
		o.Xattrs, o.Acks = true, true
		r := send(t, d, o, b)
		for i := range 5 {
			path := fmt.Sprint(i)
			got, err := unix.Getxattr(filepath.Join(s.Dir("m"), path), "user.a", nil)
			must(t, err)
			state := result(t, b, r, path).State
			if acked := state == rsync.Acked; acked && got != len(value) || acked != (kept && i > 0) {
				t.Errorf("kept %v: %s is %v with a value of %d bytes", kept, path, state, got)
			}
		}
	}
}

// What the protocol agreed on cannot carry is refused before anything is sent.
func TestAttrsNeedProtocol30(t *testing.T) {
	s := rsynctest.Daemon(t, rsynctest.Config{})
	d := dialer(t, s, "m")
	for _, o := range []rsync.Options{{Protocol: 29, Perms: true, ACLs: true}, {Protocol: 27, Xattrs: true}} {
		_, err := d.Connect(t.Context(), o)
		want := "--acls"
		if o.Xattrs {
			want = "--xattrs"
		}
		if e := wantKind(t, err, rsync.KindRefused); e.Op != want || e.Hint == "" {
			t.Errorf("%+v: %v, hint %q", o, e, e.Hint)
		}
	}
}

// A server that asks for values that are not there breaks the protocol.
func TestXattrViolations(t *testing.T) {
	const setup = "@RSYNCD: 32.0 md5\n@RSYNCD: OK\n\x81\xfe\x06xxh128\x01\x00\x00\x00"
	for _, say := range []string{
		"\x01\x00\x01\x02\x00",                 // the second of one
		"\x01\x00\x01\x01\x01\x00",             // the same, by steps
		"\x01\x00\x01\xf0\xff\xff\xff\xff\x00", // before the first
		"\x01\x00\x01\xf0\xff\xff\xff\x7f\x00", // beyond what can be counted
	} {
		p := newPlayer([]byte(setup+data(say)), 32)
		p.farewell = true
		d := &rsync.Dialer{Dest: rsync.Dest{Kind: rsync.Daemon, Host: "h", Module: "m"},
			Dial: func(context.Context) (io.ReadWriteCloser, error) { return p, nil }}
		o := archive()
		o.Xattrs = true
		s, err := d.Connect(t.Context(), o)
		must(t, err)
		b := fakeBatch(func(string) (rsync.File, error) { return fake(""), nil }, "f")
		b.Entries = []flist.Entry{b.Entries[0]}
		b.Entries[0].Attrs = &attr.Attrs{Set: attr.Set{attr.New("user.a", make([]byte, 99))}}
		b.Xattr = func(int, string) ([]byte, error) { return make([]byte, 99), nil }
		p.arm()
		_, err = s.Send(t.Context(), b)
		if e := wantKind(t, err, rsync.KindProtocol); !strings.Contains(e.Error(), "extended attribute") {
			t.Errorf("%q: %v", say, e)
		}
	}
	checkGoroutines(t)
}

// A server that dies after it has acknowledged an entry that needs no data may not have set its attributes.
func TestAcknowledgedWithoutAttributes(t *testing.T) {
	const setup = "@RSYNCD: 32.0 md5\n@RSYNCD: OK\n\x81\xfe\x06xxh128\x01\x00\x00\x00"
	for xattrs, want := range map[bool]rsync.State{false: rsync.Acked, true: rsync.Pending} {
		p := newPlayer([]byte(setup+message(100, "\x00\x00\x00\x00")), 32)
		p.over = true // after that
		d := &rsync.Dialer{Dest: rsync.Dest{Kind: rsync.Daemon, Host: "h", Module: "m"},
			Dial: func(context.Context) (io.ReadWriteCloser, error) { return p, nil }}
		o := archive()
		o.Xattrs, o.Acks = xattrs, true
		s, err := d.Connect(t.Context(), o)
		must(t, err)
		b := fakeBatch(func(string) (rsync.File, error) { return fake(""), nil }, "f")
		p.arm()
		r, err := s.Send(t.Context(), b)
		if err == nil || r.Results[0].State != want {
			t.Errorf("with attributes %v: %v, %v, want %v", xattrs, r.Results[0].State, err, want)
		}
	}
}
