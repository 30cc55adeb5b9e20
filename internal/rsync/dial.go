package rsync

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/syncd/syncd/internal/rsync/wire"
	"github.com/syncd/syncd/internal/ssh"
)

// A Dialer makes sessions with one destination. Its fields must not change once it is in use; its methods may then be
// called from any number of goroutines, if its functions may.
type Dialer struct {
	Dest Dest
	// Dial makes the transport instead of TCP, TLS or a remote shell. By Dest.Kind the other end speaks as a daemon does, or
	// as rsync --server does behind a shell. Closing the transport must end its blocked reads and writes.
	Dial func(ctx context.Context) (io.ReadWriteCloser, error)
	// Password is called when the daemon asks for one. nil = there is none.
	Password func() (string, error)

	// TLS is for a destination behind it; nil = the zero value.
	TLS *TLS
	// Warn is given a line when a daemon asks for a password over a connection that others may listen to: at each such
	// connection. May be nil.
	Warn func(line string)

	RemoteShell string // -e: command and options, split at spaces, with quotes; "" = ssh
	RsyncPath   string // --rsync-path; "" = rsync
	// Batch keeps a remote shell that is ssh from asking anybody anything.
	Batch bool
	// Logins lets sessions share logins, where that can be; nil = each logs in by itself.
	Logins *ssh.Pool

	// ConnectTimeout bounds the making of a TCP connection, and each wait for a daemon's next word until it has
	// accepted; 0 = no limit but Timeout.
	ConnectTimeout time.Duration
	// Timeout is how long a connection may be silent in both directions; 0 = as long as the server allows.
	Timeout time.Duration

	// Wrap stands between the protocol and the transport, to limit the rate or to count; may be nil. What it returns
	// must pass on Close.
	Wrap func(io.ReadWriteCloser) io.ReadWriteCloser
	// MOTD is given each line of the daemon's message of the day; may be nil.
	MOTD func(line string)
}

