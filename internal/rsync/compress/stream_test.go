package compress

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/rsync/wire"
)

func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func prose(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "word%d %d ", r.IntN(300), r.IntN(8))
	}
	return b.Bytes()[:n]
}

// A part of a file is literals, or, with a number from 0 on, a block of the receiver's.
type part struct {
	block int32
	data  []byte
}

func literal(p []byte) part          { return part{-1, p} }
func matched(i int32, p []byte) part { return part{i, p} }

// send sends files through one stream, literals in pieces of n bytes, has each received, and returns what travelled.
func send(t testing.TB, m Method, level, protocol, n int, incompressible bool, files ...[]part) []byte {
	t.Helper()
	var out bytes.Buffer
	w := wire.NewWriter(&out)
	s := NewStream(w, m, level, protocol)
	defer s.Release()
	r := newReceiver(m, protocol)
	for k, parts := range files {
		from := out.Len()
		want, blocks, runs := sendFile(s, parts, n, incompressible)
		w.Flush()
		got, rest, err := r.file(out.Bytes()[from:], func(i int32) []byte { return blocks[i] }, runs)
		if err != nil || len(rest) > 0 || !bytes.Equal(got, want) {
			t.Fatalf("%v, file %d: %d bytes received of %d, %d left over: %v", m, k, len(got), len(want), len(rest), err)
		}
	}
	return out.Bytes()
}

// sendFile sends one file. It returns the file, the receiver's blocks and the lengths of the runs of literals.
func sendFile(s *Stream, parts []part, n int, incompressible bool) (file []byte, blocks map[int32][]byte, runs []int) {
	for _, p := range parts {
		file = append(file, p.data...)
	}
	s.Begin(int64(len(file)), incompressible)
	blocks = make(map[int32][]byte)
	open := false
	for _, p := range parts {
		if p.block >= 0 {
			s.Match(p.block, p.data)
			blocks[p.block], open = p.data, false
			continue
		}
		if len(p.data) > 0 && !open {
			runs, open = append(runs, 0), true
		}
		for rest := p.data; len(rest) > 0; rest = rest[min(n, len(rest)):] {
			s.Literal(rest[:min(n, len(rest))])
			runs[len(runs)-1] += min(n, len(rest))
		}
	}
	s.End()
	return file, blocks, runs
}

// files are what streams must carry, one after the other.
func files() [][]part {
	text := prose(1, 400_000)
	all := [][]part{
		{},
		{literal([]byte("x"))},
		{literal(text)},
		{literal(noise(2, 900_000)), literal(text), literal(noise(3, 66_000)), literal([]byte("end"))},
		{literal(make([]byte, 2_000_000))},
		{matched(0, text[:700]), matched(1, text[700:1400])},
		{literal(text[:5000]), matched(9, text[5000:5700]), literal(text[5700:9000]), matched(3, noise(4, 100)), literal(text[:200])},
		{matched(0, text[:131_072]), literal(text[100_000:150_000]), matched(1, text[131_072:196_609]), literal(text[150_000:190_000])},
		{matched(0, text[:65_535]), literal(text[30_000:60_000]), matched(1, text[65_535:131_070]), literal(text[100_000:180_000])},
		{literal(noise(5, 700_000)), matched(70, text[:2000]), literal(text[1000:9000]), matched(71, noise(6, 40_000)), literal(text[:90_000])},
	}
	for i := range 200 {
		all = append(all, []part{literal(prose(uint64(i), 20*i))})
	}
	var small []part
	for i := range int32(300) {
		at := int(i) * 1000
		small = append(small, matched(i*7%300, text[at:at+700]), literal(text[at+700:at+700+int(i)]))
	}
	return append(all, small)
}

