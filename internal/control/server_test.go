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
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEveryRequest(t *testing.T) {
	path, _ := start(t, steady())
	ask := func(r Request) Answer {
		t.Helper()
		a, err := Ask(t.Context(), path, r)
		if err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		return a
	}
	if a := ask(Request{Do: DoPause}); a.Status != nil || a.Why != nil {
		t.Errorf("pause: %+v", a)
	}
	ask(Request{Do: DoSet, Key: "bwlimit", Value: "8M\n"})

	_, err := Ask(t.Context(), path, Request{Do: DoResume})
	var refused *Refused
	if !errors.As(err, &refused) || err.Error() != "not while the source is missing" {
		t.Errorf("resume: %v", err)
	}
	// Names are any bytes on both ways.
	for _, name := range []string{"a/b", "\xff\n\"\x00", "ä", `\#377`} {
		if a := ask(Request{Do: DoWhy, Path: name}); a.Why == nil || a.Why.Path != name || !a.Why.Acked.Equal(noon) {
			t.Errorf("why %q: %+v", name, a.Why)
		}
	}
	got := *ask(Request{Do: DoStatus}).Status
	if time.Since(got.At).Abs() > time.Minute {
		t.Errorf("the status is of %v", got.At)
	}
	want := busy()
	want.At = got.At
	want.derive(time.Time{})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status: -sent +got:\n%s", diff)
	}
}

// What a script without our client sends and sees.
func TestPlainLines(t *testing.T) {
	path, _ := start(t, steady())
	for name, c := range map[string]struct {
		send  string
		close bool // the client's side, after sending
		want  string
	}{
		"a line":            {`{"do":"pause"}` + "\n", false, `{"syncd":1}`},
		"no line feed":      {`{"do":"pause"}`, true, `{"syncd":1}`},
		"white space":       {` { "do" : "pause" } ` + "\r\n", false, `{"syncd":1}`},
		"more than asked":   {`{"do":"pause"}` + "\nand more", false, `{"syncd":1}`},
		"keys of tomorrow":  {`{"do":"pause","now":true}` + "\n", false, `{"syncd":1}`},
		"unknown":           {`{"do":"halt"}` + "\n", false, `unknown request \"halt\": it is status, pause`},
		"no JSON":           {"GET / HTTP/1.1\r\n", false, `not a request of syncd`},
		"two values":        {`{"do":"pause"}{}` + "\n", false, `not a request of syncd`},
		"an empty line":     {"\n", false, `not a request of syncd`},
		"set without key":   {`{"do":"set","value":"1"}` + "\n", false, `set takes a key and a value`},
		"why without path":  {`{"do":"why"}` + "\n", false, `why takes a path`},
		"pause with a path": {`{"do":"pause","path":"x"}` + "\n", false, `pause takes nothing else`},
		"the longest":       {`{"do":"pause"}` + strings.Repeat(" ", maxRequest-15) + "\n", false, `{"syncd":1}`},
		"too long":          {strings.Repeat(" ", maxRequest) + "\n", false, `the request is longer than 65536 bytes`},
		"far too long":      {strings.Repeat("x", 3*maxRequest), false, `the request is longer than 65536 bytes`},
		"nothing":           {"", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, c.send) // fails if the server has read enough
			if c.close {
				conn.(*net.UnixConn).CloseWrite()
			}
			line, err := bufio.NewReader(conn).ReadString('\n')
			if c.want == "" {
				if err != io.EOF || line != "" {
					t.Errorf("got %q, %v", line, err)
				}
				return
			}
			if err != nil || !strings.Contains(line, c.want) || !strings.HasPrefix(line, `{"syncd":1`) {
				t.Errorf("got %q, %v, want %s", line, err, c.want)
			}
		})
	}
}

// One that does not answer, and more that do not ask, keep nobody else waiting.
func TestManyClients(t *testing.T) {
	h := steady()
	held := make(chan struct{})
	h.pause = func() error { <-held; return nil }
	path, _ := start(t, h)

	slow := make(chan error, 1)
	go func() {
		_, err := Ask(t.Context(), path, Request{Do: DoPause})
		slow <- err
	}()
	for range mostClients / 2 {
		idle, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer idle.Close()
	}
	var all sync.WaitGroup
	for i := range 4 * mostClients {
		all.Go(func() {
			name := fmt.Sprint(i)
			a, err := Ask(t.Context(), path, Request{Do: DoWhy, Path: name})
			if err != nil || a.Why.Path != name {
				t.Errorf("client %d: %+v, %v", i, a, err)
			}
		})
	}
	all.Wait()
	select {
	case err := <-slow:
		t.Errorf("the slow one is back: %v", err)
	default:
	}
	close(held)
	if err := <-slow; err != nil {
		t.Error(err)
	}
}

