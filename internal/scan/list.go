package scan

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/attr"
)

const (
	direntBuf = 64 << 10 // bytes asked of getdents at once; the kernel's own limits make more pointless

	// inodeOrderFrom is the number of entries from which a directory is read in order of inodes, which is their order on
	// the disk with ext4 and XFS: a disk with heads goes over it once. It is not fewer reads (200,000 files of one ext4
	// directory, cold: 2560 either way), and sorting twice costs 0.1 µs per entry. ext4 reads inodes by blocks of 512, so
	// that in smaller directories there is nothing to gain.
	inodeOrderFrom = 1024

	ctxEvery = 256 // entries read between two looks at the context

	// keepRefs is the size from which the scratch memory of a large directory is given back.
	keepRefs = 1 << 15
)

// scratch is what a listing needs while it is made.
type scratch struct {
	buf           [direntBuf]byte
	refs          []ref
	names, inodes []sortKey
	attrs         attr.Reader
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) release() {
	if cap(s.refs) > keepRefs {
		s.refs, s.names, s.inodes = nil, nil, nil
	}
	s.attrs.Forget()
	clear(s.refs) // or the pool would keep the names alive
	s.refs = s.refs[:0]
	scratches.Put(s)
}

// List lists one directory. It returns an error, and no listing, when the directory cannot be listed at all: one that
// wraps fs.ErrNotExist (vanished), ErrNotDir (replaced), fs.ErrPermission, or the error of ctx. Memory is proportional
// to the directory.
func (r *Root) List(ctx context.Context, dir string, o Options) (*Listing, error) {
	return r.list(ctx, dir, o, nil, nil)
}

// ListInto is List for who is done with one listing before the next: the memory of entries is used for those of the
// listing, as far as it goes.
func (r *Root) ListInto(ctx context.Context, dir string, o Options, entries []Entry) (*Listing, error) {
	return r.list(ctx, dir, o, entries, nil)
}

