package control

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/syncd/syncd/internal/need"
)

// answering is a socket whose server reads a line and says what it is told to.
func answering(t *testing.T, text string) string {
	t.Helper()
	path := socketPath(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			bufio.NewReader(conn).ReadString('\n')
			io.WriteString(conn, text)
			conn.Close()
		}
	}()
	return path
}

func TestAskErrors(t *testing.T) {
	dir := filepath.Dir(socketPath(t))
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(dir, "gone")
	stale(t, gone)
	for name, c := range map[string]struct{ path, want string }{
		"none": {"/run/syncd/da ta/control.sock",
			"/run/syncd/da ta/control.sock: no such socket; is the service running? systemctl status syncd@da ta"},
		"none elsewhere": {filepath.Join(dir, "none"),
			filepath.Join(dir, "none") + ": no such socket; is the service running? systemctl status syncd@NAME"},
		"file":                     {file, file + ": not a socket; check the path given by --control"},
		"below a file":             {file + "/x", file + "/x: not the control socket of a syncd; check the path given by --control"},
		"stale":                    {gone, gone + ": nobody answers; has the service ended? systemctl status syncd@NAME"},
		"web server":               {answering(t, "HTTP/1.1 400 Bad Request\r\n\r\n"), "not the control socket of a syncd"},
		"other JSON":               {answering(t, "{}\n"), "not the control socket of a syncd"},
		"silence":                  {answering(t, ""), "closed the connection without an answer"},
		"cut off":                  {answering(t, `{"syncd":1,"status":{"sta`), "the answer was cut off"},
		"cut before the line feed": {answering(t, `{"syncd":1}`), "the answer was cut off"},
		"version 2":                {answering(t, `{"syncd":2}`+"\n"), "speaks version 2 of the control protocol and this program 1"},
		"endless":                  {answering(t, strings.Repeat("x", maxAnswer+10)), "not the control socket of a syncd"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Ask(t.Context(), c.path, Request{Do: DoStatus})
			var failed *AskError
			if !errors.As(err, &failed) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// A service's words cannot move the cursor of the operator's terminal.
func TestRefusalIsPrintable(t *testing.T) {
	_, err := Ask(t.Context(), answering(t, `{"syncd":1,"error":"no\u001b[2J"}`+"\n"), Request{Do: DoStatus})
	if err == nil || err.Error() != `no\#033[2J` {
		t.Errorf("got %v", err)
	}
}

func TestAskRefusesByItself(t *testing.T) {
	for want, r := range map[string]Request{
		"unknown request":           {},
		"why takes a path":          {Do: DoWhy},
		"longer than 65536 bytes":   {Do: DoWhy, Path: strings.Repeat("x", maxRequest)},
		"set takes a key and a val": {Do: DoSet, Value: "1"},
	} {
		var refused *Refused
		if _, err := Ask(t.Context(), "/nowhere", r); !errors.As(err, &refused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestAskEndsWithItsContext(t *testing.T) {
	h := steady()
	asked, hold := make(chan struct{}), make(chan struct{})
	defer close(hold)
	h.pause = func() error {
		close(asked)
		<-hold
		return nil
	}
	path, _ := start(t, h)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	if _, err := Ask(ctx, path, Request{Do: DoPause}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// askAsNobody, set to a path, makes of this test program a client.
const askAsNobody = "SYNCD_TEST_ASK"

func TestMain(m *testing.M) {
	if path := os.Getenv(askAsNobody); path != "" {
		_, err := Ask(context.Background(), path, Request{Do: DoPause})
		os.Stdout.WriteString(err.Error())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestOthersMayNotAsk(t *testing.T) {
	need.Root(t) // to ask as another user
	path, _ := start(t, steady())
	if err := os.Chmod(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/fd/3")
	f, err := os.Open(self) // in a folder that nobody may not enter
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.ExtraFiles = []*os.File{f}
	cmd.Env = append(os.Environ(), askAsNobody+"="+path)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.Output()
	want := path + ": permission denied; run this as root or as the service's user"
	if err != nil || string(out) != want {
		t.Errorf("got %q, %v, want %q", out, err, want)
	}
}

func TestPaths(t *testing.T) {
	env := func(dir string) func(string) string {
		return func(key string) string {
			if key == "RUNTIME_DIRECTORY" {
				return dir
			}
			return ""
		}
	}
	for dir, want := range map[string]string{
		"": "", "/run/syncd/a": "/run/syncd/a/control.sock", "/run/syncd/a:/run/other": "/run/syncd/a/control.sock",
	} {
		if got := DefaultPath(env(dir)); got != want {
			t.Errorf("DefaultPath(%q) = %q", dir, got)
		}
	}
	for path, want := range map[string]string{
		"/run/syncd/a/control.sock": "a", "/run/syncd//a/./control.sock": "a", "/run/syncd/control.sock": "",
		"/run/syncd/a/other": "", "/tmp/a/control.sock": "", "": "", "control.sock": "", "/": "",
	} {
		if got := Instance(path); got != want {
			t.Errorf("Instance(%q) = %q", path, got)
		}
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	if _, err := find(dir); err == nil || !strings.Contains(err.Error(), "no running service found") {
		t.Errorf("none: %v", err)
	}
	add := func(name string) string {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name, SocketName)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a := add("a")
	if got, err := find(dir); err != nil || got != a {
		t.Errorf("one: %q, %v", got, err)
	}
	add("b")
	if _, err := find(dir); err == nil || !strings.Contains(err.Error(), "2 services run: a, b; name one of their sockets, such as --control="+a) {
		t.Errorf("two: %v", err)
	}
}
