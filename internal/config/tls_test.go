package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/syncd/syncd/internal/rsynctest"
)

func TestTLS(t *testing.T) {
	ca := rsynctest.NewAuthority(t, "test")
	cert, key := ca.Issue(t, "client", nil)
	other, otherKey := ca.Issue(t, "client", nil)
	both := filepath.Join(t.TempDir(), "both")
	text := ""
	for _, name := range []string{cert, key} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text += string(b)
	}
	if err := os.WriteFile(both, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	theirs := map[string]string{"RSYNC_SSL_CA_CERT": ca.File, "RSYNC_SSL_CERT": other, "RSYNC_SSL_KEY": otherKey}
	for _, c := range []struct {
		args string // before SRC
		dest string
		env  map[string]string
		want string // CA, Cert, Key, Name; or a part of the error
	}{
		{"", "rsync://h/m", theirs, "none"},
		{"", "rsyncs://h/m", nil, ",,,"},
		{"", "rsyncs://h/m", theirs, ca.File + "," + other + "," + otherKey + ","},
		{"--tls-ca=" + ca.File + " --tls-name=n", "rsyncs://h/m", nil, ca.File + ",,,n"},
		{"--tls-cert=" + cert + " --tls-key=" + key, "rsyncs://h/m", theirs, ca.File + "," + cert + "," + key + ","},
		{"--tls-cert=" + both, "rsyncs://h/m", theirs, ca.File + "," + both + ",,"},
		{"--tls-key=" + otherKey, "rsyncs://h/m", theirs, ca.File + "," + other + "," + otherKey + ","},
		{"--tls-key=" + key, "rsyncs://h/m", nil, "--tls-key: a key without its certificate; give the certificate by --tls-cert"},
		{"--tls-key=/no/such --tls-cert=" + cert, "rsyncs://h/m", nil, "--tls-key=/no/such: no such file or directory; "},
		{"--tls-ca=" + key, "rsyncs://h/m", nil, "--tls-ca=" + key + ": no certificate in it; "},
		{"", "rsyncs://h/m", map[string]string{"RSYNC_SSL_CA_CERT": "/no/such"}, "RSYNC_SSL_CA_CERT=/no/such: no such file"},
		{"--tls-ca=" + ca.File, "rsync://h/m", nil, "--tls-ca: it is for a connection with TLS and DEST is reached without; write DEST as rsyncs://"},
		{"--tls-cert=" + both, "h::m", nil, "--tls-cert: it is for"},
		{"--tls-key=" + key, "h:/m", nil, "--tls-key: it is for"},
		{"--tls-name=n", "/tmp/x", nil, "--tls-name: it is for"},
		{"--tls-ca=", "rsyncs://h/m", nil, "--tls-ca: its value is empty"},
	} {
		args := append([]string{"--full", "-a"}, strings.Fields(c.args)...)
		got, err := Parse(append(args, "/src", c.dest), func(k string) string { return c.env[k] }, nil)
		if err != nil {
			if !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("%s %s: %v; want %q", c.args, c.dest, err, c.want)
			}
			continue
		}
		is := "none"
		if how := got.TLS; how != nil {
			is = strings.Join([]string{how.CA, how.Cert, how.Key, how.Name}, ",")
		}
		if diff := cmp.Diff(c.want, is); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", c.args, c.dest, diff)
		}
	}
}
