package delta

import (
	"crypto/md5"
	"crypto/sha1"
	"encoding/binary"
	"hash"
	"io"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/mmcloughlin/md4"
	"github.com/zeebo/xxh3"
)

// A Hash is a strong checksum algorithm of the protocol (7.4).
type Hash uint8

// The algorithms. MD4Old is what protocols 27 to 29 always use; all others are chosen by name.
const (
	MD4Old Hash = iota
	MD4
	MD5
	XXH64
	XXH3
	XXH128
	SHA1
	None // one zero byte, which verifies nothing
	numHashes
)

var hashes = [numHashes]struct {
	name string
	size int
	new  func() hash.Hash
}{
	MD4Old: {"md4", md4.Size, md4.New},
	MD4:    {"md4", md4.Size, md4.New},
	MD5:    {"md5", md5.Size, md5.New},
	XXH64:  {"xxh64", 8, func() hash.Hash { return xxhash.New() }},
	XXH3:   {"xxh3", 8, func() hash.Hash { return xxh3.New() }},
	XXH128: {"xxh128", 16, func() hash.Hash { return xxh3.New() }},
	SHA1:   {"sha1", sha1.Size, sha1.New},
	None:   {"none", 1, nil},
}

// maxSum is the length of the longest sum in bytes.
const maxSum = sha1.Size

// ParseHash returns the algorithm of a name in a server's list (protocol 2.3). Case does not matter.
func ParseHash(name string) (Hash, bool) {
	for h := MD4; h < numHashes; h++ {
		if strings.EqualFold(name, hashes[h].name) {
			return h, true
		}
	}
	return None, false
}

// String returns the name of h in the protocol.
func (h Hash) String() string { return hashes[h].name }

// Size returns the length of a complete sum in bytes.
func (h Hash) Size() int { return hashes[h].size }

// fast reports whether h costs less than the rolling checksum of the same data.
func (h Hash) fast() bool { return h == XXH3 || h == XXH128 || h == XXH64 || h == None }

// A Checksum is an algorithm with what a session agreed on for its use. It may be used concurrently.
type Checksum struct {
	Hash      Hash
	Seed      int32 // of block sums, and of the whole-file sums of MD4Old; 0 is no seed
	SeedFirst bool  // MD5 block sums begin with the seed (compat bit 5) instead of ending with it
	Protocol  int   // the session's; MD4 below 30 is MD4Old
}

func (c Checksum) old() bool { return c.Hash == MD4Old || c.Hash == MD4 && c.Protocol < 30 }

// Block returns the strong sum of a block in its first Hash.Size bytes, in the order of the wire.
func (c Checksum) Block(p []byte) (sum [maxSum]byte) {
	seed := uint64(int64(c.Seed))
	switch c.Hash {
	case XXH64:
		var d xxhash.Digest
		d.ResetWithSeed(seed)
		d.Write(p)
		binary.LittleEndian.PutUint64(sum[:], d.Sum64())
	case XXH3:
		binary.LittleEndian.PutUint64(sum[:], xxh3.HashSeed(p, seed))
	case XXH128:
		s := xxh3.Hash128Seed(p, seed)
		binary.LittleEndian.PutUint64(sum[:], s.Lo)
		binary.LittleEndian.PutUint64(sum[8:], s.Hi)
	case None:
	default:
		d := digesters[c.Hash].Get().(*digester)
		sum = d.block(c, p)
		digesters[c.Hash].Put(d)
	}
	return sum
}

// A digester computes the sums of the older algorithms without allocating.
type digester struct {
	hash.Hash
	seed [4]byte
	sum  [maxSum]byte
}

var digesters [numHashes]sync.Pool

func init() {
	for i, h := range hashes {
		digesters[i].New = func() any { return &digester{Hash: h.new()} }
	}
}

func (d *digester) block(c Checksum, p []byte) [maxSum]byte {
	first := c.Hash == SHA1 || c.Hash == MD5 && c.SeedFirst
	binary.LittleEndian.PutUint32(d.seed[:], uint32(c.Seed))
	d.Reset()
	if first && c.Seed != 0 {
		d.Write(d.seed[:])
	}
	d.Write(p)
	if !first && c.Seed != 0 {
		d.Write(d.seed[:])
	}
	d.Sum(d.sum[:0])
	return d.sum
}

// A FileSum computes the sum of a whole file, piece by piece. It is made by [Checksum.NewFile]; copies share their
// state. Not for concurrent use.
type FileSum struct {
	hash   hash.Hash // nil for None
	wide   bool      // XXH128
	prefix *[4]byte  // what is hashed ahead of the data; nil for nothing
}

// NewFile returns the sum of an empty file. Whole-file sums have no seed, except MD4Old's, where it stands first.
func (c Checksum) NewFile() FileSum {
	f := FileSum{wide: c.Hash == XXH128}
	if c.Hash != None {
		f.hash = hashes[c.Hash].new()
	}
	if c.old() {
		f.prefix = new([4]byte)
		binary.LittleEndian.PutUint32(f.prefix[:], uint32(c.Seed))
	}
	f.Reset()
	return f
}

// Reset begins a new file.
func (f FileSum) Reset() {
	if f.hash == nil {
		return
	}
	f.hash.Reset()
	if f.prefix != nil {
		f.hash.Write(f.prefix[:])
	}
}

// Write adds p to the sum. It never fails.
func (f FileSum) Write(p []byte) (int, error) {
	if f.hash != nil {
		f.hash.Write(p)
	}
	return len(p), nil
}

// AppendSum appends the sum of what has been written, in the order of the wire, and returns the extended slice. It
// does not change the state.
func (f FileSum) AppendSum(dst []byte) []byte {
	switch h := f.hash.(type) {
	case nil:
		return append(dst, 0)
	case *xxhash.Digest:
		return binary.LittleEndian.AppendUint64(dst, h.Sum64())
	case *xxh3.Hasher:
		if !f.wide {
			return binary.LittleEndian.AppendUint64(dst, h.Sum64())
		}
		s := h.Sum128()
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(dst, s.Lo), s.Hi)
	default:
		return h.Sum(dst)
	}
}

// A lister is what List needs for one file.
type lister struct {
	file FileSum
	buf  [128 << 10]byte
}

var listers [numHashes]sync.Pool

// List appends the sum that the file list carries with --checksum: that of all of r, never seeded. On an error of r it
// returns dst as it was.
func (c Checksum) List(r io.Reader, dst []byte) ([]byte, error) {
	h := c.Hash
	if h == MD4Old {
		h = MD4
	}
	l, _ := listers[h].Get().(*lister)
	if l == nil {
		l = &lister{file: Checksum{Hash: h, Protocol: 30}.NewFile()}
	}
	defer listers[h].Put(l)
	l.file.Reset()
	for {
		n, err := readFull(r, l.buf[:])
		l.file.Write(l.buf[:n])
		if err == io.EOF {
			return l.file.AppendSum(dst), nil
		}
		if err != nil {
			return dst, err
		}
	}
}
