package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/control"
	"github.com/syncd/syncd/internal/cutover"
	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// An application writes by several writers until a hook freezes it.
type application struct {
	marks   string // where hooks leave word
	writers int
	done    sync.WaitGroup
}

// serve starts it, each writer with one of works; quit ends it.
func (a *application) serve(works []func(), quit <-chan struct{}) {
	a.writers = len(works)
	for w, work := range works {
		stopped := filepath.Join(a.marks, fmt.Sprint("stopped", w))
		a.done.Go(func() {
			tick := time.NewTicker(40 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-quit:
					return
				case <-tick.C:
				}
				if a.marked("stop") {
					os.WriteFile(stopped, nil, 0o600)
					continue
				}
				work()
			}
		})
	}
}

// appDirs are the directories of programs: so few that something in each is being sent all the time.
const appDirs = 6

// work does what programs do to their data: one thing to one of few files in one directory. That it cannot be done at
// times is no failure.
func work(dir string, rng *rand.Rand) {
	name := func() string {
		return filepath.Join(dir, fmt.Sprint("app", rng.IntN(appDirs)), fmt.Sprint("f", rng.IntN(30)))
	}
	p := name()
	switch rng.IntN(12) {
	case 0:
		os.Rename(p, name())
	case 1:
		os.Remove(p)
	case 2:
		os.Link(p, name())
	case 3:
		os.Symlink("f1", p)
	case 4:
		os.Chmod(p, os.FileMode(0o600+rng.IntN(64)))
	case 5:
		unix.Lsetxattr(p, "user.a", data(rng, 8), 0)
	case 6:
		if f, err := os.OpenFile(p, os.O_WRONLY|os.O_APPEND, 0); err == nil {
			f.Write(data(rng, 100))
			f.Close()
		}
	case 7: // as editors save
		if os.WriteFile(p+".new", data(rng, 5000), 0o644) == nil {
			os.Rename(p+".new", p)
		}
	default:
		os.WriteFile(p, data(rng, 2000), 0o644)
	}
}

func (a *application) marked(name string) bool {
	_, err := os.Stat(filepath.Join(a.marks, name))
	return err == nil
}

func (a *application) mark(t *testing.T, name string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(a.marks, name), nil, 0o600))
}

func (a *application) freeze() string {
	var all []string
	for w := range a.writers {
		all = append(all, fmt.Sprintf("[ -e stopped%d ]", w))
	}
	return fmt.Sprintf("cd %s && touch stop && until %s; do sleep 0.01; done", a.marks, strings.Join(all, " && "))
}

func (a *application) thaw() string {
	return fmt.Sprintf("cd %s && rm -f stop stopped* && touch thawed", a.marks)
}

// cutover asks the service, and returns the report, which must say what the exit status does.
func (s *service) cutover(status int, args ...string) *cutover.Report {
	s.t.Helper()
	out, err := exec.Command(program, append([]string{"--cutover", "--json", "--control=" + s.socket}, args...)...).Output()
	var r cutover.Report
	if jerr := json.Unmarshal(out, &r); jerr != nil {
		s.t.Fatalf("cutover: %v, %v: %s", err, jerr, out)
	}
	var exit *exec.ExitError
	if got := 0; err != nil && (!errors.As(err, &exit) || exit.ExitCode() != status) || err == nil && got != status {
		s.t.Fatalf("cutover: %v, want status %d: %s: %s", err, status, r.Outcome, r.Reason)
	}
	return &r
}

