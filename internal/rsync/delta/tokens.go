package delta

import "github.com/syncd/syncd/internal/rsync/wire"

// tokens writes the plain token format (protocol 7.5) and counts what goes by. A compressed format differs in these
// four methods only.
type tokens struct {
	w     *wire.Writer
	stats Stats
}

// literal sends p, of any length, as data.
func (t *tokens) literal(p []byte) {
	for len(p) > 0 {
		n := copy(t.w.Literal(len(p)), p)
		t.commit(n)
		p = p[n:]
	}
}

// commit sends as data the n bytes that were put into the slice of the writer's last Literal.
func (t *tokens) commit(n int) {
	t.w.Commit(n)
	t.stats.Literal += int64(n)
}

// match sends a reference to the server's block i, which is n bytes long.
func (t *tokens) match(i int32, n int) {
	t.w.Int32(-i - 1)
	t.stats.Matched += int64(n)
}

func (t *tokens) end() { t.w.Int32(0) }
