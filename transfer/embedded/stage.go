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

// How our own names in the destination begin.
const (
	tempPrefix  = ".syncd-tmp."   // of what is about to be renamed into place
	stagePrefix = ".syncd-stage." // of staging directories
)

// A stage is a private directory in which files arrive. A lock on it says that its owner lives: one that can be locked
// was left by a killed process.
type stage struct {
	fd     int
	path   string // in the destination, if it is there
	abs    string // for those who only take names
	memory bool   // it is elsewhere, in memory
}

// memoryDir is where a staging directory in memory can be. The server syncs every file to disk, which alone takes 1 to
// 2 ms for each on the virtual disk that this was measured on; in memory it costs nothing.
const memoryDir = "/dev/shm"

// memoryStage makes a staging directory in memory for so many bytes of files, or returns nil where that cannot be.
func (d *Dest) memoryStage(bytes int64) *stage {
	var fs unix.Statfs_t
	err := eintr(func() error { return unix.Statfs(d.memory, &fs) })
	if err != nil || fs.Type != unix.TMPFS_MAGIC || int64(fs.Bavail) < 4*bytes/int64(fs.Bsize) {
		return nil
	}
	for range stageTries {
		g := &stage{abs: filepath.Join(d.memory, stagePrefix+randomName()), memory: true}
		if eintr(func() error { return unix.Mkdir(g.abs, 0o700) }) != nil {
			return nil
		}
		if g.fd, err = openStage(unix.AT_FDCWD, g.abs); err == nil {
			return g
		}
		_ = unlink(unix.AT_FDCWD, g.abs, true)
	}
	return nil
}

func randomName() string { return strconv.FormatUint(rand.Uint64(), 36) }

// errSwept says that another process took a new staging directory for one left behind, before it was locked. That can
// happen, but not often.
var errSwept = errors.New("removed by another process")

const stageTries = 3

func openStage(dir int, name string) (int, error) {
	fd, err := openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// Where there are no locks, no one takes it for left behind.
	locked := eintr(func() error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && (locked == unix.EWOULDBLOCK || st.Nlink == 0) {
		err = errSwept
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// newStage makes a staging directory at the destination's top, or, where an unprivileged process may not write there,
// in the directory near, which holds a file that is to arrive.
func (d *Dest) newStage(root *dirs, near string) (*stage, error) {
	var g *stage
	err := errSwept
	for try := 0; try < stageTries && errors.Is(err, errSwept); try++ {
		g, err = d.makeStage(root, ".")
		if errors.Is(err, unix.EACCES) && near != "." {
			g, err = d.makeStage(root, near)
		}
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
	name := stagePrefix + randomName()
	g := &stage{fd: -1, path: join(dir, name), abs: filepath.Join(d.path, dir, name)}
	d.mu.Lock()
	d.stages[g.path] = true // before it can be seen: another Send may be deleting what it does not know
	d.mu.Unlock()
	err = d.keepTime(fd, func() error { return unix.Mkdirat(fd, name, 0o700) })
	if err == nil {
		if g.fd, err = openStage(fd, name); err == nil {
			return g, nil
		}
		_ = unlink(fd, name, true)
	}
	d.dropStage(g)
	return nil, err
}

// removeStage removes the staging directory with all that is in it.
func (d *Dest) removeStage(in *dirs, g *stage) error {
	defer d.dropStage(g)
	rmdir := func() error { return unlink(unix.AT_FDCWD, g.abs, true) }
	if !g.memory {
		dir, name := split(g.path)
		fd, err := in.open(dir)
		if err != nil {
			return err
		}
		rmdir = func() error { return d.keepTime(fd, func() error { return unlink(fd, name, true) }) }
	}
	var err error
	// A server that was cut off may just have been creating a file: its last breath.
	for range 10 {
		if err = removeAll(g.fd); err == nil {
			err = rmdir()
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
		sec, nsec := mtime(st)
		_ = setMtime(dir, ".", sec, nsec) // not ours to set: then no one else keeps it exact either
	}
	return err
}

// removeAll removes the files in a directory of ours, which holds nothing else.
func removeAll(fd int) error {
	names, err := namesIn(fd)
	for _, name := range names {
		if e := unlink(fd, name, false); e != nil && e != unix.ENOENT && err == nil {
			err = e
		}
	}
	return err
}

// namesIn lists a directory of ours.
func namesIn(fd int) ([]string, error) {
	if _, err := unix.Seek(fd, 0, 0); err != nil {
		return nil, err
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(dup), "stage")
	defer f.Close()
	return f.Readdirnames(-1)
}

// sweep removes what killed processes left at the destination's top and in memory.
func (d *Dest) sweep() {
	sweepIn(d.fd, ".", func(dir int, name string) error {
		return d.keepTime(dir, func() error { return unlink(dir, name, true) })
	})
	sweepIn(unix.AT_FDCWD, d.memory, func(dir int, name string) error { return unlink(dir, name, true) })
}

// sweepIn does what it can: what is left behind costs room, not correctness.
func sweepIn(at int, path string, rmdir func(dir int, name string) error) {
	fd, err := openat(at, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	for {
		names, err := f.Readdirnames(1000)
		for _, name := range names {
			if strings.HasPrefix(name, stagePrefix) && sweepStage(fd, name) {
				_ = rmdir(fd, name)
			}
		}
		if err != nil {
			return
		}
	}
}

// sweepStage empties a staging directory that no one uses any more, and reports whether it did.
func sweepStage(dir int, name string) bool {
	fd, err := openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Uid != uint32(os.Geteuid()) || unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) != nil {
		return false
	}
	return removeAll(fd) == nil
}
