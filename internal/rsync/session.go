package rsync

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/syncd/syncd/internal/rsync/delta"
	"github.com/syncd/syncd/internal/rsync/wire"
)

const (
	// warmInterval is how often a waiting session shows that it lives when no timeout of the server is known.
	warmInterval = 20 * time.Second
	// goodbyeGrace is how long the server may take to close the connection after the goodbye.
	goodbyeGrace = 10 * time.Second
	// deathGrace is how long a failed session listens for the reason, which comes last.
	deathGrace = 2 * time.Second
)

// A Session is one run of the protocol on one connection. It waits before the file list until Send, which uses it up.
type Session struct {
	dialer *Dialer
	opts   Options
	terms
	conn  *conn
	shell *shell // nil unless the transport is one
	demux *wire.Demux

	w    *wire.Writer // owned by the keep-alive until Send, guarded by warm
	warm struct {
		sync.Mutex
		over  bool
		timer *time.Timer
	}

	said words // what the server says beside the data

	readErr error         // why the reader ended; valid after done
	done    chan struct{} // closed when the reader has ended
}

// newSession takes over the connection at the checksum seed, where frames begin (2.5).
func newSession(d *Dialer, c *conn, r *wire.Reader, w *wire.Writer, o Options, t terms) *Session {
	s := &Session{dialer: d, opts: o, terms: t, conn: c, w: w, done: make(chan struct{})}
	if t.protocol >= 30 {
		w.StartFraming()
	}
	s.demux = wire.NewDemux(r, s.handle)
	c.count(s.demux.Useful)
	go s.read()
	if sh, ok := c.raw.(*shell); ok {
		s.shell = sh
		sh.setListener(s.hearShell)
	}
	return s
}

// read runs beside everything else, so that neither side ever waits for the other to read (0.1).
func (s *Session) read() {
	s.readErr = s.demux.Run()
	close(s.done)
	// Nothing more will come, so whatever is still being written is in vain: a server before protocol 31 that has
	// failed does not read any more either (8.4).
	s.conn.close()
}

// Protocol returns the version that both sides agreed on.
func (s *Session) Protocol() int { return s.protocol }

// Checksum returns what both sides agreed on. With Options.Checksum the entries' sums are made by its List method.
func (s *Session) Checksum() delta.Checksum { return s.checksum }

// Done is closed when the connection has ended, for whatever reason. A waiting session is of no use then.
func (s *Session) Done() <-chan struct{} { return s.done }

// Close ends a session that is not wanted, or cuts one that runs: Send then returns. Safe at any time.
func (s *Session) Close() error {
	s.conn.cut(errClosed) // first: a sign of life may be blocked, and what it holds is needed to cool
	s.cool()
	<-s.done
	if s.shell != nil {
		s.shell.wait(0)
	}
	return nil
}

// keepWarm makes the waiting session send an empty frame now and then: before the list has arrived the server only
// reads, and goes away when nothing comes for the time of its timeout (2.6). There is no such thing before protocol 30.
func (s *Session) keepWarm() {
	if s.protocol < 30 {
		return
	}
	s.warm.Lock()
	defer s.warm.Unlock()
	if !s.warm.over {
		s.warm.timer = time.AfterFunc(s.warmInterval(), s.keepAlive)
	}
}

func (s *Session) warmInterval() time.Duration {
	if d := s.conn.silenceLimit() / 3; d > 0 {
		return min(d, warmInterval)
	}
	if d := s.opts.Timeout / 3; d > 0 {
		return min(d, warmInterval)
	}
	return warmInterval
}

func (s *Session) keepAlive() {
	s.warm.Lock()
	defer s.warm.Unlock()
	if s.warm.over {
		return
	}
	s.w.KeepAlive()
	if s.w.Err() != nil {
		s.conn.close()
		return
	}
	s.warm.timer.Reset(s.warmInterval())
}

// hasten is called when the server's timeout becomes known, which may be shorter than the wait that has begun.
func (s *Session) hasten() {
	s.warm.Lock()
	defer s.warm.Unlock()
	if !s.warm.over && s.warm.timer != nil && s.warm.timer.Stop() {
		s.warm.timer.Reset(s.warmInterval())
	}
}

