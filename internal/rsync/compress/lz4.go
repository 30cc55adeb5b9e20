package compress

import (
	"sync"

	"github.com/pierrec/lz4/v4"
)

const (
	// lz4Head is what a block of literals alone has before them at most: a token, and the rest of their number.
	lz4Head = 1 + (maxChunk-lz4Token+254)/255
	// lz4Token is the number of literals that goes into the token itself; from there on bytes are added to it.
	lz4Token = 15
	// maxLZ4 is what goes into one block, in bytes: as much as is one chunk even if nothing is saved.
	maxLZ4 = maxChunk - lz4Head
)

// An lz4Encoder is what LZ4 needs while it works. Nothing of it outlives a block.
type lz4Encoder struct {
	lz4.Compressor
	block [maxChunk]byte
}

var lz4Pool = sync.Pool{New: func() any { return new(lz4Encoder) }}

// lz4Codec writes independent blocks, each a chunk.
type lz4Codec struct {
	out     *chunks
	encoder *lz4Encoder
}

func (l *lz4Codec) begin()       {}
func (l *lz4Codec) flush()       {}
func (l *lz4Codec) finish()      {}
func (l *lz4Codec) see(p []byte) {}

// write makes blocks of about equal length.
func (l *lz4Codec) write(p []byte) {
	if l.encoder == nil {
		l.encoder = lz4Pool.Get().(*lz4Encoder)
	}
	for blocks := (len(p) + maxLZ4 - 1) / maxLZ4; blocks > 0; blocks-- {
		n := (len(p) + blocks - 1) / blocks
		size, err := l.encoder.CompressBlock(p[:n], l.encoder.block[:])
		if err != nil || size <= 0 || size >= n {
			l.stored(p[:n])
		} else {
			l.put(l.encoder.block[:size])
		}
		p = p[n:]
	}
}

// stored writes blocks of literals.
func (l *lz4Codec) stored(p []byte) {
	if l.encoder == nil {
		l.encoder = lz4Pool.Get().(*lz4Encoder)
	}
	for len(p) > 0 {
		n := min(len(p), maxLZ4)
		b := append(l.encoder.block[:0], byte(min(n, lz4Token)<<4))
		if n >= lz4Token {
			more := n - lz4Token
			for ; more >= 255; more -= 255 {
				b = append(b, 255)
			}
			b = append(b, byte(more))
		}
		l.put(append(b, p[:n]...))
		p = p[n:]
	}
}

// put sends a block, which must be a chunk.
func (l *lz4Codec) put(block []byte) {
	l.out.total += int64(len(block))
	l.out.chunk(block)
}

func (l *lz4Codec) release() {
	if l.encoder != nil {
		lz4Pool.Put(l.encoder)
		l.encoder = nil
	}
}