func TestRoundTrip(t *testing.T) {
	for _, m := range Methods {
		for _, protocol := range []int{27, 30, 31, 32} {
			if protocol < 30 && m != Zlib || raceEnabled && protocol > 27 && protocol < 32 {
				continue
			}
			for _, incompressible := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v p%d %t", m, protocol, incompressible), func(t *testing.T) {
					t.Parallel()
					send(t, m, 0, protocol, 100_000, incompressible, files()...)
				})
			}
		}
		levels := []int{-5, 1, 2, 3, 4, 5, 7, 9, 12, 22, 1 << 20}
		if raceEnabled {
			levels = []int{3}
		}
		for _, level := range levels {
			t.Run(fmt.Sprintf("%v level %d", m, level), func(t *testing.T) {
				t.Parallel()
				send(t, m, level, 32, 1000, false, files()[:8]...)
			})
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add(uint8(1), uint16(700), prose(1, 3000))
	f.Add(uint8(3), uint16(1), noise(1, 300))
	f.Fuzz(func(t *testing.T, seed uint8, n uint16, data []byte) {
		r := rand.New(rand.NewPCG(uint64(seed), uint64(n)))
		var parts []part
		for rest := data; len(rest) > 0; {
			k := 1 + r.IntN(min(len(rest), 2000))
			p := literal(bytes.Repeat(rest[:k], 1+r.IntN(4)))
			if r.IntN(2) == 0 {
				p = matched(int32(len(parts)*(1+r.IntN(40))), rest[:k])
			}
			parts, rest = append(parts, p), rest[k:]
		}
		for _, m := range Methods {
			send(t, m, 0, 30+r.IntN(3), 1+int(n), r.IntN(4) == 0, parts, parts)
		}
	})
}

// TestReferences has the forms in which blocks are named.
func TestReferences(t *testing.T) {
	run := func(from, n int32) (p []part) {
		for i := range n {
			p = append(p, matched(from+i, []byte{byte(from + i)}))
		}
		return p
	}
	for want, parts := range map[string][]part{
		"80 00":                              run(0, 1),
		"bf 00":                              run(63, 1),
		"20 40000000 00":                     run(64, 1),
		"c0 0100 00":                         run(0, 2),
		"21 39300000 0200 00":                run(12345, 3),
		"80 c2 0200 00":                      append(run(0, 1), run(2, 3)...),
		"c0 0200 80 00":                      append(run(0, 3), run(2, 1)...),
		"c5 0100 20 05000000 00":             append(run(5, 2), run(5, 1)...),
		"c0 ffff 81 00":                      run(0, 65_537),
		"c0 ffff c1 ffff 81 00":              run(0, 2*65_536+1),
		"c1 0100 20 ffffff7f 20 00000000 00": append(append(run(1, 2), run(1<<31-1, 1)...), run(0, 1)...),
	} {
		got := hex.EncodeToString(send(t, Zlibx, 0, 32, 1, false, parts))
		if want := strings.ReplaceAll(want, " ", ""); got != want {
			t.Errorf("%d blocks: %s, want %s", len(parts), got[:min(len(got), 100)], want)
		}
	}
}

// TestSize says what is won and lost at most.
func TestSize(t *testing.T) {
	text, random := prose(1, 2<<20), noise(1, 8<<20)
	for _, m := range Methods {
		if n := len(send(t, m, 0, 32, 256<<10, false, []part{literal(text)})); n > len(text)*9/20 {
			t.Errorf("%v: %d bytes of text became %d", m, len(text), n)
		}
		if n := len(send(t, m, 0, 32, 256<<10, false, []part{literal(random)})); n > len(random)+len(random)/150 {
			t.Errorf("%v: %d bytes of noise became %d", m, len(random), n)
		}
		if n := len(send(t, m, 0, 32, 256<<10, true, []part{literal(text)})); n < len(text) {
			t.Errorf("%v: %d bytes of an incompressible file became %d", m, len(text), n)
		}
	}
}

// Later files of a session refer to earlier ones with zstd, and literals to the block before them with zlib.
func TestHistory(t *testing.T) {
	unique := noise(1, 20_000)
	if n := len(send(t, Zstd, 0, 32, 1<<20, false, []part{literal(unique)}, []part{literal(unique)})); n > 21_000 {
		t.Errorf("zstd: the same file twice became %d bytes", n)
	}
	after := []part{matched(0, unique), literal(unique)}
	if n := len(send(t, Zlib, 0, 32, 1<<20, false, after)); n > 1000 {
		t.Errorf("zlib: the block before again became %d bytes", n)
	}
}

// A counter is a codec that saves a given share.
type counter struct {
	out           *chunks
	saves         bool
	written, kept int64
}

func (c *counter) begin()       {}
func (c *counter) flush()       {}
func (c *counter) finish()      {}
func (c *counter) release()     {}
func (c *counter) see(p []byte) {}
func (c *counter) write(p []byte) {
	c.written += int64(len(p))
	if !c.saves {
		c.out.total += int64(len(p))
	}
}
func (c *counter) stored(p []byte) { c.kept += int64(len(p)) }

