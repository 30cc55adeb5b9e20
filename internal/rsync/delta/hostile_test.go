package delta

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"testing"

	"github.com/syncd/syncd/internal/rsync/wire"
)

func headBytes(v ...int32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, uint32(x))
	}
	return b
}

func TestReadHead(t *testing.T) {
	for _, v := range []struct {
		head     [4]int32
		protocol int
		sum      int
		ok       bool
	}{
		{[4]int32{}, 32, 16, true},
		{[4]int32{5, 700, 2, 200}, 32, 16, true},
		{[4]int32{5, 700, 0, 0}, 32, 16, true},
		{[4]int32{5, 700, 16, 700}, 32, 16, true},
		{[4]int32{math.MaxInt32, 131072, 16, 0}, 32, 16, true},
		{[4]int32{1, 131073, 16, 0}, 30, 16, false},
		{[4]int32{1, 131073, 16, 0}, 29, 16, true},
		{[4]int32{1, 1 << 29, 16, 0}, 29, 16, true},
		{[4]int32{1, 1<<29 + 1, 16, 0}, 29, 16, false},
		{[4]int32{-1, 700, 2, 0}, 32, 16, false},
		{[4]int32{1, 0, 2, 0}, 32, 16, false},
		{[4]int32{0, -1, 2, 0}, 32, 16, false},
		{[4]int32{1, -700, 2, 0}, 32, 16, false},
		{[4]int32{1, 700, -1, 0}, 32, 16, false},
		{[4]int32{1, 700, 17, 0}, 32, 16, false},
		{[4]int32{1, 700, 9, 0}, 32, 8, false},
		{[4]int32{1, 700, 20, 0}, 32, 20, true},
		{[4]int32{1, 700, 2, -1}, 32, 16, false},
		{[4]int32{1, 700, 2, 701}, 32, 16, false},
	} {
		h, err := ReadHead(wire.NewReader(bytes.NewReader(headBytes(v.head[:]...))), v.protocol, v.sum)
		if !v.ok {
			if !errors.Is(err, wire.ErrProtocol) || h != (Head{}) {
				t.Errorf("%v at protocol %d: %v, %v", v.head, v.protocol, h, err)
			}
			continue
		}
		if want := (Head{v.head[0], v.head[1], v.head[2], v.head[3]}); err != nil || h != want {
			t.Errorf("%v at protocol %d: %v, %v", v.head, v.protocol, h, err)
		}
		var back bytes.Buffer
		w := wire.NewWriter(&back)
		h.Write(w)
		if w.Flush(); !bytes.Equal(back.Bytes(), headBytes(v.head[:]...)) {
			t.Errorf("%v is written as %x", v.head, back.Bytes())
		}
	}
	half := wire.NewReader(bytes.NewReader(make([]byte, 15)))
	if _, err := ReadHead(half, 32, 16); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half a head: %v", err)
	}
}

// What a head announces must not size anything: only what arrives may.
func TestAnnouncedSumsTakeNoMemory(t *testing.T) {
	file := randomBytes(newRand(1), 1<<20)
	for _, h := range []Head{
		{Count: math.MaxInt32, BlockLen: 1, SumLen: 16},
		{Count: math.MaxInt32, BlockLen: 131072, SumLen: 16},
		{Count: math.MaxInt32, BlockLen: maxBlock, SumLen: 16, Remainder: 1},
		{Count: math.MaxInt32, BlockLen: 1 << 29, SumLen: 16, Remainder: 1},
	} {
		var s Scratch
		sums := wire.NewReader(bytes.NewReader(make([]byte, 1000*20+3)))
		_, err := Send(wire.NewWriter(io.Discard), sums, bytes.NewReader(file), 1<<20, h, xxh, false, &s)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%v: err %v", h, err)
		}
		n := 4*cap(s.sums.rolling) + cap(s.sums.strong) + cap(s.buf) + 4*cap(s.table.heads) + 8*cap(s.table.filter)
		if n > 2<<20 {
			t.Errorf("%v: %d bytes of buffers after 1000 sums and a file of 1 MiB", h, n)
		}
	}
}

// sendSums answers for the sums given and returns the scratch for a look at the work done.
func sendSums(t *testing.T, file []byte, h Head, sums []byte) (*Scratch, Stats) {
	t.Helper()
	s := new(Scratch)
	st, err := Send(wire.NewWriter(io.Discard), wire.NewReader(bytes.NewReader(sums)), bytes.NewReader(file),
		int64(len(file)), h, xxh, false, s)
	if err != nil {
		t.Fatal(err)
	}
	return s, st
}

// Sums made so that each byte of the file looks like a block must not make the sender hash a block for each byte.
func TestFailedCandidatesAreBounded(t *testing.T) {
	const size, block, count = 1 << 20, 64 << 10, 16
	h := Head{Count: count, BlockLen: block, SumLen: 16}
	sums := make([]byte, count*20) // the rolling sum is that of zeros, the strong one is not
	for i := range count {
		sums[20*i+4] = byte(i + 1)
	}
	s, st := sendSums(t, make([]byte, size), h, sums)
	if st.Literal != size {
		t.Errorf("stats %+v", st)
	}
	if most := int64(failSlack + failRate*size + block); s.matcher.failed > most || s.matcher.failed < failSlack {
		t.Errorf("%d bytes hashed in vain, want %d at most (and enough to show the bound)", s.matcher.failed, most)
	}
}

