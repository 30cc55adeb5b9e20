package rsync

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/syncd/syncd/internal/rsync/compress"
	"github.com/syncd/syncd/internal/rsync/delta"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsync/wire"
)

// What may follow an index (7.1).
const (
	basisDefault byte = 0x80 // the destination file
	basisPartial byte = 0x81 // the file in the partial directory

	// maxXname is the longest path that an item may carry, in bytes.
	maxXname = 4096
	// maxAsked is how often a server may ask for one file: once, once more when it failed verification, and some for
	// what no release is known to do.
	maxAsked = 8
	// askedSent marks, in the count of requests, a file that has been sent at least once.
	askedSent = 0x80
	// askedBad marks one that is not there as it was listed, because of its extended attributes.
	askedBad = 0x40
)

// bits of MSG_IO_ERROR (4.3).
const (
	ioGeneral  = 1
	ioVanished = 2
)

// An exchange is the conversation about one batch. Its goroutine alone writes to the connection.
type exchange struct {
	*Session
	b       *Batch
	r       *wire.Reader
	order   []int32  // index on the wire to place in b.Entries
	results []Result // parallel to b.Entries
	asked   []uint8  // parallel to b.Entries: requests for it, and askedSent
	phase   int
	ioError int32
	stats   Stats
	deletes bool // the server sent its counts of deletions
	src     source
	scratch delta.Scratch
	skip    []byte
	values  []int // scratch: item.values
}

func newExchange(s *Session, b *Batch) *exchange {
	x := &exchange{Session: s, b: b, r: wire.NewReader(s.demux.Data())}
	x.results = make([]Result, len(b.Entries))
	x.asked = make([]uint8, len(b.Entries))
	x.src.x = x
	if s.compress != compress.None {
		x.scratch.Compress = compress.NewStream(s.w, s.compress, s.opts.CompressLevel, s.protocol)
		x.scratch.Compress.Follow(s.conn.waited)
	}
	// What is written waits until the server's next request is not here yet: one flush for many small files.
	x.r.SetBeforeBlock(func() { s.w.Flush() })
	return x
}

// release gives back what the session had borrowed.
func (x *exchange) release() {
	if z := x.scratch.Compress; z != nil {
		z.Release()
	}
}

// run leads the conversation to its end. The error is what was noticed first, which may be only a consequence.
func (x *exchange) run() error {
	if x.unmet != nil {
		return x.unmet
	}
	if err := x.sendList(); err != nil {
		return err
	}
	if err := x.serve(); err != nil {
		return err
	}
	if x.ioError != 0 && x.protocol >= 30 {
		x.w.Message(wire.IOError, binary.LittleEndian.AppendUint32(nil, uint32(x.ioError)))
	}
	return x.goodbye()
}

// A batchError says that a batch cannot be sent as it is: the caller's mistake.
type batchError struct{ error }

func (e batchError) Unwrap() error { return e.error }

// sendList sends rules and list. Nothing goes out if the list has an entry that cannot be sent.
func (x *exchange) sendList() error {
	if x.opts.deletes() {
		if err := x.sendRules(); err != nil {
			return err
		}
	}
	o := x.listOptions()
	entries, places := x.sendable(o)
	order := flist.Order(entries, x.protocol)
	if places != nil {
		for i, n := range order {
			order[i] = places[n]
		}
	}
	x.order = order
	x.said.begin(x)
	before := x.w.Written()
	names := x.b.Names
	if x.opts.NumericIDs {
		names = nil
	}
	if err := flist.Encode(x.w, entries, o, names, 0); err != nil && x.w.Err() == nil {
		return batchError{err}
	}
	err := x.w.Flush()
	x.stats.ListBytes = x.w.Written() - before
	if x.protocol >= 31 && x.opts.Timeout > 0 { // older servers are not known to show that they live in every phase
		x.conn.listen(silentWork(x.b.Entries, &x.opts))
	}
	return err
}

func (x *exchange) listOptions() flist.Options {
	o := flist.Options{
		Protocol:    x.protocol,
		VarintFlags: x.compat&compatVarintFlags != 0,
		ID0Names:    x.compat&compatID0Names != 0,
		SafeFlist:   x.compat&compatSafeFlist != 0,
		Owner:       x.opts.Owner,
		Group:       x.opts.Group,
		Devices:     x.opts.Devices,
		Specials:    x.opts.Specials,
		Links:       x.opts.Links,
		HardLinks:   x.opts.HardLinks,
		Atimes:      x.opts.Atimes,
		NumericIDs:  x.opts.NumericIDs,
		ACLs:        x.opts.ACLs,
		Xattrs:      x.opts.Xattrs,
	}
	if x.opts.Checksum {
		o.SumLen = x.checksum.Hash.Size()
	}
	return o
}

