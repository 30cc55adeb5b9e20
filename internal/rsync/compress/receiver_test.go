package compress

import (
	"bytes"
	stdflate "compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// A receiver is the other side of a session as the protocol describes it (7.5). Deflate is that of the standard
// library: another one than the sender's.
type receiver struct {
	method   Method
	protocol int
	stream   bytes.Buffer // zstd's, of the session
	zstd     *zstd.Decoder
	history  []byte // deflate's: what its window holds, from the beginning of the file
	started  bool
}

func newReceiver(m Method, protocol int) *receiver {
	r := &receiver{method: m, protocol: protocol}
	r.zstd, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
	return r
}

// file applies the tokens of one file and returns it with what is left of b. runs are the lengths that its runs of
// literals must have.
func (r *receiver) file(b []byte, block func(i int32) []byte, runs []int) (file, rest []byte, err error) {
	r.history = r.history[:0]
	var last int32
	blocks := func(i, n int32) {
		for ; n > 0; n-- {
			p := block(i)
			file = append(file, p...)
			r.see(p)
			last, i = i, i+1
		}
	}
	for len(b) > 0 {
		flag := b[0]
		b = b[1:]
		switch {
		case flag == 0:
			return file, b, nil
		case flag&0xc0 == 0x40:
			var run []byte
			if len(runs) == 0 {
				return file, b, errors.New("a run too many")
			}
			run, b, err = r.run(flag, b, runs[0])
			if err == nil && len(run) != runs[0] {
				err = fmt.Errorf("run of %d bytes, want %d", len(run), runs[0])
			}
			if err != nil {
				return file, b, err
			}
			runs = runs[1:]
			file = append(file, run...)
		case flag == 0x20:
			blocks(int32(binary.LittleEndian.Uint32(b)), 1)
			b = b[4:]
		case flag == 0x21:
			blocks(int32(binary.LittleEndian.Uint32(b)), int32(binary.LittleEndian.Uint16(b[4:]))+1)
			b = b[6:]
		case flag&0xc0 == 0x80:
			blocks(last+int32(flag&0x3f), 1)
		case flag&0xc0 == 0xc0:
			blocks(last+int32(flag&0x3f), int32(binary.LittleEndian.Uint16(b))+1)
			b = b[2:]
		default:
			return file, b, fmt.Errorf("flag %#x", flag)
		}
	}
	return file, b, errors.New("no end")
}

// run takes one run of literals, of size bytes. It must be complete without what follows.
func (r *receiver) run(flag byte, b []byte, size int) (literals, rest []byte, err error) {
	var deflated []byte
	for {
		n := int(flag&0x3f)<<8 | int(b[0])
		if n == 0 || n+1 > len(b) {
			return nil, nil, fmt.Errorf("chunk of %d bytes", n)
		}
		chunk := b[1 : 1+n]
		b = b[1+n:]
		switch r.method {
		case LZ4:
			block := make([]byte, 32<<10)
			n, err := lz4.UncompressBlock(chunk, block)
			if err != nil || n == 0 {
				return nil, nil, fmt.Errorf("lz4 block of %d bytes: %w", n, err)
			}
			literals = append(literals, block[:n]...)
		case Zstd:
			r.stream.Write(chunk)
		default:
			deflated = append(deflated, chunk...)
		}
		if b[0]&0xc0 != 0x40 {
			break
		}
		flag, b = b[0], b[1:]
	}
	switch r.method {
	case Zstd:
		literals, err = r.inflateZstd(size)
	case Zlib, Zlibx:
		literals, err = r.inflate(append(deflated, 0, 0, 0xff, 0xff))
	}
	return literals, b, err
}

// inflateZstd reads size bytes, which must be what is there.
func (r *receiver) inflateZstd(size int) ([]byte, error) {
	if !r.started {
		r.started = true // and not as a bytes.Buffer, of which the decoder would know the end
		if err := r.zstd.Reset(struct{ io.Reader }{&r.stream}); err != nil {
			return nil, err
		}
	}
	literals := make([]byte, size)
	n, err := io.ReadFull(r.zstd, literals)
	if err == nil && r.stream.Len() > 3 { // the empty block at the end of a frame
		err = fmt.Errorf("%d bytes were not needed", r.stream.Len())
	}
	return literals[:n], err
}

// inflate reads a run, which ends on a byte boundary, with the window as the protocol makes it.
func (r *receiver) inflate(p []byte) ([]byte, error) {
	literals, err := io.ReadAll(stdflate.NewReaderDict(bytes.NewReader(p), r.history))
	if err != io.ErrUnexpectedEOF { // there is no last block
		return nil, fmt.Errorf("deflate: %v", err)
	}
	r.remember(literals)
	return literals, nil
}

// see puts a block into zlib's history, in pieces.
func (r *receiver) see(p []byte) {
	for rest := p; r.method == Zlib && len(rest) > 0; {
		n := min(len(rest), 65535)
		if r.protocol >= 31 {
			r.remember(rest[:n])
		} else {
			r.remember(p[:n]) // the beginning again
		}
		rest = rest[n:]
	}
}

func (r *receiver) remember(p []byte) {
	r.history = append(r.history, p...)
	if over := len(r.history) - 32<<10; over > 0 {
		r.history = bytes.Clone(r.history[over:])
	}
}
