package compress

import (
	"fmt"
	"strings"
)

// DefaultSuffixes are those of files that are compressed already, as rsync(1) lists them under --skip-compress.
const DefaultSuffixes = "3g2/3gp/7z/aac/ace/apk/avi/bz2/deb/dmg/ear/f4v/flac/flv/gpg/gz/iso/jar/jpeg/jpg/lrz/lz/lz4/" +
	"lzma/lzo/m1a/m1v/m2a/m2ts/m2v/m4[abprv]/mk[av]/mov/mp[1234a]/mpeg/mpg/mpv/mts/od[bfgimpst]/og[agmvx]/opus/" +
	"ot[ghpst]/oxt/png/qt/rar/rpm/rz/rzip/spx/squashfs/sx[cdgmw]/sz/tbz/tbz2/tgz/tlz/ts/txz/tzo/vob/war/webm/webp/" +
	"xz/z/zip/zst"

const (
	// maxSuffix is the longest suffix, in bytes.
	maxSuffix = 32
	// maxSuffixes bounds what classes of characters may multiply to.
	maxSuffixes = 4096
)

// Suffixes is a set of file name suffixes. The zero value is empty. It is safe for concurrent use.
type Suffixes struct{ set map[string]struct{} }

// ParseSuffixes reads a list as of --skip-compress: suffixes without the dot, apart by slashes, with classes of
// characters in brackets. Case does not count. An empty list is the empty set.
func ParseSuffixes(list string) (Suffixes, error) {
	s := Suffixes{make(map[string]struct{})}
	for item := range strings.SplitSeq(list, "/") {
		if err := s.add("", strings.ToLower(item)); err != nil {
			return Suffixes{}, fmt.Errorf("suffix %q: %w", item, err)
		}
	}
	return s, nil
}

// add enters what stands in pattern, after start.
func (s Suffixes) add(start, pattern string) error {
	before, rest, class := strings.Cut(pattern, "[")
	start += before
	switch {
	case len(start) > maxSuffix:
		return fmt.Errorf("longer than %d bytes", maxSuffix)
	case !class && start == "":
		return nil
	case !class:
		s.set[start] = struct{}{}
		if len(s.set) > maxSuffixes {
			return fmt.Errorf("more than %d suffixes", maxSuffixes)
		}
		return nil
	}
	letters, rest, closed := strings.Cut(rest, "]")
	if !closed || letters == "" {
		return fmt.Errorf("[ without letters and ]")
	}
	for i := range len(letters) {
		if err := s.add(start+letters[i:i+1], rest); err != nil {
			return err
		}
	}
	return nil
}

// Match reports whether the name of the file at path ends in a dot and one of the suffixes.
func (s Suffixes) Match(path string) bool {
	dot := strings.LastIndexByte(path, '.')
	if dot < 0 || len(path)-dot-1 > maxSuffix {
		return false
	}
	var lower [maxSuffix]byte
	b := lower[:0]
	for _, c := range []byte(path[dot+1:]) {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	_, found := s.set[string(b)]
	return found
}
