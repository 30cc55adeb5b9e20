package wire

import (
	"encoding/binary"
	"io"
)

// readerSize is the buffer of a Reader in bytes.
const readerSize = 32 << 10

// A Reader decodes. Errors are sticky: after the first all reads return zero values; callers check [Reader.Err] before
// they act on what they read. A Reader is not for concurrent use.
//
// The end of the input is io.EOF between two values and io.ErrUnexpectedEOF inside one. What no writer produces is an
// error that wraps [ErrProtocol].
type Reader struct {
	src         io.Reader
	buf         []byte
	pos, end    int
	beforeBlock func()
	ndx         ndxState
	err         error
	zero        [maxVar]byte // what is read after an error; never written to
}

// NewReader returns a Reader with a buffer of its own. What it has buffered can be had with Read, so a Reader may be
// used for the raw bytes at a connection's start and then be given to [NewDemux].
func NewReader(r io.Reader) *Reader {
	return &Reader{src: r, buf: make([]byte, readerSize), ndx: ndxStart}
}

// SetBeforeBlock sets a function that is called whenever the buffered input is used up and the next read may block. A
// session flushes its Writer there: the peer may be waiting for just that. nil removes it.
func (r *Reader) SetBeforeBlock(f func()) { r.beforeBlock = f }

// Err returns the first error, nil if there was none.
func (r *Reader) Err() error { return r.err }

// Buffered returns the number of bytes that can be read without blocking, as far as is known.
func (r *Reader) Buffered() int { return r.end - r.pos + r.waiting() }

// waiting returns how much the source itself holds ready, if it can tell.
func (r *Reader) waiting() int {
	if b, ok := r.src.(interface{ Buffered() int }); ok {
		return b.Buffered()
	}
	return 0
}

func (r *Reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.pos, r.end = 0, 0 // the fast paths look only at these
}

// read calls the source once.
func (r *Reader) read(p []byte) (int, error) {
	if r.beforeBlock != nil && r.waiting() == 0 {
		r.beforeBlock()
	}
	return r.src.Read(p)
}

// fill gets at least n bytes into the buffer, n <= maxVar. inside says that a value has begun already.
func (r *Reader) fill(n int, inside bool) bool {
	if r.err != nil {
		return false
	}
	r.end = copy(r.buf, r.buf[r.pos:r.end])
	r.pos = 0
	for empty := 0; r.end < n; {
		m, err := r.read(r.buf[r.end:])
		r.end += m
		if r.end >= n {
			break
		}
		if err == io.EOF && (inside || r.end > 0) {
			err = io.ErrUnexpectedEOF
		}
		if m > 0 {
			empty = 0
		} else if empty++; err == nil && empty == 100 {
			err = io.ErrNoProgress
		}
		if err != nil {
			r.fail(err)
			return false
		}
	}
	return true
}

// next returns the n bytes that begin a value, n <= maxVar; more those that continue one. Valid until the next read.
func (r *Reader) next(n int) []byte {
	if r.end-r.pos < n && !r.fill(n, false) {
		return r.zero[:n]
	}
	r.pos += n
	return r.buf[r.pos-n : r.pos]
}

func (r *Reader) more(n int) []byte {
	if r.end-r.pos < n && !r.fill(n, true) {
		return r.zero[:n]
	}
	r.pos += n
	return r.buf[r.pos-n : r.pos]
}

// Byte reads one byte.
func (r *Reader) Byte() byte { return r.next(1)[0] }

// Uint16 reads 2 bytes, little-endian.
func (r *Reader) Uint16() uint16 { return binary.LittleEndian.Uint16(r.next(2)) }

// Int32 reads 4 bytes, little-endian (protocol 3.1).
func (r *Reader) Int32() int32 { return int32(binary.LittleEndian.Uint32(r.next(4))) }

// Varint reads a value of protocol 3.2. What does not fit into 32 bits is an error.
func (r *Reader) Varint() int32 {
	first := r.Byte()
	if first < 0x80 {
		return int32(first)
	}
	v, ok := r.variable(first, 1, 4)
	if !ok {
		r.fail(Errorf("integer beyond 32 bits"))
		return 0
	}
	return int32(uint32(v))
}

