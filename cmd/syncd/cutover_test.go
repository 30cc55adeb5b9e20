package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/control"
	"github.com/syncd/syncd/internal/cutover"
)

// cutter is a service that does nothing but to cut over, as cut says.
type cutter struct {
	control.Handler
	cut func(context.Context, cutover.Plan, func(cutover.Event)) (*cutover.Report, error)
}

func (c cutter) Cutover(ctx context.Context, p cutover.Plan, emit func(cutover.Event)) (*cutover.Report, error) {
	return c.cut(ctx, p, emit)
}

// listenFor runs a service until the test ends.
func listenFor(t *testing.T, h control.Handler) (path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path = filepath.Join(dir, "s")
	server, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); server.Run(ctx, h) }()
	t.Cleanup(func() { cancel(); <-ended })
	return path
}

// cutOverBy runs the command against a service.
func cutOverBy(t *testing.T, cut func(context.Context, cutover.Plan, func(cutover.Event)) (*cutover.Report, error),
	args ...string) (status int, stdout, stderr string) {
	t.Helper()
	path := listenFor(t, cutter{cut: cut})
	out, err := new(buffer), new(buffer)
	args = append([]string{"--cutover", "--control=" + path}, args...)
	status = run(t.Context(), args, streams{strings.NewReader(""), out, err}, func(string) string { return "" })
	return status, out.String(), err.String()
}

func TestCutoverCommand(t *testing.T) {
	good := func(_ context.Context, p cutover.Plan, emit func(cutover.Event)) (*cutover.Report, error) {
		emit(cutover.Event{State: cutover.Frozen, Text: "freezing by " + p.FreezeHook, Fresh: true, At: time.Now()})
		emit(cutover.Event{State: cutover.Frozen, Text: "still", At: time.Now()})
		emit(cutover.Event{State: cutover.Frozen, Text: "ACT NOW", Loud: true, Fresh: true})
		return &cutover.Report{Outcome: cutover.Succeeded, FrozenSeconds: 1.5, Source: "/srv"}, nil
	}
	status, out, err := cutOverBy(t, good, "--freeze-hook=stop", "--thaw-hook=start")
	if status != 0 || !strings.HasPrefix(out, "cutover   DONE") || !strings.Contains(out, "frozen    1.50 s") {
		t.Errorf("status %d\n%s", status, out)
	}
	// Off a terminal what only goes on is not news.
	if !regexp.MustCompile(`^\d\d:\d\d:\d\d freezing by stop\nsyncd: ACT NOW\n$`).MatchString(err) {
		t.Errorf("told %q", err)
	}

	status, out, _ = cutOverBy(t, good, "--json")
	var r map[string]any
	if e := json.Unmarshal([]byte(out), &r); e != nil || status != 0 || r["frozen_seconds"] != 1.5 || r["exit"] != 0.0 ||
		strings.Count(out, "\n") != 1 {
		t.Errorf("status %d, %v\n%s", status, e, out)
	}
}

func TestCutoverCommandFails(t *testing.T) {
	aborted := func(context.Context, cutover.Plan, func(cutover.Event)) (*cutover.Report, error) {
		return &cutover.Report{Outcome: cutover.Aborted, Reason: "1 path is not equal"}, nil
	}
	if status, out, _ := cutOverBy(t, aborted); status != 4 || !strings.Contains(out, "NOT DONE: the source serves") {
		t.Errorf("status %d\n%s", status, out)
	}
	refused := func(context.Context, cutover.Plan, func(cutover.Event)) (*cutover.Report, error) {
		return nil, errors.New("the source is missing")
	}
	if status, out, err := cutOverBy(t, refused); status != 1 || out != "" || err != "syncd: the source is missing\n" {
		t.Errorf("status %d, %s", status, err)
	}
	if status, out, _ := cutOverBy(t, refused, "--json"); status != 1 ||
		!strings.HasPrefix(out, `{"event":"error",`) || !strings.Contains(out, `"error":"the source is missing"`) {
		t.Errorf("status %d, %s", status, out)
	}
}

// ^C, SIGTERM, or a terminal that is gone: the command waits for the thaw, and says how it went.
func TestCutoverCommandInterrupted(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		status, out, err := cutOverBy(t, func(ctx context.Context, _ cutover.Plan, emit func(cutover.Event)) (*cutover.Report, error) {
			emit(cutover.Event{State: cutover.Frozen, Text: "freezing", Fresh: true})
			raise(t, sig)
			<-ctx.Done()
			emit(cutover.Event{State: cutover.Thawing, Text: "thawing", Fresh: true})
			return &cutover.Report{Outcome: cutover.Interrupted, Reason: context.Cause(ctx).Error()}, nil
		})
		if status != exitInterrupted || !strings.Contains(out, "INTERRUPTED: the source serves as before") {
			t.Errorf("%v: status %d\n%s", sig, status, out)
		}
		if !strings.Contains(err, "syncd: giving up") || !strings.Contains(err, "thawing") {
			t.Errorf("%v: told %s", sig, err)
		}
	}
}

func TestAbortableTwice(t *testing.T) {
	codes := make(chan int, 1)
	ctx, release := abortable(context.Background(), new(buffer), func(code int) { codes <- code })
	defer release()
	for range 2 {
		raise(t, syscall.SIGINT)
		<-ctx.Done()
	}
	if code := <-codes; code != exitInterrupted || !errors.Is(context.Cause(ctx), errInterrupted) {
		t.Errorf("exit %d, %v", code, context.Cause(ctx))
	}
}

// On a terminal what goes on stands in the last line, in its place.
func TestTellerOnTerminal(t *testing.T) {
	var b strings.Builder
	teller := &teller{w: &b, width: 20}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	for _, e := range []cutover.Event{
		{At: at, Text: "one", Fresh: true}, {At: at, Text: "for 1 s, and very long"}, {At: at, Text: "ä"}, {At: at, Text: "two", Fresh: true},
	} {
		teller.tell(e)
	}
	teller.end()
	blank := "\r" + strings.Repeat(" ", 19) + "\r"
	if want := "03:04:05 one\n03:04:05 for 1 s, a" + blank + "03:04:05 ä" + blank + "03:04:05 two\n"; b.String() != want {
		t.Errorf("%q\nwant\n%q", b.String(), want)
	}
}
