package embedded

import (
	"math"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// keepEvery is how much of a file is read until it is looked, again, whether its part can be kept.
const keepEvery = 1 << 20

// A part is what has arrived of a large file, kept under a second name in the partial directory beside the file: a link
// to what the server is writing in the staging directory. So it is there whatever ends this process. In the next session
// the server finds it under the name that it is to receive, as an old version, and takes from it what is in it.
//
// On a file system without hard links there are no parts.
type part struct {
	s      *send
	st     *stage
	staged string // name in st
	dir    string // partial directory
	name   string // in dir
	size   int64  // of what is kept
	basis  uint64 // inode of what was kept before; 0: nothing was
	next   int64  // how much is to be read until keep has something to do
}

// part returns the part of a file that is to arrive under the given name, and puts what is kept of it there; nil if it
// is not to have any.
func (s *send) part(f pendingFile, st *stage, staged string) *part {
	e := &s.entries[f.i]
	if st.memory || s.o.PartialDir == "" || path.IsAbs(s.o.PartialDir) || e.Size <= smallFile {
		return nil
	}
	dir, name := split(e.Path)
	p := &part{s: s, st: st, staged: staged, dir: join(dir, path.Clean(s.o.PartialDir)), name: name, next: keepEvery}
	fd, err := s.dirs.open(p.dir)
	if err != nil {
		return p // usually there is none
	}
	old, err := lstat(fd, name)
	if err == nil && old != nil && isRegular(old.Mode) && int(old.Uid) == os.Geteuid() &&
		eintr(func() error { return unix.Linkat(fd, name, st.fd, staged, 0) }) == nil {
		p.basis, p.size = old.Ino, old.Size
		p.next = max(p.next, old.Size+1)
	}
	return p
}

// arrived reports whether the server has the whole file: it renames it to its name when its sum was right.
func (p *part) arrived(st *stage, staged string) bool {
	got, err := lstat(st.fd, staged)
	return err == nil && got != nil && isRegular(got.Mode) && (p == nil || got.Ino != p.basis)
}

// read is told how much of the source was read in all.
func (p *part) read(n int64) {
	if p == nil || n < p.next {
		return
	}
	p.next = n + keepEvery
	if p.keep() {
		p.next = math.MaxInt64 // what follows goes into the same file
	}
}

// keep links what arrives if there is more of it than of what is kept.
func (p *part) keep() bool {
	names, err := namesIn(p.st.fd)
	if err != nil {
		return false
	}
	for _, temp := range names {
		if !strings.HasPrefix(temp, "."+p.staged) {
			continue
		}
		got, err := lstat(p.st.fd, temp)
		if err != nil || got == nil || got.Size <= p.size {
			return false
		}
		fd, err := p.makeDir()
		if err != nil {
			return false
		}
		return p.s.replace(join(p.dir, p.name), place{dir: fd, name: p.name}, func(tmp string) error {
			return eintr(func() error { return unix.Linkat(p.st.fd, temp, fd, tmp, 0) })
		}) == nil
	}
	return false
}

func (p *part) makeDir() (int, error) {
	fd, name, err := p.s.dirs.parent(p.dir)
	if err != nil {
		return -1, err
	}
	if err := eintr(func() error { return unix.Mkdirat(fd, name, 0o700) }); err != nil && err != unix.EEXIST {
		return -1, err
	}
	return p.s.dirs.open(p.dir)
}

// drop removes what is kept, and the directory if it was the last in it.
func (p *part) drop() {
	if p == nil {
		return
	}
	fd, err := p.s.dirs.open(p.dir)
	if err != nil {
		return
	}
	_ = unlink(fd, p.name, false) // there may be none
	p.s.dirs.forget(p.dir)
	if fd, name, err := p.s.dirs.parent(p.dir); err == nil {
		_ = unlink(fd, name, true) // other parts may be in it
	}
}
