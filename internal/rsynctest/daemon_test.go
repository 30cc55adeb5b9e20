package rsynctest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func rsync(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := exec.Command(Rsync(t), args...).CombinedOutput()
	return string(out), err
}

// mustRsync runs rsync and fails the test when it fails.
func mustRsync(t *testing.T, args ...string) string {
	t.Helper()
	out, err := rsync(t, args...)
	if err != nil {
		t.Fatalf("rsync %q: %v\n%s", args, err, out)
	}
	return out
}

// source is a directory with a file, a directory, and symlinks that a daemon would change if it could.
func source(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "text")
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"absolute": "/etc/passwd", "outside": "../../x"} {
		if err := os.Symlink(target, filepath.Join(dir, "sub", name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// checkCopy looks for what source made.
func checkCopy(t *testing.T, dir string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "file"))
	if err != nil || string(b) != "text" {
		t.Errorf("file: %q, %v", b, err)
	}
	for name, want := range map[string]string{"absolute": "/etc/passwd", "outside": "../../x"} {
		got, err := os.Readlink(filepath.Join(dir, "sub", name))
		if err != nil || got != want {
			t.Errorf("symlink %s: %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestDaemonTakesACopy(t *testing.T) {
	s := Daemon(t, Config{})
	src := source(t)
	mustRsync(t, "-a", src+"/", s.URL("m"))
	if os.Geteuid() == 0 {
		checkCopy(t, s.Dir("m"))
	}
	if !strings.Contains(s.Log(), "rsync to m/") {
		t.Errorf("log does not mention the transfer:\n%s", s.Log())
	}
}

func TestDaemonsRunSideBySide(t *testing.T) {
	src := source(t)
	var addrs []string
	for range 4 {
		s := Daemon(t, Config{Modules: []Module{{Name: "a"}, {Name: "b"}}})
		mustRsync(t, "-a", src+"/file", s.URL("a/x"))
		mustRsync(t, "-a", src+"/file", s.URL("b/y"))
		for _, name := range []string{filepath.Join(s.Dir("a"), "x"), filepath.Join(s.Dir("b"), "y")} {
			if _, err := os.Stat(name); err != nil {
				t.Error(err)
			}
		}
		for _, a := range addrs {
			if a == s.Addr() {
				t.Errorf("address %s used twice", a)
			}
		}
		addrs = append(addrs, s.Addr())
	}
}

func TestDaemonOptions(t *testing.T) {
	given := t.TempDir()
	s := Daemon(t, Config{
		Global: map[string]string{"motd file": ""},
		Modules: []Module{
			{Name: "given", Path: given},
			{Name: "fixed", Options: map[string]string{"read only": "yes"}},
			{Name: "strict", Options: map[string]string{"refuse options": "delete"}},
			{Name: "hidden", Options: map[string]string{"list": "no"}},
			{Name: "closed", Users: map[string]string{"alice": "secret", "bob": "other"}},
		},
	})
	if s.Dir("given") != given {
		t.Errorf("Dir: %q, want %q", s.Dir("given"), given)
	}
	list := mustRsync(t, s.URL(""))
	if !strings.Contains(list, "strict") || strings.Contains(list, "hidden") {
		t.Errorf("list of modules:\n%s", list)
	}
	src := source(t) + "/"
	for _, test := range []struct {
		args []string
		want string // in the error; "" = success
	}{
		{[]string{"-r", src, s.URL("given")}, ""},
		{[]string{"-r", src, s.URL("fixed")}, "read only"},
		{[]string{"-r", src, s.URL("strict")}, ""},
		{[]string{"-r", "--delete", src, s.URL("strict")}, "--delete"},
		{[]string{"-r", src, s.URL("unknown")}, "Unknown module"},
		{[]string{"-r", src, strings.Replace(s.URL("closed"), "//", "//alice@", 1)}, ""},
		{[]string{"-r", src, strings.Replace(s.URL("closed"), "//", "//bob@", 1)}, "auth failed"},
	} {
		cmd := exec.Command(Rsync(t), test.args...)
		cmd.Env = append(os.Environ(), "RSYNC_PASSWORD=secret")
		out, err := cmd.CombinedOutput()
		if test.want == "" && err != nil {
			t.Errorf("rsync %q: %v\n%s", test.args, err, out)
		}
		if test.want != "" && (err == nil || !strings.Contains(string(out), test.want)) {
			t.Errorf("rsync %q: %v\n%s\nwant an error with %q", test.args, err, out, test.want)
		}
	}
}

func TestDaemonRefusesConnectionsOverTheLimit(t *testing.T) {
	s := Daemon(t, Config{Modules: []Module{{Name: "m", Options: map[string]string{"max connections": "1"}}}})
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b := make([]byte, 4096)
	if _, err := conn.Read(b); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("@RSYNCD: 32.0 md5\nm\n")); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(b); err != nil || string(b[:n]) != "@RSYNCD: OK\n" {
		t.Fatalf("first connection: %q, %v", b[:n], err)
	}
	out, err := rsync(t, "-r", source(t)+"/", s.URL("m"))
	if err == nil || !strings.Contains(out, "max connections (1) reached") {
		t.Errorf("second connection: %v\n%s", err, out)
	}
}

// TestDaemonEnds holds a session open over each way to end the daemon: neither the daemon nor the process that serves
// the session may be left.
func TestDaemonEnds(t *testing.T) {
	for name, end := range map[string]func(*Server) error{"Stop": (*Server).Stop, "Kill": (*Server).Kill, "Restart": (*Server).Restart} {
		t.Run(name, func(t *testing.T) {
			s := Daemon(t, Config{})
			conn, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			b := make([]byte, 256)
			if _, err := conn.Read(b); err != nil {
				t.Fatal(err)
			}
			old := append(descendants(s.PID()), s.PID())
			if len(old) < 2 {
				t.Fatalf("processes %v: want the daemon and one that serves", old)
			}
			if err := end(s); err != nil {
				t.Fatal(err)
			}
			for _, pid := range old {
				if running(pid) {
					t.Errorf("process %d still runs", pid)
				}
			}
			if got := listens(s.port.number); got != (name == "Restart") {
				t.Errorf("listens: %v", got)
			}
			if err := s.Restart(); err != nil {
				t.Fatal(err)
			}
			mustRsync(t, "-r", source(t)+"/", s.URL("m"))
			if n := strings.Count(s.Log(), "starting, listening"); n < 2 {
				t.Errorf("log mentions %d starts:\n%s", n, s.Log())
			}
		})
	}
}

func TestServedCPU(t *testing.T) {
	s := Daemon(t, Config{})
	before, err := s.ServedCPU()
	if err != nil || before > time.Second {
		t.Fatalf("before: %v, %v", before, err)
	}
	src := t.TempDir()
	write(t, filepath.Join(src, "big"), strings.Repeat("x", 64<<20))
	mustRsync(t, "-a", src+"/", s.URL("m"))
	// Its checksum alone takes longer than the clock's tick.
	if after, err := s.ServedCPU(); err != nil || after <= before || after > before+time.Minute {
		t.Errorf("before %v, after %v, %v", before, after, err)
	}
}

func TestStartReportsWhatTheDaemonSays(t *testing.T) {
	_, err := Start(t.TempDir(), Config{Rsync: Rsync(t), Args: []string{"--no-such-option"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-option") {
		t.Errorf("error %v does not name the wrong option", err)
	}
}
