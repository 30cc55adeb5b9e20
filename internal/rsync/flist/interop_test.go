package flist

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mmcloughlin/md4"
	"github.com/syncd/syncd/internal/need"
	"github.com/syncd/syncd/internal/rsync/wire"
	"golang.org/x/sys/unix"
)

// A server is a real rsync that receives over its standard input and output. The session around the list is the least
// that makes it create everything; every regular file gets its own path as content.
type server struct {
	t     *testing.T
	p     int
	list  []Entry
	order []int32
	w     *wire.Writer
	r     *wire.Reader // the data from the server
	seed  int32
	texts bytes.Buffer // what the server said in messages
}

// send runs a session at this protocol and leaves the tree in dir.
func send(t *testing.T, dir string, o Options, caps string, list []Entry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cluster := "-lHogDtp"
	if o.Protocol >= 30 {
		cluster += "e." + caps
	}
	cmd := exec.CommandContext(ctx, "rsync", "--server", cluster, "--no-msgs2stderr", "--numeric-ids",
		"--checksum-seed=1", "--force", "--delete-missing-args", ".", dir+"/")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, p: o.Protocol, list: list, order: Order(list, o.Protocol), w: wire.NewWriter(in)}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err = s.session(o, wire.NewReader(out))
	in.Close()
	if e := cmd.Wait(); err != nil || e != nil || s.texts.Len()+stderr.Len() > 0 {
		t.Errorf("%v, %v\n%s%s", err, e, s.texts.String(), stderr.String())
	}
}

func (s *server) session(o Options, raw *wire.Reader) error {
	s.w.Int32(int32(s.p))
	s.w.Flush()
	if v := raw.Int32(); v < int32(s.p) {
		return fmt.Errorf("server speaks protocol %d", v)
	}
	if s.p >= 30 {
		compat := raw.Varint()
		if compat&0x80 != 0 != o.VarintFlags || compat&8 != 0 != o.SafeFlist {
			return fmt.Errorf("compat flags %#x", compat)
		}
		if o.VarintFlags {
			raw.Vstring(255)
			s.w.Vstring("md5")
			s.w.Flush()
		}
	}
	s.seed = raw.Int32()
	if err := raw.Err(); err != nil {
		return err
	}
	if s.p >= 30 {
		s.w.StartFraming()
	}
	d := wire.NewDemux(raw, func(tag wire.Tag, text []byte) error {
		if tag != wire.Deleted {
			fmt.Fprintf(&s.texts, "%v: %s", tag, text)
		}
		return nil
	})
	ended := make(chan error, 1)
	go func() { ended <- d.Run() }()
	s.r = wire.NewReader(d.Data())
	s.r.SetBeforeBlock(func() { s.w.Flush() })
	err := Encode(s.w, s.list, o, nil, 0)
	if err == nil {
		err = s.transfer()
	}
	return errors.Join(err, <-ended)
}

// transfer answers all requests (protocol 7) and says goodbye (8.1).
func (s *server) transfer() error {
	last := 2
	if s.p < 29 {
		last = 1
	}
	for phase := 0; ; {
		n := s.index()
		switch {
		case s.r.Err() != nil:
			return fmt.Errorf("phase %d: %w", phase, s.r.Err())
		case n == wire.NdxDone:
			s.w.Ndx(wire.NdxDone, s.p)
			if phase++; phase > last {
				return s.goodbye()
			}
		case n < 0 || int(n) >= len(s.order):
			return fmt.Errorf("index %d of %d", n, len(s.order))
		default:
			if err := s.answer(n); err != nil {
				return err
			}
		}
	}
}

// index reads one, beyond the counts of deletions that may stand before it.
func (s *server) index() int32 {
	for {
		n := s.r.Ndx(s.p)
		if n != wire.NdxDelStats || s.r.Err() != nil {
			return n
		}
		for range 5 {
			s.r.Varint()
		}
	}
}

func (s *server) goodbye() error {
	if n := s.index(); n != wire.NdxDone {
		return fmt.Errorf("goodbye %d, %w", n, s.r.Err())
	}
	if s.p >= 31 {
		s.w.Ndx(wire.NdxDone, s.p)
		s.w.Flush()
		s.index()
	}
	return s.r.Err()
}

