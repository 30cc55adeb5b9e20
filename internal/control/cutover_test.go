package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/syncd/syncd/internal/cutover"
)

// cutter is a service that can cut over.
type cutter struct {
	fake
	cutOver func(context.Context, cutover.Plan, func(cutover.Event)) (*cutover.Report, error)
}

func (c cutter) Cutover(ctx context.Context, p cutover.Plan, emit func(cutover.Event)) (*cutover.Report, error) {
	return c.cutOver(ctx, p, emit)
}

var somePlan = cutover.Plan{
	FreezeHook: "stop 'a'\n", ThawHook: "start", Budget: 90 * time.Second, Verify: cutover.All, Report: "/r",
}

// patient begins, says so, and ends when it is told to give up: with a report of why.
func patient() cutter {
	return cutter{steady(), func(ctx context.Context, _ cutover.Plan, emit func(cutover.Event)) (*cutover.Report, error) {
		emit(cutover.Event{State: cutover.Frozen, Text: "freezing"})
		<-ctx.Done()
		emit(cutover.Event{State: cutover.Thawing, Text: "thawing"})
		return &cutover.Report{Outcome: cutover.Interrupted, Reason: context.Cause(ctx).Error()}, nil
	}}
}

func TestCutover(t *testing.T) {
	want := &cutover.Report{Outcome: cutover.Succeeded, FrozenSeconds: 1.5, Phases: []cutover.Phase{{State: cutover.Frozen}}}
	news := []cutover.Event{
		{At: noon, State: cutover.Draining, Text: "one", Fresh: true},
		{At: noon, State: cutover.Frozen, Text: strings.Repeat("x", 100<<10), Loud: true},
	}
	path, _ := start(t, cutter{steady(),
		func(ctx context.Context, p cutover.Plan, emit func(cutover.Event)) (*cutover.Report, error) {
			if p != somePlan {
				return nil, fmt.Errorf("got %+v", p)
			}
			for _, e := range news {
				emit(e)
			}
			return want, context.Cause(ctx)
		}})
	var got []cutover.Event
	r, err := Cutover(t.Context(), path, somePlan, func(e cutover.Event) { got = append(got, e) })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("report: -want +got\n%s", diff)
	}
	if diff := cmp.Diff(news, got); diff != "" {
		t.Errorf("news: -want +got\n%s", diff)
	}
}