func TestAnswerTooLong(t *testing.T) {
	h := steady()
	h.why = func(path string) (Why, error) {
		return Why{Path: path, Reason: strings.Repeat("x", maxAnswer)}, nil
	}
	path, _ := start(t, h)
	_, err := Ask(t.Context(), path, Request{Do: DoWhy, Path: "a"})
	if err == nil || !strings.Contains(err.Error(), "is too long") {
		t.Errorf("got %v", err)
	}
}

func TestLongestAnswer(t *testing.T) {
	h := steady()
	around := `{"syncd":1,"why":{"path":"a","verdict":"","reason":""}}` + "\n"
	long := strings.Repeat("x", maxAnswer-len(around))
	h.why = func(path string) (Why, error) { return Why{Path: path, Reason: long}, nil }
	path, _ := start(t, h)
	a, err := Ask(t.Context(), path, Request{Do: DoWhy, Path: "a"})
	if err != nil || a.Why.Reason != long {
		t.Error(err)
	}
}

// No JSON number is infinite, and no panic is an answer.
func TestAnswerWithoutJSON(t *testing.T) {
	h := steady()
	h.status = func() Status { return Status{Since: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)} }
	path, _ := start(t, h)
	_, err := Ask(t.Context(), path, Request{Do: DoStatus})
	if err == nil || !strings.Contains(err.Error(), "no JSON form") {
		t.Errorf("got %v", err)
	}
}

// one serves a client over a pipe, whose time is that of the bubble.
func one(ctx, work context.Context, h Handler) net.Conn {
	client, server := net.Pipe()
	go new(Server).serve(ctx, work, server, h)
	return client
}

func TestSilentClientIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		client := one(t.Context(), t.Context(), steady())
		io.WriteString(client, `{"do":`)
		if _, err := client.Read(make([]byte, 1)); err != io.EOF || time.Since(begin) != readTimeout {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

func TestStuckServiceIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := steady()
		end := make(chan struct{})
		defer close(end)
		h.pause = func() error { <-end; return nil }
		begin := time.Now()
		client := one(t.Context(), t.Context(), h)
		io.WriteString(client, `{"do":"pause"}`+"\n")
		var a Answer
		if err := json.NewDecoder(client).Decode(&a); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(a.Error, "stuck") || time.Since(begin) != handleTimeout {
			t.Errorf("%+v after %v", a, time.Since(begin))
		}
	})
}

func TestClientThatDoesNotReadIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		done := make(chan struct{})
		begin := time.Now()
		go func() {
			new(Server).serve(t.Context(), t.Context(), server, steady())
			close(done)
		}()
		io.WriteString(client, `{"do":"status"}`+"\n")
		if <-done; time.Since(begin) != writeTimeout {
			t.Errorf("dropped after %v", time.Since(begin))
		}
	})
}

// At the end nobody is waited for who has not asked.
func TestEndDropsIdleClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		client := one(ctx, t.Context(), steady())
		io.WriteString(client, `{"do":`)
		begin := time.Now()
		cancel()
		if _, err := client.Read(make([]byte, 1)); err != io.EOF || time.Since(begin) != 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// Nor long for one that does not read.
func TestEndDropsClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		work, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			new(Server).serve(work, work, server, steady())
			close(done)
		}()
		io.WriteString(client, `{"do":"status"}`+"\n")
		synctest.Wait()
		begin := time.Now()
		cancel()
		if <-done; time.Since(begin) != lastWords {
			t.Errorf("dropped after %v", time.Since(begin))
		}
	})
}

// At the end of the service a client that waits for its answer gets it, and one
// that has not asked is dropped at once.
func TestEnd(t *testing.T) {
	h := steady()
	asked, hold := make(chan struct{}), make(chan struct{})
	h.pause = func() error {
		close(asked)
		<-hold
		return nil
	}
	path, stop := startWithGrace(t, h, time.Minute) // however slow this machine is
	idle, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	answered := make(chan error, 1)
	go func() {
		_, err := Ask(t.Context(), path, Request{Do: DoPause})
		answered <- err
	}()
	<-asked
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	// The idle client was accepted before the other one.
	if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the idle client: %v", err)
	}
	close(hold)
	if err := <-answered; err != nil {
		t.Errorf("the client that had asked: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	var failed *AskError
	if _, err := Ask(t.Context(), path, Request{Do: DoPause}); !errors.As(err, &failed) || failed.Reason != "no such socket" {
		t.Errorf("afterwards: %v", err)
	}
}

// A handler that never returns does not keep the service from ending.
func TestEndWithStuckHandler(t *testing.T) {
	h := steady()
	asked, hold := make(chan struct{}), make(chan struct{})
	defer close(hold)
	h.pause = func() error {
		close(asked)
		<-hold
		return nil
	}
	path, stop := startWithGrace(t, h, time.Millisecond)
	answered := make(chan error, 1)
	go func() {
		_, err := Ask(t.Context(), path, Request{Do: DoPause})
		answered <- err
	}()
	<-asked
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := <-answered; err == nil || err.Error() != "the service has ended" {
		t.Errorf("the client: %v", err)
	}
}
