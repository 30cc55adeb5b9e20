// Package compress writes the compressed token format of the protocol (7.5): literal data as zlib, zlibx, lz4 or zstd
// streams cut into chunks, and references to blocks.
//
// Each algorithm has two ways to carry data: through its encoder, and stored, as the format's own frame around the
// bytes as they are. A [Stream] goes from one to the other at any place: for files whose names say that they are
// compressed already, and where a trial shows that nothing is won. So no processor time is spent to save nothing, and
// the receiver, which only follows the stream, needs not know.
//
// Encoders are the memory of a session: up to 5 MiB with zstd, less than 1 MiB with the others. They are taken with the
// first literal and given back for the next session by [Stream.Release].
package compress

import (
	"slices"
	"strings"
)

// Method is an algorithm by which data travels.
type Method uint8

// The methods. Zlib differs from Zlibx in that blocks that the receiver has already are part of its history.
const (
	None Method = iota
	Zlib
	Zlibx
	LZ4
	Zstd
)

var names = [...]string{"none", "zlib", "zlibx", "lz4", "zstd"}

// String returns the name in the protocol.
func (m Method) String() string {
	if int(m) < len(names) {
		return names[m]
	}
	return "unknown"
}

// Methods are those that save anything, best first.
var Methods = []Method{Zstd, LZ4, Zlibx, Zlib}

// Names returns their names.
func Names() []string {
	var n []string
	for _, m := range Methods {
		n = append(n, m.String())
	}
	return n
}

// Parse returns the method of a name, in which case does not count.
func Parse(name string) (Method, bool) {
	for i, n := range names {
		if strings.EqualFold(n, name) {
			return Method(i), true
		}
	}
	return None, false
}

// Choose returns the first of the wanted methods whose name is offered, None if there is none.
func Choose(offered []string, wanted ...Method) Method {
	for _, m := range wanted {
		if slices.ContainsFunc(offered, func(n string) bool { return strings.EqualFold(n, m.String()) }) {
			return m
		}
	}
	return None
}

// A codec is one algorithm. What it makes goes into its chunks.
type codec interface {
	// begin starts a file.
	begin()
	// write compresses p. What comes of it may stay inside until flush.
	write(p []byte)
	// flush gives out what was written so far.
	flush()
	// stored gives out p as it is, after all that was written and flushed before.
	stored(p []byte)
	// see is told of a block that the receiver has, in its place between the literals.
	see(p []byte)
	// finish ends a run of literals: all of it is out then.
	finish()
	// release gives back what was borrowed for the session.
	release()
}

func newCodec(m Method, level, protocol int, out *chunks) codec {
	switch m {
	case Zlib, Zlibx:
		return &deflate{out: out, level: deflateLevel(level), history: m == Zlib, protocol: protocol, fresh: true}
	case LZ4:
		return &lz4Codec{out: out}
	}
	return &zstdCodec{out: out, level: zstdLevel(level)}
}
