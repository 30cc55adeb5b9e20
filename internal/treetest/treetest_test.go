package treetest

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/need"
)

// base is a tree with one entry of each kind, and nothing left to chance.
func base() []Entry {
	old := Mtime(1e9, 5)
	return []Entry{
		Dir(".", old), Dir("dir", old), Dir("empty", old), File("dir/file", "content", old), File("hole", "x", Size(10_000), old),
		Symlink("link", "dir", old), Fifo("fifo", old), Socket("socket", old), File("one", "group", old), Link("two", "one"),
	}
}

func TestEveryDifferenceIsSeen(t *testing.T) {
	for _, c := range []struct {
		name   string
		change []Entry
		root   bool
		ignore Field // hides the difference
		want   string
	}{
		{"content", []Entry{File("dir/file", "contenT", Mtime(1e9, 5))}, false, Content, `dir/file: content: want .*, got .*`},
		{"size", []Entry{File("dir/file", "contents", Mtime(1e9, 5))}, false, 0, `dir/file: size: want 7, got 8`},
		{"hole", []Entry{File("hole", "x", Size(9_999), Mtime(1e9, 5))}, false, 0, `hole: size: want 10000, got 9999`},
		{"data in hole", []Entry{File("hole", "x\x01", Size(10_000), Mtime(1e9, 5))}, false, Content, `hole: content: .*`},
		{"mode of file", []Entry{File("dir/file", "content", Mode(0o640), Mtime(1e9, 5))}, false, Perm,
			`dir/file: mode: want 0644, got 0640`},
		{"sticky", []Entry{Dir("dir", Mode(0o1755), Mtime(1e9, 5))}, false, Perm, `dir: mode: want 0755, got 1755`},
		{"owner", []Entry{File("dir/file", "content", Owner(7, 0), Mtime(1e9, 5))}, true, UID, `dir/file: uid: want 0, got 7`},
		{"group of link", []Entry{Symlink("link", "dir", Owner(0, 1<<32-2), Mtime(1e9, 5))}, true, GID,
			`link: gid: want 0, got 4294967294`},
		{"nanosecond", []Entry{File("dir/file", "content", Mtime(1e9, 6))}, false, Nanosecond,
			`dir/file: mtime: want 1000000000\.000000005 \(2001-09-09 01:46:40\), got 1000000000\.000000006 .*`},
		{"time", []Entry{Fifo("fifo", Mtime(-1e9, 5))}, false, FileMtime, `fifo: mtime: .*, got -1000000000\.000000005 \(1938-.*`},
		{"time of dir", []Entry{Dir("dir", Mtime(1, 5))}, false, DirMtime, `dir: mtime: .*`},
		{"time of link", []Entry{Symlink("link", "dir", Mtime(1, 5))}, false, LinkMtime, `link: mtime: .*`},
		{"target", []Entry{Symlink("link", "diR", Mtime(1e9, 5))}, false, 0, `link: target: want dir, got diR`},
		{"type", []Entry{Fifo("dir/file", Mtime(1e9, 5))}, false, 0, `dir/file: want file 0644 of 7 bytes, got fifo 0644`},
		{"not wanted", []Entry{File("empty/a\nb", "x")}, false, 0,
			`"empty/a\\nb": not wanted, got file 0644 of 1 bytes`},
		{"broken link", []Entry{File("two", "group", Mtime(1e9, 5))}, false, HardLinks,
			"one: hard link with: want one, got \"\"\ntwo: hard link with: want one, got \"\""},
		{"other group", []Entry{Link("hole2", "hole")}, false, 0,
			"hole: hard link with: want \"\", got hole\nhole2: not wanted, got file 0644 of 10000 bytes"},
		{"root", []Entry{Dir(".", Mode(0o700), Mtime(1e9, 5))}, false, RootDir, `\.: mode: want 0755, got 0700`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.root {
				need.Root(t)
			}
			a, b := t.TempDir(), t.TempDir()
			Write(t, a, base()...)
			Write(t, b, base()...)
			if d := Diff(Snapshot(t, a, Options{}), Snapshot(t, b, Options{})); d != "" {
				t.Fatalf("equal trees differ:\n%s", d)
			}
			Write(t, b, c.change...)
			for _, dir := range []string{".", "dir", "empty"} { // the change has touched them
				if !slices.ContainsFunc(c.change, func(e Entry) bool { return e.path == dir }) {
					Write(t, b, Dir(dir, Mtime(1e9, 5)))
				}
			}
			got := Diff(Snapshot(t, a, Options{}), Snapshot(t, b, Options{}))
			if !regexp.MustCompile(`^(?:` + c.want + `)$`).MatchString(got) {
				t.Errorf("difference is\n%s\nwant\n%s", got, c.want)
			}
			if got := Diff(Snapshot(t, b, Options{}), Snapshot(t, a, Options{})); got == "" {
				t.Error("the other way round, no difference is seen")
			}
			if c.ignore == 0 {
				return
			}
			o := Options{Ignore: c.ignore}
			if got := Diff(Snapshot(t, a, o), Snapshot(t, b, o)); got != "" {
				t.Errorf("ignored, the difference is\n%s", got)
			}
			if c.ignore == Nanosecond || c.ignore == RootDir {
				return // these are parts of others
			}
			o.Ignore = ^c.ignore
			if got := Diff(Snapshot(t, a, o), Snapshot(t, b, o)); got == "" {
				t.Errorf("with all else ignored, no difference is seen")
			}
		})
	}
}

