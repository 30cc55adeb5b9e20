package delta

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/syncd/syncd/internal/rsync/wire"
)

var xxh = Checksum{Hash: XXH128, Seed: -1700000000, SeedFirst: true, Protocol: 32}

// checksums are all algorithms in the forms they take at the protocols.
var checksums = []Checksum{
	{Hash: MD4Old, Seed: 1, Protocol: 27}, {Hash: MD4Old, Seed: 7, Protocol: 29}, {Hash: MD4, Seed: 3, Protocol: 28},
	{Hash: MD4, Seed: 1, Protocol: 31}, {Hash: MD5, Seed: 9, Protocol: 30},
	{Hash: MD5, Seed: -5, SeedFirst: true, Protocol: 31}, {Hash: XXH64, Seed: -2, Protocol: 32},
	{Hash: XXH3, Seed: 5, Protocol: 32}, xxh, {Hash: SHA1, Seed: 5, Protocol: 32}, {Hash: XXH128, Protocol: 32},
}

func newRand(seed int) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 42)) }

func randomBytes(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// anyFile returns a file of up to n bytes, of noise, text, runs of zeros, and repetitions.
func anyFile(rng *rand.Rand, n int) []byte {
	var b []byte
	for len(b) < n {
		k := 1 + rng.IntN(n/3+1)
		switch rng.IntN(5) {
		case 0, 1:
			b = append(b, randomBytes(rng, k)...)
		case 2:
			b = append(b, make([]byte, k)...)
		case 3:
			b = append(b, bytes.Repeat([]byte("a line of text\n"), k/15+1)...)
		case 4:
			if len(b) > 0 {
				from := rng.IntN(len(b))
				b = append(b, b[from:min(len(b), from+k)]...)
			}
		}
	}
	return b[:rng.IntN(n+1)]
}

// edit returns b with one change of a random kind.
func edit(rng *rand.Rand, b []byte) []byte {
	if len(b) == 0 {
		return anyFile(rng, 5000)
	}
	at := rng.IntN(len(b))
	k := min(len(b)-at, 1+rng.IntN(1<<rng.IntN(16)))
	switch rng.IntN(8) {
	case 0: // insert
		return bytes.Join([][]byte{b[:at], randomBytes(rng, k), b[at:]}, nil)
	case 1: // delete
		return append(bytes.Clone(b[:at]), b[at+k:]...)
	case 2: // overwrite
		return bytes.Join([][]byte{b[:at], randomBytes(rng, k), b[at+k:]}, nil)
	case 3: // zero
		return bytes.Join([][]byte{b[:at], make([]byte, k), b[at+k:]}, nil)
	case 4: // move
		rest := append(bytes.Clone(b[:at]), b[at+k:]...)
		to := rng.IntN(len(rest) + 1)
		return bytes.Join([][]byte{rest[:to], b[at : at+k], rest[to:]}, nil)
	case 5: // duplicate
		return bytes.Join([][]byte{b[:at], b[at : at+k], b[at:]}, nil)
	case 6: // truncate
		return b[:at]
	default: // append
		return append(bytes.Clone(b), randomBytes(rng, k)...)
	}
}

// Whatever was changed, and however the server is set, the file comes out as it is.
func TestSendRebuildsTheFile(t *testing.T) {
	blocks := []int{1, 2, 7, 64, 700, 704, 1000, 4096, 20000, 131072}
	var scratch Scratch // reused, as in a session
	for n := range 1200 {
		rng := newRand(n)
		old := anyFile(rng, 1<<(4+rng.IntN(15)))
		file := old
		for range rng.IntN(4) {
			file = edit(rng, file)
		}
		c := checksums[rng.IntN(len(checksums))]
		block := blocks[rng.IntN(len(blocks))]
		if len(old)/block > 1<<14 {
			block = 64
		}
		sumLen := 2 + rng.IntN(min(16, c.Hash.Size())-1)
		s := newServer(old, headOf(len(old), block, sumLen), c, rng.IntN(3) == 0)
		s.perRead = 1 + int32(rng.IntN(50))
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s.send(t, file, &scratch)
		})
	}
}

