package rsync

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/syncd/syncd/internal/rsync/delta"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsync/wire"
)

// An item is what the server says about one entry (7.1).
type item struct {
	ndx   int32
	place int // in the batch
	flags uint16
	basis byte
	xname string
	// values are the places, in the entry's Attrs.Set, of the attributes whose values the server asks for.
	values   []int
	hasXattr bool // there is such a question, if only for none
}

// item reads what follows an index. The entry is nil if it is of none: a sign of life.
func (x *exchange) item(n int32) (it item, e *flist.Entry, err error) {
	it = item{ndx: n, flags: itemTransfer, basis: basisDefault}
	if x.protocol >= 29 {
		it.flags = x.r.Uint16()
		if it.flags&itemBasisFollows != 0 {
			it.basis = x.r.Byte()
		}
		if it.flags&itemXnameFollows != 0 {
			it.xname = x.r.Vstring(maxXname)
		}
		if err := x.r.Err(); err != nil {
			return it, nil, err
		}
	}
	if n < 0 || int(n) >= len(x.order) {
		if x.protocol == 29 && int(n) == len(x.order) && it.flags == itemIsNew {
			return it, nil, nil // keep-alive of protocol 29 (2.6)
		}
		return it, nil, wire.Errorf("index %d of a list of %d entries", n, len(x.order))
	}
	it.place = int(x.order[n])
	e = &x.b.Entries[it.place]
	if err := x.askedValues(&it, e); err != nil {
		return it, nil, err
	}
	if it.flags&itemTransfer != 0 && !regular(e.Mode) {
		return it, nil, wire.Errorf("data of %q asked for, whose mode is %#o", e.Path, e.Mode)
	}
	return it, e, nil
}

// note records an item that asks for no data.
func (x *exchange) note(it *item, e *flist.Entry) {
	x.announce(it, e)
	if f := ItemFlags(it.flags); f&ItemLocal != 0 && f&ItemLink != 0 {
		x.results[it.place].Link = it.xname
	}
}

// request reads what follows an index and answers it.
func (x *exchange) request(n int32) error {
	it, e, err := x.item(n)
	if e == nil {
		return err
	}
	if it.flags&itemTransfer == 0 {
		x.note(&it, e)
		x.echo(&it)
		return nil
	}
	if x.phase >= 2 {
		return wire.Errorf("data of %q asked for after the last phase of requests", e.Path)
	}
	if x.opts.DryRun {
		x.announce(&it, e)
		x.echo(&it)
		return nil
	}
	if x.asked[it.place]++; x.requests(it.place) > maxAsked {
		return wire.Errorf("data of %q asked for too often", e.Path)
	}
	h, err := delta.ReadHead(x.r, x.protocol, x.checksum.Hash.Size())
	if err != nil {
		return err
	}
	return x.answer(&it, e, h)
}

// late reads what follows an index after the last phase. When a name of a hard-link group was asked for and not sent, or
// failed verification once, the server goes on with the group's other names as soon as it knows, which may be then: it
// says that it linked them, or asks for the next one, which nobody can answer any more (7.7).
func (x *exchange) late(n int32) error {
	it, e, err := x.item(n)
	if e == nil {
		return err
	}
	asks := it.flags&itemTransfer != 0
	if !asks {
		x.note(&it, e)
	}
	if asks || it.hasXattr {
		x.results[it.place].State, x.results[it.place].Err = Changed, ErrChanged
	}
	if !asks || x.opts.DryRun {
		return nil
	}
	h, err := delta.ReadHead(x.r, x.protocol, x.checksum.Hash.Size())
	if err != nil {
		return err
	}
	x.skipSums(h)
	return x.r.Err()
}

// requests returns how often the data of an entry was asked for.
func (x *exchange) requests(place int) uint8 { return x.asked[place] &^ (askedSent | askedBad) }

// echo repeats what the server said, which is how an answer begins (7.2).
func (x *exchange) echo(it *item) {
	x.w.Ndx(it.ndx, x.protocol)
	if x.protocol < 29 {
		return
	}
	x.w.Uint16(it.flags)
	if it.flags&itemBasisFollows != 0 {
		x.w.Byte(it.basis)
	}
	if it.flags&itemXnameFollows != 0 {
		x.w.Vstring(it.xname)
	}
	if it.hasXattr {
		x.sendValues(it)
	}
}

// announce records an item. What is asked for again is no news.
func (x *exchange) announce(it *item, e *flist.Entry) {
	f := x.flags(it.flags, e)
	x.results[it.place].Items |= f
	if x.requests(it.place) > 1 {
		return
	}
	if ev := x.b.Events; ev != nil {
		x.said.events.Lock()
		ev.Item(it.place, f)
		x.said.events.Unlock()
	}
}