func (s *server) answer(n int32) error {
	flags := uint16(0x8000)
	s.w.Ndx(n, s.p)
	if s.p >= 29 {
		flags = s.r.Uint16()
		s.w.Uint16(flags)
	}
	if flags&0x0800 != 0 {
		s.w.Byte(s.r.Byte())
	}
	if flags&0x1000 != 0 {
		s.w.Vstring(s.r.Vstring(wire.MaxVstring))
	}
	if flags&0x8000 == 0 {
		return nil
	}
	var head [4]int32
	for i := range head {
		head[i] = s.r.Int32()
		s.w.Int32(head[i])
	}
	e := s.list[s.order[n]]
	if head[0] != 0 || !e.IsRegular() {
		return fmt.Errorf("%d blocks of %q, mode %o", head[0], e.Path, e.Mode)
	}
	copy(s.w.Literal(len(e.Path)), e.Path)
	s.w.Commit(len(e.Path))
	s.w.Int32(0)
	var h hash.Hash
	if s.p >= 30 {
		h = md5.New()
	} else {
		h = md4.New()
		binary.Write(h, binary.LittleEndian, s.seed)
	}
	io.WriteString(h, e.Path)
	s.w.Bytes(h.Sum(nil))
	return s.r.Err()
}

// fitting makes a random list that a file system can hold, and whose outcome is known in every detail.
func fitting(rng *rand.Rand, o Options) []Entry {
	var list []Entry
	dropped := make(map[string]bool)
	for _, e := range byDepth(randomList(rng, o, 200)) {
		dir, _ := parent(e.Path)
		if len(filepath.Base(e.Path)) > 255 || len(e.Path) > 2000 || dropped[dir] {
			dropped[e.Path] = true
			continue
		}
		if e.Mode == 0 {
			list = append(list, Entry{Path: e.Path})
			continue
		}
		e.Mtime = []int64{0, 5, 1700000000, 1 << 31}[rng.IntN(4)]
		if o.Protocol >= 30 && rng.IntN(4) == 0 {
			e.Mtime = -5
		}
		e.UID, e.GID = []uint32{0, 1, 65534, 100000}[rng.IntN(4)], []uint32{0, 1, 65534, 100000}[rng.IntN(4)]
		if e.Dir == Implied { // not created by a server without option R
			e.Dir = NoContent
		}
		if os.Getuid() != 0 {
			e.Mode, e.UID, e.GID = e.Mode|0o700, uint32(os.Getuid()), uint32(os.Getgid())
		}
		e.Major, e.Minor = e.Major&maxMajor27, e.Minor&maxMinor27
		list = append(list, e)
	}
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	first := make(map[int32]Entry) // names of one inode have all attributes in common
	for i, e := range list {
		if l, ok := first[e.Link]; ok && e.Link != 0 {
			list[i] = l
			list[i].Path = e.Path
		} else {
			first[e.Link] = e
		}
	}
	return list
}

// byDepth sorts parents before what is in them.
func byDepth(list []Entry) []Entry {
	slices.SortFunc(list, func(a, b Entry) int { return cmp.Compare(len(a.Path), len(b.Path)) })
	return list
}

// The receiver itself is the judge: at every protocol it must take random lists, and put under each name what the
// entry says. Content tells whether the order is the receiver's, for it asks by number.
func TestRealServer(t *testing.T) {
	need.Program(t, "rsync")
	for _, c := range dialects {
		t.Run(fmt.Sprint(c.protocol, c.caps), func(t *testing.T) {
			session(t, c, rand.New(rand.NewPCG(uint64(c.protocol), uint64(len(c.caps)))))
		})
	}
}

type dialect struct {
	protocol int
	caps     string // what follows "e." in the options: decides the compat flags
}

var dialects = []dialect{
	{27, ""}, {28, ""}, {29, ""}, {30, "Ls"}, {30, "Lsfx"}, {30, "LsfxCIvu"}, {31, "LsfxC"}, {31, "LsfxCIvu"},
	{32, "LsfxCI"}, {32, "LsfxCIvu"},
}