// A server that updates in place has its old file overwritten under its hands, both while blocks are copied and while
// sums are still being computed. A match of a block that is gone would be seen here, and only here.
func TestSendInPlace(t *testing.T) {
	var scratch Scratch
	matched := int64(0)
	for n := range 500 {
		rng := newRand(n)
		old := anyFile(rng, 1<<(8+rng.IntN(13)))
		file := old
		for range 1 + rng.IntN(4) {
			file = edit(rng, file)
		}
		s := newServer(old, headOf(len(old), 100+rng.IntN(3000), 16), xxh, true)
		s.perRead = 1
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			matched += s.send(t, file, &scratch).Matched
			if !bytes.Equal(s.old, file) {
				t.Fatal("the file on disk is not the file sent")
			}
		})
	}
	if matched == 0 {
		t.Fatal("no block was ever matched in place")
	}
}

// A deletion moves data towards the front, which in-place updates may use; an insertion moves it back, behind the
// position written, where it must not be used.
func TestInPlaceUsesOnlyWhatIsAhead(t *testing.T) {
	old := randomBytes(newRand(1), 200_000)
	deleted := newServer(old, headOf(len(old), 1000, 8), xxh, true)
	if st := deleted.send(t, old[10:], new(Scratch)); st.Literal > 2000 {
		t.Errorf("deletion of 10 bytes at the front: %d literal bytes", st.Literal)
	}
	inserted := newServer(old, headOf(len(old), 1000, 8), xxh, true)
	if st := inserted.send(t, append([]byte("0123456789"), old...), new(Scratch)); st.Matched != 0 {
		t.Errorf("insertion at the front: %d bytes matched though they were overwritten", st.Matched)
	}
}

func TestLiteralBytesOfTypicalEdits(t *testing.T) {
	const size, block = 3 << 20, 1768
	old := randomBytes(newRand(1), size)
	zeros := make([]byte, size)
	cat := func(p ...[]byte) []byte { return bytes.Join(p, nil) }
	with := func(b []byte, at int, s string) []byte { return cat(b[:at], []byte(s), b[at+len(s):]) }
	aligned := block * 1000
	holed := with(old, 5*block, string(zeros[:block]))
	swapped := cat(old[:aligned], old[aligned+block:aligned+2*block], old[aligned:aligned+block], old[aligned+2*block:])
	rewritten := cat(old[:1_000_000], randomBytes(newRand(2), 5000), old[1_005_000:])
	for name, v := range map[string]struct {
		old, file []byte
		most      int64
	}{
		"equal":                      {old, old, 0},
		"insert 10 in the middle":    {old, cat(old[:1_500_000], []byte("0123456789"), old[1_500_000:]), 2*block + 10},
		"insert 10 at the front":     {old, cat([]byte("0123456789"), old), 10},
		"insert 10 near the end":     {old, cat(old[:size-10], []byte("0123456789"), old[size-10:]), 2*block + 10},
		"delete 10":                  {old, cat(old[:1_500_000], old[1_500_010:]), 2 * block},
		"delete half a MiB":          {old, cat(old[:1_000_000], old[1_524_288:]), 2 * block},
		"overwrite 10":               {old, with(old, 1_000_000, "0123456789"), block},
		"overwrite 10 on a border":   {old, with(old, aligned-5, "0123456789"), 2 * block},
		"overwrite 5000":             {old, rewritten, 5000 + 2*block},
		"overwrite the first":        {old, with(old, 0, "x"), block},
		"overwrite the last":         {old, with(old, size-1, "x"), block},
		"append":                     {old[:size-100], old, 100 + block},
		"truncate":                   {old, old[:size-1000], block},
		"zero a block":               {holed, with(holed, aligned, string(zeros[:block])), 0},
		"move 300 KiB to the front":  {old, cat(old[2<<20:2<<20+300<<10], old[:2<<20], old[2<<20+300<<10:]), 6 * block},
		"move 1 MiB to the end":      {old, cat(old[:1<<20], old[2<<20:], old[1<<20:2<<20]), 6 * block},
		"double":                     {old, cat(old, old), block},
		"halves exchanged":           {old, cat(old[size/2:], old[:size/2]), 4 * block},
		"zeros":                      {zeros, zeros, 0},
		"zeros with a byte":          {zeros, with(zeros, 1_000_000, "x"), 2 * block},
		"more zeros":                 {zeros[:1<<20], zeros, block},
		"fewer zeros":                {zeros, zeros[:1<<20], block},
		"zeros before data":          {cat(zeros[:1<<20], old), cat(zeros[:1<<20+5], old), 2 * block},
		"changes in every other":     {old, changeEvery(old, 2*block), size/2 + block},
		"20 places":                  {old, changeEvery(old, size/20), 20 * block},
		"nothing in common":          {old, randomBytes(newRand(3), size), size},
		"old file of half a block":   {old[:block/2], old, size - block/2 + block},
		"the end only":               {old[:block/2], cat(old[block:2*block], old[:block/2]), block},
		"empty":                      {old, nil, 0},
		"swapped neighbours":         {old, swapped, 0},
		"everything shifted by half": {old, old[block/2:], block},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(v.old, headOf(len(v.old), block, 8), xxh, false)
			s.perRead = 1
			if st := s.send(t, v.file, new(Scratch)); st.Literal > v.most {
				t.Errorf("%d literal bytes, want %d at most", st.Literal, v.most)
			}
		})
	}
}

