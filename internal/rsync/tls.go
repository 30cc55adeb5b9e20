package rsync

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"
)

// TLS is what a connection to a daemon behind TLS is made with, as stunnel, haproxy and nginx speak it: version 1.2 or
// later. The zero value trusts the system's authorities and shows no certificate. Its fields must not change once it is
// in use. It may be used by any number of goroutines, but not copied.
//
// Files hold PEM, and are read anew when they have changed: certificates are renewed while a service runs.
type TLS struct {
	CA   string // file with the authorities to trust; "" = the system's
	Cert string // file with the certificate to show, and those between it and its authority; "" = none
	Key  string // file with its key; "" = in Cert too
	Name string // the name that the server's certificate must have; "" = the host

	mu     sync.Mutex
	stamps [3]stamp // of the files when config was made
	config *tls.Config
}

// A TLSFileError says what is wrong with a file of a TLS.
type TLSFileError struct {
	File string
	Err  error
}

// Error returns one line: the file and the reason.
func (e *TLSFileError) Error() string { return e.File + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *TLSFileError) Unwrap() error { return e.Err }

// Check reads the files, and returns a *TLSFileError if they are of no use.
func (t *TLS) Check() error {
	_, err := t.settings()
	return err
}

// sessionsKept is how many sessions of TLS are remembered to begin the next one with: a server with two addresses or a
// name that changes has one each.
const sessionsKept = 8

// settings returns what the files say now. Sessions are resumed as long as the files stay the same: that saves the
// server most of the arithmetic.
func (t *TLS) settings() (*tls.Config, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := [...]stamp{stampOf(t.CA), stampOf(t.Cert), stampOf(t.Key)}
	if t.config != nil && now == t.stamps {
		return t.config, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(sessionsKept)}
	if t.CA != "" {
		roots, err := readAuthorities(t.CA)
		if err != nil {
			return nil, &TLSFileError{t.CA, err}
		}
		c.RootCAs = roots
	}
	if t.Cert != "" {
		own, err := readCertificate(t.Cert, cmp.Or(t.Key, t.Cert))
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{own}
	}
	t.config, t.stamps = c, now
	return c, nil
}

// A stamp changes when a file does.
type stamp struct {
	size  int64
	mtime time.Time
}

func stampOf(name string) stamp {
	if name == "" {
		return stamp{}
	}
	info, err := os.Stat(name)
	if err != nil {
		return stamp{size: -1}
	}
	return stamp{info.Size(), info.ModTime()}
}

func readAuthorities(name string) (*x509.CertPool, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, plain(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("no certificate in it")
	}
	return pool, nil
}

func readCertificate(name, key string) (tls.Certificate, error) {
	certText, err := os.ReadFile(name)
	if err != nil {
		return tls.Certificate{}, &TLSFileError{name, plain(err)}
	}
	keyText, err := os.ReadFile(key)
	if err != nil {
		return tls.Certificate{}, &TLSFileError{key, plain(err)}
	}
	if encrypted(keyText) {
		return tls.Certificate{}, &TLSFileError{key, errors.New("the key is encrypted, and nobody is asked for the passphrase")}
	}
	c, err := tls.X509KeyPair(certText, keyText)
	if err != nil {
		return c, &TLSFileError{name, errors.New(strings.TrimPrefix(err.Error(), "tls: "))}
	}
	return c, nil
}

// encrypted reports whether the first key in a text needs a passphrase.
func encrypted(text []byte) bool {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return false
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return strings.HasPrefix(block.Type, "ENCRYPTED") || bytes.Contains([]byte(block.Headers["Proc-Type"]), []byte("ENCRYPTED"))
		}
	}
}

// plain takes operation and path out of an error that is said together with its path.
func plain(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// secure begins TLS on a connection.
func (d *Dialer) secure(ctx context.Context, t promptTCP) (*secureTCP, error) {
	how := d.TLS
	if how == nil {
		how = new(TLS)
	}
	settings, err := how.settings()
	if err != nil {
		return nil, d.fail(KindDial, "connect", "mend it, or name another one by --tls-ca, --tls-cert and --tls-key", err)
	}
	settings = settings.Clone()
	settings.ServerName = cmp.Or(how.Name, d.Dest.Host)
	asked := false
	settings.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		if len(settings.Certificates) == 0 {
			return new(tls.Certificate), nil
		}
		// Even if the server names other authorities: what it then says is clearer than that there is none.
		return &settings.Certificates[0], nil
	}
	if limit := cmp.Or(d.ConnectTimeout, d.Timeout); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errSilence)
		defer cancel()
	}
	c := tls.Client(t, settings)
	if err := c.HandshakeContext(ctx); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, d.secureError(err, asked)
	}
	return &secureTCP{conn: c, tcp: t, asked: asked}, nil
}

