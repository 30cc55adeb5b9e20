package treetest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Hostile fills dir with entries of every kind that a copy may get wrong: names, sizes, modes, owners, dates, depths
// and, in the directory "flat", the given number of small files. Every path is below 4096 bytes. Devices, and owners
// other than one's own, need root; without it they are left out, and modes keep the owner's rights.
//
// The tree has hard links; compare with Options{Ignore: HardLinks} what a tool copied without being asked for them.
// It is the same every time, but for the times of entries outside of "dates": they are those of their making.
func Hostile(t testing.TB, dir string, files int) {
	t.Helper()
	root := os.Geteuid() == 0
	for _, part := range [][]Entry{
		kinds(root), hostileNames(), modes(root), dates(), deep(), sizes(),
	} {
		Write(t, dir, part...)
	}
	if root {
		Write(t, dir, owners()...)
	}
	Write(t, dir, Dir("flat"))
	flat(t, filepath.Join(dir, "flat"), files)
}

func kinds(root bool) []Entry {
	e := []Entry{
		Dir("kinds"),
		Dir("kinds/empty-dir"),
		File("kinds/file", "content\n"),
		Link("kinds/hardlink", "kinds/file"),
		Link("kinds/empty-dir-not/hardlink", "kinds/file"),
		File("kinds/zz-first-of-group", "two names", Mode(0o4755)),
		Link("kinds/aa-second-of-group", "kinds/zz-first-of-group"),
		Symlink("kinds/link", "file"),
		Link("kinds/link-hardlink", "kinds/link"),
		Symlink("kinds/link-to-dir", "empty-dir"),
		Symlink("kinds/link-up", "../kinds"),
		Symlink("kinds/link-out", "../../../../../../etc/passwd"),
		Symlink("kinds/link-absolute", "/etc"),
		Symlink("kinds/link-dangling", "no where\n"),
		Symlink("kinds/link-self", "link-self"),
		Symlink("kinds/link-odd", "\xff//./-rf * \\"),
		Symlink("kinds/link-long", strings.Repeat("t/", 2000)),
		Fifo("kinds/fifo", Mode(0o640)),
		Socket("kinds/socket", Mode(0o700)),
		Link("kinds/fifo-hardlink", "kinds/fifo"),
	}
	if root {
		e = append(e,
			Device("kinds/null", 'c', 1, 3, Mode(0o666)),
			Device("kinds/char-large", 'c', 4095, 1<<20-1),
			Device("kinds/char-256", 'c', 256, 256),
			Device("kinds/block", 'b', 7, 0, Mode(0o660)),
			Device("kinds/block-large", 'b', 511, 65536))
	}
	return e
}

func hostileNames() []Entry {
	names := []string{
		" ", "  ", " leading", "trailing ", "in the middle", "-", "--", "-rf", "--delete", "-e sh", "a\nb", "\n", "a\r", "\t",
		"\x1b[31mred", "\x7f", "back\\slash", "\\", "\\\\", "\\n", "\\#012", "a\\", "*", "?", "[a-z]", "[", "]", "{a,b}", "**",
		"a*b", "#", "#comment", ";", "; comment", "!", "!!", "+ a", "- a", "~", "~root", "$HOME", "$(id)", "`id`", "'", "\"",
		"a'b\"c", "&", "|", "<", ">", "(", ")", "%", "%n%s", "%00", "=", ",", ":", "a:b", "host:path", "host::module",
		"rsync:", "@", "...", "....", "..a", ".a", ".hidden", "a.", "con", "CON", "con.", "ärger", "a\u0308rger",
		"日本語", "\u202eabc", "\U0001f980", "\xff", "\xfe\xff", "\xc3", "\xc3\x28", "\xed\xa0\x80", "caf\xe9", "a\x01b", "\x80\x81",
		"same", "same.", "same ", "same-", "same0", "Same", "SAME", ".file.tmpXXX", "lost+found",
		strings.Repeat("n", 255), strings.Repeat("\n", 255), strings.Repeat("\xff", 255), strings.Repeat("é", 127),
		"long-" + strings.Repeat("n", 250), "long-" + strings.Repeat("n", 249) + "m",
	}
	for c := 1; c < 256; c++ {
		if c != '/' {
			names = append(names, "byte "+string([]byte{byte(c)}))
		}
	}
	e := []Entry{Dir("names"), Dir("names/dirs"), Dir("names/links")}
	for i, name := range names {
		e = append(e, File("names/"+name, name))
		if i%3 == 0 || len(name) > 200 {
			e = append(e, File("names/dirs/"+name+"/"+name, "in "+name), Symlink("names/links/"+name, name))
		}
	}
	// Sorted as strings, "sub-x" comes between "sub" and "sub/x"; walked, it does not.
	return append(e, File("names/order/sub/x", ""), File("names/order/sub-x", ""), File("names/order/sub.x", ""),
		File("names/order/sub0", ""), File("names/order/sub!/x", ""), File("names/order/a", ""), Dir("names/order/b"))
}

