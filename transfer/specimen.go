package transfer

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
)

// specimens are entries of every kind and what is asked about them when they have been made. Some are asked about as they
// are: what the server says that it differs was not kept. Others are asked about as they are not: a server that has
// nothing against that does not look at it, or makes the same of both.
type specimens struct {
	name        string
	made, asked []flist.Entry  // the root, then the directory, then what is in it
	at          map[string]int // by name in the directory: place in made, which is that in asked
	follows     bool           // the server was asked to follow symlinks to directories
	session     *rsync.Options
}

// Owners that are no server's own, and a moment that no clock is at.
const (
	oneOwner, otherOwner = 1, 2
	evenSecond           = 1_000_000_000
	someNanoseconds      = 123_456_789
	fileMode, dirMode    = unix.S_IFREG | 0o640, unix.S_IFDIR | 0o750
	modeBits             = 12
)

func newSpecimens(root flist.Entry, name string, session *rsync.Options) *specimens {
	s := &specimens{name: name, at: map[string]int{}, session: session}
	root.Attrs = nil
	private := flist.Entry{Path: name, Mode: unix.S_IFDIR | 0o700, UID: root.UID, GID: root.GID, Mtime: evenSecond}
	s.made, s.asked = []flist.Entry{root, private}, []flist.Entry{root, private}
	s.at[""] = 1

	file := flist.Entry{Mode: fileMode, UID: oneOwner, GID: oneOwner, Mtime: evenSecond + 1, Nsec: someNanoseconds}
	foreign := file
	foreign.UID, foreign.GID = otherOwner, otherOwner
	s.add("file", file, file)
	s.add("owner", file, foreign)
	if session.Times {
		odd, even := file, file
		odd.Nsec, even.Nsec, even.Mtime = 0, 0, evenSecond
		s.add("odd", odd, odd)
		s.add("even", even, even)
	}
	if session.Perms {
		special := file
		special.Mode = unix.S_IFREG | 0o6751
		s.add("special", special, special)
		for bit := range modeBits {
			s.addFlipped("mode", file, fileMode, bit)
			s.addFlipped("dirmode", file, dirMode, bit)
		}
	}
	if session.Links {
		link := file
		link.Mode, link.Target = unix.S_IFLNK|0o777, "/syncd"
		relative := link
		relative.Target = "syncd"
		s.add("link", link, link)
		s.add("relative", link, relative)
		here, through := link, file
		here.Target, through.Mode = ".", unix.S_IFDIR|0o700
		s.add("here", here, through)
	}
	if session.Specials {
		fifo := file
		fifo.Mode = unix.S_IFIFO | 0o640
		s.add("fifo", fifo, fifo)
	}
	if session.Devices {
		null := file
		null.Mode, null.Major, null.Minor = unix.S_IFCHR|0o600, 1, 3
		s.add("device", null, null)
	}
	if session.HardLinks {
		file.Link = 1
		s.add("link1", file, file)
		s.add("link2", file, file)
	}
	if session.Links {
		s.at["here/file"] = len(s.asked)
		file.Path, file.Link = name+"/here/file", 0
		s.asked = append(s.asked, file)
	}
	return s
}

// add has an entry made, and asked about as another one.
func (s *specimens) add(name string, made, asked flist.Entry) {
	made.Path, asked.Path = s.name+"/"+name, s.name+"/"+name
	s.at[name] = len(s.made)
	s.made, s.asked = append(s.made, made), append(s.asked, asked)
}

// addFlipped has an entry of this mode made, and asked about with one of its bits another.
func (s *specimens) addFlipped(name string, e flist.Entry, mode uint32, bit int) {
	flipped := e
	e.Mode, flipped.Mode = mode, mode^1<<bit
	s.add(fmt.Sprint(name, bit), e, flipped)
}

// result returns what a session says of a specimen; "" is the directory.
func (s *specimens) result(r *rsync.Report, name string) rsync.Result {
	if at, ok := s.at[name]; ok {
		return result(r, at)
	}
	return rsync.Result{}
}

// judge draws the conclusions; nil if the specimens did not stay what they were.
func (s *specimens) judge(made, asked *rsync.Report, to rsync.DestKind) *Kept {
	for name := range s.at {
		if s.at[name] < len(s.made) && name != "here" && s.result(made, name).State == rsync.Acked &&
			s.result(asked, name).Items&rsync.ItemNew != 0 {
			return nil
		}
	}
	j := &judgement{specimens: s, made: made, asked: asked, to: to}
	j.kept.Window = s.session.ModifyWindow
	j.owners()
	j.modes()
	j.times()
	j.links()
	for _, kind := range []struct{ name, what string }{
		{"link", "symlinks"}, {"fifo", "fifos and sockets"}, {"device", "devices"}, {"link2", "hard links"},
	} {
		if r := s.result(made, kind.name); r.Err != nil && !(kind.name == "device" && j.unprivileged) {
			j.lost(0, "%s are not made there: %v", kind.what, r.Err)
		}
	}
	return &j.kept
}

