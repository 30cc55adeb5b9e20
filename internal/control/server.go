package control

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// mostClients are answered at once; more wait in the socket's queue. One costs a
// buffer for its request and its answer.
const mostClients = 16

// shutdownGrace is how long a client that has asked may wait for its answer once
// the service ends.
const shutdownGrace = time.Second

// lastWords is the time to tell a client after that that there will be no answer.
const lastWords = time.Second

// A Server answers at a unix socket. Make one by Listen.
type Server struct {
	path     string
	id       id
	listener *net.UnixListener
	grace    time.Duration
	close    sync.Once
	cutting  sync.Mutex // held by the one cutover that runs
}

// Listen makes a socket of mode 0600 at path. Clients may connect from now on;
// they are answered once Run runs. A socket at which nobody answers any more is
// replaced; where somebody does, the error wraps ErrInUse and names who, and
// anything but a socket is left as it is.
func Listen(path string) (*Server, error) {
	l, err := listen(path)
	if err != nil {
		return nil, err
	}
	s := &Server{path: path, listener: l, grace: shutdownGrace}
	if s.id, err = idOf(path); err != nil {
		l.Close()
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	return s, nil
}

// Close removes the socket, unless its name leads to another by now, and lets no
// one in any more. Run does it by itself.
func (s *Server) Close() error {
	var err error
	s.close.Do(func() {
		if unlock, e := lockDir(filepath.Dir(s.path)); e == nil {
			// Removed before it is closed: no client finds a socket that refuses it.
			if now, e := idOf(s.path); e == nil && now == s.id {
				err = os.Remove(s.path)
			}
			unlock()
		}
		if e := s.listener.Close(); err == nil {
			err = e
		}
	})
	return err
}

// Run answers clients until ctx ends, and then returns nil. A request that has
// come in by then is still answered if that takes less than a second, or told that
// the service has ended; all other connections are closed and the socket is gone when Run returns. A cutover is told to
// give up, and waited for until the source is thawed. Run is called once.
func (s *Server) Run(ctx context.Context, h Handler) error {
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()

	// Connections outlive ctx by the grace.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var clients sync.WaitGroup
	defer func() {
		timer := time.AfterFunc(s.grace, cancel)
		defer timer.Stop()
		clients.Wait()
	}()

	slots := make(chan struct{}, mostClients)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		conn, err := s.accept(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("control socket %s: %w", s.path, bare(err))
		}
		clients.Go(func() {
			s.serve(ctx, work, conn, h)
			<-slots
		})
	}
}

// accept waits for a client. Lack of descriptors or memory passes: it is waited for.
func (s *Server) accept(ctx context.Context) (net.Conn, error) {
	for {
		conn, err := s.listener.Accept()
		var temporary interface{ Temporary() bool }
		if err == nil || !errors.As(err, &temporary) || !temporary.Temporary() {
			return conn, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// serve answers one client and closes the connection. A client that has not asked
// yet is dropped when ctx ends, one that has when work does.
func (s *Server) serve(ctx, work context.Context, conn net.Conn, h Handler) {
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(readTimeout))
	hurry := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Now()) })
	line, err := readRequest(conn)
	hurry()
	var a Answer
	switch {
	case errors.Is(err, errTooLong):
		a.Error = err.Error()
	case err != nil:
		return // it went away, or never asked
	default:
		r, err := decodeRequest(line)
		if err != nil {
			a.Error = err.Error()
			break
		}
		if r.Do == DoCutover {
			a = s.cutOver(ctx, conn, h, *r.Cutover)
			break
		}
		a = within(work, func() Answer { return answer(h, r) })
	}
	if line, err = a.line(); err != nil {
		return
	}
	conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	drop := context.AfterFunc(work, func() { conn.SetDeadline(time.Now().Add(lastWords)) })
	defer drop()
	// A client that has gone has no use for the answer.
	_, _ = conn.Write(line)
}

// within calls f and waits no longer than a client wants to. A call that takes
// longer goes on by itself: there is no way to end it.
func within(work context.Context, f func() Answer) Answer {
	done := make(chan Answer, 1)
	go func() { done <- f() }()
	timer := time.NewTimer(handleTimeout)
	defer timer.Stop()
	select {
	case a := <-done:
		return a
	case <-timer.C:
		return Answer{Error: fmt.Sprintf("the service has not answered for %s: it is stuck or overloaded", handleTimeout)}
	case <-work.Done():
		return Answer{Error: "the service has ended"}
	}
}

var errTooLong = fmt.Errorf("the request is longer than %d bytes", maxRequest)

// readRequest reads one line. The line feed may be missing if the client has
// closed its side. An error that is not errTooLong means that nothing was asked.
func readRequest(r io.Reader) ([]byte, error) {
	b := bufio.NewReaderSize(io.LimitReader(r, maxRequest), 4096)
	line, err := b.ReadBytes('\n')
	switch {
	case err == nil:
		return line[:len(line)-1], nil
	case !errors.Is(err, io.EOF):
		return nil, err
	case len(line) == maxRequest:
		return nil, errTooLong
	case len(bytes.TrimSpace(line)) == 0:
		return nil, io.ErrUnexpectedEOF
	}
	return line, nil
}