// Connect opens a connection and goes as far as the point where the file list is due. There a session can wait, warm,
// until it is needed. ctx counts until Connect returns; when it ends first, its cause is the error. What the server has
// against the module or the options may come to light only in Send. Errors are *Error, but for a context's.
func (d *Dialer) Connect(ctx context.Context, o Options) (*Session, error) {
	if err := d.checkOptions(&o); err != nil {
		return nil, err
	}
	if o.Timeout == 0 {
		o.Timeout = d.Timeout
	}
	var s *Session
	err := d.converse(ctx, &o, func(c *conn) (err error) {
		s, err = d.begin(c, &o)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.keepWarm()
	return s, nil
}

// Modules asks a daemon for the modules that it shows.
func (d *Dialer) Modules(ctx context.Context) ([]Module, error) {
	if d.Dest.Kind == Shell {
		return nil, d.errorf(KindModule, "list modules", "ask a daemon: rsync://HOST/", "a remote shell has none")
	}
	var modules []Module
	err := d.converse(ctx, &Options{}, func(c *conn) (err error) {
		defer c.close()
		h := &hello{d: d, c: c, r: wire.NewReader(c), w: wire.NewWriter(c), announce: maxProtocol}
		if err = h.greet(); err == nil {
			modules, err = h.list()
		}
		return err
	})
	return modules, err
}

// converse opens the transport and runs f on it. ctx's end cuts the connection. After an error it is closed.
func (d *Dialer) converse(ctx context.Context, o *Options, f func(*conn) error) error {
	login, err := d.attempt(ctx, o, f)
	if err != nil && login.Lost() {
		_, err = d.attempt(ctx, o, f)
	}
	return err
}

// attempt is converse, once. It returns the login that it had a share in.
func (d *Dialer) attempt(ctx context.Context, o *Options, f func(*conn) error) (*ssh.Lease, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	t, err := d.open(ctx, o)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	sh, _ := t.(*shell)
	c := newConn(t, d.Wrap)
	if d.Dest.Kind != Shell && d.ConnectTimeout > 0 {
		c.setLimit(d.ConnectTimeout)
	} else {
		c.setLimit(d.Timeout)
	}
	stop := context.AfterFunc(ctx, func() { c.cut(context.Cause(ctx)) })
	err = f(c)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.close()
		if sh != nil {
			sh.wait(0)
		}
	}
	if sh == nil {
		return nil, err
	}
	if err == nil {
		sh.login.Served()
	}
	return sh.login, err
}

// open makes the transport.
func (d *Dialer) open(ctx context.Context, o *Options) (io.ReadWriteCloser, error) {
	switch {
	case d.Dial != nil:
		t, err := d.Dial(ctx)
		if err != nil {
			return nil, d.dialError(err)
		}
		return t, nil
	case d.Dest.Kind == Daemon:
		return d.openTCP(ctx)
	case d.Dest.Kind == Shell:
		s, err := d.openShell(ctx, o)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	return nil, d.errorf(KindDial, "connect", "", "%v destination: nothing to connect to", d.Dest.Kind)
}

// openTCP makes a connection to a daemon, or to what speaks TLS in front of one.
func (d *Dialer) openTCP(ctx context.Context) (io.ReadWriteCloser, error) {
	// Go sets TCP_NODELAY, so what is flushed leaves at once. The send buffer is left to the kernel, which sizes it
	// by the path; a fixed one would be too small for a long line or too large for a slow one.
	nd := net.Dialer{Timeout: d.ConnectTimeout}
	c, err := nd.DialContext(ctx, "tcp", d.Dest.address())
	if err != nil {
		return nil, d.dialError(err)
	}
	t, err := newPromptTCP(c.(*net.TCPConn))
	if err != nil || !d.Dest.TLS {
		return t, err
	}
	s, err := d.secure(ctx, t)
	if err != nil {
		t.Close()
		return nil, err
	}
	return s, nil
}

// begin leads the conversation up to the checksum seed.
func (d *Dialer) begin(c *conn, o *Options) (*Session, error) {
	r, w := wire.NewReader(c), wire.NewWriter(c)
	protocol, err := 0, error(nil)
	if d.Dest.Kind == Shell {
		protocol, err = d.versions(r, w, o)
	} else {
		protocol, err = d.handshake(c, r, w, o)
	}
	if err != nil {
		return nil, d.setupError(c, err)
	}
	t, err := d.setup(r, w, o, protocol)
	if err != nil {
		return nil, d.setupError(c, err)
	}
	c.setLimit(d.Timeout)
	return newSession(d, c, r, w, *o, t), nil
}

// handshake is the daemon's part of the conversation: greeting, module, password, arguments.
func (d *Dialer) handshake(c *conn, r *wire.Reader, w *wire.Writer, o *Options) (protocol int, err error) {
	h := &hello{d: d, c: c, r: r, w: w, announce: o.announced()}
	if err := h.greet(); err != nil {
		return 0, err
	}
	if err := d.checkProtocol(o, h.protocol); err != nil {
		return 0, err
	}
	if err := h.module(); err != nil {
		return 0, err
	}
	if err := d.sendArgs(w, o, h.protocol, h.server); err != nil {
		return 0, err
	}
	if err := w.Flush(); err != nil {
		return 0, d.greetingError(err)
	}
	return h.protocol, nil
}

// saneVersions bound what a server may announce behind a remote shell; anything else is the shell's own output (1.6).
const minSane, maxSane = 20, 40

// versions exchanges the protocol versions behind a remote shell.
func (d *Dialer) versions(r *wire.Reader, w *wire.Writer, o *Options) (protocol int, err error) {
	w.Int32(int32(o.announced()))
	w.Flush()
	theirs := r.Int32()
	if err := r.Err(); err != nil {
		return 0, err
	}
	if theirs < minSane || theirs > maxSane {
		garbage := []byte{byte(theirs), byte(theirs >> 8), byte(theirs >> 16), byte(theirs >> 24)}
		rest := make([]byte, min(r.Buffered(), 60))
		r.Full(rest)
		return 0, d.errorf(KindNotRsync, "remote shell",
			"nothing but rsync may write to its output: check .bashrc and the like there",
			"the answer is not rsync's: %q", append(garbage, rest...))
	}
	if theirs < minProtocol {
		return 0, d.errorf(KindProtocol, "remote shell", "install rsync 2.6 or later there",
			"the server speaks protocol %d, the oldest that is understood is %d", theirs, minProtocol)
	}
	protocol = min(o.announced(), int(theirs))
	return protocol, d.checkProtocol(o, protocol)
}
