package embedded

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsync/wire"
	"github.com/syncd/syncd/internal/rsynctest"
	"golang.org/x/sys/unix"
)

// archive is what -a asks for, nanoseconds included.
func archive() rsync.Options {
	return rsync.Options{
		Links: true, Perms: true, Times: true, Owner: true, Group: true, Devices: true, Specials: true,
		ModifyWindow: -1, MaxDelete: -1,
	}
}

// file is a plain rsync.File.
type file struct{ *os.File }

func (f file) Size() int64 {
	st, err := f.Stat()
	if err != nil {
		return 0
	}
	return st.Size()
}

// batch lists a tree as an engine would that has everything in one batch.
func batch(t testing.TB, src string, o rsync.Options, ev rsync.Events) *rsync.Batch {
	t.Helper()
	b := &rsync.Batch{Events: ev, Names: flist.SystemNames()}
	groups := make(map[[2]uint64]int32)
	err := filepath.WalkDir(src, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(src, p)
		e := entryOf(t, src, rel)
		if o.Delete && e.IsDir() {
			e.Dir = flist.Content
		}
		if st := stat(t, p); o.HardLinks && !e.IsDir() && st.Nlink > 1 {
			key := [2]uint64{st.Dev, st.Ino}
			if groups[key] == 0 {
				groups[key] = int32(len(groups) + 1)
			}
			e.Link = groups[key]
		}
		b.Entries = append(b.Entries, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Open = func(i int) (rsync.File, error) {
		f, err := os.Open(filepath.Join(src, b.Entries[i].Path))
		return file{f}, err
	}
	return b
}

func stat(t testing.TB, p string) *unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		t.Fatal(p, err)
	}
	return &st
}

func entryOf(t testing.TB, root, rel string) flist.Entry {
	t.Helper()
	p := filepath.Join(root, rel)
	st := stat(t, p)
	e := flist.Entry{
		Path: rel, Mode: st.Mode, Size: st.Size, Mtime: st.Mtim.Sec, Nsec: int32(st.Mtim.Nsec),
		UID: st.Uid, GID: st.Gid,
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		e.Target, _ = os.Readlink(p)
	case unix.S_IFCHR, unix.S_IFBLK:
		e.Major, e.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
	}
	return e
}

// recorder keeps what a Send reports in the words of rsync -i.
type recorder struct {
	b        *rsync.Batch
	lines    []string
	deleted  []string
	messages []string
	sent     int64
	hook     func()
}

func (r *recorder) Item(i int, f rsync.ItemFlags) {
	r.lines = append(r.lines, f.Format(r.b.Entries[i].Mode)+" "+name(&r.b.Entries[i]))
}

func name(e *flist.Entry) string {
	if e.IsDir() {
		return e.Path + "/"
	}
	return e.Path
}

func (r *recorder) Sending(int) {}
func (r *recorder) Sent(n int64) {
	r.sent += n
	if r.hook != nil {
		r.hook()
	}
}

func (r *recorder) Deleted(p string, dir bool) {
	if dir {
		p += "/"
	}
	r.lines = append(r.lines, rsync.Deleting+" "+p)
	r.deleted = append(r.deleted, p)
}
func (r *recorder) Message(_ wire.Tag, text string) { r.messages = append(r.messages, text) }