// modes has all 4096 on files, and all permissions, with the other bits taking turns, on directories.
func modes(root bool) []Entry {
	e := []Entry{Dir("modes"), Dir("modes/dirs")}
	keep, keepDir := uint32(0), uint32(0)
	if !root {
		keep, keepDir = 0o400, 0o700
	}
	for m := range uint32(4096) {
		e = append(e, File(fmt.Sprintf("modes/%o/%04o", m>>6, m), fmt.Sprint(m), Mode(m|keep)))
	}
	for m := range uint32(512) {
		perm := (m | m%8<<9) | keepDir
		e = append(e, Dir(fmt.Sprintf("modes/dirs/%04o", perm), Mode(perm)))
		if m%16 == 0 {
			e = append(e, File(fmt.Sprintf("modes/dirs/%04o/file", perm), ""))
		}
	}
	return append(e, Fifo("modes/fifo", Mode(0o7777)), Socket("modes/socket", Mode(0)))
}

func owners() []Entry {
	ids := []uint32{
		0, 1, 2, 33, 1000, 1001, 32767, 32768, 65533, 65534, 65535, 65536, 1<<31 - 1, 1 << 31, 4000000000, 1<<32 - 2,
	}
	e := []Entry{Dir("owners")}
	for i, uid := range ids {
		gid := ids[(i*7+3)%len(ids)]
		name := fmt.Sprintf("owners/%d-%d", uid, gid)
		e = append(e,
			File(name, name, Owner(uid, gid), Mode(0o6751)),
			Dir(name+"-dir", Owner(gid, uid), Mode(0o2750)),
			File(name+"-dir/file", "", Owner(uid, uid)),
			Symlink(name+"-link", name, Owner(uid, gid)),
			Fifo(name+"-fifo", Owner(uid, gid)),
			Device(name+"-dev", 'c', 1, 3, Owner(uid, gid)))
	}
	return e
}

// dates are of all ages. What the file system cannot hold, the kernel bends to the nearest that it can.
func dates() []Entry {
	e := []Entry{Dir("dates", Mtime(-12345, 678))}
	secs := []int64{
		-1 << 31, -1<<31 + 1, -86400 * 365 * 40, -2, -1, 0, 1, 2, 1e9, 1<<31 - 1, 1 << 31, 1<<31 + 1,
		1<<32 - 1, 1 << 32, 1<<32 + 1, 5e9, 1<<33 + 1, 1<<34 - 1<<31 - 1,
	}
	for i, sec := range secs {
		for j, nsec := range []int32{0, 1, 999, 1000, 999_999_999} {
			if j > 1 && i%3 != 0 {
				continue
			}
			name := fmt.Sprintf("dates/%d.%d", sec, nsec)
			e = append(e, File(name, "dated", Mtime(sec, nsec)))
			if j == i%2 {
				e = append(e,
					Dir(name+"-dir", Mtime(sec, nsec)),
					File(name+"-dir/file", "", Mtime(sec, 999_999_999-nsec)),
					Symlink(name+"-link", "dated", Mtime(sec, nsec)),
					Fifo(name+"-fifo", Mtime(sec, nsec)))
			}
		}
	}
	return e
}

// deep has 50 levels of directories, and paths of 300 and of more than 3000 bytes.
func deep() []Entry {
	var e []Entry
	for _, length := range []int{1, 5, 60} {
		path := fmt.Sprintf("deep/%d", length)
		for level := range 50 {
			path += "/" + strings.Repeat(string(rune('a'+level%26)), length)
			if level%10 == 9 {
				e = append(e, File(path+"-file", path), Symlink(path+"-link", strings.Repeat("../", level)))
			}
		}
		e = append(e, Dir(path, Mode(0o711), Mtime(1e9, 5)), File(path+"/file", "at the bottom"))
	}
	// Exactly 255, 256, 257 and 300 bytes: 255 is the longest that some encodings can do.
	for _, length := range []int{255, 256, 257, 300} {
		path := "deep/" + strings.Repeat("x", 100) + "/" + strings.Repeat("y", 90) + "/"
		e = append(e, File(path+strings.Repeat("z", length-len(path)), "long path"))
	}
	return e
}

// sizes are around those that matter to the delta algorithm and to buffers.
func sizes() []Entry {
	rng := rand.New(rand.NewPCG(7, 7))
	e := []Entry{
		Dir("sizes"),
		File("sizes/empty", ""),
		File("sizes/all-hole", "", Size(4<<20+1)),
		File("sizes/sparse", "data before a hole", Size(8<<20)),
		File("sizes/zeros", strings.Repeat("\x00", 100_000)),
		File("sizes/repeats", strings.Repeat("0123456789", 50_000)),
	}
	for _, n := range []int{
		1, 2, 699, 700, 701, 1400, 4095, 4096, 4097, 16384, 32767, 32768, 32769, 65535, 65536, 65537, 131071, 131072, 131073,
		262144, 490_000, 1_000_003, 3 << 20,
	} {
		e = append(e, File(fmt.Sprintf("sizes/%d", n), string(randomBytes(rng, n))))
	}
	return e
}

// flat makes many files in one directory, one in three with content.
func flat(t testing.TB, dir string, files int) {
	t.Helper()
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	check(t, pathError("open", dir, err))
	defer unix.Close(at)
	for i := range files {
		name := fmt.Sprintf("f%07d", i*7919%10_000_019) // order of making is not order of names
		if i%3 > 0 {
			check(t, pathError("mknod", name, unix.Mknodat(at, name, unix.S_IFREG|0o644, 0)))
			continue
		}
		fd, err := unix.Openat(at, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o644)
		check(t, pathError("create", name, err))
		_, err = unix.Write(fd, []byte(name))
		unix.Close(fd)
		check(t, pathError("write", name, err))
	}
}
