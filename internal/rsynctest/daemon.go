package rsynctest

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/need"
)

// Config describes a daemon. The zero value is a daemon with one writable module named "m" in a directory of its own.
type Config struct {
	Modules []Module
	Global  map[string]string // parameters before the first module, as in rsyncd.conf(5): "motd file", "address" ...
	Args    []string          // further arguments of rsync --daemon
	Rsync   string            // the program; "" is the one in PATH
}

// Module is one module of a daemon.
type Module struct {
	Name string
	Path string // "" is a new directory, removed with the daemon; see Server.Dir
	// Options are parameters as in rsyncd.conf(5): "refuse options", "max connections", "timeout" ... They go over
	// the defaults: writable; symlinks not munged; for root also uid and gid root and "use chroot", because without
	// chroot the daemon changes the targets of symlinks (protocol 9.7). Chroot brings "numeric ids" with it, which
	// rsync then switches on: tests of user names must set it to "no", or "use chroot" to "no".
	Options map[string]string
	Users   map[string]string // password by name: makes "auth users" and "secrets file"; empty needs no password
}

// Server is a running rsync daemon on 127.0.0.1. Its methods are for one goroutine, but Log, Addr, URL, Dir and PID,
// which any may call.
type Server struct {
	args []string
	dir  string // configuration, log and modules
	dirs map[string]string
	port *port

	mu   sync.Mutex
	proc *process // nil while stopped
}

// Rsync returns the path of the real rsync. Without one the test is skipped, and under CI=true it fails.
func Rsync(t testing.TB) string {
	t.Helper()
	return need.Program(t, "rsync")
}

// Daemon starts a real rsync daemon and ends it, with every process it has forked, when the test ends.
func Daemon(t testing.TB, c Config) *Server {
	t.Helper()
	if c.Rsync == "" {
		c.Rsync = Rsync(t)
	}
	s, err := Start(t.TempDir(), c)
	if err != nil {
		t.Fatalf("start rsync daemon: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("stop rsync daemon: %v", err)
		}
		if t.Failed() {
			t.Logf("log of the rsync daemon:\n%s", s.Log())
		}
	})
	return s
}

// Start is Daemon for programs that are no tests. The daemon's files go into dir, which must exist. The caller ends it
// with Close and removes dir.
func Start(dir string, c Config) (*Server, error) {
	if c.Rsync == "" {
		c.Rsync = "rsync"
	}
	if len(c.Modules) == 0 {
		c.Modules = []Module{{Name: "m"}}
	}
	s := &Server{dir: dir, dirs: make(map[string]string)}
	conf, err := s.configure(c)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, "rsyncd.conf")
	if err := os.WriteFile(name, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	if s.port, err = reservePort(); err != nil {
		return nil, err
	}
	s.args = append([]string{c.Rsync, "--daemon", "--no-detach", "--config=" + name,
		"--address=127.0.0.1", "--port=" + strconv.Itoa(s.port.number)}, c.Args...)
	if err := s.Restart(); err != nil {
		return nil, errors.Join(err, s.port.close())
	}
	return s, nil
}

// configure makes the directories and secrets files of the modules and returns the text of rsyncd.conf.
func (s *Server) configure(c Config) (string, error) {
	var b strings.Builder
	writeOptions(&b, map[string]string{
		"log file":       s.logName(),
		"lock file":      filepath.Join(s.dir, "rsyncd.lock"), // the default is one file for the whole machine
		"reverse lookup": "no",                                // no wait for a name server
	}, c.Global)
	for _, m := range c.Modules {
		if m.Path == "" {
			m.Path = filepath.Join(s.dir, "modules", m.Name)
			if err := os.MkdirAll(m.Path, 0o755); err != nil {
				return "", err
			}
		}
		s.dirs[m.Name] = m.Path
		options := map[string]string{"path": m.Path, "read only": "no", "use chroot": "no", "munge symlinks": "no"}
		if os.Geteuid() == 0 {
			maps.Copy(options, map[string]string{"uid": "0", "gid": "0", "use chroot": "yes"})
		}
		if len(m.Users) > 0 {
			secrets := filepath.Join(s.dir, m.Name+".secrets")
			if err := writeSecrets(secrets, m.Users); err != nil {
				return "", err
			}
			options["auth users"] = strings.Join(slices.Sorted(maps.Keys(m.Users)), " ")
			options["secrets file"] = secrets
		}
		fmt.Fprintf(&b, "[%s]\n", m.Name)
		writeOptions(&b, options, m.Options)
	}
	return b.String(), nil
}

