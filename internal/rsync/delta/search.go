package delta

import (
	"math"

	"github.com/syncd/syncd/internal/rsync/wire"
)

// search looks for a known block at each offset from sent on whose block ends at limit or before, and returns the
// first offset where one stands. At least one block must be visible. Up to limit the file must be visible too, unless
// that is math.MaxInt64: then search reads on to the end of the file and sends as data what it has passed.
func (m *matcher) search(limit int64) (at int64, i int32, ok bool) {
	at = m.sent
	s1, s2 := rollingSums(m.win.at(at, at+m.block))
	for {
		idle := m.idle(at)
		if v := s1&0xffff | s2<<16; !idle && m.table.mayHave(v) {
			if i, ok = m.find(v, at); ok {
				return at, i, true
			}
		}
		stop := min(m.win.end, limit)
		if at+m.block == stop && (limit != math.MaxInt64 || !m.advance(at)) {
			return 0, 0, false
		}
		stop = min(m.win.end, limit)
		if idle {
			at = stop - m.block // nothing will be found any more: the sums need not follow
			continue
		}
		var moved int
		moved, s1, s2 = m.table.slide(m.win.at(at, stop), int(m.block), s1, s2)
		at += int64(moved)
	}
}

// idle reports whether no block of full length can be used at offset at or later.
func (m *matcher) idle(at int64) bool { return m.full == 0 || !m.usable(m.full-1, at) }

// advance sends the data before offset at, but for what does not fill a token, and reads on. It reports whether there
// is more data.
func (m *matcher) advance(at int64) bool {
	m.literal(at - (at-m.sent)%wire.MaxLiteral)
	end := m.win.end
	m.win.need(m.sent, end+1)
	return m.win.end > end && m.alive()
}

// find returns a block that stands at offset at and may be used there; v is the rolling sum of what stands there. Of
// several it prefers the one that stood at this offset, so that runs of equal blocks stay in place, then the expected
// one, so that they stay in order.
func (m *matcher) find(v uint32, at int64) (int32, bool) {
	var sum [maxSum]byte
	hashed := false
	is := func(i int32) bool {
		if m.sums.rolling[i] != v || !m.usable(i, at) {
			return false
		}
		if !hashed {
			sum, hashed = m.checksum.Block(m.win.at(at, at+m.block)), true
		}
		return m.sums.same(i, &sum)
	}
	known := min(m.sums.known(), m.full)
	if m.exhausted(known, at) {
		return 0, false
	}
	if own := at / m.block; own < int64(known) && at%m.block == 0 && is(int32(own)) {
		return int32(own), true
	}
	if m.expected < known && is(m.expected) {
		return m.expected, true
	}
	for i := m.table.chain(v); i >= 0; i = m.table.follow(i) {
		if is(i) {
			return i, true
		}
	}
	if hashed {
		m.failed += m.block
	}
	return 0, false
}

// exhausted reports whether so much was hashed in vain up to offset at that it can only be malice.
func (m *matcher) exhausted(known int32, at int64) bool {
	// Different data has equal rolling sums once in 2^32 times: for each byte passed, a block is hashed known/2^32
	// times. That is nothing but for old files of a hundred GB and more.
	chance := int64(known) * m.block >> 32
	return m.failed > failSlack+min(failRate+4*chance, maxFailRate)*at
}

// tail sends what is left at the end of the file: the server's short last block if the file ends with it, and as data
// all that stands before. No full block is among it.
func (m *matcher) tail() {
	h, end := m.sums.head, m.win.end
	last, at := h.Count-1, end-int64(h.Remainder)
	if h.short() && at >= m.sent && m.usable(last, at) && m.sums.has(int64(last)) {
		p := m.win.at(at, end)
		if Rolling(p) == m.sums.rolling[last] && m.hasSum(last, p) {
			m.literal(at)
			m.out.match(last, p)
			m.sent = end
		}
	}
	m.literal(end)
}