// sendRules sends the filter rules, which only a deleting server expects (5.1).
func (x *exchange) sendRules() error {
	const maxRule = 5120
	for _, rule := range x.b.Filter {
		if rule == "" || len(rule) >= maxRule {
			return batchError{fmt.Errorf("filter rule of %d bytes: want 1 to %d", len(rule), maxRule-1)}
		}
		x.w.Int32(int32(len(rule)))
		x.w.String(rule)
	}
	x.w.Int32(0)
	return x.w.Err()
}

// sendable returns the entries that this protocol can carry, and, if that is not all of them, their places in the
// batch. An entry that cannot be sent takes what is below it with it.
func (x *exchange) sendable(o flist.Options) (entries []flist.Entry, places []int32) {
	var bad map[string]error
	for i := range x.b.Entries {
		e := &x.b.Entries[i]
		if err := o.Check(e); err != nil {
			if bad == nil {
				bad = make(map[string]error)
			}
			bad[e.Path] = err
			x.results[i].State, x.results[i].Err = NotSent, err
		}
	}
	if bad == nil {
		return x.opts.Sent(x.b.Entries), nil
	}
	for i := range x.b.Entries {
		e := &x.b.Entries[i]
		if x.results[i].Err == nil {
			if dir, err := badParent(e.Path, bad); err != nil {
				x.results[i].State, x.results[i].Err = NotSent, &fs.PathError{Op: "send below", Path: dir, Err: err}
				continue
			}
			entries, places = append(entries, *e), append(places, int32(i))
		}
	}
	return x.opts.Sent(entries), places
}

// badParent returns the directory above path that cannot be sent, if any.
func badParent(path string, bad map[string]error) (string, error) {
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '/' {
			if err, ok := bad[path[:i]]; ok {
				return path[:i], err
			}
		}
	}
	return "", nil
}

// serve answers what the server asks for, through all phases (7.7).
func (x *exchange) serve() error {
	last := 2
	if x.protocol < 29 {
		last = 1
	}
	for {
		n := x.r.Ndx(x.protocol)
		if err := x.r.Err(); err != nil {
			return err
		}
		switch {
		case n == wire.NdxDone:
			if x.phase++; x.phase > last {
				return x.w.Err()
			}
			x.w.Ndx(wire.NdxDone, x.protocol)
		case n == wire.NdxDelStats:
			x.deleteStats()
		default:
			if err := x.request(n); err != nil {
				return err
			}
		}
		if err := x.w.Err(); err != nil {
			return err
		}
	}
}

// deleteStats reads the counts of deletions.
func (x *exchange) deleteStats() {
	x.deletes = true
	for _, n := range []*int64{&x.stats.Deleted.Files, &x.stats.Deleted.Dirs, &x.stats.Deleted.Symlinks,
		&x.stats.Deleted.Devices, &x.stats.Deleted.Specials} {
		*n = max(0, int64(x.r.Varint()))
	}
}

// goodbye exchanges the last marks (8.1).
func (x *exchange) goodbye() error {
	x.w.Ndx(wire.NdxDone, x.protocol)
	if err := x.awaitDone(); err != nil {
		return err
	}
	if x.protocol < 31 {
		return nil
	}
	x.w.Ndx(wire.NdxDone, x.protocol)
	return x.awaitDone()
}

// awaitDone says all that is to be said and reads the server's next mark.
func (x *exchange) awaitDone() error {
	if err := x.w.Flush(); err != nil {
		return err
	}
	for {
		n := x.r.Ndx(x.protocol)
		if err := x.r.Err(); err != nil {
			return err
		}
		switch n {
		case wire.NdxDone:
			return nil
		case wire.NdxDelStats:
			x.deleteStats()
		default:
			if err := x.late(n); err != nil {
				return err
			}
		}
	}
}

// vanished reports whether a file is gone, which is no fault of anybody.
func vanished(err error) bool { return errors.Is(err, fs.ErrNotExist) }