func TestCutoverRefused(t *testing.T) {
	refusing := cutter{steady(), func(context.Context, cutover.Plan, func(cutover.Event)) (*cutover.Report, error) {
		return nil, errors.New("the source is missing")
	}}
	for want, c := range map[string]struct {
		h    Handler
		plan cutover.Plan
	}{
		"the source is missing": {refusing, somePlan},
		errNoCutter:             {steady(), somePlan},
		"nobody would thaw":     {patient(), cutover.Plan{FreezeHook: "stop"}},
		"longer than":           {patient(), cutover.Plan{GoHook: strings.Repeat("x", maxRequest)}},
	} {
		path, _ := start(t, c.h)
		_, err := Cutover(t.Context(), path, c.plan, nil)
		var refused *Refused
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	var ask *AskError
	if _, err := Cutover(t.Context(), socketPath(t), somePlan, nil); !errors.As(err, &ask) || ask.Reason != "no such socket" {
		t.Errorf("%v", err)
	}
}

// ^C: the client is told how the thaw went.
func TestCutoverInterrupted(t *testing.T) {
	path, _ := start(t, patient())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var states []cutover.State
	r, err := Cutover(ctx, path, somePlan, func(e cutover.Event) {
		states = append(states, e.State)
		cancel()
	})
	if err != nil || r.Outcome != cutover.Interrupted || r.Reason != "interrupted" {
		t.Errorf("%+v, %v", r, err)
	}
	if diff := cmp.Diff([]cutover.State{cutover.Frozen, cutover.Thawing}, states); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// begin asks for a cutover and waits for its first news.
func begin(t *testing.T, path string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	io.WriteString(conn, `{"do":"cutover","cutover":{}}`+"\n")
	in := bufio.NewReader(conn)
	if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, `{"syncd":1,"event":{`) {
		t.Fatalf("%q, %v", line, err)
	}
	return conn, in
}

// A client that is gone, in whatever way, wants nothing any more.
func TestCutoverClientGone(t *testing.T) {
	ended := make(chan error, 1)
	h := cutter{steady(), func(ctx context.Context, _ cutover.Plan, emit func(cutover.Event)) (*cutover.Report, error) {
		emit(cutover.Event{})
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return &cutover.Report{}, nil
	}}
	path, _ := start(t, h)
	for name, leave := range map[string]func(net.Conn){
		"closed":      func(c net.Conn) { c.Close() },
		"half closed": func(c net.Conn) { c.(*net.UnixConn).CloseWrite() },
		"reset":       func(c net.Conn) { c.(*net.UnixConn).SetReadBuffer(1); c.Close() },
	} {
		conn, _ := begin(t, path)
		leave(conn)
		select {
		case err := <-ended:
			if !errors.Is(err, cutover.ErrInterrupted) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: the cutover goes on", name)
		}
	}
}

// A client that is there and does not read is as good as gone, and keeps nobody waiting.
func TestCutoverClientStopped(t *testing.T) {
	why, stopped := make(chan error, 1), make(chan struct{})
	path, _ := start(t, cutter{steady(),
		func(ctx context.Context, _ cutover.Plan, emit func(cutover.Event)) (*cutover.Report, error) {
			emit(cutover.Event{})
			<-stopped // a client that still reads must not miss what comes faster than it is told
			for ctx.Err() == nil {
				emit(cutover.Event{Text: strings.Repeat("x", 64<<10)})
			}
			why <- context.Cause(ctx)
			return &cutover.Report{}, nil
		}})
	begin(t, path)
	close(stopped)
	select {
	case err := <-why:
		if !errors.Is(err, errLost) {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the cutover goes on")
	}
}

func TestOneCutoverAtATime(t *testing.T) {
	path, _ := start(t, patient())
	conn, in := begin(t, path)
	_, err := Cutover(t.Context(), path, somePlan, nil)
	var refused *Refused
	if !errors.As(err, &refused) || err.Error() != errCutting {
		t.Errorf("%v", err)
	}
	// Others are answered meanwhile.
	if _, err := Ask(t.Context(), path, Request{Do: DoPause}); err != nil {
		t.Error(err)
	}
	conn.(*net.UnixConn).CloseWrite()
	if rest, err := io.ReadAll(in); err != nil || !strings.Contains(string(rest), `"outcome":"interrupted"`) {
		t.Errorf("%s, %v", rest, err)
	}
	// And when it is over the next one may begin.
	conn, _ = begin(t, path)
	conn.Close()
}

// A service that ends thaws first, however long that takes, and says so.
func TestCutoverServiceStops(t *testing.T) {
	thawing, thaw := make(chan struct{}), make(chan struct{})
	path, stop := startWithGrace(t, cutter{steady(),
		func(ctx context.Context, _ cutover.Plan, emit func(cutover.Event)) (*cutover.Report, error) {
			emit(cutover.Event{})
			<-ctx.Done()
			close(thawing)
			<-thaw
			return &cutover.Report{Outcome: cutover.Interrupted, Reason: context.Cause(ctx).Error()}, nil
		}}, time.Nanosecond)
	_, in := begin(t, path)
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	<-thawing
	select {
	case <-stopped:
		t.Error("the server ended before the source was thawed")
	default:
	}
	close(thaw)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	rest, err := io.ReadAll(in)
	var a Answer
	if json.Unmarshal(rest, &a) != nil || a.Report == nil || a.Report.Reason != errStopping.Error() {
		t.Errorf("%s, %v", rest, err)
	}
}

// What a client says that is left without a report.
func TestCutoverLost(t *testing.T) {
	for want, says := range map[string]string{
		"the service closed the connection without an answer":    "",
		"lost while settling: the service closed the connection": `{"syncd":1,"event":{"state":"settling"}}` + "\n",
		"the answer was cut off":                                 `{"syncd":1,"report":{`,
		"not the control socket of a syncd":                      "hello\n",
		"version 2 of the control protocol":                      `{"syncd":2}` + "\n",
	} {
		path := socketPath(t)
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			bufio.NewReader(conn).ReadString('\n')
			io.WriteString(conn, says)
			conn.Close()
		}()
		var ask *AskError
		if _, err := Cutover(t.Context(), path, somePlan, nil); !errors.As(err, &ask) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		l.Close()
	}
}

func TestCutoverRequests(t *testing.T) {
	for line, ok := range map[string]bool{
		`{"do":"cutover","cutover":{"rehearse":true}}`: true,
		`{"do":"cutover"}`:                             false,
		`{"do":"status","cutover":{}}`:                 false,
		`{"do":"cutover","cutover":{},"path":"x"}`:     false,
		`{"do":"cutover","cutover":{"verify":"none"}}`: false,
		`{"do":"cutover","cutover":{"freeze_hook":"x","thaw_hook":"y","report":"relative"}}`: false,
		`{"do":"cutover","cutover":{"freeze_budget_seconds":-1}}`:                            false,
	} {
		if _, err := decodeRequest([]byte(line)); (err == nil) != ok {
			t.Errorf("%s: %v", line, err)
		}
	}
}
