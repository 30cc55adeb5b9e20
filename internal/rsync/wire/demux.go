package wire

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

const (
	// chunkSize is the unit in which data waits in a Demux.
	chunkSize = 16 << 10
	// maxBuffered is how many bytes of data a Demux holds before it stops reading. A server asks for at most a few
	// dozen bytes per entry of the list, plus block sums; a reader that is this far behind is stuck, not slow.
	maxBuffered = 256 << 20
)

// A Demux splits a stream of frames into its data, read through [Demux.Data], and its messages, which go to a
// handler. Between the two sides lies a buffer, so that messages and the connection's flow do not depend on the speed
// of whoever reads the data: a session that writes a long answer must go on reading (protocol 0.1). When the buffer
// holds 256 MiB the Demux stops reading until some is drained; that is no error.
type Demux struct {
	src    *bufio.Reader
	handle func(Tag, []byte) error
	limit  int64 // maxBuffered, less in tests
	header [headerLen]byte
	useful atomic.Int64
	text   []byte // payload of the last message

	mu        sync.Mutex
	changed   sync.Cond // something for the reader of data, or room for Run
	head      *chunk    // oldest data; nil when there is none
	tail      *chunk    // newest data, being filled
	buffered  int64     // bytes of data in the queue
	discarded bool
	err       error // set when no data will follow: io.EOF or what ended Run
}

// chunk is one element of the queue: buf[r:w] is data. Run alone writes buf[w:], outside the lock.
type chunk struct {
	buf  [chunkSize]byte
	r, w int
	next *chunk
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// NewDemux returns a Demux of the frames of r. handle is called by Run for every frame but data, one at a time; the
// payload is valid only during the call. An error that it returns ends Run.
func NewDemux(r io.Reader, handle func(Tag, []byte) error) *Demux {
	d := &Demux{src: bufio.NewReaderSize(r, readerSize), handle: handle, limit: maxBuffered}
	d.changed.L = &d.mu
	return d
}

// Run reads frames until the input ends, an error occurs, or handle fails. The end of the input between two frames is
// no error. What ended Run is what Data returns after the data that came before it. Run is called once. A read that
// blocks ends only when the connection is closed.
func (d *Demux) Run() error {
	var err error
	for err == nil {
		err = d.frame()
	}
	d.mu.Lock()
	d.err = err
	d.changed.Broadcast()
	d.mu.Unlock()
	if err == io.EOF {
		return nil
	}
	return err
}

// frame reads one frame. It returns io.EOF only at its beginning.
func (d *Demux) frame() error {
	if _, err := io.ReadFull(d.src, d.header[:]); err != nil {
		if err == io.ErrUnexpectedEOF {
			return fmt.Errorf("header of a frame: %w", err)
		}
		return err
	}
	h := binary.LittleEndian.Uint32(d.header[:])
	code, size := h>>24, int(h&maxFrame)
	tag := Tag(code - tagBase)
	if code < tagBase || !tag.known() {
		return Errorf("frame of unknown type %d", code)
	}
	d.useful.Add(int64(size)) // an empty frame only says that somebody is there
	if tag == DataTag {
		return inside(d.data(size))
	}
	if size > MaxMessage {
		return Errorf("message %v of %d bytes: longer than %d", tag, size, MaxMessage)
	}
	if cap(d.text) < size {
		d.text = make([]byte, size)
	}
	d.text = d.text[:size]
	if _, err := io.ReadFull(d.src, d.text); err != nil {
		return inside(err)
	}
	return d.handle(tag, d.text)
}

// Useful returns how many bytes of data and messages have come so far. It may be called at any time.
func (d *Demux) Useful() int64 { return d.useful.Load() }

// inside tells an end of the input within a frame from one between frames.
func inside(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("payload of a frame: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// data moves the payload of a data frame into the queue.
func (d *Demux) data(size int) error {
	for size > 0 {
		c := d.free()
		if c == nil {
			_, err := d.src.Discard(size)
			return err
		}
		n, err := d.src.Read(c.buf[c.w:min(chunkSize, c.w+size)])
		size -= n
		d.publish(c, n)
		if err != nil {
			return err
		}
	}
	return nil
}

// free waits until the queue may grow and returns the chunk to fill, nil if data is not wanted any more.
func (d *Demux) free() *chunk {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.buffered >= d.limit {
		d.changed.Wait()
	}
	if d.discarded {
		return nil
	}
	if d.tail == nil || d.tail.w == chunkSize {
		c := chunks.Get().(*chunk)
		c.r, c.w, c.next = 0, 0, nil
		if d.tail == nil {
			d.head = c
		} else {
			d.tail.next = c
		}
		d.tail = c
	}
	return d.tail
}

// publish makes n bytes that were read into c visible to the reader of data.
func (d *Demux) publish(c *chunk, n int) {
	if n == 0 {
		return
	}
	d.mu.Lock()
	c.w += n
	if !d.discarded {
		d.buffered += int64(n)
	}
	d.changed.Broadcast()
	d.mu.Unlock()
}

// Discard says that nobody reads the data any more: what is buffered and what follows is dropped, reads of Data return
// io.ErrClosedPipe. Run goes on, for the messages that tell why a session ends come last (protocol 0.2). Safe to call
// at any time from any goroutine.
func (d *Demux) Discard() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.discarded = true
	d.buffered = 0
	d.head, d.tail = nil, nil // not recycled: Run may be reading into the tail
	d.changed.Broadcast()
}

// Data returns the data stream. Reads block until there is some, Run has ended, or Discard is called; they may run
// beside Run, but not beside each other. The returned reader also has a method Buffered() int.
func (d *Demux) Data() io.Reader { return (*dataReader)(d) }

type dataReader Demux

// Buffered returns how many bytes can be read without blocking.
func (r *dataReader) Buffered() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int(r.buffered)
}

func (r *dataReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.buffered == 0 && !r.discarded && r.err == nil {
		r.changed.Wait()
	}
	switch {
	case r.discarded:
		return 0, io.ErrClosedPipe
	case r.buffered == 0:
		return 0, r.err
	}
	n := 0
	for n < len(p) && r.buffered > 0 {
		c := r.head
		k := copy(p[n:], c.buf[c.r:c.w])
		c.r += k
		n += k
		r.buffered -= int64(k)
		if c.r == chunkSize {
			r.drop()
		}
	}
	r.changed.Broadcast()
	return n, nil
}

// drop recycles the oldest chunk, which is full and read to its end: Run does not touch it any more.
func (r *dataReader) drop() {
	c := r.head
	r.head = c.next
	if r.head == nil {
		r.tail = nil
	}
	chunks.Put(c)
}