// Varlong reads a value of protocol 3.3 with at least m low bytes, 3 <= m <= 8.
func (r *Reader) Varlong(m int) int64 {
	v, ok := r.variable(r.Byte(), m, 8)
	if !ok {
		r.fail(Errorf("integer beyond 64 bits"))
		return 0
	}
	return int64(v)
}

// variable reads the rest of a varint or varlong of at most limit bytes of value.
func (r *Reader) variable(first byte, m, limit int) (v uint64, ok bool) {
	extra := extraBytes(first)
	low := m - 1 + extra // bytes below the one that the first byte holds
	top := first & (0xff >> extra)
	if low > limit || low == limit && top != 0 {
		return 0, false
	}
	for i, b := range r.more(low) {
		v |= uint64(b) << (8 * i)
	}
	if r.err != nil {
		return 0, true
	}
	return v | uint64(top)<<(8*low), true
}

// Longint reads a value of protocol 3.1.
func (r *Reader) Longint() int64 {
	v := r.Int32()
	if v >= 0 {
		return int64(v)
	}
	if v != -1 {
		r.fail(Errorf("negative length %d", v))
		return 0
	}
	return int64(binary.LittleEndian.Uint64(r.more(8)))
}

// Vstring reads a string of protocol 3.4. More than max bytes are an error.
func (r *Reader) Vstring(max int) string {
	n := int(r.Byte())
	if n >= 0x80 {
		n = n&0x7f<<8 | int(r.more(1)[0])
	}
	if n > max {
		r.fail(Errorf("string of %d bytes: longer than %d", n, max))
		return ""
	}
	b := make([]byte, n)
	if !r.full(b, true) {
		return ""
	}
	return string(b)
}

// Ndx reads an index (protocol 3.5).
func (r *Reader) Ndx(protocol int) int32 {
	if protocol < 30 {
		return r.Int32()
	}
	b := r.Byte()
	if b == 0 {
		if r.err != nil {
			return 0
		}
		return NdxDone
	}
	negative := b == 0xff
	if negative {
		b = r.more(1)[0]
	}
	n, ok := r.ndxValue(negative, b)
	if r.err != nil {
		return 0
	}
	if !ok {
		r.fail(Errorf("index out of range"))
		return 0
	}
	return n
}

func (r *Reader) ndxValue(negative bool, b byte) (n int32, ok bool) {
	if b != 0xfe {
		return r.ndx.add(negative, int32(b))
	}
	p := r.more(2)
	if p[0] < 0x80 {
		return r.ndx.add(negative, int32(p[0])<<8|int32(p[1]))
	}
	high, low := int32(p[0]&0x7f), int32(p[1])
	p = r.more(2)
	return r.ndx.set(negative, high<<24|int32(p[1])<<16|int32(p[0])<<8|low)
}

// Full reads exactly len(p) bytes.
func (r *Reader) Full(p []byte) { r.full(p, false) }

func (r *Reader) full(p []byte, inside bool) bool {
	n := copy(p, r.buf[r.pos:r.end])
	r.pos += n
	for empty := 0; n < len(p); {
		m, err := r.Read(p[n:])
		n += m
		if n == len(p) {
			break
		}
		if err == io.EOF && (inside || n > 0) {
			err = io.ErrUnexpectedEOF
		}
		if m > 0 {
			empty = 0
		} else if empty++; err == nil && empty == 100 {
			err = io.ErrNoProgress
		}
		if err != nil {
			if r.err == nil || r.err == io.EOF {
				r.err = err
			}
			clear(p)
			return false
		}
	}
	return true
}

// Read implements io.Reader: first what is buffered, then the source. It shares the Reader's sticky error.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, r.err
	}
	if r.pos == r.end {
		if r.err != nil {
			return 0, r.err
		}
		if len(p) >= len(r.buf) {
			n, err := r.read(p)
			if err != nil {
				r.fail(err)
			}
			return n, err
		}
		n, err := r.read(r.buf)
		r.pos, r.end = 0, n
		if err != nil && n == 0 {
			r.fail(err)
			return 0, err
		}
	}
	n := copy(p, r.buf[r.pos:r.end])
	r.pos += n
	return n, nil
}
