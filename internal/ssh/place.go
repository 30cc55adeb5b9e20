package ssh

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// maxPath is the longest path of a socket, in bytes: the kernel takes 107, and ssh makes the socket under a name that has
// 17 more (a dot and 16 characters).
const maxPath = 107 - 17

// A place is where sockets are made.
type place struct {
	dir string
	own bool // it is ours, to be removed
}

var errNoPlace = errors.New("no directory for a socket")

// findPlace returns the first directory that will do, or else one that it makes.
func findPlace(dirs []string) (place, error) {
	for _, dir := range dirs {
		if p := (place{dir: dir}); private(dir) && p.works() {
			return p, nil
		}
	}
	for _, above := range []string{os.TempDir(), "/tmp"} {
		dir, err := os.MkdirTemp(above, "syncd-ssh-") // for nobody else: mode 0700
		if err != nil {
			continue
		}
		p := place{dir, true}
		if p.works() {
			return p, nil
		}
		p.remove()
	}
	return place{}, errNoPlace
}

// private reports whether a directory is ours, and nobody else may write there.
func private(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o022 != 0 {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// works tries whether a socket can be made, and by a name that ssh takes as it is.
func (p place) works() bool {
	path := p.path()
	if !filepath.IsAbs(path) || len(path) > maxPath || !literal(path) {
		return false
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return false
	}
	l.Close() // removes it
	return true
}

// path returns a name that nothing has.
func (p place) path() string {
	var b [6]byte
	rand.Read(b[:]) // never fails
	return filepath.Join(p.dir, fmt.Sprintf("ssh-%x", b))
}

func (p place) remove() {
	if p.own {
		os.RemoveAll(p.dir)
	}
}

// literal reports whether ssh gives no byte of a ControlPath a meaning: no %h, no ${HOME}, no space.
func literal(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '/', c == '.', c == '-', c == '_', c == '@', c == ':', c == '+':
		default:
			return false
		}
	}
	return true
}