// list is ListInto with a say in its memory: reserve is called with the number of entries that are about to be held, and
// may wait or refuse.
func (r *Root) list(ctx context.Context, dir string, o Options, entries []Entry, reserve func(n int) error) (*Listing, error) {
	if dir == "" {
		dir = "."
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	given, known := o.given(dir)
	fd, err := r.openListed(dir, known)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	self, err := fstat(fd)
	if err != nil {
		return nil, &PathError{"stat", dir, err}
	}
	l := &Listing{Dir: dir, Self: self, Entries: entries[:0]}
	if o.OneFileSystem && self.Dev != r.id.Dev {
		l.Err = &PathError{"list", dir, ErrOtherDevice}
		return l, nil
	}
	s := scratches.Get().(*scratch)
	defer s.release()
	if l.Attrs, err = s.read(fd, ".", self.Mode, o.Attrs); err != nil {
		return nil, &PathError{"read", dir, err}
	}
	if known {
		err = l.take(given, s, reserve)
	} else {
		err = l.names(ctx, fd, s, o, reserve)
	}
	if err != nil {
		return nil, err
	}
	if err := l.stats(ctx, fd, s, o, r.id.Dev); err != nil {
		return nil, err
	}
	return l, nil
}

func (r *Root) openDir(dir string) (int, error) {
	fd, err := r.openForReading(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return -1, &PathError{"open", dir, r.mismatch(dir, err, ErrNotDir)}
	}
	return fd, nil
}

// names reads all names of the directory into s.refs. Errors of the directory go to l.Err: what came before them is
// still listed.
func (l *Listing) names(ctx context.Context, fd int, s *scratch, o Options, reserve func(n int) error) error {
	for {
		before := len(s.refs)
		refs, n, err := readNames(fd, s.buf[:], l.Dir, o.Skip, s.refs)
		s.refs = refs
		if err == nil && uint64(len(refs)) > math.MaxUint32 {
			err = unix.EOVERFLOW // sortKey.pos; such a listing would not fit into memory either
		}
		if err == unix.ENOENT { // removed since it was opened; only the kernel's own word, a listing cannot tell
			return &PathError{"list", l.Dir, err}
		}
		if err != nil {
			l.Err = &PathError{"list", l.Dir, err}
			return nil
		}
		if n == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if reserve != nil {
			if err := reserve(len(refs) - before); err != nil {
				return err
			}
		}
	}
}

// stats turns s.refs into entries.
func (l *Listing) stats(ctx context.Context, fd int, s *scratch, o Options, rootDev uint64) error {
	refs := s.refs
	s.names = byName(refs, s.names)
	l.Entries = slices.Grow(l.Entries, len(refs))[:len(refs)]
	clear(l.Entries)
	var inodes []sortKey
	if len(refs) >= inodeOrderFrom {
		s.inodes = byInode(refs, s.names, s.inodes)
		inodes = s.inodes
	}
	var missing bool
	var st unix.Stat_t
	for i := range refs {
		if i%ctxEvery == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		at := i
		if inodes != nil {
			at = int(inodes[i].pos)
		}
		ref := &refs[s.names[at].pos]
		e := &l.Entries[at]
		err := e.read(fd, ref.name, &st)
		if err == nil && o.Attrs.Any() {
			e.Attrs, err = s.attrs.Read(fd, ref.name, e.Stat.Mode, o.Attrs)
		}
		switch {
		case err == nil:
			if e.skipped(ref.typ, l.Dir, o.Skip) {
				*e, missing = Entry{}, true
				continue
			}
			e.MountPoint = o.OneFileSystem && e.Stat.Dev != rootDev && e.Stat.IsDir()
		case errors.Is(err, unix.ENOENT):
			*e, missing = Entry{}, true
		default:
			*e, missing = Entry{}, true
			l.Errors = append(l.Errors, &PathError{"stat", Join(l.Dir, ref.name), err})
		}
	}
	l.finish(missing)
	return nil
}

// read reads what is asked for of the attributes of the entry called name.
func (s *scratch) read(fd int, name string, mode uint32, w attr.Which) (*attr.Attrs, error) {
	if !w.Any() {
		return nil, nil
	}
	return s.attrs.Read(fd, name, mode, w)
}

// read fills in the entry called name of the directory fd. ENOENT means that it has vanished.
func (e *Entry) read(fd int, name string, st *unix.Stat_t) error {
	const tries = 8 // for a symlink that is replaced between our two looks at it
	for range tries {
		if err := lstatat(fd, name, st); err != nil {
			return err
		}
		e.Name = name
		e.Stat.set(st)
		e.Atime = int64(st.Atim.Sec)
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			return nil
		}
		target, err := readlink(fd, name)
		// Some file systems (proc) do not know the length of a target beforehand, or none but that of a page.
		if err == nil && (int64(len(target)) == st.Size || st.Size == 0 || st.Size >= unix.PathMax) {
			e.Target = target
			return nil
		}
		if err != nil && err != unix.EINVAL {
			return err
		}
	}
	// The file system does not tell the length of its targets. Take it as it is.
	target, err := readlink(fd, name)
	e.Target = target
	return err
}

// skipped asks the filter about an entry whose type the directory did not tell, or told wrongly: it may have been
// replaced meanwhile.
func (e *Entry) skipped(typ uint8, dir string, skip skipFunc) bool {
	if skip == nil {
		return false
	}
	isDir := e.Stat.IsDir()
	if typ != unix.DT_UNKNOWN && (typ == unix.DT_DIR) == isDir {
		return false // asked before
	}
	return skip(dir, e.Name, isDir)
}

// finish closes the gaps of entries that are not there and takes stock of what could not be read.
func (l *Listing) finish(missing bool) {
	// A directory that changes while it is read may name an entry twice (NFS, FUSE).
	for i := 1; i < len(l.Entries) && !missing; i++ {
		missing = l.Entries[i].Name == l.Entries[i-1].Name
	}
	if missing {
		l.Entries = slices.DeleteFunc(l.Entries, func(e Entry) bool { return e.Name == "" })
		l.Entries = slices.CompactFunc(l.Entries, func(a, b Entry) bool { return a.Name == b.Name })
	}
	if len(l.Errors) == 0 {
		return
	}
	slices.SortFunc(l.Errors, func(a, b *PathError) int { return strings.Compare(a.Path, b.Path) })
	if l.Err == nil {
		l.Err = &PathError{"list", l.Dir, fmt.Errorf("%w: %d entries, first %w", ErrIncomplete, len(l.Errors), l.Errors[0])}
	}
}