func changeEvery(b []byte, step int) []byte {
	b = bytes.Clone(b)
	for i := step / 2; i < len(b); i += step {
		b[i]++
	}
	return b
}

// A stock sender answers when the last sum is in. Ours must have answered for a block when the server sums the next
// but one, also after changes and when everything is shifted, or the two do not work at the same time.
func TestAnswersWhileTheServerStillSums(t *testing.T) {
	const block, count = 4096, 2000
	old := randomBytes(newRand(1), block*count)
	rewritten := bytes.Clone(old)
	copy(rewritten[1<<20:], randomBytes(newRand(2), 100_000))
	copied := bytes.Clone(old)
	for i := 100 * block; i < len(old); i += 100 * block {
		copy(copied[i:i+block], old[5*block:])
	}
	for name, v := range map[string]struct {
		file []byte
		lag  int64 // bytes of the file that may be unanswered
	}{
		"equal":          {old, 2 * block},
		"places":         {changeEvery(old, 100*block), 3 * block},
		"every second":   {changeEvery(old, 2*block), 3 * block},
		"inserted":       {append(bytes.Clone(old[:10]), old...), 5 * nearby},
		"some deleted":   {old[100_000:], 100_000 + 5*nearby},
		"some rewritten": {rewritten, 5 * nearby},
		"some copied":    {copied, 3 * block},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(old, headOf(len(old), block, 4), xxh, false)
			s.perRead = 1
			worst := int64(0)
			s.onSum = func(i int32) { worst = max(worst, int64(i)*block-int64(len(s.new))) }
			s.send(t, v.file, new(Scratch))
			if worst > v.lag {
				t.Errorf("up to %d bytes behind the sums, want %d at most", worst, v.lag)
			}
		})
	}
}

// In a run of equal blocks every block fits everywhere. Taking them in order keeps the server's reads in order.
func TestEqualBlocksStayInOrder(t *testing.T) {
	const block, count = 1000, 100
	old := make([]byte, block*count)
	for name, file := range map[string][]byte{
		"inserted":    append(append(bytes.Clone(old[:50*block]), 'x'), old[50*block:]...),
		"overwritten": append(append(bytes.Clone(old[:50*block-1]), "xx"...), old[50*block+1:]...),
	} {
		s := newServer(old, headOf(len(old), block, 8), xxh, false)
		s.send(t, file, new(Scratch))
		for i := 1; i < len(s.blocks); i++ {
			if s.blocks[i] <= s.blocks[i-1] {
				t.Fatalf("%s: block %d after block %d", name, s.blocks[i], s.blocks[i-1])
			}
		}
		if len(s.blocks) < count-2 {
			t.Errorf("%s: only %d blocks of %d", name, len(s.blocks), count)
		}
	}
	// What did not move is taken from its own place: there is nothing to write then.
	file := bytes.Clone(old)
	copy(file[50*block:], bytes.Repeat([]byte{'x'}, 2*block))
	s := newServer(old, headOf(len(old), block, 8), xxh, false)
	s.send(t, file, new(Scratch))
	if len(s.blocks) != count-2 || s.blocks[50] != 52 {
		t.Errorf("blocks %v, want all but 50 and 51", s.blocks)
	}
}

