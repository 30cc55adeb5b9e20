package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/control"
	"github.com/syncd/syncd/internal/cutover"
	"github.com/syncd/syncd/internal/cutover/record"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// An app writes below a directory until it is told to by a file, from whose hooks it
// can be stopped and started again.
type app struct {
	dir, marks string
	done       sync.WaitGroup
}

// startApp starts one that ends with the test.
func startApp(t *testing.T, dir string) *app {
	t.Helper()
	a := &app{dir: dir, marks: t.TempDir()}
	quit := make(chan struct{})
	a.done.Go(func() { a.run(quit) })
	t.Cleanup(func() { close(quit); a.done.Wait() })
	waitFor(t, "it writes", func() bool { _, err := os.Stat(filepath.Join(dir, "d3")); return err == nil })
	return a
}

func (a *app) run(quit <-chan struct{}) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-quit:
			return
		case <-tick.C:
		}
		if _, err := os.Stat(filepath.Join(a.marks, "stop")); err == nil {
			os.WriteFile(filepath.Join(a.marks, "stopped"), nil, 0o600)
			n--
			continue
		}
		os.Remove(filepath.Join(a.marks, "stopped"))
		sub := filepath.Join(a.dir, fmt.Sprintf("d%d", n%7))
		os.Mkdir(sub, 0o755)
		name := filepath.Join(sub, fmt.Sprintf("f%d", n%41))
		if n%5 == 4 {
			os.Rename(name, name+".old")
		}
		os.WriteFile(name, fmt.Appendf(nil, "%d\n", n), 0o644)
	}
}

// The hooks of an app. What thaw was told is in the file "thawed".
func (a *app) freeze() string {
	return "cd " + a.marks + " && touch stop && while [ ! -e stopped ]; do sleep 0.01; done"
}
func (a *app) thaw() string {
	return "cd " + a.marks + ` && rm -f stop && echo "$SYNCD_FROM: $SYNCD_REASON" >>thawed`
}

// thawed is what thaw hooks have noted.
func (a *app) thawed() string {
	text, _ := os.ReadFile(filepath.Join(a.marks, "thawed"))
	return string(text)
}

