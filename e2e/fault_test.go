package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/control"
	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// handful is how many lines a fault of any size may leave in the log, whatever it concerns.
const handful = 12

// A fault is something that keeps the destination from becoming equal for a while.
type fault struct {
	name   string
	tmpfs  string            // mount options of a file system for the module; "" = a directory
	module map[string]string // parameters
	flags  []string
	clock  bool           // the daemon's clock can be set
	state  string         // mount options of a file system for the state directory; "" = none
	ignore treetest.Field // what the destination cannot have

	begin, end func(t *testing.T, p *place)
	// words are those with one of which the service must say what it suffers from, meanwhile. None: it need not know.
	words []string
}

// A place is where the trees are.
type place struct {
	src, module, dst string
	state            string // the state directory
	clock            string // the file with how far the daemon's clock is off
	daemon           *rsynctest.Server
	relay            *rsynctest.Relay
}

var faults = []fault{
	{
		name:  "stopped",
		begin: func(t *testing.T, p *place) { must(t, p.daemon.Stop()) },
		end:   func(t *testing.T, p *place) { must(t, p.daemon.Restart()) },
		words: []string{"refused", "reset"}, // the relay in between accepts and then resets
	},
	{
		name:  "crashed",
		begin: func(t *testing.T, p *place) { must(t, p.daemon.Kill()) },
		end:   func(t *testing.T, p *place) { must(t, p.daemon.Restart()) },
		words: []string{"refused", "reset"},
	},
	{
		name:  "silent",
		begin: func(t *testing.T, p *place) { p.relay.Stop() },
		end:   func(t *testing.T, p *place) { p.relay.Go() },
	},
	{
		name:  "stuck",
		begin: func(t *testing.T, p *place) { signal(t, p.daemon, unix.SIGSTOP) },
		end:   func(t *testing.T, p *place) { signal(t, p.daemon, unix.SIGCONT) },
	},
	{
		name:   "one connection",
		module: map[string]string{"max connections": "1"},
		begin:  func(t *testing.T, p *place) {},
		end:    func(t *testing.T, p *place) {},
	},
	{
		name: "full", tmpfs: "size=4m",
		begin: func(t *testing.T, p *place) {},
		end:   func(t *testing.T, p *place) { remount(t, p.module, "size=200m") },
		words: []string{"No space left"},
	},
	{
		name: "no inodes", tmpfs: "size=200m,nr_inodes=300",
		begin: func(t *testing.T, p *place) {},
		end:   func(t *testing.T, p *place) { remount(t, p.module, "size=200m,nr_inodes=100000") },
		words: []string{"No space left"},
	},
	{
		name: "read-only", tmpfs: "size=200m",
		begin: func(t *testing.T, p *place) { remount(t, p.module, "ro") },
		end:   func(t *testing.T, p *place) { remount(t, p.module, "rw") },
		words: []string{"Read-only"},
	},
	{
		name:   "permission denied",
		module: map[string]string{"uid": "65534", "gid": "65534"},
		flags:  []string{"--no-o", "--no-g", "--no-D"},
		ignore: treetest.UID | treetest.GID | treetest.Perm,
		begin:  func(t *testing.T, p *place) { must(t, os.Chown(p.dst, 0, 0)) },
		end:    func(t *testing.T, p *place) { must(t, os.Chown(p.dst, 65534, 65534)) },
		words:  []string{"ermission denied", "not permitted"},
	},
	{
		name: "clock set forward there", clock: true,
		module: map[string]string{"timeout": "60"}, // which then seem to have passed
		begin:  func(t *testing.T, p *place) { setClock(t, p, "+400d") },
		end:    func(t *testing.T, p *place) { wasAt(t, p, 400) },
	},
	{
		name: "clock set back there", clock: true,
		module: map[string]string{"timeout": "60"},
		begin:  func(t *testing.T, p *place) { setClock(t, p, "-400d") },
		end:    func(t *testing.T, p *place) { wasAt(t, p, -400) },
	},
	{
		name: "full here", state: "size=8m",
		begin: func(t *testing.T, p *place) { fill(t, filepath.Join(p.state, "ballast")) },
		end:   func(t *testing.T, p *place) { must(t, os.Remove(filepath.Join(p.state, "ballast"))) },
	},
}

// Whatever keeps the destination from taking changes, syncd says so in a few lines, goes on trying, and all is equal
// soon after it is over.
func TestFaultsThatPass(t *testing.T) {
	t.Parallel()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			f.run(t)
		})
	}
}