// The whole way: a service that never stops to write, a network that breaks, a service that is stopped and one that is
// killed, a cutover that takes too long, one that is done, and the way back.
func TestMigration(t *testing.T) {
	t.Parallel()
	random := func(who uint64) *rand.Rand { return rand.New(rand.NewPCG(11, who)) }
	dir := t.TempDir()
	src := filepath.Join(dir, "data")
	must(t, os.Mkdir(src, 0o755))
	treetest.Random(t, random(0), src, 120)
	for d := range appDirs {
		must(t, os.Mkdir(filepath.Join(src, fmt.Sprint("app", d)), 0o755))
	}

	there := rsynctest.Daemon(t, rsynctest.Config{})
	dst := filepath.Join(there.Dir("m"), "data")
	relay := rsynctest.Proxy(t, there.Addr(), rsynctest.Faults{})
	s := follow(t, src, dst, relay.URL("m/data"), "-HAX", "--state-dir="+filepath.Join(dir, "state"), "--audit=5s")
	s.options.Ignore &^= treetest.Xattrs | treetest.HardLinks
	a := &application{marks: filepath.Join(dir, "marks")}
	must(t, os.Mkdir(a.marks, 0o755))
	// Some do what programs do, and some what anybody may do to a tree.
	shared := newCrowd(t, filepath.Join(src, "shared"), filepath.Join(dir, "outside"), false)
	shared.ops = append(slices.Clone(crowdOps), attrOps...)
	shared.act(random(7), 200)
	var works []func()
	for w := range uint64(2) {
		rng, own := random(20+w), random(30+w)
		works = append(works, func() { work(src, rng) }, func() { shared.act(own, 1) })
	}
	quit := make(chan struct{})
	a.serve(works, quit)
	defer a.done.Wait()
	stop := sync.OnceFunc(func() { close(quit) })
	defer stop()

	over := make(chan struct{})
	var disturber sync.WaitGroup
	disturber.Go(func() { faulty(s, relay, random(5), over) })
	for _, end := range []func(){s.kill, s.stop} {
		<-time.After(2 * time.Second) // of work that goes wrong
		end()
		s.start()
	}
	<-time.After(time.Second)
	close(over)
	disturber.Wait()
	s.await("the first pass has ended", func() error {
		st, err := s.status()
		if err == nil && st.InSyncUpTo.IsZero() {
			err = fmt.Errorf("%s; %+v", st.Line(), st.Failing)
		}
		return err
	})

	r := s.cutover(4, "--freeze-hook="+a.freeze()+"; sleep 60", "--thaw-hook="+a.thaw(), "--freeze-budget=2")
	if r.Outcome != cutover.Aborted || !strings.Contains(r.Reason, "budget") || !a.marked("thawed") || a.marked("stop") {
		t.Fatalf("%s: %s; thawed: %t", r.Outcome, r.Reason, a.marked("thawed"))
	}

	done := make(chan *cutover.Report, 1)
	go func() {
		done <- s.cutover(0, "--freeze-hook="+a.freeze(), "--thaw-hook="+a.thaw(), "--go-timeout=40", "--freeze-budget=60",
			"--go-hook=cd "+a.marks+" && touch go && until [ -e went ]; do sleep 0.01; done")
	}()
	s.await("it is equal", func() error {
		if !a.marked("go") {
			return errors.New("the go hook has not begun")
		}
		return nil
	})
	if diff := difference(t, src, dst, s.options); diff != "" {
		t.Errorf("it went, but:\n%s", diff)
	}
	files := regularFiles(t, src)
	// The way back, before the service starts at its new place.
	here := rsynctest.Daemon(t, rsynctest.Config{Modules: []rsynctest.Module{{Name: "old", Path: src}}})
	back := follow(t, dst, src, here.URL("old"), "-HAX", "--state-dir="+filepath.Join(dir, "back"))
	back.options = s.options
	back.await("it follows", func() error { _, err := back.status(); return err })
	a.mark(t, "went")
	r = <-done
	if v := r.Verified; r.Outcome != cutover.Succeeded || v.Different+v.Skipped != 0 || !v.Complete || v.Files+v.Proven != files {
		t.Errorf("%s: %s: %+v of %d files", r.Outcome, r.Reason, v, files)
	}
	t.Logf("frozen for %.2f s; %d files compared, %d proven earlier", r.FrozenSeconds, r.Verified.Files, r.Verified.Proven)
	stop()
	a.done.Wait()

	rng := random(6)
	rounds(10, func() {
		for range 10 {
			work(dst, rng)
		}
	})
	back.converged()
}

func regularFiles(t *testing.T, dir string) (n int64) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	}))
	return n
}