// answer sends a file, or says that it is not sent.
func (x *exchange) answer(it *item, e *flist.Entry, h delta.Head) error {
	res := &x.results[it.place]
	if (res.State == NotSent || res.State == Changed) && x.asked[it.place]&askedBad == 0 { // it went wrong the first time
		res.State, res.Err = Pending, nil
	}
	f, err := x.b.Open(it.place)
	if err != nil {
		x.blame(res, err)
		x.decline(it, h)
		return nil
	}
	size, adds := f.Size(), x.adds()
	if adds && h.Length() > size { // it has become shorter than what the server means to add to
		f.Close()
		res.State, res.Err = Changed, ErrChanged
		x.decline(it, h)
		return nil
	}
	x.announce(it, e)
	if ev := x.b.Events; ev != nil {
		x.said.events.Lock()
		ev.Sending(it.place)
		x.said.events.Unlock()
	}
	x.echo(it)
	h.Write(x.w)
	x.src.f = f
	if x.scratch.Compress != nil {
		x.scratch.Incompressible = x.opts.incompressible().Match(e.Path)
	}
	var st delta.Stats
	if adds {
		st, err = delta.Append(x.w, &x.src, h.Length(), size, x.checksum, &x.scratch)
	} else {
		st, err = delta.Send(x.w, x.r, &x.src, size, h, x.checksum, x.inPlace(it), &x.scratch)
	}
	x.src.flush()
	closed := f.Close()

	res.Literal, res.Matched = st.Literal, st.Matched
	x.stats.Literal += st.Literal
	x.stats.Matched += st.Matched
	if err == nil && x.asked[it.place]&askedSent == 0 {
		x.asked[it.place] |= askedSent
		x.stats.Files++
		x.stats.FileBytes += size
	}
	switch {
	case err == nil && closed == nil:
	case errors.Is(err, delta.ErrSource):
		x.blame(res, err)
	case err != nil:
		return err
	case errors.Is(closed, ErrChanged):
		res.State, res.Err = Changed, closed
	default:
		x.blame(res, fmt.Errorf("close: %w", closed))
	}
	return nil
}

// blame records a trouble of the source.
func (x *exchange) blame(res *Result, err error) {
	if x.said.exited() || errors.Is(err, errOver) {
		return // what was being read is not to blame for the session's end
	}
	res.State, res.Err = NotSent, err
	if vanished(err) {
		x.ioError |= ioVanished
	} else {
		x.ioError |= ioGeneral
	}
}

// decline answers a request for what cannot be sent (7.8). Its block sums have to be read all the same.
func (x *exchange) decline(it *item, h delta.Head) {
	x.skipSums(h)
	switch {
	case x.protocol >= 30:
		x.w.Message(wire.NoSend, binary.LittleEndian.AppendUint32(nil, uint32(it.ndx)))
	case x.opts.Acks:
		// The server counts requests that are outstanding and would stop asking: an answer that it discards settles it.
		x.echo(it)
		h.Write(x.w)
		delta.Refuse(x.w, x.checksum, &x.scratch)
	}
}

// adds reports whether the server adds to its files. What then turns out wrong it asks for once more, in the usual way,
// in the second phase.
func (x *exchange) adds() bool { return x.opts.AppendVerify && x.phase == 0 }

// skipSums reads the block sums of a request.
func (x *exchange) skipSums(h delta.Head) {
	if x.adds() {
		return // there are none
	}
	if x.skip == nil {
		x.skip = make([]byte, 4<<10)
	}
	const rolling = 4
	for left := int64(h.Count) * int64(rolling+h.SumLen); left > 0 && x.r.Err() == nil; {
		n := min(left, int64(len(x.skip)))
		x.r.Full(x.skip[:n])
		left -= n
	}
}

// inPlace reports whether the server writes into the file that it matched against (7.6).
func (x *exchange) inPlace(it *item) bool {
	if it.basis == basisPartial && x.compat&compatInplacePartial != 0 {
		return true
	}
	return (x.opts.Inplace || x.opts.AppendVerify) && (x.protocol < 29 || it.basis == basisDefault)
}

// progressStep is how much content is worked off between two reports of it, in bytes.
const progressStep = 256 << 10

// A source is a File as it is read for sending: it counts, and ends early when the session is over.
type source struct {
	x    *exchange
	f    File
	read int64 // not reported yet
}

func (s *source) Read(p []byte) (int, error) {
	select {
	case <-s.x.conn.closed:
		return 0, errOver
	default:
	}
	if s.x.said.exited() {
		return 0, errOver
	}
	n, err := s.f.Read(p)
	if s.read += int64(n); s.read >= progressStep {
		s.flush()
	}
	return n, err
}

func (s *source) flush() {
	if ev := s.x.b.Events; ev != nil && s.read > 0 {
		n := s.read
		s.x.said.events.Lock()
		ev.Sent(n)
		s.x.said.events.Unlock()
	}
	s.read = 0
}

// errOver ends the reading of a file whose session is over.
var errOver = errors.New("session is over")

const (
	modeType    = 0o170000
	modeRegular = 0o100000
	modeDir     = 0o040000
	modeSymlink = 0o120000
	modeChar    = 0o020000
	modeBlock   = 0o060000
	modeFIFO    = 0o010000
	modeSocket  = 0o140000
)

func regular(mode uint32) bool { return mode&modeType == modeRegular }
func isDir(mode uint32) bool   { return mode&modeType == modeDir }
