// Package filesfrom reads the list of names of --files-from and knows, directory by directory, what of a tree it asks
// for. A pass so walks into the directories that lead to a name and looks names up: the size of the tree does not count.
//
// A list is read as rsync reads it (tried with 3.5.0): names are relative to the source whatever slashes they begin with,
// ".." does not rise above it, blank lines and those that begin with # or ; are nothing. What a name stands for:
//
//   - "a/b" is that entry alone, of a directory not what is in it; with -r, all that is below it.
//   - "a/b/", "a/b/." and "." are a directory with the entries in it, and with -r all below.
//   - The directories above a name are made, with their attributes, if the name is there. The root is left as it is at
//     the destination, unless "." or a name beginning with "./" is in the list.
//   - Filters hold for the names themselves and not for what leads to them, nor, unlike in rsync, for the root.
//
// Different from rsync, and refused or reported by name: names that lead through symlinks, which are never followed; the
// place where a path is cut off, as in "a/./b"; and zero bytes where names are lines, behind which rsync drops the rest.
package filesfrom

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/syncd/syncd/internal/rsync/filter"
)

// A LineError is what is wrong with one entry of a list.
type LineError struct {
	Line int // from 1
	Err  error
}

// Error names the line.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns the reason.
func (e *LineError) Unwrap() error { return e.Err }

// What a list may not have.
var (
	ErrPivot = errors.New("what stands before /./ would be cut off the path at DEST, which has the paths of SRC")
	ErrZero  = errors.New("it has a zero byte, as lists for --from0 have")
)

// Read makes a set of the names in r, each a line, or with nul ended by a zero byte. With recurse a directory stands for
// all that is below it. The error is that of r, or a *LineError.
func Read(r io.Reader, nul, recurse bool) (*Set, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	s := &Set{recurse: recurse}
	for line, name := range filter.Lines(string(data), nul) {
		if err := s.add(name); err != nil {
			return nil, &LineError{line, err}
		}
	}
	return s, nil
}

// add takes a name as it is written in a list.
func (s *Set) add(name string) error {
	if strings.IndexByte(name, 0) >= 0 {
		return ErrZero
	}
	var path []string
	root, in, dot := false, false, false
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case dot && len(path) > 0:
			return ErrPivot
		case dot:
			root = true
		}
		dot, in = part == ".", true
		switch part {
		case "", ".":
		case "..":
			path, root = path[:max(0, len(path)-1)], false
		default:
			path, in = append(path, part), false
		}
	}
	s.self = s.self || root
	n := s.find(path)
	n.self, n.in = n.self || !in, n.in || in
	return nil
}
