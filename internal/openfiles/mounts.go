package openfiles

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// A place is a file by file system and path on it, whatever is mounted where.
type place struct{ dev, path string } // dev is major:minor

// mounts are those that one process sees (proc_pid_mountinfo(5)), in the order in which they were made.
type mounts []*mountinfo.Info

// readMounts is empty if there is nothing to read.
func readMounts(path string) mounts {
	table, err := os.Open(path)
	if err != nil {
		return mounts{}
	}
	defer table.Close()
	all, err := mountinfo.GetMountsFromReader(table, nil)
	if err != nil {
		return mounts{}
	}
	return all
}

// of is the mount with this id, or else the one by which name is reached: the last
// one made of those at the longest prefix.
func (all mounts) of(name string, id int) (best *mountinfo.Info, found bool) {
	for _, m := range all {
		if _, ok := rest(name, m.Mountpoint); !ok {
			continue
		}
		if id != 0 && m.ID == id {
			return m, true
		}
		if !found || len(m.Mountpoint) >= len(best.Mountpoint) {
			best, found = m, true
		}
	}
	return best, found
}

// place is where a file is. The zero place is nowhere.
func (all mounts) place(name string, id int) place {
	m, ok := all.of(name, id)
	if !ok {
		return place{}
	}
	below, _ := rest(name, m.Mountpoint)
	return place{device(m), filepath.Join(m.Root, below)}
}

func device(m *mountinfo.Info) string { return fmt.Sprintf("%d:%d", m.Major, m.Minor) }

// rest is what of name is below dir; "" is dir itself.
func rest(name, dir string) (string, bool) {
	if name == dir {
		return "", true
	}
	if dir != "/" {
		dir += "/"
	}
	return strings.CutPrefix(name, dir)
}

// A tree is a directory with all that is mounted below it.
type tree struct {
	areas  []area
	linked func(dev, ino uint64) bool
}

// An area is the part of a file system that is seen at a directory of the tree.
type area struct {
	place
	at string // relative to the tree's top; "": the top itself
}

func newTree(o Options) (*tree, error) {
	top, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	if top, err = filepath.EvalSymlinks(top); err != nil {
		return nil, err
	}
	own := readMounts("/proc/self/mountinfo")
	t := &tree{linked: o.Linked, areas: []area{{own.place(top, 0), ""}}}
	if o.OneFileSystem {
		return t, nil
	}
	for _, m := range own {
		if at, ok := rest(m.Mountpoint, top); ok && at != "" {
			t.areas = append(t.areas, area{place{device(m), m.Root}, at})
		}
	}
	return t, nil
}

// below is the name of a place in the tree, if it has one.
func (t *tree) below(p place) (string, bool) {
	for _, a := range t.areas {
		if p.dev != a.dev || p.dev == "" {
			continue
		}
		if r, ok := rest(p.path, a.path); ok {
			return filepath.Join(a.at, r), true
		}
	}
	return "", false
}
