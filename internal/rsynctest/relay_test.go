package rsynctest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// sink is a server that reads all that one connection brings, then answers with it.
func sink(t *testing.T) (addr string, received func() ([]byte, error)) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	type result struct {
		b   []byte
		err error
	}
	results := make(chan result, 16)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				b, err := io.ReadAll(conn)
				results <- result{b, err}
				conn.Write(b)
			}()
		}
	}()
	return listener.Addr().String(), func() ([]byte, error) {
		t.Helper()
		select {
		case r := <-results:
			return r.b, r.err
		case <-time.After(time.Minute):
			t.Fatal("nothing received")
			return nil, nil
		}
	}
}

// send writes b to addr, ends its side and returns the answer.
func send(t *testing.T, addr string, b []byte) ([]byte, error) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(b); err != nil {
		return nil, err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return nil, err
	}
	return io.ReadAll(conn)
}

// eventually waits until the condition holds.
func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	limit := time.After(time.Minute)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-limit:
			t.Fatal("the condition never held")
		case <-tick.C:
		}
	}
}

var text = bytes.Repeat([]byte("0123456789"), 50_000)

func TestRelayPassesOnAndCounts(t *testing.T) {
	addr, received := sink(t)
	r := Proxy(t, addr, Faults{})
	for i := range 3 {
		got, err := send(t, r.Addr(), text)
		if err != nil || !bytes.Equal(got, text) {
			t.Fatalf("answer: %d bytes, %v", len(got), err)
		}
		if b, err := received(); err != nil || !bytes.Equal(b, text) {
			t.Fatalf("server got %d bytes, %v", len(b), err)
		}
		up, down := r.Bytes()
		if want := int64(len(text) * (i + 1)); up != want || down != want || r.Accepted() != i+1 {
			t.Errorf("counted %d up, %d down, %d connections, want %d and %d", up, down, r.Accepted(), want, i+1)
		}
	}
}

func TestRelayCuts(t *testing.T) {
	const cut = 300_007
	t.Run("up", func(t *testing.T) {
		addr, received := sink(t)
		r := Proxy(t, addr, Faults{CutUp: cut, Connections: 1})
		if _, err := send(t, r.Addr(), text); err == nil {
			t.Error("the client saw no error")
		}
		b, err := received()
		if !errors.Is(err, syscall.ECONNRESET) || !bytes.Equal(b, text[:cut]) {
			t.Errorf("server got %d bytes, %v; want %d and a reset", len(b), err, cut)
		}
		if up, down := r.Bytes(); up != cut || down != 0 {
			t.Errorf("counted %d and %d", up, down)
		}
		if got, err := send(t, r.Addr(), text); err != nil || !bytes.Equal(got, text) {
			t.Errorf("second connection: %d bytes, %v; want no fault", len(got), err)
		}
	})
	t.Run("down", func(t *testing.T) {
		addr, _ := sink(t)
		r := Proxy(t, addr, Faults{CutDown: cut})
		for range 2 {
			got, err := send(t, r.Addr(), text)
			if !errors.Is(err, syscall.ECONNRESET) || !bytes.Equal(got, text[:cut]) {
				t.Errorf("client got %d bytes, %v; want %d and a reset", len(got), err, cut)
			}
		}
		r.Set(Faults{})
		if got, err := send(t, r.Addr(), text); err != nil || !bytes.Equal(got, text) {
			t.Errorf("after Set: %d bytes, %v; want no fault", len(got), err)
		}
	})
}

func TestRelayDelays(t *testing.T) {
	const delay = 30 * time.Millisecond
	addr, _ := sink(t)
	r := Proxy(t, addr, Faults{Delay: delay})
	begin := time.Now()
	got, err := send(t, r.Addr(), text)
	if err != nil || !bytes.Equal(got, text) {
		t.Errorf("answer: %d bytes, %v", len(got), err)
	}
	if d := time.Since(begin); d < 2*delay {
		t.Errorf("round trip took %v, want at least %v", d, 2*delay)
	}
}

func TestRelayStopsAndGoes(t *testing.T) {
	addr, received := sink(t)
	r := Proxy(t, addr, Faults{})
	conn, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r.Stop()
	if _, err := conn.Write(text[:100]); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("while stopped: %d bytes, %v; want silence", n, err)
	}
	if up, down := r.Bytes(); up != 0 || down != 0 {
		t.Errorf("while stopped: %d and %d bytes passed", up, down)
	}
	r.Go()
	if b, err := received(); err != nil || len(b) != 100 {
		t.Errorf("server got %d bytes, %v", len(b), err)
	}
}

func TestRelayHolds(t *testing.T) {
	addr, received := sink(t)
	r := Proxy(t, addr, Faults{HoldUp: 70, Connections: 1})
	conn, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(text[:100]); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return r.Held() == 1 })
	if up, _ := r.Bytes(); up != 70 {
		t.Errorf("%d bytes passed, want 70", up)
	}
	r.Go()
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := received(); err != nil || len(b) != 100 {
		t.Errorf("server got %d bytes, %v", len(b), err)
	}
}

func TestRelayCutAndClose(t *testing.T) {
	for name, end := range map[string]func(*Relay){"Cut": (*Relay).Cut, "Close": (*Relay).Close} {
		for _, stopped := range []bool{false, true} {
			addr, received := sink(t)
			r := Proxy(t, addr, Faults{})
			conn, err := net.Dial("tcp", r.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write(text[:100]); err != nil {
				t.Fatal(err)
			}
			eventually(t, func() bool { up, _ := r.Bytes(); return up == 100 })
			if stopped {
				r.Stop()
			}
			end(r)
			if b, err := received(); !errors.Is(err, syscall.ECONNRESET) || len(b) != 100 {
				t.Errorf("%s: server got %d bytes, %v; want a reset", name, len(b), err)
			}
			if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s: client got %d bytes, %v; want a reset", name, n, err)
			}
		}
	}
}

func TestRelayToNobody(t *testing.T) {
	unused, err := reservePort() // bound, but nobody listens
	if err != nil {
		t.Fatal(err)
	}
	defer unused.close()
	r := Proxy(t, net.JoinHostPort("127.0.0.1", strconv.Itoa(unused.number)), Faults{})
	if b, err := send(t, r.Addr(), text); err == nil {
		t.Errorf("got %d bytes and no error", len(b))
	}
}

func TestRelayBeforeDaemon(t *testing.T) {
	s := Daemon(t, Config{})
	src := t.TempDir()
	write(t, filepath.Join(src, "big"), string(text))
	r := Proxy(t, s.Addr(), Faults{CutUp: int64(len(text)) / 2, Connections: 1})
	if out, err := rsync(t, "-r", src+"/", r.URL("m")); err == nil {
		t.Errorf("no error over a cut connection:\n%s", out)
	}
	if _, err := os.Stat(filepath.Join(s.Dir("m"), "big")); err == nil {
		t.Error("the file is there after a cut in its middle")
	}
	mustRsync(t, "-r", src+"/", r.URL("m"))
	b, err := os.ReadFile(filepath.Join(s.Dir("m"), "big"))
	if err != nil || !bytes.Equal(b, text) {
		t.Errorf("copy: %d bytes, %v", len(b), err)
	}
	if up, down := r.Bytes(); up < int64(len(text)) || down == 0 {
		t.Errorf("counted %d and %d bytes", up, down)
	}
}
