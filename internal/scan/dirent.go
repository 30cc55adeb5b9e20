package scan

import (
	"bytes"
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dirent is one record of getdents64.
type dirent struct {
	ino  uint64
	typ  uint8 // DT_*
	name []byte
}

const (
	direntReclen = int(unsafe.Offsetof(unix.Dirent{}.Reclen))
	direntType   = int(unsafe.Offsetof(unix.Dirent{}.Type))
	direntName   = int(unsafe.Offsetof(unix.Dirent{}.Name))
)

// parseDirent takes the first record off buf. Names alias buf. A record that does not fit, or has a name that no
// directory entry can have, is EIO: a broken FUSE server must not lead us elsewhere.
func parseDirent(buf []byte) (d dirent, rest []byte, err error) {
	if len(buf) <= direntName {
		return d, nil, unix.EIO
	}
	reclen := int(binary.NativeEndian.Uint16(buf[direntReclen:]))
	if reclen <= direntName || reclen > len(buf) {
		return d, nil, unix.EIO
	}
	name := buf[direntName:reclen]
	n := bytes.IndexByte(name, 0)
	if n <= 0 || bytes.IndexByte(name[:n], '/') >= 0 {
		return d, nil, unix.EIO
	}
	return dirent{binary.NativeEndian.Uint64(buf), buf[direntType], name[:n]}, buf[reclen:], nil
}

// dots reports whether the record is the directory itself or its parent.
func (d dirent) dots() bool {
	return d.name[0] == '.' && (len(d.name) == 1 || len(d.name) == 2 && d.name[1] == '.')
}

// skipFunc is Options.Skip.
type skipFunc = func(dir, name string, isDir bool) bool

// ref is a name on its way to becoming an Entry.
type ref struct {
	name string // followed by a NUL in memory, for lstatat
	ino  uint64
	typ  uint8
}

// readNames reads one buffer full of records from the directory fd, and appends those that skip lets through to refs.
// The names of one call share one block of memory of their exact size. At the end of the directory n, the number of
// records read, is 0.
func readNames(fd int, buf []byte, dir string, skip skipFunc, refs []ref) (_ []ref, n int, err error) {
	var size int
	for {
		size, err = unix.Getdents(fd, buf)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil || size <= 0 {
		return refs, 0, err
	}
	buf = buf[:min(size, len(buf))]
	bytes := 0
	for rest := buf; len(rest) > 0; {
		var d dirent
		if d, rest, err = parseDirent(rest); err != nil {
			return refs, n, err
		}
		bytes += len(d.name) + 1
		n++
	}
	block := make([]byte, 0, bytes)
	for rest := buf; len(rest) > 0; {
		var d dirent
		d, rest, _ = parseDirent(rest)
		if d.dots() {
			continue
		}
		start := len(block)
		block = append(block, d.name...)
		block = append(block, 0)
		// The block is never written to again, and skip may keep the name: not even what it refuses is overwritten.
		name := unsafe.String(&block[start], len(d.name))
		if skip != nil && d.typ != unix.DT_UNKNOWN && skip(dir, name, d.typ == unix.DT_DIR) {
			continue
		}
		refs = append(refs, ref{name, d.ino, d.typ})
	}
	return refs, n, nil
}
