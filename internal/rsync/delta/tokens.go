package delta

import (
	"github.com/syncd/syncd/internal/rsync/compress"
	"github.com/syncd/syncd/internal/rsync/wire"
)

// tokens writes the tokens of one file (protocol 7.5), plain or compressed, and counts what goes by.
type tokens struct {
	w     *wire.Writer
	z     *compress.Stream // nil: plain
	stats Stats
}

// literal sends p, of any length, as data.
func (t *tokens) literal(p []byte) {
	if t.z != nil {
		t.z.Literal(p)
		t.stats.Literal += int64(len(p))
		return
	}
	for len(p) > 0 {
		n := copy(t.w.Literal(len(p)), p)
		t.commit(n)
		p = p[n:]
	}
}

// commit sends as data the n bytes that were put into the slice of the writer's last Literal. It is for plain tokens.
func (t *tokens) commit(n int) {
	t.w.Commit(n)
	t.stats.Literal += int64(n)
}

// match sends a reference to the server's block i, whose bytes are p.
func (t *tokens) match(i int32, p []byte) {
	t.stats.Matched += int64(len(p))
	if t.z != nil {
		t.z.Match(i, p)
		return
	}
	t.w.Int32(-i - 1)
}

func (t *tokens) end() {
	if t.z != nil {
		t.z.End()
		return
	}
	t.w.Int32(0)
}
