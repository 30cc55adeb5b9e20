package embedded

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// place moves a received file from the staging directory to where it belongs, with its attributes. As a server does,
// it puts a file whose attributes cannot be set into place all the same, and says so.
func (s *send) place(f pendingFile, st *stage, name string) error {
	e := &s.entries[f.i]
	dir, base, err := s.dirs.parent(e.Path)
	if err != nil {
		return fmt.Errorf("open directory of %q: %w", e.Path, err)
	}
	to := place{dir: dir, name: base}
	if st.memory {
		return s.copyIn(f, st, name, to)
	}
	s.inheritGroup(dir, st.fd, name)
	attrErr := s.attrs.apply(target{dir: st.fd, name: name, mode: f.mode, time: timeExact}, f.i)
	err = eintr(func() error { return unix.Renameat(st.fd, name, dir, base) })
	switch {
	case err == unix.EXDEV: // another file system, mount or quota project begins on the way
		return s.copyIn(f, st, name, to)
	case err != nil:
		return fmt.Errorf("rename to %q: %w", e.Path, err)
	}
	return attrErr
}

// copyIn is place where renaming cannot do it.
func (s *send) copyIn(f pendingFile, st *stage, name string, to place) error {
	e := &s.entries[f.i]
	in, err := openat(st.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %q as received: %w", e.Path, err)
	}
	defer unix.Close(in)
	var attrErr error
	err = s.replace(e.Path, to, func(tmp string) error {
		const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
		out, err := openat(to.dir, tmp, flags, 0o600)
		if err != nil {
			return fmt.Errorf("create %q: %w", e.Path, err)
		}
		err = s.copyData(out, in)
		if cerr := unix.Close(out); err == nil {
			err = cerr // a network file system may say only now that there is no room
		}
		if err != nil {
			return fmt.Errorf("write %q: %w", e.Path, err)
		}
		attrErr = s.attrs.apply(target{dir: to.dir, name: tmp, mode: f.mode, time: timeExact}, f.i)
		return nil
	})
	if err == nil {
		_ = unlink(st.fd, name, false) // its memory is needed; at the end everything goes anyway
	}
	return errors.Join(err, attrErr)
}

// errEnded stops what is under way when the Send is over.
var errEnded = errors.New("ended")

func (s *send) copyData(out, in int) error {
	if s.buf == nil {
		s.buf = make([]byte, 256<<10)
	}
	for {
		if s.ended() {
			return errEnded
		}
		var n int
		err := eintr(func() (err error) { n, err = unix.Read(in, s.buf); return err })
		if err != nil || n == 0 {
			return err
		}
		for b := s.buf[:n]; len(b) > 0; b = b[n:] {
			if err := eintr(func() (err error) { n, err = unix.Write(out, b); return err }); err != nil {
				return err
			}
			if n == 0 {
				return io.ErrShortWrite
			}
		}
	}
}

// inheritGroup gives a file that was made elsewhere the group that it would have got in a setgid directory.
func (s *send) inheritGroup(dir, from int, name string) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, ".", &st, 0); err == nil && st.Mode&unix.S_ISGID != 0 {
		_ = chown(from, name, -1, int(st.Gid)) // an unprivileged process may not be allowed to; then it is as it is
	}
}

// replace has make create something under a temporary name beside its final one and then renames it, so that the final
// name is never missing and never half done.
func (s *send) replace(path string, at place, make func(tmp string) error) error {
	tmp := tempPrefix + randomName()
	err := make(tmp)
	if err == nil {
		err = eintr(func() error { return unix.Renameat(at.dir, tmp, at.dir, at.name) })
		if err == nil {
			return nil
		}
		err = fmt.Errorf("rename to %q: %w", path, err)
	}
	_ = unlink(at.dir, tmp, false) // usually it could not even be made
	return err
}
