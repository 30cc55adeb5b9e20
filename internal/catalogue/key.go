package catalogue

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// First bytes of keys, and the bytes with a meaning within them. See the package comment.
const (
	keyMeta   = 'm'
	keyCounts = 'n'
	keyPath   = 'p'
	keyInode  = 'i'

	endOfDir = 0x00
	slash    = 0x01
	escape   = 0x02
)

// checkPath tells whether path is one that keys can be made of: relative, without a slash at either end.
func checkPath(path string) error {
	if path == "" || path[0] == '/' || path[len(path)-1] == '/' || strings.IndexByte(path, 0) >= 0 {
		return fmt.Errorf("catalogue: %q is not a path of the tree", path)
	}
	return nil
}

// appendDir appends a directory's part of a key, without endOfDir.
func appendDir(dst []byte, dir string) []byte {
	dst = append(dst, keyPath)
	if dir == "." {
		return dst
	}
	from := len(dst)
	dst = append(dst, dir...)
	for i := from; i < len(dst); i++ {
		switch dst[i] {
		case '/':
			dst[i] = slash
		case slash, escape:
			// Rare: begin again, byte by byte.
			return appendEscaped(dst[:from], dir)
		}
	}
	return dst
}

func appendEscaped(dst []byte, dir string) []byte {
	for i := range len(dir) {
		switch dir[i] {
		case '/':
			dst = append(dst, slash)
		case slash, escape:
			dst = append(dst, escape, dir[i])
		default:
			dst = append(dst, dir[i])
		}
	}
	return dst
}

// appendMark appends the key of dir's mark of completeness. It is also what the keys of all its children begin with.
func appendMark(dst []byte, dir string) []byte { return append(appendDir(dst, dir), endOfDir) }

// appendKey appends the key of path's record.
func appendKey(dst []byte, path string) []byte {
	dir, name := ".", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, name = path[:i], path[i+1:]
	}
	return append(appendMark(dst, dir), name...)
}

// below returns the range of keys of everything below path, its mark included and its own record not, unless path is
// the root: below "." is everything, its own record too.
func below(path string) (lower, upper []byte) {
	if path == "." {
		return []byte{keyPath}, []byte{keyPath + 1}
	}
	lower = appendMark(nil, path)
	upper = bytes.Clone(lower)
	upper[len(upper)-1] = escape
	return lower, upper
}

// isMark tells a mark of completeness from a record.
func isMark(key []byte) bool { return len(key) > 0 && key[len(key)-1] == endOfDir }

// pathOf returns the path that the key of a record stands for; ok is false for any other key.
func pathOf(key []byte) (path string, ok bool) {
	i := bytes.IndexByte(key, endOfDir)
	if i < 1 || key[0] != keyPath || i == len(key)-1 {
		return "", false
	}
	dst := make([]byte, 0, len(key))
	for j := 1; j < i; j++ {
		switch c := key[j]; c {
		case slash:
			dst = append(dst, '/')
		case escape:
			j++
			dst = append(dst, key[j])
		default:
			dst = append(dst, c)
		}
	}
	if len(dst) > 0 {
		dst = append(dst, '/')
	}
	return string(append(dst, key[i+1:]...)), true
}

// appendInode appends the key of the index entry for an inode and the key of a record.
func appendInode(dst []byte, ino uint64, key []byte) []byte {
	return append(binary.BigEndian.AppendUint64(append(dst, keyInode), ino), key[1:]...)
}
