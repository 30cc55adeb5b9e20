package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/syncd/syncd/internal/cutover"
)

// mostNews may wait for a client that does not read. There is news each second.
const mostNews = 64

var (
	errNoCutter = "this service cannot cut over"
	errCutting  = "a cutover is under way already"
	errStopping = fmt.Errorf("%w: the service is being stopped", cutover.ErrInterrupted)
	errLost     = fmt.Errorf("%w: the command that asked for it is gone", cutover.ErrInterrupted)
)

// cutOver lets h cut over while the client wants it, and tells the client how it goes.
// The answer is the last line. ctx is the server's.
func (s *Server) cutOver(ctx context.Context, conn net.Conn, h Handler, plan cutover.Plan) Answer {
	c, ok := h.(Cutter)
	if !ok {
		return Answer{Error: errNoCutter}
	}
	if !s.cutting.TryLock() {
		return Answer{Error: errCutting}
	}
	defer s.cutting.Unlock()

	conn.SetReadDeadline(time.Time{})
	wanted, give := context.WithCancelCause(context.WithoutCancel(ctx))
	defer give(nil)
	defer context.AfterFunc(ctx, func() { give(errStopping) })()
	go func() {
		// Nothing more is to come: what comes is the end. It is read until the
		// connection is closed, by the client or by serve.
		_, err := io.Copy(io.Discard, conn)
		if err == nil {
			err = cutover.ErrInterrupted
		} else {
			err = errLost
		}
		give(err)
	}()

	news := make(chan cutover.Event, mostNews)
	told := make(chan struct{})
	go func() {
		defer close(told)
		tell(conn, news, give)
	}()
	report, err := c.Cutover(wanted, plan, func(e cutover.Event) {
		select {
		case news <- e:
		default:
			give(errLost)
			conn.SetWriteDeadline(time.Now()) // tell is stuck in a write
		}
	})
	close(news)
	<-told
	if err != nil {
		return refusal(err)
	}
	return Answer{Report: report}
}

// tell writes news to a client until there is none any more. A client that does not
// take it is gone; the rest of the news is nobody's then.
func tell(conn net.Conn, news <-chan cutover.Event, give func(error)) {
	var lost bool
	for e := range news {
		if lost {
			continue
		}
		line, err := Answer{Event: &e}.line()
		if err == nil {
			conn.SetWriteDeadline(time.Now().Add(writeTimeout))
			_, err = conn.Write(line)
		}
		if err != nil {
			lost = true
			give(errLost)
		}
	}
}

// Cutover asks the service at path to cut over, or to rehearse it, and returns its
// report. It tells emit of each event. When ctx ends, the service is told to give up;
// Cutover goes on until the service has thawed the source and reports that. Errors
// are those of Ask. Once the service has begun, an *AskError means that the
// connection is lost: the service gives up by itself then.
func Cutover(ctx context.Context, path string, plan cutover.Plan, emit func(cutover.Event)) (*cutover.Report, error) {
	line, err := Request{Do: DoCutover, Cutover: &plan}.encode()
	if err != nil {
		return nil, err
	}
	conn, err := dial(ctx, path)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(askTimeout))
	// A server that refuses may close before it has read all: what it said counts.
	_, _ = conn.Write(line)
	defer context.AfterFunc(ctx, func() { conn.CloseWrite() })()
	in := bufio.NewReader(conn)
	var last cutover.State
	for {
		// There is news each second.
		conn.SetReadDeadline(time.Now().Add(askTimeout))
		p, err := readAnswer(in)
		if err != nil && len(p) == 0 {
			return nil, cutOff(path, last, bare(err))
		}
		a, err := decodeAnswer(path, p)
		switch {
		case err != nil:
			return nil, err
		case a.Report != nil:
			return a.Report, nil
		case a.Event != nil:
			last = a.Event.State
			if emit != nil {
				emit(*a.Event)
			}
		}
	}
}

// readAnswer reads one line, of bounded length.
func readAnswer(in *bufio.Reader) ([]byte, error) {
	var p []byte
	for {
		part, err := in.ReadSlice('\n')
		p = append(p, part...)
		if !errors.Is(err, bufio.ErrBufferFull) || len(p) > maxAnswer {
			return p, err
		}
	}
}

// cutOff explains why no report came. last is the state that was told last.
func cutOff(path string, last cutover.State, err error) *AskError {
	if last == "" {
		return silent(path, err)
	}
	reason := err.Error()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		reason = fmt.Sprintf("no news for %s", askTimeout)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		reason = "the service closed the connection"
	}
	return &AskError{
		Path: path, Reason: fmt.Sprintf("lost while %s: %s", last, reason),
		Remedy: "look whether the source is frozen, at the report, and at " + remedyFor(path), Err: err,
	}
}
