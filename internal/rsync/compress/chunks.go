package compress

import "github.com/syncd/syncd/internal/rsync/wire"

const (
	// maxChunk is the longest chunk of compressed data, in bytes.
	maxChunk = 16383
	// flagData is the flag of a chunk, whose low bits are the high ones of its length.
	flagData = 0x40
	// heldBack is kept in the buffer whatever comes, so that the last bytes of a run can be taken back.
	heldBack = 4
	// bufferSize lets the encoders' blocks go through in few pieces.
	bufferSize = 4*maxChunk + heldBack
)

// chunks cuts a stream into chunks of the token format. It is an encoder's io.Writer and never fails: errors of the
// connection stay with the wire.Writer.
type chunks struct {
	w     *wire.Writer
	buf   []byte
	total int64 // bytes added, muted ones not
	muted bool  // what comes is thrown away
}

// Write adds p to the stream.
func (c *chunks) Write(p []byte) (int, error) {
	if c.muted {
		return len(p), nil
	}
	c.total += int64(len(p))
	if c.buf == nil {
		c.buf = make([]byte, 0, bufferSize)
	}
	for rest := p; len(rest) > 0; {
		n := min(len(rest), cap(c.buf)-len(c.buf))
		c.buf = append(c.buf, rest[:n]...)
		rest = rest[n:]
		if len(c.buf) == cap(c.buf) {
			c.cut()
		}
	}
	return len(p), nil
}

// cut sends all full chunks.
func (c *chunks) cut() {
	sent := 0
	for len(c.buf)-sent >= maxChunk+heldBack {
		c.chunk(c.buf[sent : sent+maxChunk])
		sent += maxChunk
	}
	c.buf = c.buf[:copy(c.buf, c.buf[sent:])]
}

// takeBack removes the last n bytes, heldBack at most.
func (c *chunks) takeBack(n int) {
	c.buf = c.buf[:len(c.buf)-n]
	c.total -= int64(n)
}

// finish sends all that is there.
func (c *chunks) finish() {
	rest := c.buf
	for len(rest) > maxChunk {
		c.chunk(rest[:maxChunk])
		rest = rest[maxChunk:]
	}
	if len(rest) > 0 {
		c.chunk(rest)
	}
	c.buf = c.buf[:0]
}

// chunk sends one chunk.
func (c *chunks) chunk(p []byte) {
	c.w.Byte(flagData | byte(len(p)>>8))
	c.w.Byte(byte(len(p)))
	c.w.Bytes(p)
}
