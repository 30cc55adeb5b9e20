// Package wire holds the alphabet of the rsync protocol: its primitive encodings and the frames that carry data and
// messages over one connection. It knows neither sockets nor sessions: a [Writer] works on any io.Writer, a [Reader]
// and a [Demux] on any io.Reader. The source of every rule is the protocol document, sections 3 and 4.
//
// Nothing that a peer sends makes this package panic or use memory without bound: what is out of range becomes an
// error that wraps [ErrProtocol].
package wire

import (
	"errors"
	"fmt"
)

// ErrProtocol is wrapped by every error that says that the peer broke the protocol. The stream is lost then: the
// caller can only close the connection.
var ErrProtocol = errors.New("protocol error")

// Errorf returns an error in the style of fmt.Errorf that wraps [ErrProtocol].
func Errorf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// A Tag is the type of a frame (protocol 4.1).
type Tag uint8

// The tags that travel between client and server (protocol 4.2, 4.3). Those that a server uses between its own
// processes are unknown here: on a connection they are errors.
const (
	DataTag   Tag = 0   // a piece of the data stream; never seen by a handler
	ErrorXfer Tag = 1   // text: an entry failed, the session goes on
	Info      Tag = 2   // text
	Error     Tag = 3   // text, protocol 30 and later
	Warning   Tag = 4   // text, protocol 30 and later
	IOError   Tag = 22  // int32: io_error bits
	IOTimeout Tag = 33  // int32: the server's timeout in seconds
	Noop      Tag = 42  // empty: keep-alive of protocol 30
	ErrorExit Tag = 86  // empty or int32: exit code
	Success   Tag = 100 // int32 index: the entry is in place
	Deleted   Tag = 101 // path, with a final NUL if it was a directory
	NoSend    Tag = 102 // int32 index: a request that is not served; only client to server
)

var tagNames = map[Tag]string{
	DataTag: "DATA", ErrorXfer: "ERROR_XFER", Info: "INFO", Error: "ERROR", Warning: "WARNING",
	IOError: "IO_ERROR", IOTimeout: "IO_TIMEOUT", Noop: "NOOP", ErrorExit: "ERROR_EXIT",
	Success: "SUCCESS", Deleted: "DELETED", NoSend: "NO_SEND",
}

// String returns the protocol document's name of the tag, or its number.
func (t Tag) String() string {
	if s, ok := tagNames[t]; ok {
		return s
	}
	return fmt.Sprintf("tag %d", uint8(t))
}

// known reports whether a peer may send frames of this type.
func (t Tag) known() bool {
	switch t {
	case DataTag, ErrorXfer, Info, Error, Warning, IOError, IOTimeout, Noop, ErrorExit, Success, Deleted, NoSend:
		return true
	}
	return false
}

// Indexes with a meaning of their own (protocol 3.5).
const (
	NdxDone     = -1 // end of a phase
	NdxFlistEOF = -2 // client to server: no more sub-lists
	NdxDelStats = -3 // server to client: five counts of deletions follow
)

const (
	// MaxLiteral is the longest literal token in bytes. Some servers refuse longer ones (protocol 7.5).
	MaxLiteral = 32768
	// MaxVstring is the longest string of protocol 3.4 in bytes.
	MaxVstring = 0x7fff
	// MaxMessage is the longest payload in bytes of a frame that is not data. Servers stay below 5120.
	MaxMessage = 64 << 10

	headerLen   = 4
	tagBase     = 7        // what a frame's tag is raised by on the wire
	maxFrame    = 0xffffff // longest payload that a frame's header can state
	tokenHeader = 4
)
