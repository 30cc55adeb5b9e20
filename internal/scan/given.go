package scan

import (
	"io/fs"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// given asks Names about a directory.
func (o *Options) given(dir string) (names []string, known bool) {
	if o.Names == nil {
		return nil, false
	}
	return o.Names(dir)
}

// openListed opens a directory to be listed. One whose names are given is not read, so it need not be readable.
func (r *Root) openListed(dir string, given bool) (int, error) {
	if !given {
		return r.openDir(dir)
	}
	fd, err := r.open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return -1, &PathError{"open", dir, r.mismatch(dir, err, ErrNotDir)}
	}
	return fd, nil
}

// take makes s.refs of names that were given. What can be no name of an entry, and so could lead elsewhere, is an error
// of the listing.
func (l *Listing) take(names []string, s *scratch, reserve func(n int) error) error {
	refs, bad := refsOf(names, s.refs)
	s.refs = refs
	for _, name := range bad {
		l.Errors = append(l.Errors, &PathError{"stat", Join(l.Dir, name), fs.ErrInvalid})
	}
	if reserve == nil {
		return nil
	}
	return reserve(len(refs))
}

// refsOf appends names to refs, in one block of memory, and returns those that can be no names.
func refsOf(names []string, refs []ref) (_ []ref, bad []string) {
	size := 0
	for _, name := range names {
		size += len(name) + 1
	}
	block := make([]byte, 0, size)
	for _, name := range names {
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			bad = append(bad, name)
			continue
		}
		start := len(block)
		block = append(block, name...)
		block = append(block, 0)
		refs = append(refs, ref{name: unsafe.String(&block[start], len(name)), typ: unix.DT_UNKNOWN})
	}
	return refs, bad
}