// send makes dst equal to src.
func sendTree(t testing.TB, src, dst string, o rsync.Options, rules ...string) (*rsync.Report, *recorder) {
	t.Helper()
	d, err := Open(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	r := &recorder{}
	r.b = batch(t, src, o, r)
	r.b.Filter = rules
	rep, err := d.Send(context.Background(), r.b, o)
	if err != nil {
		t.Fatal(err)
	}
	return rep, r
}

// flags are the options as rsync's command line has them.
func flags(o rsync.Options) []string {
	a := []string{"-r", "--no-inc-recursive"} // the order of a session without incremental recursion
	for _, f := range []struct {
		on   bool
		name string
	}{
		{o.Links, "-l"}, {o.Perms, "-p"}, {o.Times, "-t"}, {o.Owner, "-o"}, {o.Group, "-g"}, {o.Devices, "--devices"},
		{o.Specials, "--specials"}, {o.HardLinks, "-H"}, {o.OmitDirTimes, "-O"}, {o.Checksum, "-c"}, {o.IgnoreTimes, "-I"},
		{o.SizeOnly, "--size-only"}, {o.Existing, "--existing"}, {o.IgnoreExisting, "--ignore-existing"},
		{o.DryRun, "-n"}, {o.Delete, "--delete-during"}, {o.Force, "--force"}, {o.NumericIDs, "--numeric-ids"},
		{o.ModifyWindow != 0, "--modify-window=" + strconv.Itoa(o.ModifyWindow)},
		{o.Delete && o.MaxDelete >= 0, "--max-delete=" + strconv.Itoa(o.MaxDelete)},
	} {
		if f.on {
			a = append(a, f.name)
		}
	}
	return a
}

var escaped = regexp.MustCompile(`\\#[0-7]{3}`)

// oracle runs the real rsync and returns what it itemizes.
func oracle(t testing.TB, src, dst string, o rsync.Options, more ...string) []string {
	t.Helper()
	lines, ok := tryOracle(t, src, dst, o, more...)
	if !ok {
		t.Fatal("rsync gave up")
	}
	return lines
}

// tryOracle reports false where rsync 3.5.0 gives up: in some dry runs with -H, when what a group's first name is to
// replace is not what it expects ("Hlink node data ... already has path").
func tryOracle(t testing.TB, src, dst string, o rsync.Options, more ...string) ([]string, bool) {
	t.Helper()
	args := append(append(flags(o), "--out-format=%i %n"), more...)
	cmd := exec.Command(rsynctest.Rsync(t), append(args, src+"/", dst+"/")...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		x, ok := err.(*exec.ExitError)
		if ok && o.HardLinks && o.DryRun && x.ExitCode() == 13 {
			return nil, false
		}
		if !ok || x.ExitCode() != 23 && x.ExitCode() != 25 {
			t.Fatalf("rsync %q: %v\n%s", args, err, errs.Bytes())
		}
	}
	var lines []string
	for l := range strings.Lines(out.String()) {
		l = strings.TrimSuffix(l, "\n")
		if len(l) < 12 || l[11] != ' ' {
			continue // what is no item
		}
		if l[0] == '>' {
			l = "<" + l[1:] // a local copy receives
		}
		lines = append(lines, escaped.ReplaceAllStringFunc(l, func(s string) string {
			n, _ := strconv.ParseUint(s[2:], 8, 8)
			return string([]byte{byte(n)})
		}))
	}
	return lines, true
}

// sameLines compares without regard to order.
func sameLines(want, got []string) string {
	want, got = slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))
	if slices.Equal(want, got) {
		return ""
	}
	var b strings.Builder
	for _, l := range want {
		if !slices.Contains(got, l) {
			fmt.Fprintf(&b, "rsync only: %q\n", l)
		}
	}
	for _, l := range got {
		if !slices.Contains(want, l) {
			fmt.Fprintf(&b, "ours only:  %q\n", l)
		}
	}
	if b.Len() == 0 {
		fmt.Fprintf(&b, "repeated lines: %q, %q", want, got)
	}
	return b.String()
}

