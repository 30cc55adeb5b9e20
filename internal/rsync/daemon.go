package rsync

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/syncd/syncd/internal/rsync/wire"
)

const (
	minProtocol = 27
	maxProtocol = 32

	maxLine  = 4096    // longest line of a daemon's greeting, in bytes; daemons stay below 1024
	maxHello = 1 << 20 // most bytes of a daemon's words before it accepts or refuses: the message of the day
)

// A Module is one line of a daemon's list.
type Module struct {
	Name, Comment string
}

// A hello is the line-wise conversation at the start of a connection with a daemon (1.1 to 1.3).
type hello struct {
	d        *Dialer
	c        *conn
	r        *wire.Reader
	w        *wire.Writer
	announce int // the version that we announce
	read     int // bytes of lines so far

	server   int // the version that the daemon announced
	protocol int // what both agreed on
	digest   authDigest
}

// greet exchanges the first lines. The daemon's is read before ours is written: it lists the digests of which we
// announce one alone, because releases differ in who decides among several.
func (h *hello) greet() error {
	line, err := h.line()
	if err != nil {
		return h.d.greetingError(err)
	}
	rest, ok := strings.CutPrefix(line, "@RSYNCD: ")
	if !ok {
		if strings.HasPrefix(line, "@ERROR") {
			return h.d.refusal(line)
		}
		return h.d.errorf(KindNotRsync, "greeting", "check host and port", "the answer is not rsync's: %q", clip(line))
	}
	version, digests, _ := strings.Cut(rest, " ")
	sub := 0
	major, minor, dotted := strings.Cut(version, ".")
	h.server, err = strconv.Atoi(major)
	if err == nil && dotted {
		sub, err = strconv.Atoi(minor)
	}
	if err != nil || h.server < 1 || h.server > 1<<16 {
		return h.d.errorf(KindNotRsync, "greeting", "check host and port", "not a version: %q", clip(line))
	}
	h.protocol = agree(h.announce, h.server, sub)
	if h.protocol < minProtocol {
		return h.d.errorf(KindProtocol, "greeting", "install rsync 2.6 or later there",
			"the server speaks protocol %d, the oldest that is understood is %d", h.server, minProtocol)
	}
	h.w.String(h.greeting(strings.Fields(digests)))
	return nil
}

// agree returns the protocol of two announced versions. Ours has no sub-version, so a pre-release of the lower or same
// version means the release before it (1.1).
func agree(ours, server, sub int) int {
	if server > ours || server == ours && sub == 0 {
		return ours
	}
	if sub != 0 {
		return server - 1
	}
	return server
}

// greeting composes our first line and settles the digest.
func (h *hello) greeting(offered []string) string {
	h.digest = defaultDigest(h.protocol)
	if h.announce < 30 && len(offered) == 0 {
		return fmt.Sprintf("@RSYNCD: %d\n", h.announce)
	}
	names := digestNames()
	if len(offered) > 0 {
		if d, ok := chooseDigest(offered); ok {
			h.digest, names = d, d.name
		}
	}
	return fmt.Sprintf("@RSYNCD: %d.0 %s\n", h.announce, names)
}

// module asks for the module and answers a challenge. It returns when the daemon waits for the arguments.
func (h *hello) module() error {
	h.w.String(h.d.Dest.Module + "\n")
	for {
		line, err := h.line()
		if err != nil {
			return h.d.greetingError(err)
		}
		switch {
		case line == "@RSYNCD: OK":
			return nil
		case strings.HasPrefix(line, "@RSYNCD: AUTHREQD "):
			if err := h.authenticate(strings.TrimPrefix(line, "@RSYNCD: AUTHREQD ")); err != nil {
				return err
			}
		case strings.HasPrefix(line, "@ERROR"):
			return h.d.refusal(line)
		case line == "@RSYNCD: EXIT":
			return h.d.errorf(KindModule, "module "+h.d.Dest.Module, "", "the daemon ended the conversation")
		default:
			h.motd(line)
		}
	}
}

// defaultUser is who a client is that names no user.
const defaultUser = "nobody"

func (h *hello) authenticate(challenge string) error {
	dest := h.d.Dest
	if h.d.Password == nil {
		return h.d.errorf(KindAuth, "module "+dest.Module, authHint, "the daemon asks for a password and none is given")
	}
	h.warn()
	// Somebody may be typing it: that is no silence of the server.
	limit := h.c.silenceLimit()
	h.c.setLimit(0)
	password, err := h.d.Password()
	h.c.setLimit(limit)
	if err != nil {
		return h.d.fail(KindAuth, "read the password", authHint, err)
	}
	user := dest.User
	if user == "" {
		user = defaultUser
	}
	h.w.String(user + " " + h.digest.response(password, challenge) + "\n")
	return nil
}

// warn says that others may listen, unless they can't.
func (h *hello) warn() {
	if h.d.Warn == nil || h.d.Dest.TLS {
		return
	}
	t, ok := h.c.raw.(interface{ RemoteAddr() net.Addr })
	if !ok {
		return
	}
	if a, ok := t.RemoteAddr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		h.d.Warn(h.d.Dest.String() + ": it asks for a password, and the connection is not encrypted: names and contents" +
			" can be read and changed on the way; use rsyncs:// or ssh where the network is not yours")
	}
}

// moduleWidth is how wide a daemon pads the names of its list.
const moduleWidth = 15

// list reads the modules that the daemon shows.
func (h *hello) list() ([]Module, error) {
	h.w.String("#list\n")
	var modules []Module
	for {
		line, err := h.line()
		if err != nil {
			return nil, h.d.greetingError(err)
		}
		if line == "@RSYNCD: EXIT" {
			return modules, nil
		}
		if strings.HasPrefix(line, "@ERROR") {
			return nil, h.d.refusal(line)
		}
		// A line is "%-15s\t%s"; what has no tab is the message of the day.
		name, comment, ok := strings.Cut(line, "\t")
		if !ok || len(name) < moduleWidth {
			h.motd(line)
			continue
		}
		modules = append(modules, Module{Name: strings.TrimRight(name, " "), Comment: comment})
	}
}

func (h *hello) motd(line string) {
	if h.d.MOTD != nil {
		h.d.MOTD(line)
	}
}

var errEndless = errors.New("the daemon's words have no end")

// line reads one line, after what we have to say has been said.
func (h *hello) line() (string, error) {
	if err := h.w.Flush(); err != nil {
		return "", err
	}
	var b []byte
	for {
		c := h.r.Byte()
		if err := h.r.Err(); err != nil {
			return "", err
		}
		if h.read++; h.read > maxHello {
			return "", errEndless
		}
		if c == '\n' {
			return strings.TrimSuffix(string(b), "\r"), nil
		}
		if len(b) == maxLine {
			return "", h.d.errorf(KindNotRsync, "greeting", "check host and port", "endless line %q", clip(string(b)))
		}
		b = append(b, c)
	}
}

// clip shortens what a peer said for an error.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
