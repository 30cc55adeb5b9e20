package compress

import (
	"encoding/binary"
	"sync"

	"github.com/klauspost/compress/flate"
)

const (
	// deflateWindow is how far back a deflate stream refers, in bytes.
	deflateWindow = 32 << 10
	// deflateMark is the length of the end of a sync flush, 00 00 ff ff, which the receiver adds itself.
	deflateMark = 4
	// deflateEmpty begins the empty stored block whose rest is that mark, on a byte boundary.
	deflateEmpty = 0x00
	// maxDeflateStored is the most that a stored block holds, in bytes.
	maxDeflateStored = 65535
	// maxSeen is the longest piece of a block in the receiver's history. Before protocol 31 receivers take the
	// beginning of a longer block again for each piece.
	maxSeen = 65535
)

// deflateLevel turns rsync's level, 1 to 9, into the library's.
func deflateLevel(level int) int {
	if level <= 0 {
		return 6
	}
	return min(level, flate.BestCompression)
}

var deflatePools [flate.BestCompression + 1]sync.Pool

func newDeflate(level int) *flate.Writer {
	if w, ok := deflatePools[level].Get().(*flate.Writer); ok {
		return w
	}
	w, err := flate.NewWriter(nil, level)
	if err != nil {
		panic(err) // deflateLevel returns no others
	}
	return w
}

// deflate is zlibx and zlib: raw deflate that begins anew with each file.
//
// The receiver of zlib puts the blocks that it has into the history of its decompressor. Ours need not follow: what it
// writes after a reset refers only to what it has written since, wherever that stands. But what was changed in a file
// resembles what stands around, so the end of the last blocks is given to the encoder, and what it makes of them is
// thrown away.
type deflate struct {
	out      *chunks
	level    int
	history  bool // zlib
	protocol int
	encoder  *flate.Writer
	fresh    bool   // the encoder must not refer to what it has written
	dirty    bool   // something was written since the last flush
	seen     []byte // what the receiver has added to its history beyond what the encoder knows
}

func (d *deflate) begin() {
	d.fresh, d.dirty, d.seen = true, false, d.seen[:0]
}

func (d *deflate) write(p []byte) {
	if d.encoder == nil {
		d.encoder = newDeflate(d.level)
	}
	if d.fresh {
		d.encoder.Reset(d.out)
		d.fresh = false
	}
	if len(d.seen) > 0 {
		d.out.muted = true
		d.encoder.Write(d.seen)
		d.encoder.Flush()
		d.out.muted = false
		d.seen = d.seen[:0]
	}
	d.encoder.Write(p)
	d.dirty = true
}

func (d *deflate) flush() {
	d.encoder.Flush()
	d.dirty = false
}

func (d *deflate) stored(p []byte) {
	d.fresh, d.seen = true, d.seen[:0]
	for len(p) > 0 {
		n := min(len(p), maxDeflateStored)
		var head [5]byte // a block that is stored and not the last
		binary.LittleEndian.PutUint16(head[1:], uint16(n))
		binary.LittleEndian.PutUint16(head[3:], ^uint16(n))
		d.out.Write(head[:])
		d.out.Write(p[:n])
		p = p[n:]
	}
}

// see remembers no more than the window.
func (d *deflate) see(p []byte) {
	switch {
	case !d.history:
	case len(p) > maxSeen && d.protocol < 31:
		d.fresh, d.seen = true, d.seen[:0]
	case len(p) >= deflateWindow:
		d.seen = append(d.seen[:0], p[len(p)-deflateWindow:]...)
	default:
		if over := len(d.seen) + len(p) - deflateWindow; over > 0 {
			d.seen = d.seen[:copy(d.seen, d.seen[over:])]
		}
		d.seen = append(d.seen, p...)
	}
}

func (d *deflate) finish() {
	if !d.dirty {
		d.out.Write([]byte{deflateEmpty})
		return
	}
	d.flush()
	d.out.takeBack(deflateMark)
}

func (d *deflate) release() {
	if d.encoder != nil {
		d.encoder.Reset(nil)
		deflatePools[d.level].Put(d.encoder)
		d.encoder = nil
	}
}