func TestWriteKeepsItsWord(t *testing.T) {
	dir := t.TempDir()
	closed := uint32(0o500)
	if os.Geteuid() == 0 {
		closed = 0
	}
	entries := append(base(), Dir("closed", Mode(closed), Mtime(5, 6)))
	if os.Geteuid() == 0 {
		entries = append(entries, File("closed/file", "x", Mode(0o6000), Owner(1000, 1001)),
			Device("dev", 'b', 4095, 1<<20-1, Mode(0o660)))
	}
	Write(t, dir, entries...)
	tree := Snapshot(t, dir, Options{})
	want := Tree{
		"closed": {Mode: unix.S_IFDIR | closed, Mtime: 5, Nsec: 6},
		"dir":    {Mode: unix.S_IFDIR | 0o755, Mtime: 1e9, Nsec: 5},
		"link":   {Mode: unix.S_IFLNK | 0o777, Mtime: 1e9, Nsec: 5, Target: "dir"},
		"fifo":   {Mode: unix.S_IFIFO | 0o644, Mtime: 1e9, Nsec: 5},
		"socket": {Mode: unix.S_IFSOCK | 0o755, Mtime: 1e9, Nsec: 5},
	}
	for path, n := range want {
		n.UID, n.GID = uint32(os.Geteuid()), tree[path].GID
		if tree[path] != n {
			t.Errorf("%s is %+v, want %+v", path, tree[path], n)
		}
	}
	if os.Geteuid() == 0 {
		if n := tree["closed/file"]; n.Mode != unix.S_IFREG|0o6000 || n.UID != 1000 || n.GID != 1001 || n.Size != 1 {
			t.Errorf("file in closed directory is %+v", n)
		}
		if n := tree["dev"]; n.Mode != unix.S_IFBLK|0o660 || n.Major != 4095 || n.Minor != 1<<20-1 {
			t.Errorf("device is %+v", n)
		}
	}
	if n := tree["two"]; n.Link != "one" || tree["one"].Link != "one" {
		t.Errorf("hard links are %+v", n)
	}
}

