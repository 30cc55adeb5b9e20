package transfer

import (
	"crypto/tls"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/internal/treetest"
)

// A whole tree goes through TLS, by a client with a certificate, and then what changes in it.
func TestFollowThroughTLS(t *testing.T) {
	s := rsynctest.Daemon(t, rsynctest.Config{})
	ca := rsynctest.NewAuthority(t, "test")
	front := rsynctest.TLS(t, s.Addr(), &tls.Config{
		Certificates: []tls.Certificate{ca.Pair(t, "server", nil)},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
	})
	how := &rsync.TLS{CA: ca.File}
	how.Cert, how.Key = ca.Issue(t, "client", nil)
	secure := func(c *Config) { c.Dialer.TLS, c.Delete = how, true }

	src, dst := t.TempDir(), filepath.Join(s.Dir("m"), "dest")
	rng := rand.New(rand.NewPCG(7, 7))
	treetest.Random(t, rng, src, 300)
	write(t, filepath.Join(src, "large"), string(make([]byte, 40<<20)))
	_, rec := pass(t, src, front.URL("m/dest"), secure)
	rec.clean(t)
	equal(t, src, dst)

	f := follow(t, src, front.URL("m/dest"), secure)
	for range 5 {
		before := treetest.Snapshot(t, src, plain)
		treetest.Mutate(t, rng, src, 30)
		f.Changed(changedItems(t, before, src)...)
		settles(t, src, dst)
	}
}
