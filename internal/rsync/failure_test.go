package rsync_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsynctest"
)

// listen serves every connection with f and returns a dialer to it.
func listen(t testing.TB, f func(net.Conn)) *rsync.Dialer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return &rsync.Dialer{Dest: rsync.Dest{Kind: rsync.Daemon, Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Module: "m"}}
}

// untilClosed reads what the client says until it goes away.
func untilClosed(c net.Conn) { io.Copy(io.Discard, c) }

// TestNoServer has what answers in place of a daemon, or does not.
func TestNoServer(t *testing.T) {
	says := func(s string) func(net.Conn) {
		return func(c net.Conn) {
			io.WriteString(c, s)
			untilClosed(c)
		}
	}
	for _, c := range []struct {
		name   string
		server func(net.Conn)
		kind   rsync.Kind
		text   string
	}{
		{"ssh", says("SSH-2.0-OpenSSH_9.9\r\n"), rsync.KindNotRsync, "SSH-2.0"},
		{"binary", says("\x00\x01\x02\xff\n"), rsync.KindNotRsync, `\x00`},
		{"endless line", says(strings.Repeat("x", 1<<20)), rsync.KindNotRsync, "endless"},
		{"no version", says("@RSYNCD: x.0\n"), rsync.KindNotRsync, "version"},
		{"too old", says("@RSYNCD: 26\n"), rsync.KindProtocol, "protocol 26"},
		{"refused at once", says("@ERROR: go away\n"), rsync.KindModule, "go away"},
		{"closed", func(net.Conn) {}, rsync.KindLost, "without a word"},
		{"silent", untilClosed, rsync.KindTimeout, "in time"},
		{"silent after the greeting", says("@RSYNCD: 32.0 md5\n"), rsync.KindTimeout, "in time"},
		{"endless message of the day", says("@RSYNCD: 32.0 md5\n" + strings.Repeat("Welcome!\n", 200_000)), rsync.KindNotRsync, "no end"},
		{"silent setup", says("@RSYNCD: 32.0 md5\n@RSYNCD: OK\n"), rsync.KindTimeout, "in time"},
		{"incremental recursion", says("@RSYNCD: 32.0 md5\n@RSYNCD: OK\n\x81\xff\x06xxh128\x01\x00\x00\x00"), rsync.KindProtocol, "recursion"},
		{"no common checksum", says("@RSYNCD: 32.0 md5\n@RSYNCD: OK\n\x81\xfe\x04crc7\x01\x00\x00\x00"), rsync.KindProtocol, "crc7"},
		{"endless checksums", says("@RSYNCD: 32.0 md5\n@RSYNCD: OK\n\x81\xfe\xff\xff" + strings.Repeat("x", 40000)), rsync.KindProtocol, "protocol error"},
		{"closed in setup", func(c net.Conn) {
			io.WriteString(c, "@RSYNCD: 32.0 md5\n@RSYNCD: OK\n\x81")
		}, rsync.KindLost, "closed the connection"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := listen(t, c.server)
			d.ConnectTimeout = time.Minute
			if c.kind == rsync.KindTimeout {
				d.ConnectTimeout = 50 * time.Millisecond
			}
			_, err := d.Connect(t.Context(), archive())
			e := wantKind(t, err, c.kind)
			if !strings.Contains(e.Error(), c.text) {
				t.Errorf("error %q, want %q in it", e, c.text)
			}
			checkGoroutines(t)
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	for _, dest := range []rsync.Dest{
		{Kind: rsync.Daemon, Host: "127.0.0.1", Port: port, Module: "m"},
		{Kind: rsync.Daemon, Host: "no-such-host.invalid", Module: "m"},
	} {
		_, err := (&rsync.Dialer{Dest: dest, ConnectTimeout: 5 * time.Second}).Connect(t.Context(), archive())
		if e := wantKind(t, err, rsync.KindDial); e.Hint == "" {
			t.Errorf("no hint in %v", e)
		}
	}
}

// TestDaemonRefuses has what a real daemon says no to before the session.
func TestDaemonRefuses(t *testing.T) {
	users := map[string]string{"joe": "secret"}
	s := rsynctest.Daemon(t, rsynctest.Config{Global: map[string]string{"motd file": motd(t)}, Modules: []rsynctest.Module{
		{Name: "m"},
		{Name: "denied", Options: map[string]string{"hosts deny": "*"}},
		{Name: "auth", Users: users},
		{Name: "busy", Options: map[string]string{"max connections": "1"}},
		{Name: "lost", Path: "/no/such/directory"},
	}})
	password := func(p string) func() (string, error) { return func() (string, error) { return p, nil } }
	for _, c := range []struct {
		path, user string
		password   func() (string, error)
		kind       rsync.Kind
	}{
		{path: "unknown", kind: rsync.KindModule},
		{path: "denied", kind: rsync.KindModule},
		{path: "lost/x", kind: rsync.KindModule},
		{path: "auth", user: "joe", kind: rsync.KindAuth},
		{path: "auth", user: "joe", password: password("wrong"), kind: rsync.KindAuth},
		{path: "auth", user: "jim", password: password("secret"), kind: rsync.KindAuth},
		{path: "auth", password: password("secret"), kind: rsync.KindAuth},
		{path: "auth", user: "joe", password: func() (string, error) { return "", os.ErrPermission }, kind: rsync.KindAuth},
	} {
		d := dialer(t, s, c.path)
		d.Dest.User, d.Password = c.user, c.password
		_, err := d.Connect(t.Context(), archive())
		if e := wantKind(t, err, c.kind); e.Hint == "" {
			t.Errorf("%s: no hint in %v", c.path, e)
		}
	}

	var lines []string
	d := dialer(t, s, "auth/x")
	d.Dest.User, d.Password = "joe", password("secret")
	d.MOTD = func(line string) { lines = append(lines, line) }
	first, err := d.Connect(t.Context(), archive())
	must(t, err)
	must(t, first.Close())
	if got := strings.Join(lines, "|"); !strings.HasPrefix(got, "Welcome|to the\ttest") {
		t.Errorf("message of the day %q", got)
	}

	d = dialer(t, s, "busy")
	first, err = d.Connect(t.Context(), archive())
	must(t, err)
	_, err = d.Connect(t.Context(), archive())
	wantKind(t, err, rsync.KindBusy)
	must(t, first.Close())

	modules, err := d.Modules(t.Context())
	must(t, err)
	if fmt.Sprint(modules) != "[{m } {auth } {busy } {lost }]" && fmt.Sprint(modules) != "[{m } {denied } {auth } {busy } {lost }]" {
		t.Errorf("modules %q", modules)
	}
	checkGoroutines(t)
}

func motd(t *testing.T) string {
	name := filepath.Join(t.TempDir(), "motd")
	write(t, name, "Welcome\nto the\ttest\n")
	return name
}

// TestServerEnds has what a real daemon ends a session for, in every protocol.
func TestServerEnds(t *testing.T) {
	modules := []rsynctest.Module{
		{Name: "ro", Options: map[string]string{"read only": "yes"}},
		{Name: "refuse", Options: map[string]string{"refuse options": "delete checksum"}},
		{Name: "m"},
	}
	if os.Geteuid() == 0 {
		modules = append(modules, rsynctest.Module{Name: "tiny", Path: tmpfs(t, 64<<10)})
	}
	s := rsynctest.Daemon(t, rsynctest.Config{Modules: modules})
	for _, c := range []struct {
		path    string
		options func(*rsync.Options)
		kind    rsync.Kind
		code    int
		text    string
	}{
		{"ro", nil, rsync.KindReadOnly, 1, "read only"},
		{"refuse", func(o *rsync.Options) { o.Delete = true }, rsync.KindRefused, 4, "--delete"},
		{"refuse", func(o *rsync.Options) { o.Checksum = true }, rsync.KindRefused, 4, "checksum"},
		{"m/no/such", nil, rsync.KindServer, 11, "No such file"},
		{"tiny", nil, rsync.KindDiskFull, 11, "No space left"},
	} {
		group(t, protocols, func(t *testing.T, protocol int) {
			t.Run(fmt.Sprintf("%s/%s/%d", strings.ReplaceAll(c.path, "/", "-"), c.kind, protocol), func(t *testing.T) {
				t.Parallel()
				if c.path == "tiny" {
					need.Root(t)
				}
				o := archive()
				o.Protocol, o.ModifyWindow, o.Acks = protocol, 0, c.kind == rsync.KindDiskFull
				if c.options != nil {
					c.options(&o)
				}
				d := dialer(t, s, c.path)
				sess, err := d.Connect(t.Context(), o)
				must(t, err)
				b := fakeBatch(func(path string) (rsync.File, error) {
					if path == "a" {
						return fake("small"), nil
					}
					return fake(noise(1, 1<<20)), nil
				}, "a", "big")
				if o.Checksum {
					for i := range b.Entries {
						b.Entries[i].Sum = make([]byte, sess.Checksum().Hash.Size())
					}
				}
				r, err := sess.Send(t.Context(), b)
				e := wantKind(t, err, c.kind)
				if e.Code != c.code || !strings.Contains(e.Error(), c.text) || e.Hint == "" {
					t.Errorf("code %d, hint %q, error %v; want code %d and %q", e.Code, e.Hint, e, c.code, c.text)
				}
				if r.Complete || r.ExitCode != c.code {
					t.Errorf("complete %v, exit code %d", r.Complete, r.ExitCode)
				}
				if got := result(t, b, r, "big").State; got == rsync.Acked {
					t.Errorf("big is %v", got)
				}
				if c.kind == rsync.KindDiskFull {
					if got := result(t, b, r, "big"); got.State != rsync.Failed || !strings.Contains(got.Err.Error(), "No space") {
						t.Errorf("big is %v: %v", got.State, got.Err)
					}
				}
			})
		})
	}
	checkGoroutines(t)
}

// tmpfs mounts a file system of a few bytes.
func tmpfs(t testing.TB, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		need.Lacking(t, "mount a tmpfs: ", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// TestEntriesFail has entries that the server cannot or will not take, beside others that it takes.
func TestEntriesFail(t *testing.T) {
	need.Root(t) // a daemon of another user
	s := rsynctest.Daemon(t, rsynctest.Config{Modules: []rsynctest.Module{
		{Name: "m", Options: map[string]string{"uid": "nobody", "gid": "nogroup", "exclude": "refused*"}}}})
	group(t, protocols, func(t *testing.T, protocol int) {
		for _, acks := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/%v", protocol, acks), func(t *testing.T) {
				t.Parallel()
				sub := fmt.Sprintf("%d%v", protocol, acks)
				dst := filepath.Join(s.Dir("m"), sub)
				must(t, os.MkdirAll(filepath.Join(dst, "locked"), 0o755))
				must(t, os.Mkdir(filepath.Join(dst, "open"), 0o777))
				must(t, os.Chmod(filepath.Join(dst, "open"), 0o777))
				must(t, os.Chmod(s.Dir("m"), 0o755))
				write(t, filepath.Join(dst, "open/dir/full"), "x")
				long := strings.Repeat("l", 250)
				const file, dir = 0o100644, 0o040755
				b := &rsync.Batch{Open: func(int) (rsync.File, error) { return fake("content"), nil }}
				for _, e := range []flist.Entry{
					{Path: "locked", Mode: 0o040755}, {Path: "locked/.dot", Mode: file}, {Path: "locked/quo\"te", Mode: file},
					{Path: "locked/new\nline", Mode: file}, {Path: "locked/high\xff", Mode: file}, {Path: "locked/" + long, Mode: file},
					{Path: "locked/sub", Mode: dir}, {Path: "locked/sub/below", Mode: file}, {Path: "locked/sub/deep", Mode: dir},
					{Path: "locked/sub/deep/file", Mode: file}, {Path: "locked/sym", Mode: 0o120777, Target: "open"},
					{Path: "open", Mode: 0o040777}, {Path: "open/fine", Mode: file}, {Path: "open/dir", Mode: file},
					{Path: "refused", Mode: file}, {Path: "refusedir", Mode: dir}, {Path: "refusedir/below", Mode: file},
				} {
					e.Mtime = 1_600_000_000
					if e.Mode == file {
						e.Size = 7
					}
					b.Entries = append(b.Entries, e)
				}
				rec := &recorder{entries: b.Entries}
				b.Events = rec
				o := rsync.Options{Links: true, Protocol: protocol, Acks: acks, MaxDelete: -1}
				r := send(t, dialer(t, s, "m/"+sub), o, b)
				for i, res := range r.Results {
					path := b.Entries[i].Path
					want := rsync.Failed
					switch {
					case path == "locked" || path == "open" || path == "open/fine":
						want = rsync.Acked
					case strings.HasPrefix(path, "refused"):
						want = rsync.Skipped
					}
					if res.State != want {
						t.Errorf("%q: %v: %v; want %v", path, res.State, res.Err, want)
					}
					if (res.Err == nil) != (want == rsync.Acked) {
						t.Errorf("%q: error %v", path, res.Err)
					}
				}
				if len(r.Loose) > 0 {
					t.Errorf("loose: %q", r.Loose)
				}
				if r.ExitCode != 23 {
					t.Errorf("exit code %d", r.ExitCode)
				}
				for _, m := range rec.messages {
					if strings.ContainsAny(m, "\n\r") || m == "" {
						t.Errorf("message %q", m)
					}
				}
			})
		}
	})
	checkGoroutines(t)
}