func session(t *testing.T, c dialect, rng *rand.Rand) {
	has := func(letter string) bool { return strings.Contains(c.caps, letter) }
	o := Options{Protocol: c.protocol, VarintFlags: has("v"), SafeFlist: has("f"), ID0Names: has("u"),
		Owner: true, Group: true, Links: true, HardLinks: true, NumericIDs: true, Specials: true, Devices: canMknod(t)}
	dir := t.TempDir()
	list := fitting(rng, o)
	for i := range list { // something to delete
		if full := filepath.Join(dir, list[i].Path); list[i].Mode == 0 && filepath.Dir(full) == dir {
			if err := os.WriteFile(full, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(t, dir, o, c.caps, list)
	compareTree(t, dir, list, o)
}

func canMknod(t *testing.T) bool {
	return syscall.Mknod(filepath.Join(t.TempDir(), "null"), syscall.S_IFCHR|0o600, 0x103) == nil
}

// compareTree checks that the tree is what a receiver must make of the list.
func compareTree(t *testing.T, dir string, list []Entry, o Options) {
	t.Helper()
	inodes := make(map[int32]uint64)  // of a group
	groups := make(map[uint64]int32)  // of an inode; different groups must not be one
	paths := make(map[int32][]string) // of a group
	want := received(list, o)
	for i, e := range want {
		paths[e.Link] = append(paths[e.Link], list[i].Path)
	}
	for _, e := range want {
		var st syscall.Stat_t
		full := filepath.Join(dir, e.Path)
		if err := syscall.Lstat(full, &st); e.Mode == 0 {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%.100q: not deleted: %v", e.Path, err)
			}
			continue
		} else if err != nil {
			t.Errorf("mode %o: %v", e.Mode, err)
			continue
		}
		compare(t, full, &st, e, o)
		if e.Link == 0 {
			paths[0] = []string{e.Path}
		} else if ino := inodes[e.Link]; ino != 0 && ino != st.Ino {
			t.Errorf("%.100q, mode %o: inode %d, others of its group have %d", e.Path, e.Mode, st.Ino, ino)
		}
		if !e.IsDir() {
			if g, ok := groups[st.Ino]; ok && (g != e.Link || g == 0) {
				t.Errorf("%.100q, mode %o: linked to what it is not linked to", e.Path, e.Mode)
			}
			inodes[e.Link], groups[st.Ino] = st.Ino, e.Link
		}
		if e.IsRegular() {
			if b, err := os.ReadFile(full); err != nil || !slices.Contains(paths[e.Link], string(b)) {
				t.Errorf("%.100q: has the content of %.100q, error %v", e.Path, b, err)
			}
		}
	}
}

// compare checks the attributes of one path.
func compare(t *testing.T, full string, st *syscall.Stat_t, e Entry, o Options) {
	t.Helper()
	if st.Mode != e.Mode && !e.isSymlink() {
		t.Errorf("%.100q: mode %o, want %o", e.Path, st.Mode, e.Mode)
	}
	if st.Mtim.Sec != e.Mtime || st.Mtim.Nsec != int64(e.Nsec) && o.Protocol >= 31 {
		t.Errorf("%.100q, mode %o: time %d.%09d, want %d.%09d", e.Path, e.Mode, st.Mtim.Sec, st.Mtim.Nsec, e.Mtime, e.Nsec)
	}
	if st.Uid != e.UID || st.Gid != e.GID {
		t.Errorf("%.100q, mode %o: owner %d:%d, want %d:%d", e.Path, e.Mode, st.Uid, st.Gid, e.UID, e.GID)
	}
	if e.isDevice() && (unix.Major(st.Rdev) != e.Major || unix.Minor(st.Rdev) != e.Minor) {
		t.Errorf("%.100q: device %#x, want %d,%d", e.Path, st.Rdev, e.Major, e.Minor)
	}
	if e.isSymlink() {
		if target, err := os.Readlink(full); target != e.Target {
			t.Errorf("%.100q: target %q, want %q, error %v", e.Path, target, e.Target, err)
		}
	}
}