// With two bytes of strong sum, matches of other data happen. The whole-file sum must tell.
func TestFalseMatchIsRevealed(t *testing.T) {
	c := Checksum{Hash: MD5, Seed: 1, Protocol: 31}
	rng := newRand(1)
	old := bytes.Repeat([]byte{50}, 64)
	head := headOf(len(old), 64, 2)
	want := c.Block(old)
	var file []byte
	for {
		// Two opposite changes, and the same turned round elsewhere: neither the sum nor the weighted sum moves.
		file = bytes.Clone(old)
		for range 4 {
			i, j, d := rng.IntN(60), rng.IntN(60), 1+rng.IntN(3)
			file[i]++
			file[i+d]--
			file[j]--
			file[j+d]++
		}
		sum := c.Block(file)
		if [2]byte(sum[:]) == [2]byte(want[:]) && !bytes.Equal(file, old) {
			break
		}
	}
	s := newServer(old, head, c, false)
	st, err := s.serve(t, bytes.NewReader(file), 64, new(Scratch))
	if err != nil || st.Matched != 64 {
		t.Fatalf("stats %+v, err %v: the false match is not found", st, err)
	}
	if s.verified() {
		t.Error("the sum verifies a file that is not the one sent")
	}
	// The redo has full sums.
	redo := newServer(old, headOf(len(old), 64, 16), c, false)
	redo.send(t, file, new(Scratch))
}

func TestWholeFile(t *testing.T) {
	rng := newRand(1)
	for _, c := range append(checksums, Checksum{Hash: None, Protocol: 32}) {
		for _, n := range []int{0, 1, 12, 32767, 32768, 32769, 200_000} {
			for _, head := range []Head{{}, headOf(50_000, 700, 2), {Count: 3, BlockLen: maxBlock + 1, SumLen: 1}} {
				if head.BlockLen > maxBlock && n == 0 {
					continue
				}
				file := randomBytes(rng, n)
				s := newServer(make([]byte, 50_000), head, c, false)
				if head.BlockLen > maxBlock {
					s.old, s.head.BlockLen = make([]byte, 12), 4
				}
				w, r := wire.NewWriter(s), wire.NewReader(s)
				if head.Count == 0 {
					r = nil
				}
				st, err := Send(w, r, bytes.NewReader(file), int64(n), head, c, false, new(Scratch))
				w.Flush()
				if err != nil || !s.verified() || !bytes.Equal(s.new, file) || st.Literal != int64(n) || s.next != head.Count {
					t.Errorf("%v, %d bytes, head %v: stats %+v, err %v, verified %t", c.Hash, n, head, st, err, s.verified())
				}
				if head.Count == 0 && s.tokens != (n+32767)/32768+1 {
					t.Errorf("%d tokens for %d bytes", s.tokens, n)
				}
			}
		}
	}
}

// strict fails a test when it is read once more after all its bytes were delivered.
type strict struct {
	r    io.Reader
	left int
	t    *testing.T
}

func (s *strict) Read(p []byte) (int, error) {
	if s.left == 0 {
		s.t.Error("read again after the last byte")
	}
	n, err := s.r.Read(p)
	s.left -= n
	return n, err
}

// The file may have grown or shrunk since its size was taken, and its reader may be slow; both are no errors.
func TestSizes(t *testing.T) {
	old := randomBytes(newRand(1), 100_000)
	for _, head := range []Head{{}, headOf(len(old), 700, 2), headOf(len(old), 70_000, 2)} {
		for _, size := range []int{0, 1, 699, 700, 70_000, 99_999, 100_000, 100_001, 500_000} {
			for name, r := range map[string]io.Reader{
				"plain":   bytes.NewReader(old),
				"bytes":   iotest.OneByteReader(bytes.NewReader(old)),
				"halves":  iotest.HalfReader(bytes.NewReader(old)),
				"dataerr": iotest.DataErrReader(bytes.NewReader(old)),
			} {
				want := old[:min(size, len(old))]
				if size <= len(old) {
					r = &strict{r, size, t}
				}
				s := newServer(old, head, xxh, false)
				if _, err := s.serve(t, r, int64(size), new(Scratch)); err != nil || !s.verified() || !bytes.Equal(s.new, want) {
					t.Errorf("%s reader, size %d, head %v: %d bytes, err %v", name, size, head, len(s.new), err)
				}
			}
		}
	}
}

