package catalogue

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// A Version is the fingerprint of what was sent (design.md G3). Times are in ns since the epoch, Mode is st_mode with
// the type of the file. The zero Version is that of a name of which nothing is known.
type Version struct {
	Size, Mtime, Ctime int64
	Ino                uint64
	Mode, UID, GID     uint32
}

func (v *Version) isDir() bool     { return v.Mode&unix.S_IFMT == unix.S_IFDIR }
func (v *Version) isRegular() bool { return v.Mode&unix.S_IFMT == unix.S_IFREG }

// A State says how much is known of what the destination holds at a name.
type State uint8

const (
	// Doubt: the destination may hold something at this name. Version is what was last known, or zero.
	Doubt State = iota
	// Racy: Version was acknowledged, but read within a clock tick of its times, so that other content could have the
	// same numbers.
	Racy
	// Known: the destination holds exactly Version.
	Known
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case Doubt:
		return "doubt"
	case Racy:
		return "racy"
	case Known:
		return "known"
	}
	return "invalid"
}

// A Record is what is known of one name.
type Record struct {
	Name    string // base name within the directory; "." for the root's own
	State   State
	Version Version
	// Verified is when checksums of both sides were found equal for Version, in seconds since the epoch; 0 is never.
	// Digest is that of the content, cut to 16 bytes, and Sum says of which kind.
	Verified int64
	Digest   [16]byte
	Sum      Sum
}

// Sum is the kind of a digest. The numbers are stored: they never change.
type Sum uint8

// The kinds of digests, by rsync's names.
const (
	NoSum Sum = iota
	XXH128
	XXH3
	XXH64
	MD5
	MD4
	SHA1
)

// Flags in the first byte of a record's value; the two lowest bits are the state.
const (
	stateBits   = 3
	hasVersion  = 4
	hasVerified = 8
)

var errRecord = errors.New("catalogue: a record does not decode")

// appendRecord appends r's value. Its parts are:
//
//	flags, epoch [, mode, uid, gid, size, mtime (8 bytes), ctime-mtime, inode] [, verified, sum, n, n bytes of digest]
//
// Numbers are varints but for mtime. A digest goes without trailing zeros.
func appendRecord(dst []byte, r *Record, epoch uint64) []byte {
	flags := byte(r.State)
	if r.Version != (Version{}) {
		flags |= hasVersion
	}
	if r.Verified != 0 {
		flags |= hasVerified
	}
	dst = binary.AppendUvarint(append(dst, flags), epoch)
	if v := &r.Version; flags&hasVersion != 0 {
		dst = binary.AppendUvarint(dst, uint64(v.Mode))
		dst = binary.AppendUvarint(dst, uint64(v.UID))
		dst = binary.AppendUvarint(dst, uint64(v.GID))
		dst = binary.AppendUvarint(dst, uint64(v.Size))
		dst = binary.BigEndian.AppendUint64(dst, uint64(v.Mtime))
		dst = binary.AppendVarint(dst, v.Ctime-v.Mtime)
		dst = binary.AppendUvarint(dst, v.Ino)
	}
	if flags&hasVerified != 0 {
		n := len(r.Digest)
		for n > 0 && r.Digest[n-1] == 0 {
			n--
		}
		dst = binary.AppendVarint(dst, r.Verified)
		dst = append(append(dst, byte(r.Sum), byte(n)), r.Digest[:n]...)
	}
	return dst
}

// decodeRecord sets all of r but its name. What was written in another epoch than the current one reads as Doubt.
func decodeRecord(r *Record, value []byte, epoch uint64) error {
	d := decoder{rest: value}
	flags := d.byte()
	written := d.uvarint()
	r.State, r.Version, r.Verified, r.Digest, r.Sum = State(flags&stateBits), Version{}, 0, [16]byte{}, NoSum
	if flags&hasVersion != 0 {
		v := &r.Version
		v.Mode, v.UID, v.GID = uint32(d.uvarint()), uint32(d.uvarint()), uint32(d.uvarint())
		v.Size = int64(d.uvarint())
		v.Mtime = int64(d.uint64())
		v.Ctime = v.Mtime + d.varint()
		v.Ino = d.uvarint()
	}
	if flags&hasVerified != 0 {
		r.Verified = d.varint()
		d.bad = d.bad || r.Verified == 0
		r.Sum = Sum(d.byte())
		d.digest(&r.Digest)
	}
	if d.bad || r.State > Known {
		return errRecord
	}
	if written != epoch {
		r.State, r.Verified, r.Digest, r.Sum = Doubt, 0, [16]byte{}, NoSum
	}
	return nil
}

// A decoder takes numbers off the front of a value. After the first that is not there, it is bad and yields zeros.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.bad = true
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	u, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return u
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *decoder) uint64() uint64 {
	if len(d.rest) < 8 {
		d.bad, d.rest = true, nil
		return 0
	}
	u := binary.BigEndian.Uint64(d.rest)
	d.rest = d.rest[8:]
	return u
}

func (d *decoder) digest(dst *[16]byte) {
	n := int(d.byte())
	if n > len(dst) || n > len(d.rest) {
		d.bad, d.rest = true, nil
		return
	}
	copy(dst[:], d.rest[:n])
	d.rest = d.rest[n:]
}

// Counts tells how much of the destination is known. Only regular files count.
type Counts struct {
	Files, Bytes             int64 // acknowledged: Known or Racy
	ProvenFiles, ProvenBytes int64 // of these, found equal by checksum
}

// add counts r n times; n is 1 or -1.
func (c *Counts) add(r *Record, n int64) {
	if r.State == Doubt || !r.Version.isRegular() {
		return
	}
	c.Files += n
	c.Bytes += n * r.Version.Size
	if r.Verified != 0 {
		c.ProvenFiles += n
		c.ProvenBytes += n * r.Version.Size
	}
}

func (c *Counts) encode() []byte {
	dst := make([]byte, 0, 4*binary.MaxVarintLen64)
	for _, n := range []int64{c.Files, c.Bytes, c.ProvenFiles, c.ProvenBytes} {
		dst = binary.AppendVarint(dst, n)
	}
	return dst
}

func (c *Counts) decode(value []byte) error {
	d := decoder{rest: value}
	*c = Counts{d.varint(), d.varint(), d.varint(), d.varint()}
	if d.bad {
		return errRecord
	}
	return nil
}
