package delta

import "github.com/syncd/syncd/internal/rsync/wire"

// Largest block lengths of the protocol (7.3), in bytes.
const (
	maxBlockLen    = 1 << 17
	maxBlockLenP29 = 1 << 29 // before protocol 30
)

// A Head describes the blocks of a server's old file. The zero value means that there is none.
type Head struct {
	Count     int32 // number of blocks
	BlockLen  int32 // length of each in bytes, but for the last one
	SumLen    int32 // bytes sent of each strong sum
	Remainder int32 // length of the last block, 0 if it has full length
}

// ReadHead reads a head from a request and checks its numbers (protocol 7.3). sumSize is the length of a complete
// strong sum. The error is that of r or wraps [wire.ErrProtocol].
func ReadHead(r *wire.Reader, protocol int, sumSize int) (Head, error) {
	h := Head{Count: r.Int32(), BlockLen: r.Int32(), SumLen: r.Int32(), Remainder: r.Int32()}
	if err := r.Err(); err != nil {
		return Head{}, err
	}
	limit := int32(maxBlockLen)
	if protocol < 30 {
		limit = maxBlockLenP29
	}
	switch {
	case h.Count < 0:
		return Head{}, wire.Errorf("block count %d", h.Count)
	case h.BlockLen < 0 || h.BlockLen > limit || h.BlockLen == 0 && h.Count > 0:
		return Head{}, wire.Errorf("block length %d of %d blocks", h.BlockLen, h.Count)
	case h.SumLen < 0 || int(h.SumLen) > sumSize:
		return Head{}, wire.Errorf("block sums of %d bytes", h.SumLen)
	case h.Remainder < 0 || h.Remainder > h.BlockLen:
		return Head{}, wire.Errorf("last block of %d bytes, others of %d", h.Remainder, h.BlockLen)
	}
	return h, nil
}

// Write writes h as it stands in requests and answers.
func (h Head) Write(w *wire.Writer) {
	w.Int32(h.Count)
	w.Int32(h.BlockLen)
	w.Int32(h.SumLen)
	w.Int32(h.Remainder)
}

// short reports whether the last block is shorter than the others.
func (h Head) short() bool { return h.Count > 0 && h.Remainder > 0 && h.Remainder < h.BlockLen }

// full returns the number of blocks of full length.
func (h Head) full() int32 {
	if h.short() {
		return h.Count - 1
	}
	return h.Count
}
