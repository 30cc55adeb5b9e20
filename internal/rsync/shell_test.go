package rsync_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsynctest"
)

// shellDialer reaches a directory of this machine through a remote shell.
func shellDialer(shell, path string) *rsync.Dialer {
	return &rsync.Dialer{Dest: rsync.Dest{Kind: rsync.Shell, Host: "anywhere", Path: path}, RemoteShell: shell, Timeout: time.Minute}
}

// TestShell copies a tree through a remote shell in every protocol, into a directory whose name a shell would read.
func TestShell(t *testing.T) {
	rsynctest.Rsync(t)
	shell := rsynctest.Shell(t)
	src := t.TempDir()
	write(t, filepath.Join(src, "a"), "hello\n")
	write(t, filepath.Join(src, "d/b"), noise(1, 100_000))
	for _, protocol := range protocols {
		dst := filepath.Join(t.TempDir(), "it's $HOME * [x]")
		o := archive()
		o.Protocol, o.Acks, o.ModifyWindow = protocol, true, 0
		b := treeBatch(t, src)
		d := shellDialer(shell, dst)
		r := send(t, d, o, b)
		if got := states(b, r); got != "" {
			t.Errorf("protocol %d: not acked:\n%s", protocol, got)
		}
		if got := read(t, filepath.Join(dst, "d/b")); got != noise(1, 100_000) {
			t.Errorf("protocol %d: d/b differs", protocol)
		}
	}
	checkGoroutines(t)
}

// TestSSH does the same through a real sshd.
func TestSSH(t *testing.T) {
	d := shellDialer(rsynctest.SSHD(t), t.TempDir())
	src := t.TempDir()
	write(t, filepath.Join(src, "d/f"), noise(1, 100_000))
	b := treeBatch(t, src)
	r := send(t, d, archive(), b)
	if got := states(b, r); got != "" {
		t.Errorf("not acked:\n%s", got)
	}
	if got := read(t, filepath.Join(d.Dest.Path, "d/f")); got != noise(1, 100_000) {
		t.Error("d/f differs")
	}
	checkGoroutines(t)
}

// TestShellErrors has entries that fail, of which a server under a remote shell tells on its stderr.
func TestShellErrors(t *testing.T) {
	rsynctest.Rsync(t)
	home := t.TempDir()
	t.Setenv("HOME", home)
	for _, protocol := range []int{27, 30, 32} {
		for _, path := range []string{"rel/d", filepath.Join(home, "abs"), ""} {
			d := shellDialer(rsynctest.Shell(t), path)
			dst := path
			if !filepath.IsAbs(path) {
				dst = filepath.Join(home, path)
			}
			// A directory that is not empty stands where a file is to be, which fails for root too.
			write(t, filepath.Join(dst, "sub/in the \xff way\n/x"), "x")
			b := fakeBatch(func(string) (rsync.File, error) { return fake("x"), nil }, "sub/in the \xff way\n", "sub/fine", "way")
			b.Entries = append(b.Entries, flist.Entry{Path: "sub", Mode: 0o040755})
			for _, acks := range []bool{false, true} {
				r := send(t, d, rsync.Options{Protocol: protocol, Acks: acks, MaxDelete: -1}, b)
				want := []rsync.State{rsync.Failed, rsync.Acked, rsync.Acked, rsync.Acked}
				for i, res := range r.Results {
					if res.State != want[i] {
						t.Errorf("protocol %d, acks %v, %q: %q is %v: %v; want %v", protocol, acks, path, b.Entries[i].Path, res.State, res.Err, want[i])
					}
				}
				if len(r.Loose) > 0 {
					t.Errorf("loose: %q", r.Loose)
				}
			}
			must(t, os.RemoveAll(dst))
		}
	}
}

// TestLateWords has a remote shell that passes on the server's stderr after everything else.
func TestLateWords(t *testing.T) {
	rsynctest.Rsync(t)
	name := filepath.Join(t.TempDir(), "shell")
	script := "#!/bin/sh\n" + rsynctest.Shell(t) + ` "$@" 2>"$0.words"; exec >&-; sleep 0.2; cat "$0.words" >&2`
	must(t, os.WriteFile(name, []byte(script), 0o755))
	b := fakeBatch(func(string) (rsync.File, error) { return fake("x"), nil }, "fine", strings.Repeat("n", 256))
	r := send(t, shellDialer(name, t.TempDir()), rsync.Options{MaxDelete: -1}, b)
	if r.Results[0].State != rsync.Acked || r.Results[1].State != rsync.Failed {
		t.Errorf("%+v", r.Results)
	}
	checkGoroutines(t)
}

// TestShellFails has remote shells that do not bring up an rsync.
func TestShellFails(t *testing.T) {
	script := func(text string) string {
		name := filepath.Join(t.TempDir(), "shell")
		must(t, os.WriteFile(name, []byte("#!/bin/sh\n"+text+"\n"), 0o755))
		return name
	}
	for _, c := range []struct {
		name, shell string
		kind        rsync.Kind
		text        string
	}{
		{"no such program", "/no/such/shell", rsync.KindShell, "no such file"},
		{"bad quoting", "ssh 'x", rsync.KindShell, "quote"},
		{"no rsync there", script("echo 'sh: rsync: not found' >&2; exit 127"), rsync.KindShell, "rsync: not found"},
		{"no connection", script("echo 'Permission denied (publickey).' >&2; exit 255"), rsync.KindShell, "publickey"},
		{"greeting of a shell", script("echo 'Welcome to the machine'; cat >/dev/null"), rsync.KindNotRsync, "Welcome to the"},
		{"silent", script("while read x; do :; done"), rsync.KindTimeout, "in time"},
		{"too old", script(`printf '\024\000\000\000'; exec cat >/dev/null`), rsync.KindProtocol, "protocol 20"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := shellDialer(c.shell, "/tmp")
			d.Timeout = 500 * time.Millisecond
			_, err := d.Connect(t.Context(), archive())
			e := wantKind(t, err, c.kind)
			if !strings.Contains(e.Error(), c.text) || e.Hint == "" {
				t.Errorf("error %q, hint %q; want %q in it", e, e.Hint, c.text)
			}
			checkGoroutines(t)
		})
	}
}

// TestShellServerEnds has failures of a whole session under a remote shell.
func TestShellServerEnds(t *testing.T) {
	rsynctest.Rsync(t)
	shell := rsynctest.Shell(t)
	for _, protocol := range protocols {
		d := shellDialer(shell, filepath.Join(t.TempDir(), "no/such"))
		b := fakeBatch(func(string) (rsync.File, error) { return fake("x"), nil }, "a", "b")
		_, err := trySend(t, d, rsync.Options{Protocol: protocol, MaxDelete: -1}, b)
		e := wantKind(t, err, rsync.KindServer)
		if e.Code != 11 || !strings.Contains(e.Error(), "No such file") {
			t.Errorf("protocol %d: code %d, %v", protocol, e.Code, e)
		}
	}
	// A shell that dies in the middle.
	name := filepath.Join(t.TempDir(), "shell")
	must(t, os.WriteFile(name, []byte(fmt.Sprintf("#!/bin/sh\n%s \"$@\" &\nread x </dev/null; sleep 0.2; kill -9 $$\n", shell)), 0o755))
	sess, err := shellDialer(name, t.TempDir()).Connect(t.Context(), archive())
	if err == nil {
		err = sess.Close()
	}
	if _, ok := errors.AsType[*rsync.Error](err); err != nil && !ok {
		t.Errorf("%v (%T)", err, err)
	}
	checkGoroutines(t)
}
