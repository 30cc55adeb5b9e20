package rsync_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsynctest"
)

// secureDialer reaches a module behind TLS.
func secureDialer(t testing.TB, url string, how *rsync.TLS) *rsync.Dialer {
	t.Helper()
	dest, err := rsync.ParseDest(url)
	must(t, err)
	return &rsync.Dialer{Dest: dest, TLS: how, Timeout: time.Minute}
}

// TestTLS copies a tree through TLS in every protocol, with both ways to see a session end.
func TestTLS(t *testing.T) {
	s := rsynctest.Daemon(t, rsynctest.Config{})
	ca := rsynctest.NewAuthority(t, "test authority")
	for version, number := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		front := rsynctest.TLS(t, s.Addr(), &tls.Config{
			Certificates: []tls.Certificate{ca.Pair(t, "server", nil)}, MaxVersion: number,
		})
		how := &rsync.TLS{CA: ca.File}
		src := t.TempDir()
		write(t, filepath.Join(src, "a"), "hello\n")
		write(t, filepath.Join(src, "d/b"), noise(1, 3_000_000))
		for _, protocol := range protocols {
			o := archive()
			o.Protocol, o.Acks, o.ModifyWindow = protocol, true, 0
			b := treeBatch(t, src)
			path := "m/" + version + "-" + string(rune('a'+protocol-27))
			sess, err := secureDialer(t, front.URL(path), how).Connect(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			r, err := sess.Settle(t.Context(), b)
			if err != nil || states(b, r) != "" {
				t.Errorf("TLS %s, protocol %d: %v, not acked:\n%s", version, protocol, err, states(b, r))
			}
			begin := time.Now()
			sess.Wait()
			if d := time.Since(begin); d > 5*time.Second {
				t.Errorf("TLS %s, protocol %d: the connection took %v to end", version, protocol, d)
			}
			if got := read(t, filepath.Join(s.Dir("m"), strings.TrimPrefix(path, "m/"), "d/b")); got != noise(1, 3_000_000) {
				t.Errorf("TLS %s, protocol %d: d/b differs", version, protocol)
			}
		}
		// A server that has failed is waited for no longer than without TLS.
		d := secureDialer(t, front.URL("m/no/such/dir"), how)
		begin := time.Now()
		_, err := trySend(t, d, archive(), fakeBatch(func(string) (rsync.File, error) { return fake("x"), nil }, "a", "b"))
		wantKind(t, err, rsync.KindServer)
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("TLS %s: %v for a session that fails", version, d)
		}
		if all, resumed := front.Handshakes(); all != len(protocols)+1 || resumed != all-1 {
			t.Errorf("TLS %s: %d handshakes, %d resumed; want all but the first", version, all, resumed)
		}
	}
	checkGoroutines(t)
}