// A judgement is one call of judge.
type judgement struct {
	*specimens
	kept         Kept
	made, asked  *rsync.Report
	to           rsync.DestKind
	unprivileged bool // the server does not run as root
}

// lost notes what is not kept, and which differences every comparison will find because of it.
func (j *judgement) lost(flags rsync.ItemFlags, format string, args ...any) {
	j.kept.Lost |= flags
	j.kept.Losses = append(j.kept.Losses, fmt.Sprintf(format, args...))
}

// objects reports whether the server found this different in a specimen.
func (j *judgement) objects(name string, flag rsync.ItemFlags) bool {
	return j.result(j.asked, name).Items&flag != 0
}

func (j *judgement) owners() {
	o := j.session
	refused := j.result(j.made, "file").Err
	switch {
	case !o.Owner && !o.Group:
	case refused != nil:
		j.lost(0, "owners, or other attributes, cannot be set there: %v; without --owner and --group they are not tried", refused)
	case o.Owner && !j.objects("owner", rsync.ItemOwner):
		j.unprivileged = true
		what := "owners are not kept"
		if o.Group {
			what += ", nor groups that the server's user is not in"
		}
		if o.Devices {
			what += ", nor devices"
		}
		if o.Xattrs {
			what += ", nor extended attributes but those of the user namespace"
		}
		j.lost(0, "%s, and no comparison shows it: the server does not run as root; %s", what, map[rsync.DestKind]string{
			rsync.Daemon: "set uid = root for the module", rsync.Shell: "log in as root there", rsync.Local: "run as root",
		}[j.to])
	case o.Owner && j.objects("file", rsync.ItemOwner):
		j.lost(rsync.ItemOwner, "owners are not kept: the file system there takes them and forgets them; add --no-owner")
	}
	switch {
	case !o.Group || refused != nil || j.unprivileged:
	case !j.objects("owner", rsync.ItemGroup):
		j.lost(0, "groups that the server's user is not in are not kept, and no comparison shows it; add --no-group, or let the server run as root")
	case j.objects("file", rsync.ItemGroup):
		j.lost(rsync.ItemGroup, "groups are not kept: the file system there takes them and forgets them; add --no-group")
	}
}

func (j *judgement) modes() {
	if !j.session.Perms || j.result(j.made, "file").Err != nil {
		return
	}
	files, dirs := j.forced("mode"), j.forced("dirmode")
	switch {
	case files|dirs != 0:
		j.lost(0, "modes are changed there, and no comparison shows it: bits %04o of files and %04o of directories are always the same;"+
			" see incoming chmod of the module", files, dirs)
	case j.objects("file", rsync.ItemPerms):
		j.lost(rsync.ItemPerms, "modes are not kept: the file system there takes them and forgets them; add --no-perms")
	case j.objects("special", rsync.ItemPerms):
		j.lost(0, "set-user-ID and set-group-ID bits are not kept of all files; see with which user the server runs, and how the file system there is mounted")
	}
}

// forced returns the bits of modes of which the server takes either value for the same.
func (j *judgement) forced(name string) (bits uint32) {
	for bit := range modeBits {
		if !j.objects(fmt.Sprint(name, bit), rsync.ItemPerms) {
			bits |= 1 << bit
		}
	}
	return bits
}

func (j *judgement) times() {
	differs := func(name string) bool { return j.objects(name, rsync.ItemTime) }
	switch exact := j.session.ModifyWindow < 0; {
	case !j.session.Times:
	case differs("even"):
		j.lost(rsync.ItemTime, "times are not kept: the file system there takes them and forgets them, so every pass sends what differs of every file;"+
			" use --state-dir, or --size-only with care")
	case differs("odd") && j.session.ModifyWindow <= 0:
		j.kept.Window = 1
		j.lost(0, "times are kept to two seconds only: the file system there has no better ones; a change within them may be missed by a pass")
	case differs("file") && exact:
		j.kept.Window = 0
		j.lost(0, "times are kept to the second only: the file system there has no better ones; a change within it may be missed by a pass")
	}
}

func (j *judgement) links() {
	if !j.session.Links || j.result(j.made, "link").Err != nil {
		return
	}
	switch {
	case !j.objects("relative", rsync.ItemContent|rsync.ItemLocal):
		j.lost(0, "targets of symlinks are changed there, and no comparison shows it: those that begin with / or leave the module are cut;"+
			" set use chroot = yes for the module")
	case j.follows && j.objects("here/file", rsync.ItemNew):
		j.lost(0, "symlinks lead nowhere there, and no comparison shows it: the daemon puts /rsyncd-munged/ before what they point to;"+
			" set munge symlinks = no and use chroot = yes for the module, and repair those that are there (munge-symlinks --unmunge, of rsync)")
	}
}
