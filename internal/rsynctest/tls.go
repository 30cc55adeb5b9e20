package rsynctest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// An Authority signs certificates of a test.
type Authority struct {
	File string // its own certificate, in PEM

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes one, in a directory that is removed with the test.
func NewAuthority(t testing.TB, name string) *Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := template(name)
	c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a := &Authority{key: key, File: filepath.Join(t.TempDir(), "ca.pem")}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	write(t, a.File, inPEM("CERTIFICATE", der))
	return a
}

// Issue makes a certificate for a server and client on 127.0.0.1, changed by edit if it is not nil, and returns the
// files of it and of its key.
func (a *Authority) Issue(t testing.TB, name string, edit func(*x509.Certificate)) (cert, key string) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := template(name)
	c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	if edit != nil {
		edit(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, secret.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, cert, inPEM("CERTIFICATE", der))
	write(t, key, inPEM("PRIVATE KEY", keyDER))
	return cert, key
}

// Pair is Issue for a server in the test itself.
func (a *Authority) Pair(t testing.TB, name string, edit func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(a.Issue(t, name, edit))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// Pool is the authority as those have it who trust it.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func template(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		serial = big.NewInt(time.Now().UnixNano())
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
}

func inPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// A Terminator speaks TLS in front of a server. Its methods may be called from any goroutine.
type Terminator struct {
	listener net.Listener
	config   *tls.Config
	target   string
	wg       sync.WaitGroup

	mu       sync.Mutex
	open     map[net.Conn]struct{}
	closed   bool
	sessions int
	resumed  int
}

// TLS starts a terminator to addr on a free port of 127.0.0.1, ended with the test.
func TLS(t testing.TB, addr string, config *tls.Config) *Terminator {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Terminator{listener: listener, config: config, target: addr, open: map[net.Conn]struct{}{}}
	s.wg.Go(s.accept)
	t.Cleanup(s.close)
	return s
}

// Addr is its address, "127.0.0.1:port".
func (s *Terminator) Addr() string { return s.listener.Addr().String() }

// URL is the address of a module or a path in it ("m/some/dir") for a client.
func (s *Terminator) URL(path string) string { return "rsyncs://" + s.Addr() + "/" + path }

// Handshakes returns how many connections there were, and how many of them went on with an earlier session of TLS.
func (s *Terminator) Handshakes() (all, resumed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions, s.resumed
}

func (s *Terminator) close() {
	s.mu.Lock()
	s.closed = true
	for c := range s.open {
		_ = c.Close() // it may have ended by itself
	}
	s.mu.Unlock()
	_ = s.listener.Close()
	s.wg.Wait()
}

func (s *Terminator) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() { s.serve(c) })
	}
}

// keep enters a connection to be closed at the end, and reports whether that is still to come.
func (s *Terminator) keep(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[c] = struct{}{}
	return !s.closed
}

func (s *Terminator) drop(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	_ = c.Close() // nothing more is to be said on it
}

func (s *Terminator) serve(raw net.Conn) {
	defer s.drop(raw)
	if !s.keep(raw) {
		return
	}
	client := tls.Server(raw, s.config)
	if client.Handshake() != nil {
		return
	}
	s.mu.Lock()
	s.sessions++
	if client.ConnectionState().DidResume {
		s.resumed++
	}
	s.mu.Unlock()
	server, err := net.Dial("tcp", s.target)
	if err != nil {
		return
	}
	defer s.drop(server)
	if !s.keep(server) {
		return
	}
	var both sync.WaitGroup
	pass := func(to interface {
		io.Writer
		CloseWrite() error
	}, from io.Reader) {
		if _, err := io.Copy(to, from); err != nil {
			_ = raw.Close() // a connection that is broken on one side is so on the other
			_ = server.Close()
		}
		_ = to.CloseWrite() // it may be closed
	}
	both.Go(func() { pass(server.(*net.TCPConn), client) })
	both.Go(func() { pass(client, server) })
	both.Wait()
}