// TestTLSServers has the programs that usually stand in front of a daemon.
func TestTLSServers(t *testing.T) {
	ca := rsynctest.NewAuthority(t, "test authority")
	server := rsynctest.TLSServer{ClientCA: ca.File}
	server.Cert, server.Key = ca.Issue(t, "server", nil)
	how := &rsync.TLS{CA: ca.File}
	how.Cert, how.Key = ca.Issue(t, "client", nil)
	for name, start := range map[string]func(testing.TB, string) string{"stunnel": server.Stunnel, "haproxy": server.HAProxy, "nginx": server.Nginx} {
		t.Run(name, func(t *testing.T) {
			s := rsynctest.Daemon(t, rsynctest.Config{Modules: []rsynctest.Module{
				{Name: "m", Users: map[string]string{"joe": "secret"}, Options: map[string]string{"max connections": "1"}},
			}})
			front := start(t, s.Addr())
			src := t.TempDir()
			write(t, filepath.Join(src, "d/b"), noise(1, 3_000_000))
			for _, protocol := range protocols {
				path := fmt.Sprintf("m/%d", protocol)
				d := secureDialer(t, "rsyncs://joe@"+front+"/"+path, how)
				d.Password = func() (string, error) { return "secret", nil }
				o := archive()
				o.Protocol, o.ModifyWindow = protocol, 0
				b := treeBatch(t, src)
				// An entry that fails makes the server say something at its very end.
				b.Entries = append(b.Entries, flist.Entry{Path: "d/" + strings.Repeat("n", 256), Mode: 0o100644})
				open := b.Open
				b.Open = func(i int) (rsync.File, error) {
					if i == len(b.Entries)-1 {
						return fake(""), nil
					}
					return open(i)
				}
				sess, err := d.Connect(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				r, err := sess.Settle(t.Context(), b)
				if err != nil || strings.Count(states(b, r), "\n") != 0 || r.Results[len(r.Results)-1].State != rsync.Failed {
					t.Errorf("protocol %d: %v, not acked:\n%s", protocol, err, states(b, r))
				}
				sess.Wait() // it is the only one that the daemon takes
				if got := read(t, filepath.Join(s.Dir("m"), fmt.Sprint(protocol), "d/b")); got != noise(1, 3_000_000) {
					t.Errorf("protocol %d: d/b differs", protocol)
				}
			}
			_, err := secureDialer(t, "rsyncs://joe@"+front+"/m", &rsync.TLS{CA: ca.File}).Connect(t.Context(), archive())
			kind := rsync.KindAuth
			if name == "nginx" { // which closes the connection, as one whose daemon is away
				kind = rsync.KindLost
			}
			if e := wantKind(t, err, kind); !strings.Contains(e.Hint, "--tls-cert") || !strings.Contains(e.Error(), "certificate") {
				t.Errorf("%v; %s", e, e.Hint)
			}
		})
	}
	checkGoroutines(t)
}

// TestTLSRefused has servers that are not to be trusted, or that do not trust us.
func TestTLSRefused(t *testing.T) {
	s := rsynctest.Daemon(t, rsynctest.Config{})
	ca, other := rsynctest.NewAuthority(t, "test authority"), rsynctest.NewAuthority(t, "another one")
	plain := tls.Config{Certificates: []tls.Certificate{ca.Pair(t, "server", nil)}}
	with := func(edit func(*tls.Config)) string {
		c := plain.Clone()
		edit(c)
		return rsynctest.TLS(t, s.Addr(), c).URL("m")
	}
	issued := func(edit func(*x509.Certificate)) string {
		return with(func(c *tls.Config) { c.Certificates = []tls.Certificate{ca.Pair(t, "server", edit)} })
	}
	day := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	expired := issued(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = day.AddDate(-1, 0, 0), day })
	early := issued(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = day.AddDate(100, 0, 0), day.AddDate(101, 0, 0) })
	named := issued(func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"backup.example", "b.example"} })
	nameless := issued(func(c *x509.Certificate) { c.IPAddresses = nil })
	old := with(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })
	asking := func(version uint16) string {
		return with(func(c *tls.Config) {
			c.ClientAuth, c.ClientCAs, c.MaxVersion = tls.RequireAndVerifyClientCert, ca.Pool(), version
		})
	}
	demanding12, demanding13 := asking(tls.VersionTLS12), asking(tls.VersionTLS13)
	cert, key := ca.Issue(t, "client", nil)
	strange, strangeKey := other.Issue(t, "stranger", nil)
	closed := listening(t, func(c net.Conn) {
		io.ReadFull(c, make([]byte, 100)) // without that it would be a reset
		c.(*net.TCPConn).CloseWrite()
	})
	mute := listening(t, func(net.Conn) {})

	for name, c := range map[string]struct {
		url             string
		ca, cert, key   string
		name            string
		kind            rsync.Kind // 0: it works
		text, hint      string
		connectionLimit time.Duration
	}{
		"works":                   {url: with(func(*tls.Config) {}), ca: ca.File},
		"system's authorities":    {url: with(func(*tls.Config) {}), kind: rsync.KindDial, text: `"test authority"`, hint: "--tls-ca=FILE"},
		"another authority":       {url: with(func(*tls.Config) {}), ca: other.File, kind: rsync.KindDial, text: `signed "server"`, hint: "--tls-ca=FILE"},
		"expired":                 {url: expired, ca: ca.File, kind: rsync.KindDial, text: "expired at 2024-05-06T07:08:09Z", hint: "renew"},
		"not valid yet":           {url: early, ca: ca.File, kind: rsync.KindDial, text: "not valid before 2124-", hint: "clock"},
		"another name":            {url: named, ca: ca.File, kind: rsync.KindDial, text: "for backup.example, b.example and not for 127.0.0.1", hint: "--tls-name"},
		"no name":                 {url: nameless, ca: ca.File, kind: rsync.KindDial, text: "no names", hint: "--tls-name"},
		"name given":              {url: named, ca: ca.File, name: "b.example"},
		"another name given":      {url: named, ca: ca.File, name: "c.example", kind: rsync.KindDial, text: "not for c.example", hint: "--tls-name"},
		"TLS 1.1":                 {url: old, ca: ca.File, kind: rsync.KindDial, text: "version", hint: "TLS 1.2"},
		"no TLS":                  {url: strings.Replace(s.URL("m/x"), "rsync", "rsyncs", 1), ca: ca.File, kind: rsync.KindNotRsync, text: "@RSYN", hint: "did you mean " + s.URL("m/x") + "?"},
		"closed":                  {url: "rsyncs://" + closed + "/m", ca: ca.File, kind: rsync.KindDial, text: "EOF", hint: "log"},
		"silent":                  {url: "rsyncs://" + mute + "/m", ca: ca.File, kind: rsync.KindTimeout, text: "in time", hint: "firewall", connectionLimit: 100 * time.Millisecond},
		"certificate, 1.2":        {url: demanding12, ca: ca.File, cert: cert, key: key},
		"certificate, 1.3":        {url: demanding13, ca: ca.File, cert: cert, key: key},
		"no certificate, 1.2":     {url: demanding12, ca: ca.File, kind: rsync.KindAuth, text: "wants a certificate", hint: "--tls-cert"},
		"no certificate, 1.3":     {url: demanding13, ca: ca.File, kind: rsync.KindAuth, text: "wants a certificate", hint: "--tls-cert"},
		"strange certificate":     {url: demanding12, ca: ca.File, cert: strange, key: strangeKey, kind: rsync.KindAuth, text: strange, hint: "authority"},
		"strange certificate, 13": {url: demanding13, ca: ca.File, cert: strange, key: strangeKey, kind: rsync.KindAuth, text: strange, hint: "authority"},
	} {
		t.Run(name, func(t *testing.T) {
			d := secureDialer(t, c.url, &rsync.TLS{CA: c.ca, Cert: c.cert, Key: c.key, Name: c.name})
			d.ConnectTimeout = c.connectionLimit
			sess, err := d.Connect(t.Context(), archive())
			if c.kind == 0 {
				if err != nil {
					t.Fatal(err)
				}
				sess.Close()
				return
			}
			e := wantKind(t, err, c.kind)
			if !strings.Contains(e.Error(), c.text) || !strings.Contains(e.Hint, c.hint) {
				t.Errorf("error %q, hint %q; want %q and %q", e, e.Hint, c.text, c.hint)
			}
		})
	}
	checkGoroutines(t)
}

