package embedded

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Names of ours in the destination begin with tempPrefix, which no one else's do.
const (
	tempPrefix  = ".syncd-tmp."
	stagePrefix = ".syncd-stage."
)

// A stage is a private directory inside the destination in which files arrive. A lock on it says that its owner lives:
// one that can be locked was left by a killed process.
type stage struct {
	fd   int
	path string // in the destination
	abs  string // for those who only take names
}

// newStage makes a staging directory at the destination's top, or, where an unprivileged process may not write there,
// in the directory near, which holds a file that is to arrive.
func (d *Dest) newStage(root *dirs, near string) (*stage, error) {
	g, err := d.makeStage(root, ".")
	if errors.Is(err, unix.EACCES) && near != "." {
		g, err = d.makeStage(root, near)
	}
	if err != nil {
		return nil, fmt.Errorf("make a directory for arriving files: %w", err)
	}
	return g, nil
}

func (d *Dest) makeStage(in *dirs, dir string) (*stage, error) {
	fd, err := in.open(dir)
	if err != nil {
		return nil, err
	}
	name := stagePrefix + strconv.FormatUint(rand.Uint64(), 36)
	g := &stage{fd: -1, path: join(dir, name), abs: filepath.Join(d.path, dir, name)}
	d.mu.Lock()
	d.stages[g.path] = true // before it can be seen: another Send may be deleting what it does not know
	d.mu.Unlock()
	err = d.keepTime(fd, func() error { return unix.Mkdirat(fd, name, 0o700) })
	if err == nil {
		if g.fd, err = openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err == nil {
			_ = unix.Flock(g.fd, unix.LOCK_EX|unix.LOCK_NB) // where there are no locks, no one takes it for left behind
			return g, nil
		}
	}
	d.dropStage(g)
	return nil, err
}

// removeStage removes the staging directory with all that is in it.
func (d *Dest) removeStage(in *dirs, g *stage) error {
	defer d.dropStage(g)
	dir, name := split(g.path)
	fd, err := in.open(dir)
	if err != nil {
		return err
	}
	// A server that was cut off may just have been creating a file: its last breath.
	for range 10 {
		if err = removeAll(g.fd); err == nil {
			err = d.keepTime(fd, func() error { return unlink(fd, name, true) })
		}
		if err != unix.ENOTEMPTY {
			break
		}
	}
	return err
}

func (d *Dest) dropStage(g *stage) {
	if g.fd >= 0 {
		_ = unix.Close(g.fd)
	}
	d.mu.Lock()
	delete(d.stages, g.path)
	d.mu.Unlock()
}

func (d *Dest) isStage(path string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.stages) > 0 && d.stages[path]
}

// keepTime does something in a directory that does not count as a change of it.
func (d *Dest) keepTime(dir int, f func() error) error {
	d.rootTime.Lock()
	defer d.rootTime.Unlock()
	st, statErr := lstat(dir, ".")
	err := eintr(f)
	if err == nil && statErr == nil && st != nil {
		_ = setMtime(dir, ".", st.Mtim.Sec, int32(st.Mtim.Nsec)) // not ours to set: then no one else keeps it exact either
	}
	return err
}

// removeAll removes the files in a directory of ours, which holds nothing else.
func removeAll(fd int) error {
	if _, err := unix.Seek(fd, 0, 0); err != nil {
		return err
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(dup), "stage")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	for _, name := range names {
		if e := unlink(fd, name, false); e != nil && e != unix.ENOENT && err == nil {
			err = e
		}
	}
	return err
}

// sweep removes what killed processes left at the destination's top.
func (d *Dest) sweep() {
	fd, err := openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(fd), d.path)
	defer f.Close()
	for {
		names, err := f.Readdirnames(1000)
		for _, name := range names {
			if strings.HasPrefix(name, stagePrefix) {
				d.sweepStage(name)
			}
		}
		if err != nil {
			return
		}
	}
}

func (d *Dest) sweepStage(name string) {
	fd, err := openat(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) != nil {
		return
	}
	if removeAll(fd) == nil {
		_ = d.keepTime(d.fd, func() error { return unlink(d.fd, name, true) })
	}
}
