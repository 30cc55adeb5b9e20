package treetest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// maxLines bounds what Diff says: of a tree that is wholly different, the beginning tells enough.
const maxLines = 200

// Diff tells what got has otherwise than want, one line for each path, in byte order: "" when they are equal.
func Diff(want, got Tree) string {
	paths := map[string]bool{}
	for path := range want {
		paths[path] = true
	}
	for path := range got {
		paths[path] = true
	}
	var lines []string
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		w, wanted := want[path]
		g, there := got[path]
		line := ""
		switch {
		case !there:
			line = "missing, want " + w.String()
		case !wanted:
			line = "not wanted, got " + g.String()
		default:
			line = w.diff(g)
		}
		if line != "" {
			lines = append(lines, quote(path)+": "+line)
		}
	}
	if more := len(lines) - maxLines; more > 0 {
		lines = append(lines[:maxLines], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// diff tells what g has otherwise than n.
func (n Node) diff(g Node) string {
	if n.Mode&unix.S_IFMT != g.Mode&unix.S_IFMT {
		return fmt.Sprintf("want %s, got %s", n, g)
	}
	var parts []string
	add := func(what string, want, got any) {
		if want != got {
			parts = append(parts, fmt.Sprintf("%s: want %v, got %v", what, want, got))
		}
	}
	add("mode", n.perm(), g.perm())
	add("uid", n.UID, g.UID)
	add("gid", n.GID, g.GID)
	add("size", n.Size, g.Size)
	if n.Size == g.Size {
		add("content", n.sum(), g.sum())
	}
	add("mtime", n.mtime(), g.mtime())
	add("target", quote(n.Target), quote(g.Target))
	add("device", n.device(), g.device())
	add("hard link with", quote(n.Link), quote(g.Link))
	add("xattrs", n.Xattrs, g.Xattrs)
	if len(parts) == 0 && n != g {
		return fmt.Sprintf("want %+v, got %+v", n, g)
	}
	return strings.Join(parts, "; ")
}

// String describes the entry in short.
func (n Node) String() string {
	kind := map[uint32]string{
		unix.S_IFREG: "file", unix.S_IFDIR: "directory", unix.S_IFLNK: "symlink", unix.S_IFIFO: "fifo",
		unix.S_IFSOCK: "socket", unix.S_IFCHR: "char device", unix.S_IFBLK: "block device",
	}[n.Mode&unix.S_IFMT]
	switch n.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return fmt.Sprintf("%s %s of %d bytes", kind, n.perm(), n.Size)
	case unix.S_IFLNK:
		return kind + " to " + quote(n.Target)
	case unix.S_IFCHR, unix.S_IFBLK:
		return fmt.Sprintf("%s %s %s", kind, n.device(), n.perm())
	}
	return kind + " " + n.perm()
}

func (n Node) perm() string   { return fmt.Sprintf("%04o", n.Mode&^unix.S_IFMT) }
func (n Node) sum() string    { return fmt.Sprintf("%x", n.Sum[:8]) }
func (n Node) device() string { return fmt.Sprintf("%d:%d", n.Major, n.Minor) }

// mtime has years of any length, which time.RFC3339 has not.
func (n Node) mtime() string {
	return fmt.Sprintf("%d.%09d (%s)", n.Mtime, n.Nsec, time.Unix(n.Mtime, 0).UTC().Format("2006-01-02 15:04:05"))
}

// quote makes a string one readable word: as it is where that is unmistakable.
func quote(s string) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' || r == '"' || r == '\\' }
	if s != "" && utf8.ValidString(s) && strings.IndexFunc(s, odd) < 0 {
		return s
	}
	return strconv.Quote(s)
}
