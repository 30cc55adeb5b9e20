package config

import (
	"errors"

	"github.com/syncd/syncd/internal/rsync"
)

// tlsFiles are the flags of a connection behind TLS.
type tlsFiles struct {
	ca, cert, key, name string
}

func (t *tlsFiles) register(f *flags) {
	f.text(&t.ca, "tls-ca", "")
	f.text(&t.cert, "tls-cert", "")
	f.text(&t.key, "tls-key", "")
	f.text(&t.name, "tls-name", "")
}

// of returns what a connection to d is made with: by these flags, or else by the variables of rsync-ssl. The files are
// read at once, so that a mistake is found before a connection is made.
func (t *tlsFiles) of(d rsync.Dest, env func(string) string) (*rsync.TLS, error) {
	given := []struct{ flag, value, variable string }{
		{"--tls-ca", t.ca, "RSYNC_SSL_CA_CERT"}, {"--tls-cert", t.cert, "RSYNC_SSL_CERT"},
		{"--tls-key", t.key, "RSYNC_SSL_KEY"}, {"--tls-name", t.name, ""},
	}
	if !d.TLS {
		for _, g := range given {
			if g.value != "" {
				return nil, &UsageError{
					What: g.flag, Reason: "it is for a connection with TLS and DEST is reached without",
					Remedy: "write DEST as rsyncs://HOST/MODULE/PATH, or leave it out",
				}
			}
		}
		return nil, nil
	}
	how := &rsync.TLS{CA: t.ca, Cert: t.cert, Key: t.key, Name: t.name}
	if how.CA == "" {
		how.CA = env("RSYNC_SSL_CA_CERT")
	}
	if how.Cert == "" {
		how.Cert = env("RSYNC_SSL_CERT")
		if how.Key == "" { // else it is that of another certificate
			how.Key = env("RSYNC_SSL_KEY")
		}
	}
	if how.Key != "" && how.Cert == "" {
		return nil, &UsageError{
			What: "--tls-key", Reason: "a key without its certificate", Remedy: "give the certificate by --tls-cert",
		}
	}
	err := how.Check()
	if e, ok := errors.AsType[*rsync.TLSFileError](err); ok {
		u := &UsageError{What: printable(e.File), Reason: reason(e.Err), Remedy: "give a file with PEM in it that you can read"}
		for _, g := range given {
			if g.value == e.File {
				u.What = g.flag + "=" + u.What
				break
			}
			if g.value == "" && g.variable != "" && env(g.variable) == e.File {
				u.What = g.variable + "=" + u.What
				break
			}
		}
		return nil, u
	}
	return how, err
}