// cool ends the waiting. It reports false if it had ended before.
func (s *Session) cool() bool {
	s.warm.Lock()
	defer s.warm.Unlock()
	if s.warm.over {
		return false
	}
	s.warm.over = true
	if s.warm.timer != nil {
		s.warm.timer.Stop()
	}
	return true
}

var errUsed = errors.New("session used up: it carries one batch")

// Send sends the batch and waits for the end of the session. The report is never nil: it holds what is known, also
// when an error says that the session did not end well. With Options.Acks regular files, symlinks, devices and
// specials are Acked only by the server's message about just this entry; all others, and without Acks everything, when
// the session is complete and no error names the entry or nothing at all. When ctx ends the connection is cut, and the
// error is ctx's cause; other errors are *Error, but for a batch that cannot be sent.
func (s *Session) Send(ctx context.Context, b *Batch) (*Report, error) {
	return s.send(ctx, b, false)
}

// Settle is Send for a caller who has better to do than to see the connection end, which takes a server some 20 ms: it
// returns when everything is known. Its caller must call Wait or Close then, whatever became of the batch.
//
// From protocol 31 on the server's last mark (8.1) comes when both of its processes are done, and nothing after it.
// Before, it is only the one's word, and a remote shell may have something to say at its end: there Settle is Send.
func (s *Session) Settle(ctx context.Context, b *Batch) (*Report, error) {
	return s.send(ctx, b, s.protocol >= 31 && s.shell == nil)
}

// Wait waits until the server has closed the connection of a session that Settle has returned from. One that does not
// within ten seconds is closed from here.
func (s *Session) Wait() {
	timer := time.AfterFunc(goodbyeGrace, s.conn.close)
	defer timer.Stop()
	<-s.done
}

func (s *Session) send(ctx context.Context, b *Batch, early bool) (*Report, error) {
	stop := context.AfterFunc(ctx, func() { s.conn.cut(context.Cause(ctx)) })
	defer stop()
	if !s.cool() {
		return &Report{Results: make([]Result, len(b.Entries))}, errUsed
	}
	x := newExchange(s, b)
	defer x.release()
	err := x.run()
	if early && err == nil && !s.said.exited() {
		s.conn.closeWrite()
		s.said.hush()
		return x.report(true), nil
	}
	err = s.end(err)
	if ctx.Err() != nil && err != nil {
		err = context.Cause(ctx)
	}
	return x.report(err == nil), err
}

// end closes the session after its conversation, which failed with err or went well, and returns the true reason of a
// failure: it is usually in the last words of the server.
func (s *Session) end(err error) error {
	s.demux.Discard()
	grace := deathGrace
	if err == nil {
		grace = goodbyeGrace
	}
	timer := time.AfterFunc(grace, s.conn.close)
	if err == nil {
		s.conn.closeWrite()
	} else {
		s.sayError(err)
	}
	<-s.done
	timer.Stop()
	s.conn.close()
	if s.shell != nil {
		grace = shellGrace // its stderr may have more to say, which takes the time of the way
		if s.conn.cutBecause() != nil {
			grace = 0
		}
		s.shell.wait(grace)
	}
	if err == nil && !s.said.exited() && !errors.Is(s.readErr, wire.ErrProtocol) {
		return nil
	}
	return s.reason(err)
}

// sayError takes part in the error exit of protocol 31 (8.4): the answer to the server's is empty, ours has a code.
// Where there is nothing to say and nothing to be heard, the connection is closed.
func (s *Session) sayError(err error) {
	_, unsent := errors.AsType[batchError](err)
	exited, broken := s.said.exited(), errors.Is(err, wire.ErrProtocol) || err == s.unmet
	switch {
	case unsent, s.protocol < 31 && (exited || broken):
		s.conn.close()
	case s.w.Err() != nil:
	case exited:
		s.w.Message(wire.ErrorExit, nil)
		s.w.Flush()
	case broken:
		s.w.Message(wire.ErrorExit, []byte{codeStream, 0, 0, 0})
		s.w.Flush()
	}
}