// snapshot describes a tree with all metadata, one line per entry.
func snapshot(t testing.TB, dir string) []string {
	t.Helper()
	var lines []string
	first := make(map[uint64]string)
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		st := stat(t, p)
		l := fmt.Sprintf("%q %o %d:%d %d.%09d", rel, st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			l += fmt.Sprintf(" %d %x", len(data), hash(data))
		case unix.S_IFLNK:
			target, _ := os.Readlink(p)
			l += fmt.Sprintf(" -> %q", target)
		case unix.S_IFCHR, unix.S_IFBLK:
			l += fmt.Sprintf(" dev %x", st.Rdev)
		}
		if st.Nlink > 1 && !isDir(st.Mode) {
			if first[st.Ino] == "" {
				first[st.Ino] = rel
			}
			l += fmt.Sprintf(" = %q", first[st.Ino])
		}
		lines = append(lines, l)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func hash(p []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range p {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

func copyTree(t testing.TB, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v %s", err, out)
	}
}

// grower makes and changes random trees.
type grower struct {
	t     testing.TB
	r     *rand.Rand
	root  bool
	links bool // some files have several names
}

var nameParts = []string{
	"a", "b", "c", "d-", "e.tmp", "f g", "line\nbreak", "-rf", "*", "\xff\xfe", "..x", "ü", `back\slash`, "#", ".h",
	strings.Repeat("long", 60), "a0", "a.b",
}

func (g *grower) pick() string { return nameParts[g.r.IntN(len(nameParts))] }

// fill puts n entries, some with more below them, into dir.
func (g *grower) fill(dir string, n, depth int) {
	for range n {
		p := filepath.Join(dir, g.pick())
		if _, err := os.Lstat(p); err == nil {
			continue
		}
		g.make(p, depth)
	}
}

func (g *grower) make(p string, depth int) {
	must := func(err error) {
		if err != nil {
			g.t.Helper()
			g.t.Fatal(err)
		}
	}
	switch k := g.r.IntN(12); {
	case k < 4 && depth > 0:
		must(os.Mkdir(p, 0o755))
		g.fill(p, g.r.IntN(6), depth-1)
	case k < 8:
		data := make([]byte, g.r.IntN(3)*g.r.IntN(20000))
		for i := range data {
			data[i] = byte(g.r.IntN(256))
		}
		must(os.WriteFile(p, data, 0o644))
	case k == 8:
		must(os.Symlink(g.pick(), p))
	case k == 9:
		must(unix.Mkfifo(p, 0o600))
	case k == 10 && g.root:
		kind := []uint32{unix.S_IFCHR, unix.S_IFBLK, unix.S_IFSOCK}[g.r.IntN(3)]
		must(unix.Mknod(p, kind|0o600, int(unix.Mkdev(1, 3+uint32(g.r.IntN(3))))))
	default:
		if all := g.paths(filepath.Dir(p)); g.links && len(all) > 0 {
			from := all[g.r.IntN(len(all))]
			if st := stat(g.t, from); !isDir(st.Mode) {
				must(os.Link(from, p))
				return
			}
		}
		must(os.WriteFile(p, nil, 0o600))
	}
	g.attributes(p)
}

func (g *grower) attributes(p string) {
	st := stat(g.t, p)
	if g.root && g.r.IntN(3) == 0 {
		_ = os.Lchown(p, g.r.IntN(3)*1000, g.r.IntN(3)*1000)
	}
	if !isSymlink(st.Mode) && g.r.IntN(2) == 0 {
		mode := uint32(g.r.IntN(0o10000))
		if !g.root && isDir(st.Mode) {
			mode |= 0o500 // we have to read it again
		} else if !g.root {
			mode |= 0o400
		}
		if err := unix.Chmod(p, mode); err != nil {
			g.t.Fatal(err)
		}
	}
	when := time.Unix(1e9+int64(g.r.IntN(5)), int64(g.r.IntN(3))*1e6+int64(g.r.IntN(2)))
	if err := setMtime(unix.AT_FDCWD, p, when.Unix(), int32(when.Nanosecond())); err != nil {
		g.t.Fatal(err)
	}
}

func (g *grower) paths(dir string) (all []string) {
	_ = filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if p != dir && err == nil {
			all = append(all, p)
		}
		return nil
	})
	return all
}

// change makes n changes below dir.
func (g *grower) change(dir string, n int) {
	for range n {
		all := g.paths(dir)
		if len(all) == 0 {
			g.fill(dir, 3, 2)
			continue
		}
		p := all[g.r.IntN(len(all))]
		st := stat(g.t, p)
		if !g.root {
			_ = os.Chmod(filepath.Dir(p), 0o755)
			if isDir(st.Mode) {
				_ = os.Chmod(p, 0o755)
			}
		}
		switch g.r.IntN(5) {
		case 0:
			_ = os.RemoveAll(p)
		case 1:
			_ = os.RemoveAll(p)
			g.make(p, 2)
		case 2:
			g.attributes(p)
		case 3:
			if isRegular(st.Mode) {
				if f, err := os.OpenFile(p, os.O_RDWR|os.O_APPEND, 0); err == nil {
					_, _ = io.WriteString(f, "more")
					_ = f.Close()
				}
			}
		case 4:
			if isDir(st.Mode) {
				g.fill(p, 2, 2)
			}
		}
		if _, err := os.Lstat(filepath.Dir(p)); err == nil {
			g.attributes(filepath.Dir(p))
		}
	}
}
