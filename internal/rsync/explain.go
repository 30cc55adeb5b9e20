package rsync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/syncd/syncd/internal/rsync/wire"
)

const authHint = "give user@ in the destination and the password by --password-file or RSYNC_PASSWORD"

// fail returns an error of a session with this dialer's destination.
func (d *Dialer) fail(kind Kind, op, hint string, err error) *Error {
	return &Error{Kind: kind, Op: op, Server: d.Dest.String(), Hint: hint, Err: err}
}

func (d *Dialer) errorf(kind Kind, op, hint, format string, args ...any) *Error {
	return d.fail(kind, op, hint, fmt.Errorf(format, args...))
}

// greetingError explains a failure to read the daemon's lines.
func (d *Dialer) greetingError(err error) error {
	if text, ok := alertOf(err); ok {
		return d.alertError(text, false)
	}
	var typed *Error
	switch {
	case errors.As(err, &typed):
		return err
	case errors.Is(err, errSilence):
		return d.errorf(KindTimeout, "greeting", "check host, port and firewall"+d.orTLS(), "no answer in time: %w", err)
	case errors.Is(err, errEndless):
		return d.fail(KindNotRsync, "greeting", "check host and port", err)
	case isContext(err):
		return err
	case errors.Is(err, errAsked):
		return d.errorf(KindLost, "greeting", "see the log of what speaks TLS there; the certificate is --tls-cert",
			"the server closed the connection without a word; %w", err)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return d.errorf(KindLost, "greeting", "see the daemon's log"+d.orTLS(), "the server closed the connection without a word")
	}
	return d.errorf(KindLost, "greeting", "see the daemon's log", "the server closed the connection: %w", err)
}

// orTLS is what else may help with a server that does not greet.
func (d *Dialer) orTLS() string {
	if d.Dest.TLS {
		return ""
	}
	return "; if it waits for TLS, write " + tlsScheme
}

// setupError explains a failure before the file list. Behind a remote shell its words tell more than the connection.
func (d *Dialer) setupError(c *conn, err error) error {
	var typed *Error
	switch {
	case errors.As(err, &typed):
		return err
	case c.cutBecause() != nil && !errors.Is(err, errSilence):
		return err
	case errors.Is(err, errSilence):
		return d.errorf(KindTimeout, "setup", "check the server, or raise --timeout", "no answer in time: %w", err)
	case errors.Is(err, wire.ErrProtocol):
		return d.fail(KindProtocol, "setup", "", err)
	}
	if sh, ok := c.raw.(*shell); ok {
		return d.shellError(sh, fmt.Errorf("no answer from rsync: %w", err))
	}
	return d.errorf(KindLost, "setup", "see the daemon's log", "the server closed the connection: %w", err)
}

// isContext reports whether err is what a context ended with by itself.
func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// refusal types an @ERROR line of a daemon (1.9).
func (d *Dialer) refusal(line string) *Error {
	text := strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(line, "@ERROR"), ":"))
	kind, hint := KindModule, "see the daemon's log"
	switch has := func(s string) bool { return strings.Contains(text, s) }; {
	case has("auth failed"):
		kind, hint = KindAuth, "check user and password, and auth users and secrets file of the module"
	case has("daemon-auth checksum"):
		kind, hint = KindAuth, "the daemon accepts none of the digests "+digestNames()
	case has("max connections"):
		kind, hint = KindBusy, "use fewer sessions or raise max connections of the module"
	case has("Unknown module"):
		hint = "check the module's name (rsync rsync://HOST/ lists them) and hosts allow"
	case has("access denied"):
		hint = "allow this host by hosts allow of the module"
	case has("chdir failed"), has("chroot"):
		hint = "the module's path does not exist or may not be entered by the daemon"
	case has("protocol"), has("client omitted"):
		kind = KindProtocol
	}
	return d.errorf(kind, "module "+d.Dest.Module, hint, "the daemon says: %s", text)
}

// dialError explains why there is no connection.
func (d *Dialer) dialError(err error) error {
	hint := "check host and port, and that the rsync daemon runs"
	switch {
	case isContext(err):
		return err
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "is the rsync daemon running there, and is the port right?"
	case isTimeout(err):
		hint = "check address and firewall"
	case strings.Contains(err.Error(), "no such host"):
		hint = "check the host's name"
	}
	return d.fail(KindDial, "connect", hint, err)
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && t.Timeout()
}