// damage is what may become of a path at the destination, with its time kept as far as that is possible.
var damage = []struct {
	path string
	is   string // what --verify calls it
	do   func(p string) error
}{
	{"d/flipped", "content", func(p string) error {
		b, err := os.ReadFile(p)
		if err == nil {
			b[0] ^= 1
			err = os.WriteFile(p, b, 0)
		}
		return err
	}},
	{"d/missing", "missing", os.Remove},
	{"d/extra", "extra", func(p string) error { return os.WriteFile(p, nil, 0o644) }},
	{"d/stale", "content", func(p string) error { return os.WriteFile(p, []byte("an older version"), 0) }},
	{"d/mode", "attributes", func(p string) error { return os.Chmod(p, 0o600) }},
	{"d/owner", "attributes", func(p string) error { return os.Chown(p, 12, 34) }},
	{"d/link", "content", func(p string) error { return errors.Join(os.Remove(p), os.Symlink("elsewhere", p)) }},
	{"d/xattr", "attributes", func(p string) error { return unix.Setxattr(p, "user.a", []byte("another"), 0) }},
	{"d/swapped", "missing", func(p string) error {
		return errors.Join(os.Remove(p), os.MkdirAll(filepath.Join(p, "with/something"), 0o755))
	}},
}

// Whatever happens to a destination that was verified is named by --verify, and found and mended by the audit.
func TestDamageIsFound(t *testing.T) {
	t.Parallel()
	need.Root(t)
	src := t.TempDir()
	treetest.Random(t, rand.New(rand.NewPCG(12, 1)), src, 60)
	treetest.Write(t, src, treetest.Dir("d"), treetest.Symlink("d/link", "target"))
	for _, name := range []string{"flipped", "missing", "stale", "mode", "owner", "xattr", "swapped"} {
		must(t, os.WriteFile(filepath.Join(src, "d", name), []byte("content of "+name), 0o644))
	}
	must(t, unix.Setxattr(filepath.Join(src, "d/xattr"), "user.a", []byte("a value"), 0))
	daemon := rsynctest.Daemon(t, rsynctest.Config{})
	url, dst := daemon.URL("m/data"), filepath.Join(daemon.Dir("m"), "data")
	s := follow(t, src, dst, url, "-X", "--state-dir="+t.TempDir(), "--audit=2s")
	s.options.Ignore &^= treetest.Xattrs
	proven := func() error {
		st, err := s.status()
		if err != nil || st.Audit.Files > 0 && st.Audit.ProvenFiles == st.Audit.Files && st.State == control.Live {
			return err
		}
		return fmt.Errorf("%s: %+v", st.Line(), st.Audit)
	}
	s.await("everything is proven", proven)
	verify := []string{"--verify", "--json", "-aX", "--delete", "--numeric-ids", src, url}
	syncd(t, 0, verify...)

	syncd(t, 0, "--pause", "--control="+s.socket) // or the audit would be quicker than we are
	for _, d := range damage {
		p := filepath.Join(dst, d.path)
		was, _ := os.Lstat(p)
		if err := d.do(p); err != nil {
			t.Fatal(d.path, err)
		}
		if now, err := os.Lstat(p); err == nil && was != nil && now.Mode().IsRegular() {
			must(t, os.Chtimes(p, time.Time{}, was.ModTime()))
		}
	}
	found := map[string]string{}
	for line := range strings.Lines(syncd(t, 4, verify...)) {
		var e struct{ Event, Path, Difference string }
		must(t, json.Unmarshal([]byte(line), &e))
		if e.Event == "difference" {
			found[e.Path] = e.Difference
		}
	}
	for _, d := range damage {
		if found[d.path] != d.is {
			t.Errorf("--verify calls %s %q, want %q; all: %v", d.path, found[d.path], d.is, found)
		}
	}

	syncd(t, 0, "--resume", "--control="+s.socket)
	s.await("the audit has named everything", func() error {
		log := strings.Join(s.lines(), "\n")
		for _, d := range damage {
			if !strings.Contains(log, "path="+d.path+" ") {
				return errors.New(d.path)
			}
		}
		return nil
	})
	s.converged()
	s.await("everything is proven again", proven)
	syncd(t, 0, verify...)
}
