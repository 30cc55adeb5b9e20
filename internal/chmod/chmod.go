// Package chmod changes modes as rsync's --chmod does: chmod(1)'s symbolic and octal forms, each for directories alone
// (D), for other files alone (F), or for both. Symlinks keep theirs.
//
// It was found by experiment with rsync 3.5 where rsync(1) leaves it open: what X looks at is the mode before the first
// change; s without u or g is u's; a change has one operator; = clears set-id bits only when it copies permissions or is given s or t.
package chmod

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Changes are applied in their order. The zero value changes nothing; it is never modified, and safe for concurrent use.
type Changes struct {
	text  string
	items []item
}

const (
	permissions = 0o777
	all         = 0o7777
	execute     = 0o111
	setUID      = 0o4000
	setGID      = 0o2000
	sticky      = 0o1000
)

// An item is one change: first what is cleared, then what is set.
type item struct {
	dirs, files bool   // what it is for
	clear, set  uint32 // bits of a mode
	// where are the classes, as their bits, that get a copy of another class's permissions, or, with x, that are
	// executable if the file was for anybody or is a directory.
	where uint32
	x     bool
	from  uint32 // how far the class copied from is to the left; only with a copy
	copy  bool
	minus bool // take away what x or a copy would add
}

// Parse reads changes, separated by commas. The umask is what holds of a change that names no class.
func Parse(s string, umask uint32) (Changes, error) {
	c := Changes{text: s}
	for text := range strings.SplitSeq(s, ",") {
		it, err := parse(text, umask)
		if err != nil {
			return Changes{}, fmt.Errorf("%q: %w", text, err)
		}
		c.items = append(c.items, it)
	}
	return c, nil
}

// None reports whether there are no changes.
func (c Changes) None() bool { return len(c.items) == 0 }

// String is what was parsed.
func (c Changes) String() string { return c.text }

// Apply returns what becomes of a mode, type bits included. A mode of 0 stays 0.
func (c Changes) Apply(mode uint32) uint32 {
	kind := mode & unix.S_IFMT
	if kind == unix.S_IFLNK || mode == 0 {
		return mode
	}
	isDir := kind == unix.S_IFDIR
	executable := isDir || mode&execute != 0
	for i := range c.items {
		if it := &c.items[i]; isDir && it.dirs || !isDir && it.files {
			mode = it.apply(mode, executable)
		}
	}
	return mode
}

func (it *item) apply(mode uint32, executable bool) uint32 {
	var more uint32
	switch {
	case it.copy:
		more = mode >> it.from & 7 * execute & it.where
	case it.x && executable:
		more = execute & it.where
	}
	if it.minus {
		return mode &^ (it.clear | more)
	}
	return mode&^it.clear | it.set | more
}