// cutOver asks a service, and returns its report.
func cutOver(t *testing.T, socket string, p cutover.Plan) *cutover.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, err := control.Cutover(ctx, socket, p, func(e cutover.Event) {
		if e.Fresh {
			t.Log(e.State, e.Text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (a *app) plan() cutover.Plan {
	return cutover.Plan{
		FreezeHook: a.freeze(), ThawHook: a.thaw(), GoHook: ":", DrainTimeout: time.Minute, Budget: time.Minute,
	}
}

// following is a service over a busy tree whose first pass has ended.
func following(t *testing.T, edit ...func(*Config)) (a *app, socket, dst string, stop func() error) {
	t.Helper()
	src := t.TempDir()
	treetest.Write(t, src, treetest.File("kept", "not written by anybody\n"))
	for i := range 300 {
		treetest.Write(t, src, treetest.File(fmt.Sprintf("still/%d/%d", i%60, i), "nor these\n"))
	}
	s := rsynctest.Daemon(t, rsynctest.Config{})
	dst = filepath.Join(s.Dir("m"), "dest")
	a = startApp(t, src)
	socket, stop = start(t, src, s.URL("m/dest"), edit...)
	waitFor(t, "the socket is there", func() bool { return answers(socket) })
	waitFor(t, "it is live", func() bool {
		return ask(t, socket, control.Request{Do: control.DoStatus}).Status.State == control.Live
	})
	return a, socket, dst, stop
}

// One that is rehearsed, one that fails, one that is done: after it the service has
// ended, the trees are equal, and the service does not start again.
func TestCutover(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	var config Config
	a, socket, dst, stop := following(t, func(c *Config) { c.StateDir = state; config = *c })

	p := a.plan()
	p.Rehearse = true
	r := cutOver(t, socket, p)
	if r.Outcome != cutover.Fits || r.PredictedSeconds <= 0 || r.Verified.Files == 0 {
		t.Fatalf("rehearsal: %s: %s", r.Outcome, r.Reason)
	}
	if a.thawed() != "" {
		t.Error("a rehearsal ran a hook")
	} else if r.Settled.Entries < 300 {
		t.Errorf("settled after %d entries", r.Settled.Entries)
	}

	p = a.plan()
	p.GoHook = "echo no; exit 3"
	r = cutOver(t, socket, p)
	if r.Outcome != cutover.Aborted || r.Reason != "the go hook failed: exit status 3" {
		t.Fatalf("%s: %s", r.Outcome, r.Reason)
	}
	if want := "going: the go hook failed: exit status 3\n"; a.thawed() != want {
		t.Errorf("thawed %q, want %q", a.thawed(), want)
	}
	for _, name := range []string{record.Frozen, record.TakenOver} {
		if _, found, err := record.NewMark(state, name).Find(); found || err != nil {
			t.Errorf("the mark %q is left (%v)", name, err)
		}
	}
	// It is followed again.
	again := filepath.Join(a.dir, "again")
	if err := os.WriteFile(again, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a change arrives again", func() bool { _, err := os.Stat(filepath.Join(dst, "again")); return err == nil })

	p = a.plan()
	p.Report = filepath.Join(t.TempDir(), "report")
	// What stands at the destination now is what the go hook starts with.
	p.GoHook = "cp -a " + dst + " " + a.marks + "/taken && grep -q '^verified' $SYNCD_REPORT && test $SYNCD_DIFFERENT = 0"
	r = cutOver(t, socket, p)
	if r.Outcome != cutover.Succeeded {
		t.Fatalf("%s: %s", r.Outcome, r.Reason)
	}
	if r.Settled.Entries < 300 {
		t.Errorf("settled after %d entries", r.Settled.Entries)
	}
	taken := treetest.Snapshot(t, filepath.Join(a.marks, "taken"), plain)
	if diff := treetest.Diff(treetest.Snapshot(t, a.dir, plain), taken); diff != "" {
		t.Error(diff)
	}
	var kept cutover.Report
	data, err := os.ReadFile(p.Report + record.Suffix)
	if err != nil || json.Unmarshal(data, &kept) != nil ||
		kept.Outcome != cutover.Succeeded || kept.FrozenSeconds != r.FrozenSeconds {
		t.Errorf("the report that is kept says %s, %v", data, err)
	}
	waitFor(t, "the service has ended", func() bool { return !answers(socket) })
	if err := stop(); err != nil {
		t.Error(err)
	}
	var over *TakenOverError
	if err := Run(t.Context(), config); !errors.As(err, &over) || over.Report != p.Report ||
		over.Mark != filepath.Join(state, record.TakenOver) {
		t.Errorf("started again: %v", err)
	}
}

// What somebody else did at the destination is found, and named.
func TestCutoverFindsDrift(t *testing.T) {
	t.Parallel()
	a, socket, dst, _ := following(t)
	kept := filepath.Join(dst, "kept")
	info, err := os.Stat(kept)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept, []byte("NOT written by anybody\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(kept, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	r := cutOver(t, socket, a.plan())
	if want := "1 path is not equal at the destination, such as kept: differs: "; r.Outcome != cutover.Aborted ||
		!strings.Contains(r.Reason, want) {
		t.Errorf("%s: %s", r.Outcome, r.Reason)
	}
	if !strings.HasPrefix(a.thawed(), "verifying: ") || strings.Count(a.thawed(), "\n") != 1 {
		t.Errorf("thawed %q", a.thawed())
	}
}

// A freeze hook that freezes nothing.
func TestCutoverNoticesWrites(t *testing.T) {
	t.Parallel()
	a, socket, _, _ := following(t)
	p := a.plan()
	p.FreezeHook = ":"
	r := cutOver(t, socket, p)
	if r.Outcome != cutover.Aborted || !strings.Contains(a.thawed(), ": "+r.Reason) {
		t.Errorf("%s: %s; thawed %q", r.Outcome, r.Reason, a.thawed())
	}
	// Which of the checks comes first is chance: the writer may have a file open, or
	// change one between two of them.
	if w := r.Writes; w == nil && r.Writers == nil || w != nil && w.Total == 0 {
		t.Errorf("written: %+v; %s", w, r.Reason)
	}
}

// A process that has a file open is named, though it writes nothing.
func TestCutoverNoticesOpenFile(t *testing.T) {
	t.Parallel()
	a, socket, _, _ := following(t)
	f, err := os.OpenFile(filepath.Join(a.dir, "kept"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := cutOver(t, socket, a.plan())
	if want := fmt.Sprintf("(pid %d): kept", os.Getpid()); r.Outcome != cutover.Aborted || !strings.Contains(r.Reason, want) {
		t.Errorf("%s: %s, want %s", r.Outcome, r.Reason, want)
	}
}

// A service that is stopped while the source is frozen thaws it before it ends.
func TestStopDuringCutover(t *testing.T) {
	t.Parallel()
	a, socket, _, stop := following(t)
	p := a.plan()
	p.FreezeHook += "; touch frozen; sleep 1000"
	ended := make(chan *cutover.Report, 1)
	go func() {
		r, _ := control.Cutover(context.Background(), socket, p, nil)
		ended <- r
	}()
	waitFor(t, "it is frozen", func() bool { _, err := os.Stat(filepath.Join(a.marks, "frozen")); return err == nil })
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := a.thawed(); got != "frozen: the freeze hook failed: "+errEnding.Error()+"\n" {
		t.Errorf("thawed %q", got)
	}
	if r := <-ended; r == nil || r.Outcome != cutover.Interrupted {
		t.Errorf("the report is %+v", r)
	}
}

// A syncd that was killed thaws at its next start.
func TestThawsAtNextStart(t *testing.T) {
	t.Parallel()
	state, marks := t.TempDir(), t.TempDir()
	mark := record.NewMark(state, record.Frozen)
	if err := mark.Set("echo $SYNCD_HOOK $SYNCD_FROM >>" + marks + "/thawed"); err != nil {
		t.Fatal(err)
	}
	src, dst := t.TempDir(), t.TempDir()
	socket, stop := start(t, src, dst, func(c *Config) { c.StateDir = state })
	waitFor(t, "the socket is there", func() bool { return answers(socket) })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(marks, "thawed")); string(text) != "thaw going\n" {
		t.Errorf("thawed %q, %v", text, err)
	}
	if _, found, err := mark.Find(); found || err != nil {
		t.Errorf("the mark is left (%v)", err)
	}
	// A thaw that fails keeps the mark, and the service runs.
	if err := mark.Set("exit 1"); err != nil {
		t.Fatal(err)
	}
	socket, stop = start(t, src, dst, func(c *Config) { c.StateDir = state })
	waitFor(t, "the socket is there", func() bool { return answers(socket) })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if _, found, err := mark.Find(); !found || err != nil {
		t.Errorf("the mark is gone (%v)", err)
	}
}

// Without a service the whole is one call.
func TestCutOverAlone(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	a := startApp(t, src)
	s := rsynctest.Daemon(t, rsynctest.Config{})
	var c Config
	_, stop := start(t, t.TempDir(), s.URL("m/other"), func(o *Config) { c = *o })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	c.Source, c.Destination, c.Control = src, s.URL("m/dest"), ""
	c.Engine.Dialer.Dest.Path = "dest"
	r, err := CutOver(t.Context(), c, a.plan(), func(e cutover.Event) {})
	if err != nil || r.Outcome != cutover.Succeeded {
		t.Fatalf("%+v, %v", r, err)
	}
	dst := filepath.Join(s.Dir("m"), "dest")
	if diff := treetest.Diff(treetest.Snapshot(t, src, plain), treetest.Snapshot(t, dst, plain)); diff != "" {
		t.Error(diff)
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cutover.ErrInterrupted)
	if r, err := CutOver(ctx, c, a.plan(), func(cutover.Event) {}); err == nil && r.Outcome != cutover.Interrupted {
		t.Errorf("interrupted before it began: %+v, %v", r, err)
	}
	c.Source = filepath.Join(src, "none")
	if r, err := CutOver(t.Context(), c, a.plan(), func(cutover.Event) {}); err == nil || r != nil {
		t.Errorf("no source: %+v, %v", r, err)
	}
}

func TestWritesConcern(t *testing.T) {
	t.Parallel()
	var w writes
	w.add(queue.Item{Path: "before"})
	w.begin("")
	for _, p := range []string{"a/b", "a/b", "c", "d/e/f"} {
		w.add(queue.Item{Path: p})
	}
	if total, first := w.list(); total != 3 || strings.Join(first, " ") != "a/b c d/e/f" {
		t.Errorf("%d: %v", total, first)
	}
	for p, want := range map[string]bool{
		"a/b": true, "a": true, ".": true, "c/x/y": true, "d/e": true, "d": false, "before": false, "a/c": false, "a/bb": false,
	} {
		if got := w.concern(p); got != want {
			t.Errorf("%s: %v, want %v", p, got, want)
		}
	}
	w.end()
	w.add(queue.Item{Path: "after"})
	if total, _ := w.list(); total != 0 {
		t.Errorf("%d noted after the end", total)
	}
}
