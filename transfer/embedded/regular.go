package embedded

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"golang.org/x/sys/unix"
)

// pendingFile is a regular file that needs data.
type pendingFile struct {
	i    int
	mode uint32 // permission bits to end with
}

// visitRegular decides what a regular file needs: nothing, attributes, data, or a link.
func (s *send) visitRegular(i int, e *flist.Entry, at place) {
	g := s.group(e)
	if g != nil {
		g.left--
		if g.leader >= 0 {
			s.follow(i, e, at, g)
			return
		}
	}
	s.regular(i, e, at, g)
	if g != nil && g.leader < 0 && g.left == 0 && len(g.waiting) > 0 {
		s.promote(g)
	}
}

// regular settles a file that is alone or may become the leader of its group.
func (s *send) regular(i int, e *flist.Entry, at place, g *linkGroup) {
	if !s.wanted(e, at) {
		s.skip(i, "")
		return
	}
	exists := at.old(e) != nil
	if !exists && g != nil && g.left > 0 {
		g.waiting = append(g.waiting, i)
		return
	}
	var same bool
	if exists && at.st.Size == e.Size {
		var err error
		if same, err = s.upToDate(i, e, at); err != nil {
			return // settled
		}
	}
	if same {
		s.keep(i, e, at)
	} else {
		s.request(i, e, at)
	}
	if g != nil {
		s.lead(i, at, g)
	}
}

// promote makes the last of those that wait for a leader the leader, when none of the others can be it.
func (s *send) promote(g *linkGroup) {
	last := len(g.waiting) - 1
	i := g.waiting[last]
	g.waiting = g.waiting[:last]
	e := &s.entries[i]
	if at, ok := s.locate(i, e); ok {
		s.request(i, e, at)
		s.lead(i, at, g)
	}
}

// keep corrects the attributes of a file whose content is right.
func (s *send) keep(i int, e *flist.Entry, at place) {
	if f := s.attrs.differ(e, at, at.st, 0); f != 0 {
		s.item(i, f)
	}
	if !s.o.DryRun {
		t := target{dir: at.dir, name: at.name, mode: s.attrs.mode(e, at.st)}
		if err := s.attrs.apply(t, i); err != nil {
			s.fail(i, err)
			return
		}
	}
	s.done(i)
}

// request notes that the file needs data.
func (s *send) request(i int, e *flist.Entry, at place) {
	f := rsync.ItemTransfer
	if s.o.Checksum {
		f |= rsync.ItemContent
	}
	mode := s.attrs.mode(e, at.old(e))
	if old := at.old(e); old != nil {
		f = s.attrs.differ(e, at, old, f)
	} else {
		f |= rsync.ItemNew
		if err := s.makeWay(e, &at); err != nil {
			s.fail(i, err)
			return
		}
	}
	s.item(i, f)
	if s.o.DryRun {
		s.done(i)
		return
	}
	s.files = append(s.files, pendingFile{i: i, mode: mode})
}

// upToDate is the quick check of a file whose size is right. An error has settled the entry.
func (s *send) upToDate(i int, e *flist.Entry, at place) (bool, error) {
	switch {
	case s.o.Checksum:
		return s.equalContent(i, e, at)
	case s.o.SizeOnly:
		return true, nil
	case s.o.IgnoreTimes:
		return false, nil
	}
	return s.attrs.sameTime(e, at.st), nil
}

// buffers are pairs for comparing: to make them anew for each file is most of the work where files are small.
var buffers = sync.Pool{New: func() any { return new([2][64 << 10]byte) }}

// equalContent compares the file here with the source, byte by byte: both are on this machine, so a digest would only
// cost more. A file here that cannot be read counts as different, as with rsync.
func (s *send) equalContent(i int, e *flist.Entry, at place) (bool, error) {
	fd, err := openat(at.dir, at.name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, nil
	}
	here := os.NewFile(uintptr(fd), e.Path)
	defer here.Close()
	src, err := s.b.Open(i)
	if err != nil {
		s.notSent(i, err)
		return false, err
	}
	same, err := equalReaders(s, src, here)
	if cerr := src.Close(); err == nil {
		err = cerr
	}
	switch {
	case errors.Is(err, rsync.ErrChanged):
		return false, nil // what is sent then is looked at anew
	case errors.Is(err, errEnded):
		return false, err
	case err != nil:
		s.notSent(i, err)
		return false, err
	}
	return same, nil
}

func (s *send) notSent(i int, err error) {
	s.rep.Results[i].State, s.rep.Results[i].Err = rsync.NotSent, err
}

// equalReaders compares the source with a file here, whose read errors make them different.
func equalReaders(s *send, src, here io.Reader) (bool, error) {
	pair := buffers.Get().(*[2][64 << 10]byte)
	defer buffers.Put(pair)
	a, b := pair[0][:], pair[1][:]
	for {
		if s.ended() {
			return false, errEnded
		}
		n, err := io.ReadFull(src, a)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return false, err
		}
		m, herr := io.ReadFull(here, b)
		if n != m || !bytes.Equal(a[:n], b[:m]) {
			return false, nil
		}
		if err != nil {
			return herr == err, nil
		}
	}
}
