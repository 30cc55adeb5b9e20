package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/rsynctest"
)

// TestMain makes this program the commands of the scripts: syncd itself, and
// weak, which runs the rest of its line as a root that cannot read everything.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"syncd": main, "weak": weak})
}

// TestScripts runs testdata/*.txt: a bug report becomes a script. Beside
// testscript's own commands they have
//
//	daemon [-user NAME=PASSWORD] [OPTION=VALUE ...]
//	    starts a real rsync daemon with one module "m" with these options of
//	    rsyncd.conf(5), and the file "motd" as its message if there is one; sets
//	    $URL (of the module), $ADDR and $MODULE (its path)
//	serve TEXT
//	    answers every connection to $ADDR with TEXT and then says nothing
//	full OPTIONS DIR
//	    mounts a small file system at DIR, with these options of tmpfs(5)
//	status N COMMAND ...
//	    runs the command and demands its exit status
//	until COMMAND ...
//	    runs the command, which may be same, again and again until it succeeds
//	same DIR DIR
//	    demands that two trees are equal, in the eyes of the real rsync
//	sorted FILE
//	    sorts the lines of a file
//
// and the condition [mount].
func TestScripts(t *testing.T) {
	rsynctest.Rsync(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"daemon": rsyncDaemon, "serve": serve, "full": fullDisk, "status": status, "until": until, "same": same, "sorted": sorted,
		},
		Condition: func(cond string) (bool, error) {
			if cond == "mount" {
				return canMount(), nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Setup: func(e *testscript.Env) error {
			// Names are compared with those of rsync, which escapes by the locale.
			e.Vars = append(e.Vars, "LC_ALL=C.UTF-8", "NAME_MAX="+strings.Repeat("n", 255))
			// Under -race each command would wait for a second at its end.
			e.Vars = append(e.Vars, "GORACE=atexit_sleep_ms=20")
			return nil
		},
	})
}

// weak drops what lets root read any file, for the program that it becomes.
func weak() {
	runtime.LockOSThread()
	for _, c := range []uintptr{unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH} {
		// An ordinary user has neither, and may not drop them.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && os.Geteuid() == 0 {
			fmt.Fprintln(os.Stderr, "weak:", err)
			os.Exit(125)
		}
	}
	path, err := exec.LookPath(os.Args[1])
	if err == nil {
		err = unix.Exec(path, os.Args[1:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, "weak:", err)
	os.Exit(125)
}

// must ends the script on an error.
func must(ts *testscript.TestScript, err error) {
	if err != nil {
		ts.Fatalf("%v", err)
	}
}

func rsyncDaemon(ts *testscript.TestScript, neg bool, args []string) {
	m := rsynctest.Module{Name: "m", Options: map[string]string{}}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		user := arg == "-user"
		if user {
			if len(args) == 0 {
				ts.Fatalf("usage: daemon [-user NAME=PASSWORD] [OPTION=VALUE ...]")
			}
			arg, args = args[0], args[1:]
		}
		key, value, ok := strings.Cut(arg, "=")
		switch {
		case !ok || neg:
			ts.Fatalf("usage: daemon [-user NAME=PASSWORD] [OPTION=VALUE ...]")
		case user:
			m.Users = map[string]string{key: value}
		case key == "path":
			m.Path = ts.MkAbs(value)
		default:
			m.Options[key] = value
		}
	}
	dir, err := os.MkdirTemp("", "syncd-script-")
	must(ts, err)
	ts.Defer(func() { os.RemoveAll(dir) })
	c := rsynctest.Config{Modules: []rsynctest.Module{m}}
	if name := ts.MkAbs("motd"); fileExists(name) {
		c.Global = map[string]string{"motd file": name}
	}
	s, err := rsynctest.Start(dir, c)
	must(ts, err)
	ts.Defer(func() {
		if err := s.Close(); err != nil {
			ts.Logf("stop daemon: %v", err)
		}
	})
	ts.Setenv("URL", s.URL("m"))
	ts.Setenv("ADDR", s.Addr())
	ts.Setenv("MODULE", s.Dir("m"))
}

func fileExists(name string) bool { _, err := os.Stat(name); return err == nil }

func serve(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: serve TEXT")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(ts, err)
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				io.WriteString(c, strings.ReplaceAll(args[0], `\n`, "\r\n"))
				io.Copy(io.Discard, c) // closing before the peer does could reset what was just written
			})
		}
	})
	ts.Defer(func() {
		l.Close()
		conns.Wait()
	})
	ts.Setenv("ADDR", l.Addr().String())
}

func fullDisk(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: full OPTIONS DIR")
	}
	dir := ts.MkAbs(args[1])
	must(ts, os.MkdirAll(dir, 0o755))
	must(ts, unix.Mount("tmpfs", dir, "tmpfs", 0, args[0]))
	ts.Defer(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			ts.Logf("umount: %v", err)
		}
	})
}

// canMount reports whether this process may mount: root in most containers may not.
var canMount = sync.OnceValue(func() bool {
	dir, err := os.MkdirTemp("", "syncd-mount-")
	if err != nil {
		return false
	}
	defer os.Remove(dir)
	if unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k") != nil {
		return false
	}
	return unix.Unmount(dir, 0) == nil
})

func status(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: status N COMMAND ...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit status %d, want %s", code, args[0])
	}
}

// patience is how long what is waited for may take on a machine with other work.
const patience = time.Minute

func until(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 || neg {
		ts.Fatalf("usage: until COMMAND ...")
	}
	try := func() error { return ts.Exec(args[0], args[1:]...) }
	if args[0] == "same" && len(args) == 3 {
		try = func() error { return differences(ts, args[1], args[2]) }
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); ; <-tick.C {
		err := try()
		if err == nil {
			return
		}
		if time.Since(begin) > patience {
			ts.Fatalf("not within %v: %q: %v", patience, args, err)
		}
	}
}

func same(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: same DIR DIR")
	}
	switch err := differences(ts, args[0], args[1]); {
	case err != nil && !neg:
		ts.Fatalf("%v", err)
	case err == nil && neg:
		ts.Fatalf("%s and %s are equal", args[0], args[1])
	}
}

// differences are an error that names them.
func differences(ts *testscript.TestScript, a, b string) error {
	out, err := exec.Command("rsync", "-naic", "-@-1", "--delete", ts.MkAbs(a)+"/", ts.MkAbs(b)+"/").CombinedOutput()
	if err != nil {
		return fmt.Errorf("compare %s and %s: %w: %s", a, b, err, out)
	}
	if len(out) > 0 {
		return fmt.Errorf("%s and %s: differences: %q", a, b, out)
	}
	return nil
}

func sorted(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: sorted FILE")
	}
	name := ts.MkAbs(args[0])
	out, err := exec.Command("sort", name).Output()
	must(ts, err)
	must(ts, os.WriteFile(name, out, 0o644))
}