// secureTCP is a connection with TLS on it. It has no CloseWrite: at the end of one direction what speaks TLS there may
// end the other one too (RFC 5246, 7.2.1; nginx does), though there may still be something in it, and the daemon's
// session goes on behind it, unseen. A server ends by itself, and the protocol has its own marks at the end of everything.
type secureTCP struct {
	conn  *tls.Conn
	tcp   promptTCP
	asked bool // for a certificate
	heard bool // something came; for the goroutine that reads
}

// errAsked is the end of a connection whose server has asked for a certificate, and then not said a word: nginx refuses
// one like that.
var errAsked = fmt.Errorf("it had asked for a certificate: %w", io.EOF)

// Read reads what has come.
func (c *secureTCP) Read(p []byte) (int, error) {
	n, err := c.conn.Read(p)
	c.heard = c.heard || n > 0
	if c.asked && !c.heard && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
		err = errAsked
	}
	return n, err
}

// Write writes all of it.
func (c *secureTCP) Write(p []byte) (int, error) { return c.conn.Write(p) }

// Close ends the connection without the alert that TLS has for it: to send that may take seconds on one that is to be cut.
func (c *secureTCP) Close() error { return c.tcp.Close() }

func (c *secureTCP) unacknowledged() (missing int, acked uint64, since time.Duration) {
	return c.tcp.unacknowledged()
}

func (c *secureTCP) receiverLimited() time.Duration { return c.tcp.receiverLimited() }

// secureError explains why there is no TLS with the server, which has asked for a certificate or not.
func (d *Dialer) secureError(err error, asked bool) error {
	const op = "TLS"
	if isContext(err) {
		return err
	}
	if text, ok := alertOf(err); ok {
		return d.alertError(text, asked)
	}
	var (
		header  tls.RecordHeaderError
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.Is(err, errSilence):
		return d.errorf(KindTimeout, "greeting", "check host, port and firewall", "no answer in time: %w", err)
	case errors.As(err, &header):
		plainly := d.Dest
		plainly.TLS = false
		return d.errorf(KindNotRsync, op, "did you mean "+plainly.String()+"? The port of TLS is "+
			fmt.Sprint(DefaultTLSPort)+" by default", "the server does not speak TLS: it begins with %q", header.RecordHeader[:])
	case errors.As(err, &unknown):
		return d.fail(KindDial, op, "if it is to be trusted, give the certificate of its authority by --tls-ca=FILE",
			unknownAuthority(unknown.Cert))
	case errors.As(err, &name):
		return d.fail(KindDial, op, "connect by such a name, or give it by --tls-name", wrongName(name))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return d.fail(KindDial, op, "renew it there, or check the clock here", wrongTime(invalid.Cert))
	case strings.Contains(err.Error(), "unsupported protocol version"):
		return d.fail(KindDial, op, "let the server speak TLS 1.2 or later", err)
	}
	return d.errorf(KindDial, op, "see the log of what speaks TLS there", "%w", err)
}

func unknownAuthority(c *x509.Certificate) error {
	if c == nil {
		return errors.New("the authority of the server's certificate is not known here")
	}
	return fmt.Errorf("the authority of the server's certificate is not known here: %q, which has signed %q",
		nameOf(c.Issuer), nameOf(c.Subject))
}

func wrongName(e x509.HostnameError) error {
	names := append([]string(nil), e.Certificate.DNSNames...)
	for _, ip := range e.Certificate.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return fmt.Errorf("the server's certificate has no names of hosts (subjectAltName), so %q is not among them", e.Host)
	}
	const most = 5
	more := ""
	if len(names) > most {
		names, more = names[:most], ", ..."
	}
	return fmt.Errorf("the server's certificate is for %s%s and not for %s", strings.Join(names, ", "), more, e.Host)
}

func wrongTime(c *x509.Certificate) error {
	whose := nameOf(c.Subject)
	if time.Now().Before(c.NotBefore) {
		return fmt.Errorf("the certificate of %q is not valid before %s", whose, c.NotBefore.UTC().Format(time.RFC3339))
	}
	return fmt.Errorf("the certificate of %q expired at %s", whose, c.NotAfter.UTC().Format(time.RFC3339))
}

func nameOf(n pkix.Name) string { return cmp.Or(n.CommonName, n.String()) }
