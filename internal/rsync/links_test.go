package rsync_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsynctest"
)

// unreadable is a file that cannot be read to its end, so it fails verification.
type unreadable struct{ rsync.File }

func (unreadable) Read([]byte) (int, error) { return 0, errors.New("no") }

// moods are what becomes of the content of names of one inode, in the order in which the server asks; the last one is that
// of all that it asks for later.
var moods = []string{"gone, fine", "gone", "bad, fine", "bad", "bad, gone", "bad, gone, fine", "gone, bad, fine", "changing", "fine"}

// moody gives a batch such files.
func moody(b *rsync.Batch, mood func(path string) string) {
	open, asked := b.Open, map[int32]int{}
	b.Open = func(i int) (rsync.File, error) {
		e := &b.Entries[i]
		all := strings.Split(mood(e.Path), ", ")
		n := min(asked[e.Link], len(all)-1)
		asked[e.Link]++
		f, err := open(i)
		if err != nil {
			return nil, err
		}
		switch all[n] {
		case "gone":
			f.Close()
			return nil, fs.ErrNotExist
		case "bad":
			return unreadable{f}, nil
		case "changing":
			return changing{f}, nil
		}
		return f, nil
	}
}

// trueLinks checks that what is acknowledged is there, and that what is not can be sent afterwards.
func trueLinks(t *testing.T, src, dst string, b *rsync.Batch, r *rsync.Report, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	inodes := map[int32]string{}
	for i, res := range r.Results {
		e := &b.Entries[i]
		if res.State != rsync.Acked || e.Link == 0 {
			continue
		}
		there := filepath.Join(dst, e.Path)
		got, err := os.ReadFile(there)
		if err != nil || string(got) != read(t, filepath.Join(src, e.Path)) {
			t.Errorf("%s is acknowledged: %d bytes of it are there, %v", e.Path, len(got), err)
			continue
		}
		if first, ok := inodes[e.Link]; ok && inode(t, first) != inode(t, there) {
			t.Errorf("%s and %s are acknowledged, and not linked", first, e.Path)
		}
		inodes[e.Link] = there
	}
}

// A name of a hard-link group that cannot be sent, or not at once, leaves what becomes of the others to the server, which
// says so as late as after the last phase, or not at all.
func TestLinksThatCannotBeSent(t *testing.T) {
	each(t, func(t *testing.T, s *rsynctest.Server, d *rsync.Dialer, dst string, o rsync.Options) {
		src := t.TempDir()
		for _, mood := range moods {
			name := filepath.Join(src, mood)
			write(t, filepath.Join(name, "a"), noise(1, 5000))
			must(t, os.Link(filepath.Join(name, "a"), filepath.Join(name, "b")))
			must(t, os.Link(filepath.Join(name, "a"), filepath.Join(name, "c")))
		}
		write(t, filepath.Join(src, "other"), "x")
		for _, o.Acks = range []bool{false, true} {
			if o.Acks { // the server has block sums of what is there
				for _, mood := range moods {
					for _, name := range []string{"a", "b", "c"} {
						write(t, filepath.Join(dst, mood, name), noise(2, 6000))
					}
				}
			}
			b := treeBatch(t, src)
			moody(b, filepath.Dir)
			o.HardLinks = true
			r, err := trySend(t, d, o, b)
			trueLinks(t, src, dst, b, r, err)
			if s := result(t, b, r, "other"); s.State != rsync.Acked {
				t.Errorf("a file of its own is %v: %v", s.State, s.Err)
			}
			for _, mood := range []string{"gone", "bad", "bad, gone"} {
				for _, name := range []string{"a", "b", "c"} {
					if s := result(t, b, r, mood+"/"+name); s.State == rsync.Acked {
						t.Errorf("%s of %q is acknowledged", name, mood)
					}
					if s := result(t, b, r, mood+"/"+name); s.State == rsync.Pending && mood != "bad" && o.Protocol >= 30 && !o.Acks {
						t.Errorf("%s of %q was asked for, or is one of a file that was, and is %v", name, mood, s.State)
					}
				}
			}
			b = treeBatch(t, src)
			if got := states(b, send(t, d, o, b)); got != "" {
				t.Errorf("not acknowledged when sent again:\n%s", got)
			}
			must(t, os.RemoveAll(dst))
			must(t, os.Mkdir(dst, 0o755))
		}
	})
}

// The same with groups and moods at random, partly there before.
func TestLinksAtRandom(t *testing.T) {
	s := rsynctest.Daemon(t, rsynctest.Config{})
	for seed := range uint64(25) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 4))
			src, sub := t.TempDir(), fmt.Sprint(seed)
			for g := range 1 + rng.IntN(6) {
				first := filepath.Join(src, fmt.Sprintf("d%d/%d", rng.IntN(3), g))
				write(t, first, noise(uint64(g), 10+rng.IntN(100_000)))
				for range rng.IntN(4) {
					other := filepath.Join(src, fmt.Sprintf("d%d/%d-%d", rng.IntN(3), g, rng.IntN(100)))
					must(t, os.MkdirAll(filepath.Dir(other), 0o755))
					if err := os.Link(first, other); !errors.Is(err, fs.ErrExist) {
						must(t, err)
					}
				}
			}
			o := archive()
			for range 3 {
				o.HardLinks, o.Acks, o.IgnoreTimes = true, rng.IntN(2) == 0, rng.IntN(2) == 0
				b := treeBatch(t, src)
				moody(b, func(string) string { return moods[rng.IntN(len(moods))] })
				r, err := trySend(t, dialer(t, s, "m/"+sub), o, b)
				trueLinks(t, src, filepath.Join(s.Dir("m"), sub), b, r, err)
			}
		})
	}
}

// What is asked for after the last phase cannot be answered; its block sums are no marks.
func TestLateRequest(t *testing.T) {
	const setup = "@RSYNCD: 32.0 md5\n@RSYNCD: OK\n\x81\xfe\x06xxh128\x01\x00\x00\x00"
	number := func(n byte) string { return string([]byte{n, 0, 0, 0}) }
	sums := number(2) + number(100) + number(2) + number(0) + "\x01\x02\x03\x04\x05\x06" + "\x01\x02\x03\x04\x05\x06"
	p := newPlayer([]byte(setup+data("\x00\x00\x00"+"\x01\x00\x80"+sums+"\x00\x00")), 32)
	d := &rsync.Dialer{Dest: rsync.Dest{Kind: rsync.Daemon, Host: "h", Module: "m"},
		Dial: func(context.Context) (io.ReadWriteCloser, error) { return p, nil }}
	s, err := d.Connect(t.Context(), archive())
	must(t, err)
	b := fakeBatch(func(string) (rsync.File, error) { return fake(""), nil }, "f", "g")
	p.arm()
	r, err := s.Send(t.Context(), b)
	must(t, err)
	if f, g := r.Results[0], r.Results[1]; f.State != rsync.Changed || !errors.Is(f.Err, rsync.ErrChanged) || g.State != rsync.Acked {
		t.Errorf("asked for late: %v, %v; the other one: %v", f.State, f.Err, g.State)
	}
}