// TestTrial counts what goes through the encoder.
func TestTrial(t *testing.T) {
	for _, tt := range []struct {
		name           string
		size           int64
		incompressible bool
		saves          func(at int64) bool
		least, most    int64 // bytes through the encoder
	}{
		{"text", 64 << 20, false, func(int64) bool { return true }, 64 << 20, 64 << 20},
		{"noise", 512 << 20, false, func(int64) bool { return false }, 6 * trial, 512 << 20 / 80},
		{"by name", 512 << 20, true, func(int64) bool { return true }, 0, 0},
		{"short noise", 100_000, false, func(int64) bool { return false }, firstTrial, firstTrial},
		{"text late", 256 << 20, false, func(at int64) bool { return at > 32<<20 }, 192 << 20, 230 << 20},
		{"text first", 256 << 20, false, func(at int64) bool { return at < 32<<20 }, 32 << 20, 36 << 20},
	} {
		s := &Stream{out: chunks{w: wire.NewWriter(new(bytes.Buffer))}}
		c := &counter{out: &s.out}
		s.codec = c
		s.Begin(tt.size, tt.incompressible)
		p := make([]byte, 10_000)
		for at := int64(0); at < tt.size; {
			c.saves = tt.saves(at)
			n := min(tt.size-at, int64(len(p)))
			s.Literal(p[:n])
			at += n
		}
		s.End()
		if c.written < tt.least || c.written > tt.most || c.written+c.kept != tt.size {
			t.Errorf("%s: %d bytes compressed and %d not, of %d; want %d to %d", tt.name, c.written, c.kept, tt.size, tt.least, tt.most)
		}
	}
}

// A file costs no memory of its own, but for the head of a zstd frame where one begins.
func TestAllocations(t *testing.T) {
	small, large := prose(1, 3000), append(prose(2, 200_000), noise(3, 900_000)...)
	for _, m := range Methods {
		w := wire.NewWriter(new(discard))
		s := NewStream(w, m, 0, 32)
		one := func() {
			for _, p := range [][]byte{small, large} {
				s.Begin(int64(len(p)), false)
				s.Literal(p[:1000])
				s.Match(3, p[1000:2000])
				s.Literal(p[2000:])
				s.End()
			}
		}
		for range 20 {
			one()
		}
		if n := testing.AllocsPerRun(20, one); n > 2 && !raceEnabled {
			t.Errorf("%v: %v allocations in two files", m, n)
		}
		s.Release()
	}
}

type discard struct{}

func (*discard) Write(p []byte) (int, error) { return len(p), nil }

// TestRecordedSessions reads what stock rsync sent, so that the receiver of these tests is known to be right: a file of
// 3000 bytes, of which the second block of 700 has changed (protocol 10).
func TestRecordedSessions(t *testing.T) {
	want := make([]byte, 3000)
	for i := range want {
		want[i] = byte(i*i*7 + i*3 + i>>5*11)
	}
	block := func(i int32) []byte { return want[i*700 : min(i*700+700, 3000)] }
	var head []byte
	for _, v := range []uint32{5, 700, 2, 200} {
		head = binary.LittleEndian.AppendUint32(head, v)
	}
	for name, m := range map[string]Method{
		"04-p32-aHz-zstd": Zstd, "05-p32-aH-lz4": LZ4, "06-p32-aH-zlibx": Zlibx, "07-p32-aH-zlib": Zlib,
		"24-p29-aHcz-delete": Zlib, "27-p27-aHcz": Zlib,
	} {
		b, err := os.ReadFile("../testdata/sessions/" + name + ".c2s.bin")
		if err != nil {
			t.Fatal(err)
		}
		_, tokens, found := bytes.Cut(b, head)
		if !found {
			t.Fatalf("%s: no answer", name)
		}
		got, _, err := newReceiver(m, 32).file(tokens, block, []int{700})
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, not the file: %v", name, len(got), err)
		}
	}
}

// A run of any length can be taken back its last four bytes, wherever the chunks before it were cut.
func TestEndOfRun(t *testing.T) {
	random := noise(1, bufferSize+100)
	for n := bufferSize - 40; n < bufferSize+10; n++ {
		send(t, Zlibx, 1, 32, 20_000, false, []part{literal(random[:n])})
	}
}

// However many blocks go by, no more is kept of them than the window.
func TestSeenIsBounded(t *testing.T) {
	s := NewStream(wire.NewWriter(new(discard)), Zlib, 0, 32)
	s.Begin(1<<30, false)
	for i := range int32(1000) {
		s.Match(i, make([]byte, 700))
	}
	if n := cap(s.codec.(*deflate).seen); n > 2*deflateWindow {
		t.Errorf("%d bytes kept", n)
	}
}
