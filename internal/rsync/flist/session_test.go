package flist

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/syncd/syncd/internal/rsync/wire"
)

const sessions = "../testdata/sessions/"

// A recording is the data that a stock client sent after the setup, with what was agreed there.
type recording struct {
	Options
	data []byte // demultiplexed, from the file list on
}

// record reads a recorded session; ok is false if its list is incremental.
func record(t *testing.T, base string) (rec recording, ok bool) {
	t.Helper()
	b, err := os.ReadFile(sessions + base + ".c2s.bin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(base[2:], "-p%d-", &rec.Protocol); err != nil {
		t.Fatalf("%s: %v", base, err)
	}
	compat := rec.compat(t, base)
	if compat&1 != 0 {
		return rec, false
	}
	rec.VarintFlags, rec.ID0Names, rec.SafeFlist = compat&0x80 != 0, compat&0x100 != 0, compat&8 != 0

	src := bytes.NewBuffer(b)
	line := func() string {
		s, err := src.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v", base, err)
		}
		return strings.TrimSuffix(s, "\n")
	}
	line()                // greeting
	module := line()      // what the arguments end with begins with it
	if module == "auth" { // the module of the README that asks for a password
		line()
	}
	end := byte('\n')
	if rec.Protocol >= 30 {
		end = 0
	}
	args := arguments(t, src, end)
	if strings.HasPrefix(args[1], "-s") {
		args = append(args, arguments(t, src, 0)...)
	}
	all := " " + strings.Join(args, " ") + " "
	if !strings.HasSuffix(all, " "+module+"/t/ ") {
		t.Fatalf("%s: arguments %q", base, args)
	}
	rec.options(args[1])

	r := wire.NewReader(src)
	if rec.VarintFlags {
		r.Vstring(255)
		if letter(args[1], 'z') && !strings.Contains(all, "-compress ") {
			r.Vstring(255)
		}
	}
	rec.data = unframed(t, base, r, rec.Protocol)
	if strings.Contains(all, " --delete ") {
		rec.data = skipFilters(rec.data)
	}
	return rec, true
}

// compat reads the server's compat flags.
func (rec *recording) compat(t *testing.T, base string) int32 {
	b, err := os.ReadFile(sessions + base + ".s2c.bin")
	if err != nil {
		t.Fatal(err)
	}
	if rec.Protocol < 30 {
		return 0
	}
	_, b, _ = bytes.Cut(b, []byte("@RSYNCD: OK\n"))
	return wire.NewReader(bytes.NewReader(b)).Varint()
}

func arguments(t *testing.T, src *bytes.Buffer, end byte) (args []string) {
	for {
		s, err := src.ReadString(end)
		if err != nil {
			t.Fatal(err)
		}
		if len(s) == 1 {
			return args
		}
		args = append(args, s[:len(s)-1])
	}
}

// letter reports whether the cluster of short options has this one.
func letter(cluster string, l byte) bool {
	cluster, _, _ = strings.Cut(cluster, "e.")
	return strings.IndexByte(cluster, l) > 0
}

func (rec *recording) options(cluster string) {
	rec.Links, rec.Owner, rec.Group = letter(cluster, 'l'), letter(cluster, 'o'), letter(cluster, 'g')
	rec.Devices, rec.Specials = letter(cluster, 'D'), letter(cluster, 'D')
	rec.HardLinks, rec.Recurse = letter(cluster, 'H'), letter(cluster, 'r')
	rec.ACLs, rec.Xattrs, rec.Atimes = letter(cluster, 'A'), letter(cluster, 'X'), letter(cluster, 'U')
	if letter(cluster, 'c') {
		rec.SumLen = 16 // xxh128 and md4, the only ones in the recordings
	}
}

func unframed(t *testing.T, base string, r *wire.Reader, protocol int) []byte {
	var src io.Reader = r
	if protocol >= 30 {
		d := wire.NewDemux(r, func(wire.Tag, []byte) error { return nil })
		if err := d.Run(); err != nil {
			t.Fatalf("%s: %v", base, err)
		}
		src = d.Data()
	}
	b, err := io.ReadAll(src)
	if err != nil {
		t.Fatalf("%s: %v", base, err)
	}
	return b
}

func skipFilters(b []byte) []byte {
	for {
		n := int(b[0]) | int(b[1])<<8
		b = b[4+n:]
		if n == 0 {
			return b
		}
	}
}

