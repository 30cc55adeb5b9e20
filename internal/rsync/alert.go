package rsync

import (
	"errors"
	"net"
	"strings"
)

// alertOf returns what the other side of TLS has said at its end.
func alertOf(err error) (text string, ok bool) {
	e, ok := errors.AsType[*net.OpError](err)
	if !ok || e.Op != "remote error" {
		return "", false
	}
	return strings.TrimPrefix(e.Err.Error(), "tls: "), true
}

// alertError explains it, of a server that is known to have asked for a certificate or not. One of TLS 1.3 that does not
// like ours says so only after the handshake.
func (d *Dialer) alertError(text string, asked bool) error {
	const op = "TLS"
	switch {
	case strings.Contains(text, "protocol version"):
		return d.errorf(KindDial, op, "let the server speak TLS 1.2 or later", "the server says: %s", text)
	case strings.Contains(text, "certificate"), text == "access denied":
	case text == "handshake failure" && asked: // before 1.3 that is what is said (RFC 5246, 7.4.6)
	default:
		return d.errorf(KindDial, op, "see the log of what speaks TLS there", "the server says: %s", text)
	}
	if d.TLS != nil && d.TLS.Cert != "" {
		return d.errorf(KindAuth, op, "check --tls-cert, and which authority the server wants it from",
			"the server does not take the certificate %s: it says: %s", d.TLS.Cert, text)
	}
	return d.errorf(KindAuth, op, "give one by --tls-cert and --tls-key", "the server wants a certificate: it says: %s", text)
}
