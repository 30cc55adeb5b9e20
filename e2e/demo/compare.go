package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// An entry is all that syncd -a keeps equal of a path.
type entry struct {
	mode     fs.FileMode
	uid, gid uint32
	size     int64
	time     int64 // nanoseconds
	content  string
}

// snapshot reads a whole tree, the root included. It shares no code with syncd.
func snapshot(root string) (map[string]entry, error) {
	tree := map[string]entry{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		e := entry{mode: info.Mode(), uid: st.Uid, gid: st.Gid, time: info.ModTime().UnixNano()}
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			e.size = info.Size()
			e.content = fmt.Sprintf("%x", sha256.Sum256(data))
		case info.Mode()&fs.ModeSymlink != 0:
			if e.content, err = os.Readlink(path); err != nil {
				return err
			}
		}
		name, err := filepath.Rel(root, path)
		tree[name] = e
		return err
	})
	return tree, err
}

// difference names one path that is not equal, "" when there is none.
func difference(want, got map[string]entry) string {
	for name, w := range want {
		g, ok := got[name]
		switch {
		case !ok:
			return fmt.Sprintf("%q is missing", name)
		case g != w:
			return fmt.Sprintf("%q is %+v and should be %+v", name, g, w)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			return fmt.Sprintf("%q is there and should not be", name)
		}
	}
	return ""
}
