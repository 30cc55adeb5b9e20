package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// bufferSize is what a Writer gathers before it writes: two full literal tokens with what stands around them, so that
// a big file goes out in writes of more than 64 KiB. Every server accepts frames of this size (protocol 4.1).
const bufferSize = 72 << 10

// A Writer encodes into a buffer and writes that out when it is full or flushed. After [Writer.StartFraming] all data
// travels in frames; each frame's header has its place in the buffer before the data, so a frame is one write.
//
// Errors are sticky: the first is kept, and what is written after it is dropped. A Writer is not for concurrent use.
type Writer struct {
	dst     io.Writer
	buf     []byte // always bufferSize long
	n       int    // end of what is in buf
	frame   int    // offset in buf of the header of the open frame, if framed
	framed  bool
	literal struct{ at, room int } // where the slice of the last Literal lies; room is 0 when there is none
	ndx     ndxState
	written int64
	err     error
}

// NewWriter returns a Writer that does not frame yet.
func NewWriter(w io.Writer) *Writer {
	return &Writer{dst: w, buf: make([]byte, bufferSize), ndx: ndxStart}
}

// StartFraming writes out what is buffered, raw, and puts all that follows into frames. Protocol 2.5 says when.
func (w *Writer) StartFraming() {
	if w.framed {
		return
	}
	w.Flush()
	w.framed = true
	w.open()
}

// open starts a data frame at the end of the buffer.
func (w *Writer) open() {
	w.frame = w.n
	if w.framed {
		w.n += headerLen
	}
}

// seal completes the open data frame, or takes it back if it is empty.
func (w *Writer) seal() {
	if !w.framed {
		return
	}
	size := w.n - w.frame - headerLen
	if size == 0 {
		w.n = w.frame
		return
	}
	putHeader(w.buf[w.frame:], DataTag, size)
}

func putHeader(b []byte, t Tag, size int) {
	binary.LittleEndian.PutUint32(b, (tagBase+uint32(t))<<24|uint32(size))
}

// Flush writes out all that is buffered and returns the Writer's error.
func (w *Writer) Flush() error {
	w.seal()
	if w.n > 0 {
		w.write(w.buf[:w.n])
	}
	w.n = 0
	w.open()
	return w.err
}

func (w *Writer) write(p []byte) {
	if w.err != nil {
		return
	}
	n, err := w.dst.Write(p)
	w.written += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	w.err = err
}