func TestMissing(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	Write(t, a, base()...)
	Write(t, b, base()[:4]...)
	o := Options{Ignore: RootDir}
	want := strings.Join([]string{
		"fifo: missing, want fifo 0644", "hole: missing, want file 0644 of 10000 bytes", "link: missing, want symlink to dir",
		"one: missing, want file 0644 of 5 bytes", "socket: missing, want socket 0755", "two: missing, want file 0644 of 5 bytes",
	}, "\n")
	if got := Diff(Snapshot(t, a, o), Snapshot(t, b, o)); got != want {
		t.Errorf("difference is\n%s\nwant\n%s", got, want)
	}
}

func TestSnapshotDoesNotFollow(t *testing.T) {
	dir := t.TempDir()
	Write(t, dir, File("outside/secret", "x"), Symlink("tree/link", "../outside"), Symlink("tree/loop", "."),
		File("tree/skipped/file", "x"))
	tree := Snapshot(t, dir+"/tree", Options{Skip: func(path string) bool { return path == "skipped" }})
	var paths []string
	for path := range tree {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	if want := []string{".", "link", "loop"}; !slices.Equal(paths, want) {
		t.Errorf("snapshot has %q, want %q", paths, want)
	}
}

func TestXattrs(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	if err := unix.Setxattr(a, "user.probe", []byte("x"), 0); err != nil {
		need.Lacking(t, "no extended attributes here: ", err)
	}
	if err := unix.Removexattr(a, "user.probe"); err != nil {
		t.Fatal(err)
	}
	entries := []Entry{Dir("d", Xattr("user.a", strings.Repeat("long", 500)), Mtime(1, 1)), Dir(".", Mtime(1, 1))}
	file := func(value string) []Entry { // the directory's time once more, after it got the file
		return append(slices.Clone(entries), File("d/f", "", Xattr("user.b", value), Xattr("user.c", ""), Mtime(1, 1)),
			Dir("d", Xattr("user.a", strings.Repeat("long", 500)), Mtime(1, 1)))
	}
	Write(t, a, file("one\n")...)
	Write(t, b, file("two\n")...)
	got := Diff(Snapshot(t, a, Options{}), Snapshot(t, b, Options{}))
	if want := `d/f: xattrs: want user.b="one\n" user.c="", got user.b="two\n" user.c=""`; got != want {
		t.Errorf("difference is\n%s\nwant\n%s", got, want)
	}
	Equal(t, a, b, Options{Ignore: Xattrs})
	Write(t, b, file("one\n")...)
	Equal(t, a, b, Options{})
}

// failing catches what Equal says.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper() {}

func (f *failing) Errorf(format string, args ...any) { f.said = format }

func TestEqualFails(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	Write(t, a, File("x", "1"))
	f := &failing{TB: t}
	Equal(f, a, b, Options{})
	if f.said == "" {
		t.Error("Equal is content with a missing file")
	}
}

func TestDiffIsBounded(t *testing.T) {
	tree := Tree{}
	for i := range 5 * maxLines {
		tree[strings.Repeat("x", i+1)] = Node{}
	}
	d := Diff(tree, Tree{})
	if lines := strings.Split(d, "\n"); len(lines) != maxLines+1 || lines[maxLines] != "and 800 more" {
		t.Errorf("%d lines, last %q", len(lines), lines[len(lines)-1])
	}
}

func TestHostile(t *testing.T) {
	const files = 500
	dir := filepath.Join(TempDir(t), "tree")
	Hostile(t, dir, files)
	tree := Snapshot(t, dir, Options{})
	kinds, modes, flat, levels, longest, groups := map[uint32]int{}, map[uint32]bool{}, 0, 0, 0, map[string]bool{}
	uids, mtimes := map[uint32]bool{}, map[int64]bool{}
	for path, n := range tree {
		kinds[n.Mode&unix.S_IFMT]++
		if n.Mode&unix.S_IFMT == unix.S_IFREG {
			modes[n.Mode&0o7777] = true
		}
		if strings.HasPrefix(path, "flat/") {
			flat++
		}
		levels = max(levels, strings.Count(path, "/")+1)
		longest = max(longest, len(path))
		if n.Link != "" {
			groups[n.Link] = true
		}
		uids[n.UID] = true
		mtimes[n.Mtime] = true
		if len(filepath.Join(dir, path)) > unix.PathMax-64 {
			t.Errorf("path of %d bytes: %q", len(path), path)
		}
	}
	if flat != files {
		t.Errorf("%d files in flat, want %d", flat, files)
	}
	if levels < 50 || longest < 3000 || len(groups) < 4 {
		t.Errorf("%d levels, longest path %d, %d hard-link groups", levels, longest, len(groups))
	}
	few := len(modes) != 4096 || len(uids) < 15 || kinds[unix.S_IFCHR] == 0 || kinds[unix.S_IFBLK] == 0
	if len(modes) < 2048 || os.Geteuid() == 0 && few {
		t.Errorf("%d modes, %d owners, kinds %v", len(modes), len(uids), kinds)
	}
	for _, kind := range []uint32{unix.S_IFREG, unix.S_IFDIR, unix.S_IFLNK, unix.S_IFIFO, unix.S_IFSOCK} {
		if kinds[kind] == 0 {
			t.Errorf("none of kind %o", kind)
		}
	}
	for _, sec := range []int64{-1, 0, 1<<31 - 1} {
		if !mtimes[sec] {
			t.Errorf("nothing is of time %d", sec)
		}
	}
	for _, path := range []string{
		"names/-rf", "names/a\nb", "names/\xff", "names/" + strings.Repeat("n", 255), "names/a*b", "names/back\\slash",
	} {
		if _, there := tree[path]; !there {
			t.Errorf("no %q", path)
		}
	}
	// Another tool's view of the whole.
	copied := filepath.Join(TempDir(t), "copy")
	if out, err := exec.Command("cp", "-a", "--preserve=all", dir, copied).CombinedOutput(); err != nil {
		need.Lacking(t, "cp: ", err, ": ", string(out))
	}
	Equal(t, dir, copied, Options{})
}

func TestRandomIsRepeatable(t *testing.T) {
	a, b := TempDir(t), TempDir(t)
	o := Options{Ignore: FileMtime | DirMtime | LinkMtime | RootDir}
	var logs [2][]string
	for i, dir := range []string{a, b} {
		rng := rand.New(rand.NewPCG(5, 6))
		Random(t, rng, dir, 300)
		logs[i] = Mutate(t, rng, dir, 300)
	}
	Equal(t, a, b, o)
	if !slices.Equal(logs[0], logs[1]) {
		t.Errorf("changes differ:\n%q\n%q", logs[0], logs[1])
	}
}

// TestMutate has every operation change what a snapshot sees, and says so in the log.
func TestMutate(t *testing.T) {
	dir := TempDir(t)
	rng := rand.New(rand.NewPCG(8, 9))
	Random(t, rng, dir, 200)
	seen := map[string]int{}
	before := Snapshot(t, dir, Options{})
	for range 600 {
		log := Mutate(t, rng, dir, 1)
		if len(log) != 1 {
			t.Fatalf("one change is logged as %q", log)
		}
		after := Snapshot(t, dir, Options{})
		name := operationOf(log[0])
		if d := Diff(before, after); d == "" {
			if name != "chmod" && name != "chown" && name != "exchange" { // these may choose what is there
				t.Errorf("nothing has changed by %s", log[0])
			}
		} else {
			seen[name]++
		}
		before = after
	}
	for _, op := range operations {
		if seen[op.name] == 0 && (op.name != "chown" || os.Geteuid() == 0) {
			t.Errorf("%s has never changed anything: %v", op.name, seen)
		}
	}
	if before["."].Mode&unix.S_IFMT != unix.S_IFDIR {
		t.Error("the tree itself has gone")
	}
}

func operationOf(line string) string {
	name := ""
	for _, op := range operations {
		if strings.HasPrefix(line, op.name+" ") && len(op.name) > len(name) {
			name = op.name
		}
	}
	return name
}
