package delta

import (
	"io"
	"math"
)

const (
	// nearby is how far the matcher looks for moved data before it waits for the sums of the whole old file, in bytes.
	nearby = 256 << 10
	// ownStrong is the length of a strong sum that decides without the rolling one whether the expected block is
	// there. With so many bytes a wrong guess is once in 2^32 changed blocks, and only costs a redo.
	ownStrong = 4
	// failSlack and failRate bound the bytes hashed for candidates that turn out wrong: a fixed amount, and a multiple
	// of the bytes passed. Ordinary data stays far below; data made for it would otherwise cost a block per byte.
	failSlack   = 64 << 20
	failRate    = 8
	maxFailRate = 1 << 11
)

// A matcher finds the blocks of one old file in one new file.
//
// Offsets are those in the new file: everything before sent has been turned into tokens, and at the top of the main
// loop sent is also where the search goes on.
type matcher struct {
	out      *tokens
	win      window
	sums     *blockSums
	table    *table
	checksum Checksum
	strong   bool // the strong sum goes first
	inPlace  bool
	full     int32 // blocks of full length
	block    int64 // their length
	sent     int64
	expected int32 // the block after the last match: what comes next if nothing changed
	failed   int64 // bytes hashed in vain
}

// send sends the tokens for size bytes of f and returns the error of f.
func (m *matcher) send(out *tokens, f io.Reader, size int64, c Checksum, inPlace bool, s *Scratch) error {
	h := s.sums.head
	*m = matcher{
		out: out, sums: &s.sums, table: &s.table, checksum: c, strong: c.Hash.fast(), inPlace: inPlace,
		full: h.full(), block: int64(h.BlockLen),
	}
	m.table.start(m.sums, inPlace)
	m.win.start(f, s.file, size, 2*m.block+nearby, s.buf)
	m.run()
	s.buf = m.win.buf
	err := m.win.err
	m.win, m.out = window{}, nil // hold on to nothing of the file
	return err
}

func (m *matcher) run() {
	for m.alive() {
		m.win.need(m.sent, m.sent+m.block)
		switch {
		case m.win.end-m.sent < m.block:
			m.tail()
			return
		case m.isExpected(m.expected, m.sent):
			m.match(m.expected)
		case m.isKnown(), m.isPassed():
		default:
			if !m.searchNearby() && !m.searchAll() {
				m.tail()
				return
			}
		}
	}
}

// alive reports whether the connection still works in both directions.
func (m *matcher) alive() bool { return m.out.w.Err() == nil && m.sums.src.Err() == nil }

// match sends block i for the next bytes.
func (m *matcher) match(i int32) {
	m.out.match(i, m.win.at(m.sent, m.sent+m.block))
	m.sent += m.block
	m.expected = i + 1
}

// literal sends the bytes up to offset to as data.
func (m *matcher) literal(to int64) {
	m.out.literal(m.win.at(m.sent, to))
	m.sent = to
}

// usable reports whether block i may be used for the bytes at offset at. A server that updates in place has
// overwritten all blocks that begin before the output position (protocol 7.6). It also reads them ahead of time,
// while the sums still arrive: but what it may have changed by then lies before that position too.
func (m *matcher) usable(i int32, at int64) bool { return !m.inPlace || int64(i)*m.block >= at }

// isExpected reports whether block i, of full length, is what stands at offset at. It waits for the sum of that block.
func (m *matcher) isExpected(i int32, at int64) bool {
	if i >= m.full || !m.usable(i, at) || !m.sums.has(int64(i)) {
		return false
	}
	p := m.win.at(at, at+m.block)
	if !m.strong {
		return Rolling(p) == m.sums.rolling[i] && m.hasSum(i, p)
	}
	return m.hasSum(i, p) && (m.sums.head.SumLen >= ownStrong || Rolling(p) == m.sums.rolling[i])
}

func (m *matcher) hasSum(i int32, p []byte) bool {
	sum := m.checksum.Block(p)
	return m.sums.same(i, &sum)
}

// isKnown sends a match if the next bytes are one of the blocks whose sums are there.
func (m *matcher) isKnown() bool {
	if m.sent%m.block == 0 {
		m.sums.receive(m.sent/m.block + 1) // the block that stood here: data may be back at its place
	}
	m.table.update()
	i, ok := m.find(Rolling(m.win.at(m.sent, m.sent+m.block)), m.sent)
	if ok {
		m.match(i)
	}
	return ok
}

// isPassed sends one block as data if the one after it is where it should be. This is what a file looks like that was
// changed without moving anything, and needs no search.
func (m *matcher) isPassed() bool {
	next := m.sent + m.block
	m.win.need(m.sent, next+m.block)
	if m.win.end < next+m.block || !m.isExpected(m.expected+1, next) {
		return false
	}
	m.literal(next)
	m.match(m.expected + 1)
	return true
}

// searchNearby looks for any known block from sent on, byte by byte. It goes only a short way and waits only for the
// sums of blocks from around here, so that the server may go on computing the others. If it finds one it sends what
// stands before as data, and the match; if not, nothing.
func (m *matcher) searchNearby() bool {
	if m.sums.complete() {
		return false
	}
	here := max(int64(m.expected), m.sent/m.block)
	m.sums.receive(here + 2 + 4*nearby/m.block)
	if !m.alive() {
		return false
	}
	m.table.update()
	m.win.need(m.sent, m.sent+nearby+m.block)
	at, i, ok := m.search(min(m.win.end, m.sent+nearby+m.block))
	if ok {
		m.literal(at)
		m.match(i)
	}
	return ok
}

// searchAll does the same with the sums of all blocks, up to the end of the file, and sends data as it goes. What it
// has not sent when nothing is found is less than a block and a literal.
func (m *matcher) searchAll() bool {
	m.sums.receive(math.MaxInt32)
	if !m.alive() {
		return false
	}
	m.table.update()
	at, i, ok := m.search(math.MaxInt64)
	if ok {
		m.literal(at)
		m.match(i)
	}
	return ok
}
