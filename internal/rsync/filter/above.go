package filter

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// This file serves dir-merge rules named by a path, such as ": /.rsync-filter"
// of -F: rsync looks for their files also in the directories above the transfer
// root, from the one that the path names.

// readParents reads, for the i-th dir-merge rule, the files in the directories
// above dir, where the rule was met. Above the transfer root it looks only when
// the root's own path is known.
func (s *Scope) readParents(i int, dir string) error {
	by := s.merges[i].by
	if !strings.Contains(by.text, "/") || by.merge.inner.noInherit {
		return nil
	}
	root := path.Join("/", s.shared.base)
	here := path.Join(root, dir)
	start := path.Dir(by.text)
	if !path.IsAbs(start) {
		start = path.Join(here, start)
	}
	for _, up := range between(path.Clean(start), here) {
		var err error
		if inside, ok := relative(root, up); ok {
			_, err = s.readMerge(i, inside)
		} else {
			err = s.readOneAbove(i, up)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// relative returns the way from root to dir, if dir is root or below it.
func relative(root, dir string) (string, bool) {
	if dir == root {
		return ".", true
	}
	return strings.CutPrefix(dir, strings.TrimSuffix(root, "/")+"/")
}

// between lists the directories from start down to the parent of root; none
// when start is not above root.
func between(start, root string) []string {
	var dirs []string
	for dir := root; dir != start; {
		if dir == "/" {
			return nil
		}
		dir = path.Dir(dir)
		dirs = append([]string{dir}, dirs...)
	}
	return dirs
}

func (s *Scope) readOneAbove(i int, dir string) error {
	name := path.Join(dir, s.merges[i].by.merge.name)
	f, err := s.shared.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("filter file %q: %w; make it readable or remove it", name, err)
	}
	defer f.Close()
	open := func(file string) (io.ReadCloser, error) {
		if strings.Contains(file, "/") && !path.IsAbs(file) {
			file = path.Join(dir, file)
		}
		return s.opener(".")(file)
	}
	below := strings.Trim(strings.TrimPrefix("/"+s.shared.base, dir), "/")
	return s.absorb(i, name, f, &builder{open: open, above: dir, below: below})
}

// anchorAbove places text, an anchored pattern from a file in the directory
// above, whose way to the transfer root is below. It becomes one that is anchored
// at the root, as a server needs it; empty if it cannot match in the transfer.
// Where ** or a class makes it unclear which part of it lies above the root, it
// stays, as an absolute one, and is for the sender only.
func anchorAbove(above, below, text string) (pattern string, absolute bool) {
	const wildcards = "*?["
	wild := strings.ContainsAny(text, wildcards)
	unclear := path.Join("/", above) + text
	if above == "/" {
		unclear = text
	}
	rest := text[1:]
	for component := range strings.SplitSeq(below, "/") {
		first, tail, more := strings.Cut(rest, "/")
		switch {
		case strings.Contains(first, "**"), strings.Contains(first, "["):
			return unclear, true
		case !more || tail == "":
			return "", false
		case wild && !matchGlob(compileGlob(first), component), !wild && first != component:
			return "", false
		}
		rest = tail
	}
	if wild && !strings.ContainsAny(rest, wildcards) && strings.Contains(rest, `\`) {
		return unclear, true
	}
	return "/" + rest, false
}
