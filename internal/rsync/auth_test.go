package rsync

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/rsynctest"
)

// TestAuth answers a real daemon with each digest: with all that can be named, and as before there were lists.
func TestAuth(t *testing.T) {
	s := rsynctest.Daemon(t, rsynctest.Config{Modules: []rsynctest.Module{
		{Name: "m", Users: map[string]string{"joe": "pass word", "nobody": "x"}}}})
	dest, err := ParseDest("rsync://joe@" + s.Addr() + "/m")
	if err != nil {
		t.Fatal(err)
	}
	connect := func(d *Dialer, protocol int) error {
		d.Dest = dest
		d.Password = func() (string, error) { return "pass word", nil }
		sess, err := d.Connect(t.Context(), Options{Protocol: protocol, MaxDelete: -1})
		if err != nil {
			return err
		}
		return sess.Close()
	}
	all := authDigests
	defer func() { authDigests = all }()
	for _, a := range all {
		authDigests = []authDigest{a}
		for _, protocol := range []int{27, 29, 30, 31, 32} {
			if err := connect(&Dialer{}, protocol); err != nil {
				t.Errorf("%s, protocol %d: %v", a.name, protocol, err)
			}
		}
	}
	authDigests = all
	for protocol, greetings := range map[int][2]string{
		29: {"@RSYNCD: 29\n", "@RSYNCD: 29\n"},     // MD4 with zeros before
		31: {"@RSYNCD: 31.0\n", "@RSYNCD: 31.0\n"}, // MD5
	} {
		d := &Dialer{Dial: func(context.Context) (io.ReadWriteCloser, error) {
			c, err := net.Dial("tcp", s.Addr())
			return &oldGreetings{ReadWriteCloser: c, theirs: greetings[0], ours: greetings[1]}, err
		}}
		if err := connect(d, protocol); err != nil {
			t.Errorf("no lists, protocol %d: %v", protocol, err)
		}
	}

	dest.User = "" // who is "nobody" then
	var e *Error
	if err := connect(&Dialer{}, 32); !errors.As(err, &e) || e.Kind != KindAuth {
		t.Errorf("nobody's password: %v", err)
	}
	dest.User = "joe"
	authDigests = []authDigest{{name: "none-such", new: all[0].new}}
	if err := connect(&Dialer{}, 32); !errors.As(err, &e) || e.Kind != KindAuth {
		t.Errorf("no digest in common: %v", err)
	}
}

// oldGreetings makes both sides of a connection believe that the other one is old.
type oldGreetings struct {
	io.ReadWriteCloser
	theirs, ours string
	read         bool
	written      bool
}

func (g *oldGreetings) Read(p []byte) (int, error) {
	if g.read {
		return g.ReadWriteCloser.Read(p)
	}
	g.read = true
	var line []byte
	for !bytes.HasSuffix(line, []byte("\n")) {
		b := make([]byte, 1)
		if _, err := g.ReadWriteCloser.Read(b); err != nil {
			return 0, err
		}
		line = append(line, b...)
	}
	return copy(p, g.theirs), nil
}

func (g *oldGreetings) Write(p []byte) (int, error) {
	if g.written {
		return g.ReadWriteCloser.Write(p)
	}
	g.written = true
	_, rest, _ := strings.Cut(string(p), "\n")
	if _, err := g.ReadWriteCloser.Write([]byte(g.ours + rest)); err != nil {
		return 0, err
	}
	return len(p), nil
}
