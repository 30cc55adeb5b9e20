package embedded

import (
	"fmt"

	"github.com/syncd/syncd/internal/attr"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"golang.org/x/sys/unix"
)

const permBits = 0o7777

func isDir(mode uint32) bool     { return mode&unix.S_IFMT == unix.S_IFDIR }
func isRegular(mode uint32) bool { return mode&unix.S_IFMT == unix.S_IFREG }
func isSymlink(mode uint32) bool { return mode&unix.S_IFMT == unix.S_IFLNK }

func isDevice(mode uint32) bool {
	t := mode & unix.S_IFMT
	return t == unix.S_IFCHR || t == unix.S_IFBLK
}

func isSpecial(mode uint32) bool {
	t := mode & unix.S_IFMT
	return t == unix.S_IFIFO || t == unix.S_IFSOCK
}

// attributes says which of an entry's attributes are to be set here, by options and by privilege: as rsync, a process
// without privilege keeps owners, and groups that it is no member of, without a word.
type attributes struct {
	perms, times, dirTimes, owner, group bool
	window                               int
	numeric                              bool
	names                                flist.Names
	which                                attr.Which
	reader                               attr.Reader
	b                                    *rsync.Batch
	d                                    *Dest
}

func (d *Dest) attributes(o rsync.Options, b *rsync.Batch) attributes {
	return attributes{
		perms: o.Perms, times: o.Times, dirTimes: o.Times && !o.OmitDirTimes,
		owner: o.Owner && d.root, group: o.Group,
		window: o.ModifyWindow, numeric: o.NumericIDs, names: b.Names,
		which: attr.Which{Xattrs: o.Xattrs, ACLs: o.ACLs}, b: b, d: d,
	}
}

func (a *attributes) keepTime(mode uint32) bool {
	if isDir(mode) {
		return a.dirTimes
	}
	return a.times
}

// idNames returns the names by which ids are translated; nil: they are not.
func (a *attributes) idNames() flist.Names {
	if a.numeric {
		return nil
	}
	return a.names
}

// ids returns the owner and group that the entry is to have here, -1 where that is not for us to say.
func (a *attributes) ids(e *flist.Entry) (uid, gid int) {
	uid, gid = -1, -1
	names := a.idNames()
	if a.owner {
		uid = int(a.d.ids.user(e.UID, names))
	}
	if a.group {
		if g := a.d.ids.group(e.GID, names); a.d.root || a.d.member[g] {
			gid = int(g)
		}
	}
	return uid, gid
}

// mode returns the permission bits that the entry is to have: its own, or, where modes are not kept, those that its
// forerunner had, or those that any new file gets (old nil).
func (a *attributes) mode(e *flist.Entry, old *unix.Stat_t) uint32 {
	switch {
	case a.perms:
		return e.Mode & permBits
	case old != nil:
		return old.Mode & permBits
	}
	return e.Mode & 0o777 &^ a.d.umask
}

// sameTime is the comparison of the quick check (protocol 9.4).
func (a *attributes) sameTime(e *flist.Entry, st *unix.Stat_t) bool {
	sec, nsec := mtime(st)
	switch {
	case a.window < 0:
		return sec == e.Mtime && nsec == e.Nsec
	case sec < e.Mtime:
		return uint64(e.Mtime)-uint64(sec) <= uint64(a.window)
	}
	return uint64(sec)-uint64(e.Mtime) <= uint64(a.window)
}

// differ compares what stands here, of which st is what counts, with the entry and returns the bits of the item. base are
// bits already known: where times are not kept, what is made anew counts as having another one.
func (a *attributes) differ(e *flist.Entry, at place, st *unix.Stat_t, base rsync.ItemFlags) rsync.ItemFlags {
	f := base | a.differExtra(e, at)
	if isRegular(e.Mode) && st.Size != e.Size {
		f |= rsync.ItemSize
	}
	if a.keepTime(e.Mode) {
		if !a.sameTime(e, st) {
			f |= rsync.ItemTime
		}
	} else if base&(rsync.ItemTransfer|rsync.ItemLocal) != 0 && base&rsync.ItemLink == 0 {
		f |= rsync.ItemTime
	}
	if a.perms && !isSymlink(e.Mode) && (st.Mode^e.Mode)&permBits != 0 {
		f |= rsync.ItemPerms
	}
	uid, gid := a.ids(e)
	if uid >= 0 && uint32(uid) != st.Uid {
		f |= rsync.ItemOwner
	}
	if gid >= 0 && uint32(gid) != st.Gid {
		f |= rsync.ItemGroup
	}
	return f
}

// target names something in the destination that is being given its attributes.
type target struct {
	dir  int
	name string
	mode uint32 // permission bits to end with
	time timing
}

// timing says how the time is set.
type timing uint8

const (
	timeChecked timing = iota // unless it is equal as the quick check sees it
	timeExact                 // to the nanosecond
	timeLater                 // not now
)

// apply gives t the attributes of entry i: owner first, because a change of it clears the setuid bits and capabilities,
// time last. It goes on after an error and returns the first.
func (a *attributes) apply(t target, i int) error {
	e := &a.b.Entries[i]
	st, err := lstat(t.dir, t.name)
	if err != nil {
		return fmt.Errorf("stat %q: %w", e.Path, err)
	}
	if st == nil {
		return fmt.Errorf("stat %q: %w", e.Path, unix.ENOENT)
	}
	const setID = 0o6000
	changed, first := a.applyOwner(t, e, st)
	if !isSymlink(e.Mode) && (st.Mode&permBits != t.mode || changed && t.mode&setID != 0) {
		if err := chmod(t.dir, t.name, t.mode); err != nil && first == nil {
			first = fmt.Errorf("set permissions of %q: %w", e.Path, err)
		}
	}
	if err := a.applyExtra(t, i, e); err != nil && first == nil {
		first = err
	}
	if err := a.applyTime(t, e, st); err != nil && first == nil {
		first = err
	}
	return first
}

func (a *attributes) applyOwner(t target, e *flist.Entry, st *unix.Stat_t) (changed bool, err error) {
	uid, gid := a.ids(e)
	if uid >= 0 && uint32(uid) == st.Uid {
		uid = -1
	}
	if gid >= 0 && uint32(gid) == st.Gid {
		gid = -1
	}
	if uid < 0 && gid < 0 {
		return false, nil
	}
	if err := chown(t.dir, t.name, uid, gid); err != nil {
		return false, fmt.Errorf("set owner of %q: %w", e.Path, err)
	}
	return true, nil
}

func (a *attributes) applyTime(t target, e *flist.Entry, st *unix.Stat_t) error {
	same := a.sameTime(e, st)
	sec, nsec := mtime(st)
	exact := sec == e.Mtime && nsec == e.Nsec
	if !a.keepTime(e.Mode) || exact || t.time == timeLater || same && t.time == timeChecked {
		return nil
	}
	err := setMtime(t.dir, t.name, e.Mtime, e.Nsec)
	if err != nil && !same {
		return fmt.Errorf("set times of %q: %w", e.Path, err)
	}
	return nil // rsync would not have tried where only nanoseconds differ
}