func (f *fault) run(t *testing.T) {
	if f.tmpfs != "" || f.state != "" || f.ignore != 0 {
		need.Root(t)
	}
	dir := t.TempDir()
	p := &place{src: filepath.Join(dir, "src"), module: filepath.Join(dir, "module")}
	p.dst = filepath.Join(p.module, "dest")
	must(t, os.Mkdir(p.src, 0o755))
	must(t, os.Mkdir(p.module, 0o777))
	must(t, os.Chmod(p.module, 0o777))
	if f.tmpfs != "" {
		mount(t, p.module, f.tmpfs)
	}
	config := rsynctest.Config{Modules: []rsynctest.Module{{Name: "m", Path: p.module, Options: f.module}}}
	if f.clock {
		p.clock = filepath.Join(dir, "clock")
		setClock(t, p, "+0")
		config.Rsync = underClock(t, dir, p.clock)
	}
	p.daemon = rsynctest.Daemon(t, config)
	p.relay = rsynctest.Proxy(t, p.daemon.Addr(), rsynctest.Faults{})

	rng := rand.New(rand.NewPCG(1, 1))
	change := func() {
		if f.ignore != 0 { // nobody may not copy all that there is
			treetest.Write(t, p.src, treetest.File(fmt.Sprint("file", rng.IntN(20)), fmt.Sprint(rng.Uint64())))
			return
		}
		treetest.Mutate(t, rng, p.src, 8)
	}
	change()
	many(t, filepath.Join(p.src, "old"), 40) // to be deleted
	flags := append([]string{"--log-level=debug"}, f.flags...)
	if f.state != "" {
		p.state = filepath.Join(dir, "state")
		must(t, os.Mkdir(p.state, 0o700))
		mount(t, p.state, f.state)
		flags = append(flags, "--state-dir="+p.state)
	}
	s := follow(t, p.src, p.dst, p.relay.URL("m/dest"), flags...)
	s.options.Ignore |= f.ignore
	s.converged()

	before := len(s.lines())
	f.begin(t, p)
	many(t, filepath.Join(p.src, "many"), 400)
	for i := range 30 {
		must(t, os.Remove(filepath.Join(p.src, "old", fmt.Sprint(i))))
	}
	if f.words != nil {
		s.await(fmt.Sprintf("it says what is wrong, with one of %q", f.words), func() error { return s.says(f.words) })
	}
	rounds(40, change)
	f.end(t, p)
	change()
	s.converged()
	lines := s.lines()[before:]
	t.Logf("%d lines:\n%s", len(lines), strings.Join(lines[:min(len(lines), 3*handful)], "\n"))
	if len(lines) > handful {
		t.Errorf("%d lines in the log, want no more than %d", len(lines), handful)
	}
}

// many are more files, and bytes, than the small destinations hold.
func many(t *testing.T, dir string, n int) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755))
	content := []byte(strings.Repeat("0123456789abcdef", 20<<10/16))
	for i := range n {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), content, 0o644))
	}
}

// says is nil when the service names one of the words as the reason why it waits, or why a path fails.
func (s *service) says(words []string) error {
	st, err := s.status()
	if err != nil {
		return err
	}
	said := []string{}
	if st.State == control.Waiting {
		said = append(said, st.Reason)
	}
	for _, f := range st.Failing.First {
		said = append(said, f.Reason)
	}
	for _, text := range said {
		for _, word := range words {
			if strings.Contains(text, word) {
				return nil
			}
		}
	}
	return fmt.Errorf("it says %q: %q", st.Line(), said)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mount(t *testing.T, dir, options string) {
	t.Helper()
	must(t, unix.Mount("syncd-test", dir, "tmpfs", 0, options+",mode=0777"))
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

// fill makes a file that leaves no room on its file system.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
	}
}

// remount changes a mount as soon as nothing is in the way, such as a file that is open for writing.
func remount(t *testing.T, dir, options string) {
	t.Helper()
	must(t, await(func() error {
		if out, err := exec.Command("mount", "-o", "remount,"+options, dir).CombinedOutput(); err != nil {
			return fmt.Errorf("remount: %w: %s", err, out)
		}
		return nil
	}, nil))
}

// underClock returns an rsync that reads from a file how far its clock is off.
func underClock(t *testing.T, dir, clock string) string {
	t.Helper()
	need.Program(t, "faketime")
	script := fmt.Sprintf(`#!/bin/sh
preload=$(faketime -f +0 printenv LD_PRELOAD) || exit
export LD_PRELOAD="$preload" FAKETIME_TIMESTAMP_FILE=%q FAKETIME_NO_CACHE=1 NO_FAKE_STAT=1 FAKE_UTIME=0
exec %q "$@"
`, clock, rsynctest.Rsync(t))
	path := filepath.Join(dir, "rsync")
	must(t, os.WriteFile(path, []byte(script), 0o755))
	return path
}

func setClock(t *testing.T, p *place, offset string) {
	t.Helper()
	must(t, os.WriteFile(p.clock, []byte(offset+"\n"), 0o644))
}

// wasAt waits for the daemon to have been so many days off, and sets it right.
func wasAt(t *testing.T, p *place, days int) {
	t.Helper()
	there := time.Now().AddDate(0, 0, days)
	must(t, await(func() error {
		for _, d := range []time.Time{there, there.Add(-time.Hour)} { // it may have been the day before
			if strings.Contains(p.daemon.Log(), d.Format("2006/01/02")) {
				return nil
			}
		}
		return fmt.Errorf("nothing of %s in the daemon's log", there.Format(time.DateOnly))
	}, nil))
	setClock(t, p, "+0")
}

// signal sends sig to the daemon and those that serve its connections.
func signal(t *testing.T, daemon *rsynctest.Server, sig unix.Signal) {
	t.Helper()
	var tree func(pid int)
	tree = func(pid int) {
		if err := unix.Kill(pid, sig); err != nil {
			return // it has just ended
		}
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		for _, child := range strings.Fields(string(text)) {
			var n int
			if _, err := fmt.Sscan(child, &n); err == nil {
				tree(n)
			}
		}
	}
	pid := daemon.PID()
	if pid == 0 {
		t.Fatal("the daemon does not run")
	}
	tree(pid)
}
