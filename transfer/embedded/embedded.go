// Package embedded serves a local directory as a destination, in this process: what a session with a remote rsync
// server does for a batch, [Dest.Send] does for a directory here, with the same results, item flags and deletions.
//
// The data of files travels over a real session of our own client with gokrazy/rsync's rsyncd behind an in-memory
// connection. That receiver speaks protocol 27, knows no nanoseconds, setuid bits, hard links, precise deletes or
// symlink times, puts its temporary files into the module's root whatever the file's directory, syncs each of them to
// disk, and ends the session at the first file that fails. So it is only given what it does well: the files that need
// data, as flat, short names, into a private staging directory, in memory for small files and inside the destination
// for large ones. Everything else, from the quick check to the directory times at the end, happens here, and a file
// gets its final name only when it is whole and has all its attributes.
//
// Every access goes by descriptors opened one component at a time without following symlinks. That is stricter than
// os.Root, which follows those that stay inside: a symlink that stands, or is put, in the place of a directory never
// leads anywhere, and no path is too long.
//
// # Limits
//
// As in rsync's local copies, files are always sent whole: WholeFile, BlockSize, ChecksumChoice, ChecksumSeed and
// Protocol of [rsync.Options] are without effect. With Checksum the content of both sides is compared; sums in the
// entries are not looked at. But of a large file that was interrupted what is in PartialDir is used, if that is relative
// and the file system has hard links. What this receiver cannot do: Inplace is without effect, files are always replaced.
// Timeout does not apply. Without ACLs large files do not inherit the default ACL of their directory. Nothing is flushed
// to disk before Send returns.
package embedded

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/syncd/syncd/internal/rsync"
	"golang.org/x/sys/unix"
)

// A Dest is a local directory as a destination. All methods are safe for concurrent use.
type Dest struct {
	// Wrap, if not nil, is put around the connection that carries the data of files, as a rate limit would be around
	// one that leads to a server. Set it before the first Send.
	Wrap func(io.ReadWriteCloser) io.ReadWriteCloser

	path   string // absolute
	memory string // memoryDir
	umask  uint32
	root   bool            // the process may give files away
	member map[uint32]bool // groups of an unprivileged process
	ids    ids

	mu     sync.Mutex
	fd     int // of the directory, O_PATH; -1 while it does not exist
	isNew  bool
	closed bool
	stages map[string]bool // staging directories in use, by path in the destination
	loose  map[string]*loosened

	rootTime sync.Mutex // held while the root's time is set, or put back after making or removing a staging directory
}

// Open returns dir as a destination. It may be missing: the first Send that is no dry run creates it, as rsync does
// its last component, or all of it with [rsync.Options].Mkpath. A symlink given as dir is followed. What a killed
// process left of its staging directories is removed.
func Open(dir string) (*Dest, error) {
	d, err := OpenDry(dir)
	if err == nil && d.fd >= 0 {
		d.sweep()
	}
	return d, err
}

// OpenDry is Open for a destination that is given nothing but dry runs: it changes nothing.
func OpenDry(dir string) (*Dest, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, openError(dir, err)
	}
	d := &Dest{
		path: abs, memory: memoryDir, fd: -1, root: os.Geteuid() == 0, umask: umask(),
		member: groups(), stages: make(map[string]bool), loose: make(map[string]*loosened),
	}
	switch d.fd, err = openRoot(abs); {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist):
		d.fd = -1
	default:
		return nil, openError(dir, err)
	}
	return d, nil
}

func openRoot(abs string) (int, error) {
	return openat(unix.AT_FDCWD, abs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

func openError(dir string, err error) error {
	e := &rsync.Error{Kind: rsync.KindModule, Op: "open destination", Server: dir, Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Hint = "create the directory that is to hold it first"
	case errors.Is(err, unix.ENOTDIR):
		e.Hint = "the destination must be a directory"
	case errors.Is(err, fs.ErrPermission):
		e.Hint = "check owners and modes of the directories that lead there, or run as another user"
	}
	return e
}

// ensure makes the destination exist. It reports whether it does: in a dry run it may stay missing.
func (d *Dest) ensure(o rsync.Options) (exists bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return false, fmt.Errorf("destination %s: %w", d.path, fs.ErrClosed)
	case d.fd >= 0:
		return true, nil
	}
	if err := d.parents(o); err != nil || o.DryRun {
		return false, err
	}
	err = unix.Mkdir(d.path, 0o777)
	if err != nil && err != unix.EEXIST {
		if fatal := d.fatal(err); fatal != nil {
			return false, fatal
		}
		return false, openError(d.path, fmt.Errorf("mkdir: %w", err))
	}
	d.isNew = err == nil
	if d.fd, err = openRoot(d.path); err != nil {
		d.fd = -1
		return false, openError(d.path, err)
	}
	return true, nil
}

// parents looks for the directory that is to hold the destination, and makes it if that is asked for.
func (d *Dest) parents(o rsync.Options) error {
	dir := filepath.Dir(d.path)
	if o.Mkpath {
		if o.DryRun {
			return nil
		}
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return openError(d.path, err)
		}
		return nil
	}
	fd, err := openRoot(dir)
	if err != nil {
		return openError(d.path, err)
	}
	return unix.Close(fd)
}

// takeNew reports, once, that the destination was created by the Send that asks.
func (d *Dest) takeNew() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	isNew := d.isNew
	d.isNew = false
	return isNew
}

// Close ends the use of the destination. Sends must have returned.
func (d *Dest) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	if d.fd < 0 {
		return nil
	}
	return unix.Close(d.fd)
}

// umask reads the process's mask where that is possible without changing it for the blink of an eye.
func umask() uint32 {
	const field = "Umask:"
	if f, err := os.Open("/proc/self/status"); err == nil {
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if rest, ok := bytes.CutPrefix(s.Bytes(), []byte(field)); ok {
				if m, err := strconv.ParseUint(string(bytes.TrimSpace(rest)), 8, 32); err == nil {
					return uint32(m) & 0o777
				}
			}
		}
	}
	m := unix.Umask(0o022)
	unix.Umask(m)
	return uint32(m) & 0o777
}

func groups() map[uint32]bool {
	m := map[uint32]bool{uint32(os.Getegid()): true}
	all, _ := os.Getgroups() // none known: none but the process's own can be given
	for _, g := range all {
		m[uint32(g)] = true
	}
	return m
}
