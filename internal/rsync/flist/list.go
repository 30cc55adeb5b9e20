package flist

import (
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
)

// checkParents looks for entries whose parent is not a directory of the list; a server ends the session at the first
// one (protocol 6.1). Paths to be deleted may do without (protocol 9.2).
func (t *table) checkParents() error {
	known := "" // the last parent that was found; entries of one directory stand together
	for i := range t.entries {
		e := &t.entries[i]
		dir, ok := parent(e.Path)
		if !ok || dir == known || e.Mode == 0 {
			continue
		}
		at := t.find(dir)
		if at < 0 || !t.entries[at].IsDir() {
			return fmt.Errorf("%q: its directory is not in the list", e.Path)
		}
		known = dir
	}
	return nil
}

// parent returns the directory of a path; ok is false if that is the root.
func parent(path string) (dir string, ok bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", false
	}
	return path[:i], true
}

// checkRecursion refuses what old protocols cannot say in a recursive session: below a Content directory everything is
// content to the receiver, and it would delete where it must not (protocol 6.6).
func (t *table) checkRecursion() error {
	for i := range t.entries {
		e := &t.entries[i]
		if e.IsDir() && e.Dir != Content && t.belowContent(e.Path) {
			return fmt.Errorf("%q: before protocol 30 it cannot be excepted from the directory above", e.Path)
		}
	}
	return nil
}

// belowContent reports whether any directory above path is a Content directory.
func (t *table) belowContent(path string) bool {
	if path == "." {
		return false
	}
	for dir, ok := parent(path); ok; dir, ok = parent(dir) {
		if t.isContent(dir) {
			return true
		}
	}
	return t.isContent(".")
}

func (t *table) isContent(path string) bool {
	at := t.find(path)
	return at >= 0 && t.entries[at].IsDir() && t.entries[at].Dir == Content
}

// A table finds entries by path. It is open addressing over positions: for a list of thousands of entries that costs
// no allocation where a map would cost hundreds of kilobytes.
type table struct {
	entries []Entry
	slots   []int32 // position in the list plus 1; 0 is free
	mask    uint64
}

var (
	tables = sync.Pool{New: func() any { return new(table) }}
	seed   = maphash.MakeSeed()
)

// newTable returns an empty table for these entries.
func newTable(entries []Entry) *table {
	t := tables.Get().(*table)
	size := 16
	for size < 2*len(entries) {
		size *= 2
	}
	if cap(t.slots) < size {
		t.slots = make([]int32, size)
	}
	t.slots = t.slots[:size]
	clear(t.slots)
	t.entries, t.mask = entries, uint64(size-1)
	return t
}

func (t *table) free() {
	t.entries = nil
	tables.Put(t)
}

// fill enters all entries. A path that is there twice is an error.
func (t *table) fill() error {
	for i := range t.entries {
		path := t.entries[i].Path
		h := t.slot(path)
		if t.slots[h] != 0 {
			return fmt.Errorf("%q: twice in the list", path)
		}
		t.slots[h] = int32(i) + 1
	}
	return nil
}

// slot returns where the path is or would be.
func (t *table) slot(path string) uint64 {
	h := maphash.String(seed, path) & t.mask
	for t.slots[h] != 0 && t.entries[t.slots[h]-1].Path != path {
		h = (h + 1) & t.mask
	}
	return h
}

// find returns the position of the entry with this path, -1 if there is none.
func (t *table) find(path string) int32 { return t.slots[t.slot(path)] - 1 }
