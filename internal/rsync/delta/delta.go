// Package delta answers the transfer requests of an rsync server: it computes the checksums of the protocol, finds
// the server's blocks in a file and writes the tokens from which the server rebuilds it (protocol 7.2 to 7.6).
//
// Unlike stock senders, [Send] does not wait for the sums of all blocks before it starts. A block that stands where it
// stood is confirmed by its own sum alone, so the receiver rebuilds the file while the generator still reads the old
// one. Only data that has moved or changed makes the sender read further sums, and only data that is nowhere near
// makes it wait for all of them.
//
// Everything here reads its input once and in order. Memory is bounded by a window of two blocks and half a MiB, by
// the sums received so far, and by an index over them. Nothing that a server sends makes the work grow faster than
// linearly with the file and the sums.
package delta

import (
	"errors"
	"io"

	"github.com/syncd/syncd/internal/rsync/compress"
	"github.com/syncd/syncd/internal/rsync/wire"
)

// ErrSource is wrapped by the error of [Send] when reading the file failed. The answer was completed in a form that
// the server refuses, so the session is still in step and may go on.
var ErrSource = errors.New("read source")

// Stats counts the bytes of one file by the way they travelled.
type Stats struct {
	Literal int64 // sent as data
	Matched int64 // taken from the server's old file
}

// A Scratch holds what [Send] keeps between the files of a session, so that a file costs no allocation. The zero value
// is ready and sends plain tokens; a Scratch serves one Send at a time.
type Scratch struct {
	// Compress writes the tokens of all files of the session, if the two sides agreed to compress.
	Compress *compress.Stream
	// Incompressible says that of the next file nothing can be saved, as far as its name tells.
	Incompressible bool

	out      tokens
	file     FileSum
	checksum Checksum // what file was made for
	sum      []byte
	buf      []byte
	sums     blockSums
	table    table
	matcher  matcher
}

// fileSum returns a fresh whole-file sum of c.
func (s *Scratch) fileSum(c Checksum) FileSum {
	if s.sum == nil || s.checksum != c {
		s.file, s.checksum, s.sum = c.NewFile(), c, make([]byte, 0, maxSum)
	}
	s.file.Reset()
	return s.file
}

// maxBlock is the largest block that is searched for. A server chooses such a block only for files beyond 64 TiB,
// and only before protocol 30; matching them would need a window of twice that size.
const maxBlock = 8 << 20

// Send answers one transfer request whose index, flags and head have been echoed: it writes tokens, the end token and
// the whole-file sum (protocol 7.2). h is the request's head, from [ReadHead].
//
// The h.Count block sums are read from sums when they are needed, while the server may still be computing them. All of
// them are consumed when Send returns, and before the end token goes out: a server that updates in place cuts the file
// to its new length then, and must not do so while it still reads it. With sums nil or h.Count 0 the file goes whole.
//
// size is the length to send. A longer file is cut there, a shorter one is sent as far as it goes; both have an honest
// sum. If reading fails, the answer is ended with a wrong sum (protocol 7.8) and the error wraps [ErrSource]. Any other
// error is that of w or sums, and the session is lost.
//
// inPlace says that the server overwrites its old file while it rebuilds it (protocol 7.6): blocks behind the output
// position are not used then.
func Send(w *wire.Writer, sums *wire.Reader, f io.Reader, size int64, h Head, c Checksum, inPlace bool,
	scratch *Scratch) (Stats, error) {
	out := &scratch.out
	file := scratch.begin(w, size, c)
	if sums == nil {
		h.Count = 0
	}
	scratch.sums.start(sums, h)

	var source error
	if h.Count == 0 || h.BlockLen > maxBlock || size <= 0 {
		source = scratch.sendWhole(f, size, file)
	} else {
		source = scratch.matcher.send(out, f, size, c, inPlace, scratch)
	}
	if err := scratch.sums.drain(); err != nil {
		return out.stats, err
	}
	return scratch.finish(file, source)
}

// falsify turns the true sum into one that is wrong (protocol 7.8).
func falsify(sum []byte) {
	zero := true
	for i, b := range sum {
		zero = zero && b == 0
		sum[i] = 0
	}
	if zero && len(sum) > 0 {
		sum[len(sum)-1] = 1
	}
}

// Refuse answers one transfer request, as Send does, with nothing that the server would keep (protocol 7.8).
func Refuse(w *wire.Writer, c Checksum, scratch *Scratch) {
	out := tokens{w: w, z: scratch.Compress}
	if out.z != nil {
		out.z.Begin(0, false)
	}
	out.end()
	w.Bytes(make([]byte, c.Hash.Size()))
}

// sendWhole sends size bytes of f as literals and returns the error of f.
func (s *Scratch) sendWhole(f io.Reader, size int64, file FileSum) error {
	if s.out.z != nil {
		return s.compressWhole(f, size, file)
	}
	return sendPlain(&s.out, f, size, file)
}

// compressWhole reads into a buffer of its own.
func (s *Scratch) compressWhole(f io.Reader, size int64, file FileSum) error {
	if n := int(min(size, readChunk)); cap(s.buf) < n {
		s.buf = make([]byte, n)
	}
	for left := size; left > 0 && s.out.w.Err() == nil; {
		p := s.buf[:min(left, int64(cap(s.buf)), readChunk)]
		n, err := readFull(f, p)
		file.Write(p[:n])
		s.out.literal(p[:n])
		left -= int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sendPlain reads straight into the writer's buffer.
func sendPlain(out *tokens, f io.Reader, size int64, file FileSum) error {
	for left := size; left > 0 && out.w.Err() == nil; {
		p := out.w.Literal(int(min(left, wire.MaxLiteral)))
		n, err := readFull(f, p)
		file.Write(p[:n])
		out.commit(n)
		left -= int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readFull fills p unless f ends, with io.EOF, or fails before. When p is full there is no error, and f is not read
// again to see whether it ends there.
func readFull(f io.Reader, p []byte) (n int, err error) {
	for empty := 0; n < len(p) && err == nil; {
		var m int
		m, err = f.Read(p[n:])
		n += m
		if m > 0 {
			empty = 0
		} else if empty++; err == nil && empty == maxEmptyReads {
			err = io.ErrNoProgress
		}
	}
	if n == len(p) {
		err = nil
	}
	return n, err
}

// maxEmptyReads is how often a reader may return neither data nor an error in a row.
const maxEmptyReads = 100