// TestTLSBroken has connections that hang or break in the middle of a file: both ends of a session are noticed as without
// TLS, and nothing waits for a last word.
func TestTLSBroken(t *testing.T) {
	s := rsynctest.Daemon(t, rsynctest.Config{})
	ca := rsynctest.NewAuthority(t, "test authority")
	front := rsynctest.TLS(t, s.Addr(), &tls.Config{Certificates: []tls.Certificate{ca.Pair(t, "server", nil)}})
	src := t.TempDir()
	write(t, filepath.Join(src, "large"), noise(1, 20_000_000))
	for name, c := range map[string]struct {
		faults rsynctest.Faults
		hangs  bool
		kind   rsync.Kind
	}{
		"breaks": {rsynctest.Faults{CutUp: 10_000_000}, false, rsync.KindLost},
		"hangs":  {rsynctest.Faults{}, true, rsync.KindTimeout},
	} {
		proxy := rsynctest.Proxy(t, front.Addr(), c.faults)
		d := secureDialer(t, "rsyncs://"+proxy.Addr()+"/m/"+name, &rsync.TLS{CA: ca.File})
		d.Timeout = time.Second
		sess, err := d.Connect(t.Context(), archive())
		if err != nil {
			t.Fatal(err)
		}
		if c.hangs {
			proxy.Stop()
		}
		begin := time.Now()
		_, err = sess.Send(t.Context(), treeBatch(t, src))
		wantKind(t, err, c.kind)
		if d := time.Since(begin); d > 30*time.Second {
			t.Errorf("%s: noticed after %v", name, d)
		}
	}
	// One that is not wanted any more while its peer takes nothing.
	proxy := rsynctest.Proxy(t, front.Addr(), rsynctest.Faults{})
	sess, err := secureDialer(t, "rsyncs://"+proxy.Addr()+"/m/x", &rsync.TLS{CA: ca.File}).Connect(t.Context(), archive())
	if err != nil {
		t.Fatal(err)
	}
	proxy.Stop()
	sent := make(chan error)
	go func() {
		_, err := sess.Send(t.Context(), treeBatch(t, src))
		sent <- err
	}()
	sess.Close()
	if err := <-sent; err == nil {
		t.Error("sent, though closed")
	}
	checkGoroutines(t)
}

// listening is the address of a server that does something to each connection.
func listening(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go serve(c)
		}
	}()
	return l.Addr().String()
}