// Neither equal sums nor sums that only share their rolling part make chains long.
func TestChainsAreBounded(t *testing.T) {
	const count = 40_000
	for name, strong := range map[string]func(i int) uint32{
		"equal":        func(int) uint32 { return 7 },
		"same rolling": func(i int) uint32 { return uint32(i) },
	} {
		for _, latest := range []bool{false, true} {
			var sums blockSums
			sums.head = Head{Count: count, BlockLen: 1, SumLen: 4}
			var tab table
			tab.start(&sums, latest)
			for i := range count {
				sums.rolling = append(sums.rolling, 12345)
				sums.strong = binary.LittleEndian.AppendUint32(sums.strong, strong(i))
				if i%1000 == 0 {
					tab.update() // as sums arrive
				}
			}
			tab.update()
			n, first := 0, tab.chain(12345)
			for i := first; i >= 0; i = tab.follow(i) {
				n++
			}
			switch {
			case name == "equal" && (n != 1 || latest && first != count-1 || !latest && first != 0):
				t.Errorf("%s, latest %t: chain of %d from %d", name, latest, n, first)
			case name != "equal" && n != maxChain:
				t.Errorf("%s: chain of %d, want %d", name, n, maxChain)
			}
			if !tab.mayHave(12345) || tab.mayHave(54321) {
				t.Error("the filter does not tell")
			}
		}
	}
}

// A block that takes the place of an equal one leaves the others in the chain.
func TestEqualBlockIsReplacedInTheChain(t *testing.T) {
	sums := blockSums{head: Head{Count: 4, BlockLen: 1, SumLen: 1}, rolling: make([]uint32, 4), strong: []byte("abac")}
	var tab table
	tab.start(&sums, true)
	tab.update()
	var got []int32
	for i := tab.chain(0); i >= 0; i = tab.follow(i) {
		got = append(got, i)
	}
	if !slices.Equal(got, []int32{2, 1, 3}) {
		t.Errorf("chain %v", got)
	}
}

// The table finds every block that was put in, whether sums came in one go or in pieces.
func TestTableFindsAll(t *testing.T) {
	rng := newRand(1)
	var sums blockSums
	sums.head = Head{Count: 50_001, BlockLen: 10, SumLen: 2, Remainder: 5}
	var tab table
	tab.start(&sums, false)
	for range sums.head.Count {
		sums.rolling = append(sums.rolling, rng.Uint32())
		sums.strong = append(sums.strong, byte(rng.Uint32()), byte(rng.Uint32()))
		if rng.IntN(300) == 0 {
			tab.update()
		}
	}
	tab.update()
	has := func(i int32) bool {
		v := sums.rolling[i]
		for j := tab.chain(v); j >= 0; j = tab.follow(j) {
			if j == i {
				return tab.mayHave(v)
			}
		}
		return false
	}
	for i := range int32(50_000) {
		if !has(i) {
			t.Fatalf("block %d is not found", i)
		}
	}
	if has(50_000) {
		t.Error("the short last block is in the table")
	}
}

func FuzzReadHead(f *testing.F) {
	f.Add(headBytes(5, 700, 2, 200), 32, 16)
	f.Add(headBytes(math.MaxInt32, -1, 2, 200), 27, 8)
	f.Fuzz(func(t *testing.T, b []byte, protocol, sum int) {
		h, err := ReadHead(wire.NewReader(bytes.NewReader(b)), protocol, sum)
		if err == nil && (h.Count < 0 || h.SumLen < 0 || h.Remainder < 0 || h.Remainder > h.BlockLen ||
			h.Count > 0 && h.BlockLen < 1 || h.BlockLen > 1<<29 || int(h.SumLen) > sum) {
			t.Errorf("%+v accepted", h)
		}
	})
}

// Whatever a server sends as sums: no panic, every byte of the file is accounted for, and the answer is well formed.
func FuzzSend(f *testing.F) {
	f.Add(headBytes(5, 7, 2, 2), []byte("sums of blocks, which are none"), []byte("some file"), uint8(1), false)
	f.Add(headBytes(2, 4, 0, 0), make([]byte, 8), make([]byte, 100), uint8(8), true)
	f.Add(headBytes(math.MaxInt32, 1, 16, 0), make([]byte, 100), make([]byte, 100), uint8(5), true)
	f.Fuzz(func(t *testing.T, head, sums, file []byte, hash uint8, inPlace bool) {
		c := checksums[int(hash)%len(checksums)]
		r := wire.NewReader(io.MultiReader(bytes.NewReader(head), bytes.NewReader(sums)))
		h, err := ReadHead(r, c.Protocol, c.Hash.Size())
		if err != nil {
			return
		}
		var out bytes.Buffer
		w := wire.NewWriter(&out)
		st, err := Send(w, r, bytes.NewReader(file), int64(len(file)), h, c, inPlace, new(Scratch))
		w.Flush()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatal(err)
			}
			return
		}
		if st.Literal+st.Matched != int64(len(file)) {
			t.Fatalf("%+v of %d bytes", st, len(file))
		}
		checkTokens(t, wire.NewReader(&out), h, st, c.Hash.Size())
	})
}

// checkTokens parses an answer and compares it with its statistics.
func checkTokens(t *testing.T, r *wire.Reader, h Head, want Stats, sumSize int) {
	var got Stats
	for r.Err() == nil {
		switch n := r.Int32(); {
		case n > 0:
			r.Full(make([]byte, n))
			got.Literal += int64(n)
		case n == 0:
			r.Full(make([]byte, sumSize))
			if got != want || r.Err() != nil || r.Buffered() != 0 {
				t.Fatalf("tokens of %+v, want %+v; %v, %d bytes left", got, want, r.Err(), r.Buffered())
			}
			return
		case -n > h.Count:
			t.Fatalf("block %d of %d", -n-1, h.Count)
		case -n == h.Count && h.short():
			got.Matched += int64(h.Remainder)
		default:
			got.Matched += int64(h.BlockLen)
		}
	}
	t.Fatal(r.Err())
}