// Every non-incremental list that a stock client has sent is decoded, encoded again in the recorded order, and must
// come out as it was, byte for byte. The exceptions:
//   - before protocol 30, device and inode numbers of hard links are ours, of the same length;
//   - access times (session 18) change flags as well, so there only the entries are compared.
func TestSessions(t *testing.T) {
	files, err := filepath.Glob(sessions + "*.c2s.bin")
	if err != nil || len(files) == 0 {
		t.Fatalf("no sessions: %v", err)
	}
	var compared []int
	for _, name := range files {
		base := strings.TrimSuffix(filepath.Base(name), ".c2s.bin")
		t.Run(base, func(t *testing.T) {
			rec, ok := record(t, base)
			if !ok {
				t.Skip("incremental list: not sent by this package")
			}
			d := newDecoder(rec.data, rec.Options)
			if err := d.decode(); err != nil {
				t.Fatal(err)
			}
			if len(d.list) < 3 {
				t.Fatalf("%d entries", len(d.list))
			}
			if rec.Recurse && rec.Protocol < 30 {
				spreadContent(d.list)
			}
			compared = append(compared, rec.Protocol)
			again := encoded(t, d.list, rec.Options, rootNames{}, d.ioError)
			want := d.kept()
			d2 := newDecoder(again, rec.Options)
			if err := d2.decode(); err != nil {
				t.Fatal(err)
			}
			if rec.Recurse && rec.Protocol < 30 {
				spreadContent(d2.list)
			}
			if diff := cmp.Diff(d.list, d2.list); diff != "" {
				t.Errorf("entries (-recorded +encoded):\n%s", diff)
			}
			if got := d2.kept(); !bytes.Equal(got, want) {
				t.Errorf("bytes differ at %d:\ngot  % x\nwant % x", commonPrefix(string(got), string(want)), got, want)
			}
			if d2.at() != len(again) {
				t.Errorf("%d bytes follow the list", len(again)-d2.at())
			}
		})
	}
	for p, n := range map[int]int{32: 16, 30: 1, 29: 3, 28: 1, 27: 3} {
		if got := strings.Count(fmt.Sprint(compared), fmt.Sprint(p)); got != n {
			t.Errorf("%d lists of protocol %d were compared, want %d", got, p, n)
		}
	}
}

// spreadContent gives directories the meaning that an old server gives them in a recursive session.
func spreadContent(list []Entry) {
	content := make(map[string]bool)
	for _, e := range list {
		content[e.Path] = e.IsDir() && e.Dir == Content
	}
	for i := range list {
		for dir, ok := parent(list[i].Path); list[i].IsDir() && list[i].Path != "."; dir, ok = parent(dir) {
			if ok && content[dir] || !ok && content["."] {
				list[i].Dir = Content
			}
			if !ok {
				break
			}
		}
	}
}

// The machine of the recordings.
type rootNames struct{}

func (rootNames) User(id uint32) string {
	return map[uint32]string{0: "root", 65534: "nobody"}[id]
}

func (rootNames) Group(id uint32) string {
	return map[uint32]string{0: "root", 65534: "nogroup"}[id]
}

// encoded returns the bytes of a list, unframed.
func encoded(t testing.TB, list []Entry, o Options, names Names, ioError int32) []byte {
	t.Helper()
	var b bytes.Buffer
	w := wire.NewWriter(&b)
	if err := Encode(w, list, o, names, ioError); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The numbers that stock servers gave to the entries of two recorded lists (protocols 32 and 27).
func TestOrderOfSessions(t *testing.T) {
	for base, want := range map[string]string{
		"02-p32-aH-noinc":       ". big delta edge1 edge2 empty hard naïve.txt small sym d d/inner",
		"09-p32-delete-missing": "extra nope olddir small d d/gone",
		"26-p27-aH":             ". big d d/inner delta edge1 edge2 empty hard naïve.txt small sym",
		"23-p29-aH":             ". big delta edge1 edge2 empty hard naïve.txt small sym d d/inner",
		"28-p29-a-devices":      ". blk fifo null reg zero",
	} {
		rec, _ := record(t, base)
		d := newDecoder(rec.data, rec.Options)
		if err := d.decode(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, at := range Order(d.list, rec.Protocol) {
			got = append(got, d.list[at].Path)
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: %s\nwant %s", base, s, want)
		}
	}
}
