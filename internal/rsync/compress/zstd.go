package compress

import (
	"encoding/binary"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const (
	// zstdWindow is how far back a zstd stream refers, in bytes: as far as rsync's own at its default level. Twice as
	// much is the encoder's memory.
	zstdWindow = 2 << 20
	// leastStored is the size from which data is worth a frame of its own. A stored frame ends the one before, and with
	// it goes the history that the files after have a use for.
	leastStored = 64 << 10
)

// zstdQuick is below the library's levels: its fastest, with literals as they are. Of source text that saves a fifth of
// the processor time, and costs an eighth of the bytes.
const zstdQuick = zstd.EncoderLevel(0)

// zstdLevel turns rsync's level, -131072 to 22, into ours. The default is the quickest: what rsync's own default, 3, saves
// beyond it takes more processor time than rsync has for all of a session.
func zstdLevel(level int) zstd.EncoderLevel {
	if level <= 0 {
		return zstdQuick
	}
	return zstd.EncoderLevelFromZstd(level)
}

// zstdSlowLink is the level by default where the link, and not the processor, decides how long it takes. It is the one
// that comes nearest to rsync's default in bytes and in time.
const zstdSlowLink = zstd.SpeedDefault

var zstdPools [zstd.SpeedBestCompression + 1]sync.Pool

func newZstd(level zstd.EncoderLevel) *zstd.Encoder {
	if e, ok := zstdPools[level].Get().(*zstd.Encoder); ok {
		return e
	}
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(max(level, zstd.SpeedFastest)), zstd.WithNoEntropyCompression(level == zstdQuick),
		zstd.WithWindowSize(zstdWindow), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // the options are constants of this file
	}
	return e
}

// zstdCodec writes one frame as long as nothing is stored and the level stays: its history goes on from file to file.
type zstdCodec struct {
	out     *chunks
	level   zstd.EncoderLevel
	encoder *zstd.Encoder
	open    bool  // a frame has begun
	link    *link // which the level follows; nil: it stays
}

// follow has the level follow the link.
func (z *zstdCodec) follow(l *link) { z.link = l }

func (z *zstdCodec) begin()       {}
func (z *zstdCodec) see(p []byte) {}

// adapt takes another level, with a frame of its own, if the link turned out to be another one.
func (z *zstdCodec) adapt() {
	if z.link == nil || !z.link.turned() {
		return
	}
	z.close()
	z.release()
	if z.level = zstdQuick; z.link.slow {
		z.level = zstdSlowLink
	}
}

func (z *zstdCodec) close() {
	if z.open {
		z.encoder.Close()
		z.open = false
	}
}

func (z *zstdCodec) write(p []byte) {
	z.adapt()
	if z.encoder == nil {
		z.encoder = newZstd(z.level)
	}
	if !z.open {
		z.encoder.Reset(z.out)
		z.open = true
	}
	z.encoder.Write(p)
}

func (z *zstdCodec) flush() { z.encoder.Flush() }

// Frames of one stored block. The length of the content is in one byte, or, from 256 bytes on, in two.
const (
	zstdMagic       = 0xfd2fb528
	zstdSingle      = 0x20 // the content is the window
	zstdSize2       = 0x40 // its length has two bytes
	zstdSize2Offset = 256
	zstdRawLast     = 1 // the last block, as it is
	zstdStoredHead  = 4 + 1 + 2 + 3
	maxZstdStored   = maxChunk - zstdStoredHead // a frame is one chunk, which the receiver takes at once
)

func (z *zstdCodec) stored(p []byte) {
	z.close()
	for len(p) > 0 {
		n := min(len(p), maxZstdStored)
		var head [zstdStoredHead]byte
		h := binary.LittleEndian.AppendUint32(head[:0], zstdMagic)
		if n < zstdSize2Offset {
			h = append(h, zstdSingle, byte(n))
		} else {
			h = append(h, zstdSingle|zstdSize2)
			h = binary.LittleEndian.AppendUint16(h, uint16(n-zstdSize2Offset))
		}
		block := uint32(n)<<3 | zstdRawLast
		h = append(h, byte(block), byte(block>>8), byte(block>>16))
		z.out.Write(h)
		z.out.Write(p[:n])
		p = p[n:]
	}
}

func (z *zstdCodec) finish() {
	if z.open {
		z.encoder.Flush()
	}
}

func (z *zstdCodec) release() {
	if z.encoder != nil {
		z.encoder.Reset(nil)
		zstdPools[z.level].Put(z.encoder)
		z.encoder = nil
	}
}