// TestTLSRenewed changes the files while they are in use.
func TestTLSRenewed(t *testing.T) {
	s := rsynctest.Daemon(t, rsynctest.Config{})
	ca, other := rsynctest.NewAuthority(t, "test authority"), rsynctest.NewAuthority(t, "another one")
	front := rsynctest.TLS(t, s.Addr(), &tls.Config{
		Certificates: []tls.Certificate{ca.Pair(t, "server", nil)},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
	})
	dir := t.TempDir()
	how := &rsync.TLS{CA: filepath.Join(dir, "ca"), Cert: filepath.Join(dir, "both")}
	d := secureDialer(t, front.URL("m"), how)
	install := func(to string, from ...string) {
		t.Helper()
		var text string
		for _, f := range from {
			text += read(t, f)
		}
		must(t, os.WriteFile(to+".new", []byte(text), 0o600))
		must(t, os.Rename(to+".new", to))
	}
	strange, strangeKey := other.Issue(t, "stranger", nil)
	cert, key := ca.Issue(t, "client", nil)
	install(how.CA, other.File)
	install(how.Cert, strange, strangeKey)
	_, err := d.Connect(t.Context(), archive())
	wantKind(t, err, rsync.KindDial)
	install(how.CA, other.File, ca.File)
	_, err = d.Connect(t.Context(), archive())
	wantKind(t, err, rsync.KindAuth)
	install(how.Cert, cert, key, key)
	sess, err := d.Connect(t.Context(), archive())
	if err != nil {
		t.Fatal(err)
	}
	sess.Close()
	must(t, os.Remove(how.CA))
	_, err = d.Connect(t.Context(), archive())
	if e := wantKind(t, err, rsync.KindDial); !strings.Contains(e.Error(), how.CA+": no such file") {
		t.Error(e)
	}
}

// TestTLSFiles has files that are of no use.
func TestTLSFiles(t *testing.T) {
	ca := rsynctest.NewAuthority(t, "test authority")
	cert, key := ca.Issue(t, "client", nil)
	_, otherKey := ca.Issue(t, "other", nil)
	dir := t.TempDir()
	text := func(name, s string) string {
		name = filepath.Join(dir, name)
		write(t, name, s)
		return name
	}
	const locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
	const oldLocked = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
	for _, c := range []struct {
		how        *rsync.TLS
		file, text string
	}{
		{&rsync.TLS{CA: "/no/such"}, "/no/such", "no such file"},
		{&rsync.TLS{CA: key}, key, "no certificate"},
		{&rsync.TLS{Cert: "/no/such", Key: key}, "/no/such", "no such file"},
		{&rsync.TLS{Cert: cert, Key: "/no/such"}, "/no/such", "no such file"},
		{&rsync.TLS{Cert: cert}, cert, "key"},
		{&rsync.TLS{Cert: cert, Key: otherKey}, cert, "match"},
		{&rsync.TLS{Cert: cert, Key: text("locked", locked)}, dir + "/locked", "encrypted"},
		{&rsync.TLS{Cert: cert, Key: text("old", oldLocked)}, dir + "/old", "encrypted"},
	} {
		err := c.how.Check()
		if e, ok := err.(*rsync.TLSFileError); !ok || e.File != c.file || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%+v: %v; want %s and %q", c.how, err, c.file, c.text)
		}
	}
	if err := (&rsync.TLS{CA: ca.File, Cert: cert, Key: key}).Check(); err != nil {
		t.Error(err)
	}
}

// farAway is a connection that seems to lead to another host.
type farAway struct {
	net.Conn
	addr net.Addr
}

func (c farAway) RemoteAddr() net.Addr { return c.addr }

func dialAs(to string, addr net.Addr) func(context.Context) (io.ReadWriteCloser, error) {
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", to)
		return farAway{c, addr}, err
	}
}

// TestWarnsOfPasswords wants a warning where others may listen.
func TestWarnsOfPasswords(t *testing.T) {
	s := rsynctest.Daemon(t, rsynctest.Config{Modules: []rsynctest.Module{
		{Name: "m", Users: map[string]string{"joe": "secret"}}, {Name: "open"},
	}})
	for _, c := range []struct {
		url, from string
		warns     bool
	}{
		{"rsync://joe@h/m", "192.0.2.1:873", true},
		{"rsync://joe@h/m", "[2001:db8::1]:873", true},
		{"rsync://joe@h/m", "127.0.0.2:873", false},
		{"rsync://joe@h/m", "[::1]:873", false},
		{"rsyncs://joe@h/m", "192.0.2.1:873", false},
		{"rsync://h/open", "192.0.2.1:873", false},
	} {
		addr, err := net.ResolveTCPAddr("tcp", c.from)
		must(t, err)
		d := secureDialer(t, c.url, nil)
		d.Password = func() (string, error) { return "secret", nil }
		d.Dial = dialAs(s.Addr(), addr)
		var warnings []string
		d.Warn = func(line string) { warnings = append(warnings, line) }
		sess, err := d.Connect(t.Context(), archive())
		if err != nil {
			t.Fatal(err)
		}
		sess.Close()
		if (len(warnings) == 1) != c.warns || c.warns && !strings.Contains(warnings[0], "not encrypted") {
			t.Errorf("%s at %s: %q", c.url, c.from, warnings)
		}
	}
}
