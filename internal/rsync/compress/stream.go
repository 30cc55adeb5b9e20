package compress

import (
	"math"
	"time"

	"github.com/syncd/syncd/internal/rsync/wire"
)

// Flags of the token format.
const (
	flagEnd      = 0x00
	flagLong     = 0x20 // block number as int32
	flagLongRun  = 0x21 // and the length of the run
	flagBlock    = 0x80 // block number relative to the last, in the low bits
	flagBlockRun = 0xc0
	maxRelative  = 0x3f
	maxRun       = math.MaxUint16
)

const (
	// firstTrial is how much of a file is compressed before it is judged, in bytes. It is as much as a deflate block
	// can hold stored.
	firstTrial = 65535
	// trial is how much is compressed between two later judgements.
	trial = 2 * firstTrial
	// gain is the part of the data that must be saved, as a divisor: less is not worth the receiver's work either.
	gain = 32
	// firstRest and lastRest are how much goes stored after a trial that won nothing. It doubles from one to the
	// other while nothing is won, so that of a disk image or an archive with compressible parts little is lost, and of
	// one without them less than a hundredth is tried.
	firstRest = 512 << 10
	lastRest  = 16 << 20
)

// A Stream writes the tokens of a session's files. It is for one goroutine.
type Stream struct {
	codec codec
	level int // as it was asked for
	out   chunks
	least int64 // when less than this is left of a file, its encoder goes on

	// of the file
	left  int64 // bytes to come
	last  int32 // the last block of the last run
	first int32 // the run of blocks that is not written yet
	run   int32 // its length
	open  bool  // a literal has been written since the last block

	// of the trial
	in, before int64 // bytes written since, and the stream's length at, the beginning of the trial
	judge      int64 // bytes after which it is judged
	stored     int64 // bytes still to go as they are
	rest       int64 // how many will after the next trial in vain
}

// NewStream returns a stream into w. The level counts as rsync's (see [Method]): 0 is the default of the method. Levels
// beyond what the method has are the nearest that it has.
func NewStream(w *wire.Writer, m Method, level, protocol int) *Stream {
	s := &Stream{level: level, out: chunks{w: w}}
	s.codec = newCodec(m, level, protocol, &s.out)
	if m == Zstd {
		s.least = leastStored
	}
	return s
}

// Follow has the level of zstd follow the link. waited returns how long the session has waited for it so far, in all. It
// has no effect on the other methods, nor with a level other than 0.
func (s *Stream) Follow(waited func() time.Duration) {
	if z, ok := s.codec.(*zstdCodec); ok && s.level == 0 {
		z.follow(newLink(waited))
	}
}

// Begin starts a file of size bytes. Of a file that is incompressible nothing is tried.
func (s *Stream) Begin(size int64, incompressible bool) {
	s.left, s.last, s.run, s.open = size, 0, 0, false
	s.in, s.before, s.judge = 0, s.out.total, firstTrial
	s.stored, s.rest = 0, firstRest
	if incompressible && size >= s.least {
		s.stored = math.MaxInt64
	}
	s.codec.begin()
}

// Literal sends data. Literals between the same two blocks are one run, in however many pieces they come.
func (s *Stream) Literal(p []byte) {
	if len(p) == 0 {
		return
	}
	s.flushRun()
	s.open = true
	for len(p) > 0 {
		p = p[s.some(p):]
	}
}

// some sends the first bytes of p and returns how many.
func (s *Stream) some(p []byte) int {
	if s.stored > 0 {
		n := int(min(int64(len(p)), s.stored))
		s.codec.stored(p[:n])
		s.left -= int64(n)
		if s.stored -= int64(n); s.stored == 0 {
			s.before = s.out.total
		}
		return n
	}
	n := int(min(int64(len(p)), s.judge-s.in))
	s.codec.write(p[:n])
	s.in += int64(n)
	s.left -= int64(n)
	if s.in == s.judge {
		s.verdict()
	}
	return n
}

// verdict ends a trial.
func (s *Stream) verdict() {
	s.codec.flush()
	switch {
	case s.out.total-s.before <= s.in-s.in/gain:
		s.rest = firstRest
	case s.left >= s.least:
		s.stored = s.rest
		s.rest = min(2*s.rest, lastRest)
	}
	s.in, s.before, s.judge = 0, s.out.total, trial
}

// Match sends a reference to the receiver's block i, whose bytes are p.
func (s *Stream) Match(i int32, p []byte) {
	s.endLiterals()
	s.codec.see(p)
	s.left -= int64(len(p))
	if s.run > 0 && i == s.first+s.run && s.run <= maxRun {
		s.run++
		return
	}
	s.flushRun()
	s.first, s.run = i, 1
}

// End ends the file.
func (s *Stream) End() {
	s.endLiterals()
	s.flushRun()
	s.out.w.Byte(flagEnd)
}

// Release gives the session's encoder to the next one. The stream must not be used after it.
func (s *Stream) Release() { s.codec.release() }

func (s *Stream) endLiterals() {
	if !s.open {
		return
	}
	s.open = false
	s.codec.finish()
	s.out.finish()
}

// flushRun writes the run of blocks that was gathered.
func (s *Stream) flushRun() {
	if s.run == 0 {
		return
	}
	w, more := s.out.w, s.run-1
	if relative := s.first - s.last; relative >= 0 && relative <= maxRelative {
		flag := byte(flagBlock)
		if more > 0 {
			flag = flagBlockRun
		}
		w.Byte(flag | byte(relative))
	} else {
		flag := byte(flagLong)
		if more > 0 {
			flag = flagLongRun
		}
		w.Byte(flag)
		w.Int32(s.first)
	}
	if more > 0 {
		w.Uint16(uint16(more))
	}
	s.last, s.run = s.first+more, 0
}