// fail keeps the first error.
func (w *Writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// Err returns the first error, nil if there was none.
func (w *Writer) Err() error { return w.err }

// Written returns the number of bytes that the underlying writer has taken, headers of frames included.
func (w *Writer) Written() int64 { return w.written }

// room makes place for n bytes, n well below bufferSize, and returns it. The bytes count as written.
func (w *Writer) room(n int) []byte {
	if len(w.buf)-w.n < n {
		w.Flush()
	}
	b := w.buf[w.n : w.n+n]
	w.n += n
	return b
}

// Byte writes one byte.
func (w *Writer) Byte(b byte) { w.room(1)[0] = b }

// Uint16 writes 2 bytes, little-endian.
func (w *Writer) Uint16(v uint16) { binary.LittleEndian.PutUint16(w.room(2), v) }

// Int32 writes 4 bytes, little-endian (protocol 3.1).
func (w *Writer) Int32(v int32) { binary.LittleEndian.PutUint32(w.room(4), uint32(v)) }

// Varint writes 1 to 5 bytes (protocol 3.2).
func (w *Writer) Varint(v int32) { w.variable(uint64(uint32(v)), 1) }

// Varlong writes v with at least m low bytes, 3 <= m <= 8 (protocol 3.3).
func (w *Writer) Varlong(v int64, m int) { w.variable(uint64(v), m) }

func (w *Writer) variable(v uint64, m int) {
	var b [maxVar]byte
	n := putVar(&b, v, m)
	copy(w.room(n), b[:n])
}

// Longint writes 4 or 12 bytes (protocol 3.1, before protocol 30).
func (w *Writer) Longint(v int64) {
	if 0 <= v && v <= math.MaxInt32 {
		w.Int32(int32(v))
		return
	}
	b := w.room(12)
	binary.LittleEndian.PutUint32(b, math.MaxUint32)
	binary.LittleEndian.PutUint64(b[4:], uint64(v))
}

// Vstring writes a length and s (protocol 3.4). More than [MaxVstring] bytes are an error.
func (w *Writer) Vstring(s string) {
	switch n := len(s); {
	case n > MaxVstring:
		w.fail(fmt.Errorf("string of %d bytes: longer than %d", n, MaxVstring))
		return
	case n > 0x7f:
		w.Byte(byte(0x80 | n>>8))
		w.Byte(byte(n))
	default:
		w.Byte(byte(n))
	}
	w.String(s)
}

// Bytes writes p as it is.
func (w *Writer) Bytes(p []byte) {
	for len(p) > 0 {
		n := copy(w.some(len(p)), p)
		p = p[n:]
	}
}

// String writes the bytes of s, without length.
func (w *Writer) String(s string) {
	for len(s) > 0 {
		n := copy(w.some(len(s)), s)
		s = s[n:]
	}
}

// some returns room for up to n bytes, at least one.
func (w *Writer) some(n int) []byte {
	if free := len(w.buf) - w.n; free > 0 {
		return w.room(min(n, free))
	}
	return w.room(min(n, len(w.buf)/2))
}

// Ndx writes an index: differentially from protocol 30 on, before as int32 (protocol 3.5).
func (w *Writer) Ndx(n int32, protocol int) {
	if protocol < 30 {
		w.Int32(n)
		return
	}
	var b [maxNdx]byte
	size := w.ndx.put(&b, n)
	copy(w.room(size), b[:size])
}

// Literal returns room for the payload of a literal token of n bytes (at most [MaxLiteral] are given), inside the
// buffer: file data read into it is not copied again. It stays valid until Commit; of the other methods only Flush and
// KeepAlive may be called in between. A literal that is not wanted after all needs no Commit.
func (w *Writer) Literal(n int) []byte {
	n = max(0, min(n, MaxLiteral))
	if len(w.buf)-w.n < tokenHeader+n {
		w.Flush()
	}
	w.literal.at, w.literal.room = w.n+tokenHeader, n
	return w.buf[w.literal.at : w.literal.at+n : w.literal.at+n]
}

// Commit writes the token of the first n bytes of the slice that the last Literal returned (protocol 7.5). n may be
// smaller than that slice; with 0 nothing is written, because an empty token would end the file.
func (w *Writer) Commit(n int) {
	at, room := w.literal.at, w.literal.room
	w.literal.room = 0
	if n == 0 {
		return
	}
	if n < 0 || n > room {
		w.fail(fmt.Errorf("commit of %d bytes: only %d are reserved", n, room))
		return
	}
	// A Flush since Literal has moved the end of the buffer to the front. It never moves beyond at.
	if to := w.n + tokenHeader; to != at {
		copy(w.buf[to:], w.buf[at:at+n])
	}
	binary.LittleEndian.PutUint32(w.buf[w.n:], uint32(n))
	w.n += tokenHeader + n
}

var errUnframed = errors.New("message on a stream without frames")

// Message writes a frame of its own that stands after the data written so far. Like data it waits in the buffer.
// It is an error before StartFraming, and for more than [MaxMessage] bytes.
func (w *Writer) Message(t Tag, payload []byte) {
	switch {
	case !w.framed:
		w.fail(errUnframed)
		return
	case len(payload) > MaxMessage:
		w.fail(fmt.Errorf("message of %d bytes: longer than %d", len(payload), MaxMessage))
		return
	}
	// The next data frame's header must have its place behind the message.
	if len(w.buf)-w.n < headerLen+len(payload)+headerLen {
		w.Flush()
	}
	w.seal()
	putHeader(w.buf[w.n:], t, len(payload))
	w.n += headerLen
	w.n += copy(w.buf[w.n:], payload)
	w.open()
}

// KeepAlive writes out all that is buffered and an empty data frame, which the peer ignores but counts as a sign of
// life (protocol 2.6). Without frames there is no such thing: it then only flushes.
func (w *Writer) KeepAlive() {
	if w.Flush() != nil || !w.framed {
		return
	}
	putHeader(w.buf, DataTag, 0)
	w.write(w.buf[:headerLen])
}