func writeOptions(b *strings.Builder, defaults, options map[string]string) {
	maps.Copy(defaults, options)
	for _, key := range slices.Sorted(maps.Keys(defaults)) {
		fmt.Fprintf(b, "%s = %s\n", key, defaults[key])
	}
}

func writeSecrets(name string, users map[string]string) error {
	var b strings.Builder
	for _, user := range slices.Sorted(maps.Keys(users)) {
		fmt.Fprintf(&b, "%s:%s\n", user, users[user])
	}
	return os.WriteFile(name, []byte(b.String()), 0o600)
}

// Addr is the daemon's address, "127.0.0.1:port". It stays the same over restarts.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", s.Port()) }

// Port is the daemon's port in decimal.
func (s *Server) Port() string { return strconv.Itoa(s.port.number) }

// URL is the address of a module or a path in it ("m/some/dir") for a client of rsync.
func (s *Server) URL(path string) string { return "rsync://" + s.Addr() + "/" + path }

// Dir is the directory that the module serves.
func (s *Server) Dir(module string) string { return s.dirs[module] }

// PID is the daemon's process, the parent of those that serve the connections; 0 while stopped.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0
	}
	return s.proc.cmd.Process.Pid
}

// Writing returns the processes of the connection that writes a file whose path has text in it; none while there is no
// such connection.
func (s *Server) Writing(text string) []int {
	for _, pid := range descendants(s.PID()) {
		fds, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "fd", "*"))
		for _, fd := range fds {
			if name, err := os.Readlink(fd); err == nil && strings.Contains(name, text) {
				parent, _ := procStat(pid)
				return []int{pid, parent} // the receiver, and the generator that has forked it
			}
		}
	}
	return nil
}

// ServedCPU waits until the daemon serves no connection, 30 s at most, and returns the processor time of all that it has
// served since it was started, to 10 ms.
func (s *Server) ServedCPU() (time.Duration, error) {
	s.mu.Lock()
	p := s.proc
	s.mu.Unlock()
	if p == nil {
		return 0, errors.New("the daemon is stopped")
	}
	pid := p.cmd.Process.Pid
	if err := p.waitReady(func() bool { return len(descendants(pid)) == 0 }); err != nil {
		return 0, err
	}
	return childrenCPU(pid)
}

func (s *Server) logName() string { return filepath.Join(s.dir, "rsyncd.log") }

// Log is the text of the daemon's log so far, over all restarts.
func (s *Server) Log() string {
	b, err := os.ReadFile(s.logName())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Stop ends the daemon and its connections as a service manager does: SIGTERM to all of them, after 5 s SIGKILL. The
// port stays reserved and refuses connections until Restart.
func (s *Server) Stop() error { return s.end(true) }

// Kill ends the daemon and its connections by SIGKILL, as a crash would: temporary files stay behind.
func (s *Server) Kill() error { return s.end(false) }

func (s *Server) end(polite bool) error {
	s.mu.Lock()
	p := s.proc
	s.proc = nil
	s.mu.Unlock()
	if p == nil {
		return nil
	}
	return p.stop(polite)
}

// Restart stops the daemon if it runs and starts it again on the same port. It returns when the daemon greets.
func (s *Server) Restart() error {
	if err := s.Stop(); err != nil {
		return err
	}
	p, err := start(s.args[0], s.args[1:]...)
	if err != nil {
		return err
	}
	if err := p.waitReady(s.greets); err != nil {
		return errors.Join(err, p.stop(false))
	}
	s.mu.Lock()
	s.proc = p
	s.mu.Unlock()
	return nil
}

// greets tells whether the daemon answers a connection.
func (s *Server) greets() bool {
	conn, err := net.DialTimeout("tcp", s.Addr(), time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	const greeting = "@RSYNCD:"
	b := make([]byte, len(greeting))
	if err := conn.SetDeadline(time.Now().Add(startLimit)); err != nil {
		return false
	}
	_, err = io.ReadFull(conn, b)
	return err == nil && string(b) == greeting
}

// Close ends the daemon for good and frees the port. It is Kill, since rsync takes 0.4 s over SIGTERM.
func (s *Server) Close() error { return errors.Join(s.Kill(), s.port.close()) }
