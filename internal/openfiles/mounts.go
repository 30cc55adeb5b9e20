package openfiles

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A mount is a line of /proc/PID/mountinfo (proc(5)).
type mount struct {
	id    int
	dev   string // major:minor of the file system
	root  string // the directory of the file system that is mounted
	point string // where
}

// A place is a file by file system and path on it, whatever is mounted where.
type place struct{ dev, path string }

// mounts are those that one process sees, in the order in which they were made.
type mounts []mount

// readMounts is empty if there is nothing to read.
func readMounts(path string) mounts {
	data, err := os.ReadFile(path)
	if err != nil {
		return mounts{}
	}
	return parseMounts(string(data))
}

func parseMounts(text string) mounts {
	all := mounts{}
	for line := range strings.Lines(text) {
		// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		id, err := strconv.Atoi(f[0])
		if err != nil {
			continue
		}
		all = append(all, mount{id: id, dev: f[2], root: unescape(f[3]), point: unescape(f[4])})
	}
	return all
}

// unescape resolves \ooo, by which the kernel writes blanks and backslashes.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// of is the mount with this id, or else the one by which name is reached: the last
// one made of those at the longest prefix.
func (all mounts) of(name string, id int) (mount, bool) {
	var best mount
	found := false
	for _, m := range all {
		if _, ok := rest(name, m.point); !ok {
			continue
		}
		if id != 0 && m.id == id {
			return m, true
		}
		if !found || len(m.point) >= len(best.point) {
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
	below, _ := rest(name, m.point)
	return place{m.dev, filepath.Join(m.root, below)}
}

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
		if at, ok := rest(m.point, top); ok && at != "" {
			t.areas = append(t.areas, area{place{m.dev, m.root}, at})
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
