package embedded

import (
	"encoding/binary"
	"io"
	"sync"
)

// pipeSize is how many bytes may be under way in each direction.
const pipeSize = 256 << 10

// A pipe is the in-memory connection between our client and the server. It knows a little of the protocol, for the
// server's sake: that has one goroutine that asks for files and one that receives them, and when the second fails, it
// reports that while the first may still be writing. So the answers are held back until all requests are written; then
// only one goroutine is left.
type pipe struct {
	mu         sync.Mutex
	moved      sync.Cond // something below has changed
	up, down   buffer    // to the server, to the client
	asked      requests
	clientGone bool
	serverGone bool
}

// newPipe makes a connection on which the server will ask for so many files, with no block sums.
func newPipe(files int) *pipe {
	const request, done = 4 + 16, 4 // index and sum head; the mark at the end of each of two phases
	p := &pipe{asked: requests{lines: 2, seed: 4, left: files*request + 2*done}}
	p.moved.L = &p.mu
	return p
}

// clientEnd and serverEnd are the two ends of a pipe.
type (
	clientEnd struct{ *pipe }
	serverEnd struct{ *pipe }
)

func (c clientEnd) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.down.len() == 0 && !c.serverGone && !c.clientGone {
		c.moved.Wait()
	}
	switch {
	case c.clientGone:
		return 0, io.ErrClosedPipe
	case c.down.len() == 0:
		return 0, io.EOF
	}
	defer c.moved.Broadcast()
	return c.down.read(b), nil
}

func (c clientEnd) Write(b []byte) (int, error) {
	return c.write(&c.up, b, func() bool { return c.clientGone || c.serverGone })
}

// Close ends both directions: what is under way is lost.
func (c clientEnd) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clientGone = true
	c.moved.Broadcast()
	return nil
}

func (s serverEnd) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch asking := s.asked.begun && s.asked.left > 0; {
		case s.serverGone, s.clientGone && !asking:
			return 0, io.EOF
		case s.up.len() > 0 && !asking:
			defer s.moved.Broadcast()
			return s.up.read(b), nil
		}
		s.moved.Wait()
	}
}

func (s serverEnd) Write(b []byte) (int, error) {
	n, err := s.write(&s.down, b, func() bool { return s.clientGone })
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.asked.see(b)
		s.moved.Broadcast()
	}
	return n, err
}

// leave says that the server has ended. What it wrote can still be read.
func (s serverEnd) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serverGone = true
	s.moved.Broadcast()
}

func (p *pipe) write(to *buffer, b []byte, broken func() bool) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n < len(b) {
		for to.len() >= pipeSize && !broken() {
			p.moved.Wait()
		}
		if broken() {
			return n, io.ErrClosedPipe
		}
		k := min(len(b)-n, pipeSize-to.len())
		to.write(b[n : n+k])
		n += k
		p.moved.Broadcast()
	}
	return n, nil
}

// buffer is a queue of bytes.
type buffer struct {
	data []byte
	off  int
}

func (q *buffer) len() int { return len(q.data) - q.off }

func (q *buffer) write(b []byte) {
	if q.off > 0 && len(q.data)+len(b) > cap(q.data) {
		q.data = q.data[:copy(q.data, q.data[q.off:])]
		q.off = 0
	}
	q.data = append(q.data, b...)
}

func (q *buffer) read(b []byte) int {
	n := copy(b, q.data[q.off:])
	if q.off += n; q.off == len(q.data) {
		q.data, q.off = q.data[:0], 0
	}
	return n
}

// requests follows what the server writes: two lines of the handshake, the checksum seed, then frames (protocol 1.1,
// 2.4, 4.1). It counts the data in these.
type requests struct {
	lines, seed int // still to come
	header      []byte
	payload     int  // of the frame under way, still to come
	data        bool // the frame under way holds data
	begun       bool // the first data has come
	left        int  // bytes of requests still to come
}

func (r *requests) see(b []byte) {
	for ; len(b) > 0 && r.lines > 0; b = b[1:] {
		if b[0] == '\n' {
			r.lines--
		}
	}
	n := min(len(b), r.seed)
	r.seed -= n
	b = b[n:]
	for len(b) > 0 && r.left > 0 {
		if r.payload > 0 {
			n := min(len(b), r.payload)
			r.payload -= n
			if b = b[n:]; r.data {
				r.begun = true
				r.left -= n
			}
			continue
		}
		n := min(len(b), 4-len(r.header))
		r.header = append(r.header, b[:n]...)
		if b = b[n:]; len(r.header) < 4 {
			return
		}
		const dataTag = 7
		word := binary.LittleEndian.Uint32(r.header)
		r.payload, r.data, r.header = int(word&0xffffff), word>>24 == dataTag, r.header[:0]
	}
}
