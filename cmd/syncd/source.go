package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/syncd/syncd/internal/config"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/scan"
)

// openSource opens SRC, or says in one line what is wrong with it.
func openSource(path string) (*scan.Root, error) {
	root, err := scan.OpenRoot(path)
	name := escape(path, false)
	switch {
	case err == nil:
		return root, nil
	case errors.Is(err, scan.ErrNotDir):
		return nil, &problem{
			status: exitUsage, what: name, reason: "SRC is not a directory",
			remedy: "give the directory that holds it, and --include and --exclude rules",
		}
	case errors.Is(err, fs.ErrNotExist):
		return nil, &problem{
			status: exitFailed, what: name, reason: "SRC does not exist",
			remedy: "look at the name, and whether it is mounted",
		}
	case errors.Is(err, fs.ErrPermission):
		return nil, &problem{
			status: exitFailed, what: name, reason: "SRC cannot be read",
			remedy: "run syncd as a user that may, or as root",
		}
	}
	return nil, err
}

// apart refuses a local DEST that lies in SRC, where a copy would copy itself,
// and with --delete one that holds SRC, where the copy would delete its source.
func apart(c *config.Config) error {
	if c.Dest.Kind != rsync.Local {
		return nil
	}
	src, err := filepath.EvalSymlinks(c.Source)
	if err != nil {
		return err
	}
	dest := settled(c.Dest.Path)
	name := escape(c.Target, false)
	switch {
	case within(dest, src):
		return &problem{
			status: exitUnsafe, what: name, reason: "DEST is SRC or lies in it: the copy would copy itself",
			remedy: "choose a DEST outside of SRC",
		}
	case c.Delete && within(src, dest):
		return &problem{
			status: exitUnsafe, what: name, reason: "DEST holds SRC: --delete would delete what is being copied",
			remedy: "choose another DEST",
		}
	}
	return nil
}

// settled is path, absolute and without symlinks, as far as it exists.
func settled(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	rest := ""
	for {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			return filepath.Join(real, rest)
		}
		dir, name := filepath.Split(filepath.Clean(path))
		if dir == path {
			return filepath.Join(path, rest)
		}
		path, rest = dir, filepath.Join(name, rest)
	}
}

// within reports whether path is dir or lies below it. Directories are compared
// by inode, so that a bind mount does not hide that they are the same.
func within(path, dir string) bool {
	top, err := os.Stat(dir)
	if err != nil {
		return false
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return false
	}
	for {
		if info, err := os.Stat(path); err == nil && os.SameFile(info, top) {
			return true
		}
		parent := filepath.Dir(path)
		if parent == path {
			return false
		}
		path = parent
	}
}
