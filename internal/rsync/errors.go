package rsync

import (
	"errors"
	"fmt"
	"strings"
)

// Kind says what went wrong with a session as a whole, as far as a caller acts on it.
type Kind uint8

// The kinds of error of a session.
const (
	KindDial     Kind = iota + 1 // no connection: unknown host, refused, no answer in time
	KindNotRsync                 // something else than rsync answered
	KindModule                   // the daemon does not serve this module to this client
	KindBusy                     // max connections: worth another try later
	KindAuth                     // the daemon wants a password, or another one
	KindReadOnly                 // the module is read only
	KindRefused                  // the server does not know or allow an option; Op names it
	KindProtocol                 // one side broke the protocol, or the versions have nothing in common
	KindTimeout                  // silence for longer than allowed
	KindServer                   // the server ended the session; Code is its exit code
	KindShell                    // the remote shell failed, or could not start rsync
	KindDiskFull                 // no space, inodes or quota left at the destination
	KindLost                     // the connection ended in the middle: worth another try
	KindStuck                    // asked for acknowledgements, it stopped after errors: worth a try without, or with few entries
)

var kindNames = [...]string{"", "dial", "not rsync", "module", "busy", "auth", "read only", "refused", "protocol",
	"timeout", "server", "shell", "disk full", "lost", "stuck"}

// String returns the kind's name.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// An Error says why a session failed. It is one line without the remedy, which stands in Hint.
type Error struct {
	Kind   Kind
	Op     string // what was being done, or, for KindRefused, the option
	Server string // the destination
	Hint   string // the remedy for the operator, "" when there is none to name
	Code   int    // rsync's exit code (protocol 8.3), 0 when the server gave none
	Err    error  // the reason: the server's words, the kernel's error, or the context's cause
}

// Error returns one line: destination, operation, reason.
func (e *Error) Error() string {
	var parts []string
	for _, s := range []string{e.Server, e.Op} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if e.Err != nil {
		parts = append(parts, oneLine(e.Err.Error()))
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// ErrChanged is what File.Close returns when the bytes that were read are not those of one unchanged version of the
// file. The entry is sent all the same and reported as Changed.
var ErrChanged = errors.New("changed while it was sent")

// errClosed is the reason of a session whose owner closed it.
var errClosed = errors.New("session closed")

// errSilence is the cause of a connection that was given up because nothing moved on it.
var errSilence = errors.New("nothing sent or received")

// errIdle is the cause of one whose server lives and gets nowhere.
var errIdle = fmt.Errorf("%w but signs of life", errSilence)

// errStuck is the cause of one whose server waits for files that it could not create.
var errStuck = errors.New("the server goes on no more after errors about single entries")

// oneLine makes a text of a peer fit for one line of a terminal or log: what is not printable ASCII or UTF-8 text is
// written as rsync writes it, \#ooo in octal.
func oneLine(s string) string {
	clean := true
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] == 0x7f {
			clean = false
			break
		}
	}
	if clean {
		return strings.ToValidUTF8(s, "?")
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\t':
			b.WriteByte(' ')
		case c < 0x20 || c == 0x7f:
			b.WriteString(`\#`)
			b.WriteByte('0' + c>>6)
			b.WriteByte('0' + c>>3&7)
			b.WriteByte('0' + c&7)
		default:
			b.WriteByte(c)
		}
	}
	return strings.ToValidUTF8(b.String(), "?")
}