func TestReadErrorVoidsTheFile(t *testing.T) {
	broken := errors.New("broken disk")
	old := randomBytes(newRand(1), 100_000)
	for _, c := range append(checksums, Checksum{Hash: None, Protocol: 32}) {
		for _, head := range []Head{{}, headOf(len(old), 700, 2)} {
			for _, n := range []int{0, 10, 50_000} {
				r := io.MultiReader(bytes.NewReader(old[:n]), iotest.ErrReader(broken))
				s := newServer(old, head, c, false)
				_, err := s.serve(t, r, int64(len(old)), new(Scratch))
				if !errors.Is(err, ErrSource) || !errors.Is(err, broken) {
					t.Fatalf("err %v", err)
				}
				if !s.done || s.next != head.Count || len(s.in) != c.Hash.Size() {
					t.Fatalf("%v: session out of step: done %t, %d sums read of %d, sum %x", c.Hash, s.done, s.next, head.Count, s.in)
				}
				if s.verified() {
					t.Errorf("%v: the sum is right", c.Hash)
				}
			}
		}
	}
	s := newServer(nil, Head{}, xxh, false)
	endless := readerFunc(func([]byte) (int, error) { return 0, nil })
	if _, err := s.serve(t, endless, 10, new(Scratch)); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("reader that returns nothing: err %v", err)
	}
	s = newServer(old, headOf(len(old), 700, 2), xxh, false)
	if _, err := s.serve(t, endless, 10_000, new(Scratch)); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("reader that returns nothing: err %v", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestFalsify(t *testing.T) {
	for in, want := range map[string]string{"\x01\x02": "\x00\x00", "\x00\x00": "\x00\x01", "\x00": "\x01"} {
		b := []byte(in)
		if falsify(b); string(b) != want {
			t.Errorf("%x becomes %x, want %x", in, b, want)
		}
	}
}

// When a connection breaks, Send must end with its error and not go through the rest of the file.
func TestBrokenConnection(t *testing.T) {
	old := randomBytes(newRand(1), 1<<20)
	s := newServer(old, headOf(len(old), 700, 2), xxh, false)
	s.cut = true
	if _, err := s.serve(t, bytes.NewReader(old), 1<<20, new(Scratch)); !errors.Is(err, io.EOF) {
		t.Errorf("missing sum: err %v", err)
	}
	for _, head := range []Head{{}, headOf(len(old), 700, 2)} {
		read := int64(0)
		f := readerFunc(func(p []byte) (int, error) {
			read += int64(len(p))
			return len(p), nil
		})
		broken := errors.New("broken pipe")
		w := wire.NewWriter(writerFunc(func([]byte) (int, error) { return 0, broken }))
		_, err := Send(w, wire.NewReader(newServer(old, head, xxh, false)), f, 1<<40, head, xxh, false, new(Scratch))
		if !errors.Is(err, broken) || read > 4<<20 {
			t.Errorf("head %v: err %v after %d bytes read", head, err, read)
		}
	}
}

func TestSendDoesNotAllocate(t *testing.T) {
	file := randomBytes(newRand(1), 100_000)
	old := changeEvery(file, 30_000)
	head := headOf(len(old), 700, 2)
	sums := make([]byte, int(head.Count)*6)
	s := newServer(old, head, xxh, false)
	s.perRead = head.Count
	s.Read(sums)
	var scratch Scratch
	w := wire.NewWriter(io.Discard)
	var in, f bytes.Reader
	r := wire.NewReader(&in)
	for _, h := range []Head{{}, head} {
		n := testing.AllocsPerRun(20, func() {
			in.Reset(sums)
			f.Reset(file)
			if _, err := Send(w, r, &f, int64(len(file)), h, xxh, false, &scratch); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("head %v: %v allocations", h, n)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
