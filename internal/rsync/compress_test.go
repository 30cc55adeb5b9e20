package rsync_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsynctest"
	"github.com/syncd/syncd/ratelimit"
)

// prose is text as compressors like it: words of a small vocabulary.
func prose(seed uint64, n int) string {
	r := rand.New(rand.NewPCG(seed, 7))
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "word%d %s\n", r.IntN(300), strings.Repeat("x", r.IntN(8)))
	}
	return b.String()[:n]
}

// compressTree is a tree with what compressors meet.
func compressTree(t testing.TB) (dir string, content map[string]string) {
	t.Helper()
	dir = t.TempDir()
	content = map[string]string{
		"empty": "", "byte": "x", "text": prose(1, 800_000), "zeros": strings.Repeat("\x00", 3_000_000),
		"photo.JPG": noise(3, 200_000), "text.gz": prose(4, 150_000), "small.gz": prose(5, 300),
		"mixed": prose(6, 100_000) + noise(7, 900_000) + prose(8, 500_000) + noise(9, 70_000) + prose(10, 10),
	}
	for i, n := range []int{2, 14, 15, 16, 255, 256, 270, 16317, 16318, 16383, 32768, 65534, 65535, 65536, 131070, 131071} {
		content[fmt.Sprintf("edge/text%d", n)] = prose(uint64(100+i), n)
		content[fmt.Sprintf("edge/noise%d", n)] = noise(uint64(200+i), n)
		content[fmt.Sprintf("edge/noise%d.zip", n)] = noise(uint64(300+i), n)
	}
	for i := range 100 {
		content[fmt.Sprintf("many/%03d", i)] = prose(uint64(1000+i), 10+37*i)
	}
	for name, c := range content {
		write(t, filepath.Join(dir, name), c)
	}
	return dir, content
}

// change changes places of all files but the smallest: it overwrites, inserts and takes away. Servers without
// nanoseconds see it by the time, which is a new one in each round.
func change(t testing.TB, dir string, content map[string]string, round int) {
	t.Helper()
	when := time.Unix(1_700_000_000+int64(round), 0)
	for name, c := range content {
		if len(c) < 300 {
			continue
		}
		r := rand.New(rand.NewPCG(uint64(len(c)), 9))
		for range 1 + len(c)/150_000 {
			at := r.IntN(len(c) - 100)
			switch r.IntN(3) {
			case 0:
				c = c[:at] + prose(uint64(at), 90) + c[at+90:]
			case 1:
				c = c[:at] + prose(uint64(at), 40+r.IntN(3000)) + c[at:]
			default:
				c = c[:at] + c[at+r.IntN(99):]
			}
		}
		content[name] = c
		write(t, filepath.Join(dir, name), c)
		must(t, os.Chtimes(filepath.Join(dir, name), when, when))
	}
}

// TestCompress sends a tree, and what has changed in it, with each algorithm in each protocol that can name it. The
// server asks for nothing twice: its sums are over what it has decompressed.
func TestCompress(t *testing.T) {
	s := rsynctest.Daemon(t, rsynctest.Config{})
	type variant struct {
		protocol int
		choice   string
		block    int
	}
	var all []variant
	for _, p := range protocols {
		all = append(all, variant{p, "", 0}, variant{p, "zlib", 100_000})
		if p == 30 || p == 32 {
			all = append(all, variant{p, "zlibx", 0}, variant{p, "lz4", 0}, variant{p, "zlib", 0})
		}
	}
	group(t, all, func(t *testing.T, v variant) {
		name := fmt.Sprintf("p%d%s%d", v.protocol, v.choice, v.block)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dst := filepath.Join(s.Dir("m"), name)
			must(t, os.Mkdir(dst, 0o755))
			o := archive()
			o.Protocol, o.Compress, o.CompressChoice, o.BlockSize = v.protocol, true, v.choice, v.block
			o.Acks = v.protocol >= 29
			if v.protocol < 31 {
				o.ModifyWindow = 0
			}
			src, content := compressTree(t)
			d := dialer(t, s, "m/"+name)
			compressOnce(t, d, o, src, dst, false)
			change(t, src, content, 1)
			compressOnce(t, d, o, src, dst, true)
			o.WholeFile = true
			change(t, src, content, 2)
			compressOnce(t, d, o, src, dst, false)
		})
	})
	checkGoroutines(t)
}

// TestCompressSlowLink saves more where the link is slow, and changes over in the middle of a session as often as it
// takes. The server follows.
func TestCompressSlowLink(t *testing.T) {
	s := rsynctest.Daemon(t, rsynctest.Config{})
	src := t.TempDir()
	for i := range 60 {
		write(t, filepath.Join(src, fmt.Sprint("text", i)), prose(uint64(i), 90_000))
	}
	sent := map[string]int64{}
	for _, link := range []string{"fast", "slow", "changing"} {
		limit := ratelimit.New(0)
		if link != "fast" {
			limit.Set(1 << 20)
		}
		dst := filepath.Join(s.Dir("m"), link)
		must(t, os.Mkdir(dst, 0o755))
		d := dialer(t, s, "m/"+link)
		d.Wrap = func(rwc io.ReadWriteCloser) io.ReadWriteCloser { return limit.Wrap(t.Context(), rwc) }
		o := archive()
		o.Compress = true
		b := treeBatch(t, src)
		opened, open := 0, b.Open
		b.Open = func(i int) (rsync.File, error) {
			if opened++; link == "changing" && opened%8 == 0 {
				limit.Set(1<<20 - limit.Limit())
			}
			return open(i)
		}
		r := send(t, d, o, b)
		if got := states(b, r); got != "" {
			t.Fatalf("%s: not acknowledged:\n%s", link, got)
		}
		sameTree(t, src, dst)
		sent[link] = r.Stats.Sent
	}
	if sent["slow"] > sent["fast"]-sent["fast"]/40 {
		t.Errorf("sent %v bytes", sent)
	}
}

// compressOnce sends a tree and compares it with what is there then.
func compressOnce(t *testing.T, d *rsync.Dialer, o rsync.Options, src, dst string, delta bool) {
	t.Helper()
	b := treeBatch(t, src)
	opened := make(map[int]int)
	open := b.Open
	b.Open = func(i int) (rsync.File, error) { opened[i]++; return open(i) }
	r := send(t, d, o, b)
	if got := states(b, r); got != "" {
		t.Fatalf("not acknowledged:\n%s", got)
	}
	for i, n := range opened {
		if n > 1 {
			t.Errorf("%s was asked for %d times", b.Entries[i].Path, n)
		}
	}
	if sent := r.Stats.Sent; sent > r.Stats.Literal*9/10 && !delta {
		t.Errorf("%d bytes sent for %d", sent, r.Stats.Literal)
	}
	if delta && r.Stats.Matched < r.Stats.Literal/2 {
		t.Errorf("%d bytes matched and %d sent", r.Stats.Matched, r.Stats.Literal)
	}
	sameTree(t, src, dst)
}

// sameTree compares names and content.
func sameTree(t *testing.T, src, dst string) {
	t.Helper()
	want, got := tree(t, src), tree(t, dst)
	if !slices.Equal(want, got) {
		t.Fatalf("there is %q, want %q", got, want)
	}
	for _, name := range want {
		a, err := os.ReadFile(filepath.Join(src, name))
		if err != nil {
			continue // a directory
		}
		b, err := os.ReadFile(filepath.Join(dst, name))
		if err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s is not the file sent; %v", name, err)
		}
	}
}

// TestCompressShell does it through a remote shell, where nothing is known of the server before.
func TestCompressShell(t *testing.T) {
	rsynctest.Rsync(t)
	shell := rsynctest.Shell(t)
	src := t.TempDir()
	write(t, filepath.Join(src, "text"), prose(1, 100_000))
	write(t, filepath.Join(src, "noise"), noise(2, 100_000))
	for _, protocol := range protocols {
		for _, choice := range []string{"", "zlib", "zlibx", "lz4", "zstd"} {
			if protocol < 30 && choice != "" && choice != "zlib" {
				continue
			}
			o := archive()
			o.Protocol, o.Compress, o.CompressChoice, o.ModifyWindow = protocol, true, choice, 0
			dst := t.TempDir()
			compressOnce(t, shellDialer(shell, dst), o, src, dst, false)
		}
	}
	checkGoroutines(t)
}

// TestCompressRefused declines files while compressed tokens are in use, more than the server lets be outstanding.
func TestCompressRefused(t *testing.T) {
	each(t, func(t *testing.T, s *rsynctest.Server, d *rsync.Dialer, dst string, o rsync.Options) {
		o.Compress, o.Acks = true, o.Protocol >= 28
		var names []string
		for i := range 120 {
			names = append(names, fmt.Sprintf("f%03d", i))
		}
		b := fakeBatch(func(path string) (rsync.File, error) {
			if path[3] != '7' {
				return nil, fs.ErrPermission
			}
			return fake(strings.Repeat(path, 250)), nil
		}, names...)
		r := send(t, d, o, b)
		for i, res := range r.Results {
			if there := names[i][3] == '7'; there != (res.State == rsync.Acked) {
				t.Fatalf("%s: %v, %v", names[i], res.State, res.Err)
			}
		}
	})
}

// TestCompressBroken has a file that cannot be read to its end, and is asked for again.
func TestCompressBroken(t *testing.T) {
	each(t, func(t *testing.T, s *rsynctest.Server, d *rsync.Dialer, dst string, o rsync.Options) {
		o.Compress = true
		text, opened := prose(1, 300_000), 0
		b := fakeBatch(func(string) (rsync.File, error) {
			f := fake(text)
			if opened++; opened == 1 {
				f = fake(text[:200_000])
				f.size, f.readErr = 300_000, errors.New("broken disk")
			}
			return f, nil
		}, "a", "b")
		r := send(t, d, o, b)
		if got := states(b, r); got != "" || opened != 3 {
			t.Errorf("opened %d times, not acknowledged:\n%s", opened, got)
		}
		if read(t, filepath.Join(dst, "a")) != text || read(t, filepath.Join(dst, "b")) != text {
			t.Error("a file differs")
		}
	})
}

// TestCompressUnknown asks for what the server or we lack.
func TestCompressUnknown(t *testing.T) {
	refusing := rsynctest.Daemon(t, rsynctest.Config{Modules: []rsynctest.Module{
		{Name: "m", Options: map[string]string{"refuse options": "compress"}},
	}})
	plain := rsynctest.Daemon(t, rsynctest.Config{})
	for _, tt := range []struct {
		server   *rsynctest.Server
		protocol int
		choice   string
		want     string
	}{
		{plain, 32, "gzip", `--compress-choice: "gzip" is unknown`},
		{plain, 32, "none", `--compress-choice: "none" is unknown`},
		{plain, 29, "zstd", "--compress-choice=zstd: the server has only zlib"},
		{plain, 29, "lz4", "--compress-choice=lz4: the server has only zlib"},
		{refusing, 32, "", "--compress (-z)"},
		{refusing, 32, "zstd", "--compress (-z)"},
		{refusing, 32, "zlibx", "compress"},
		{refusing, 29, "", "--compress (-z)"},
	} {
		o := archive()
		o.Protocol, o.Compress, o.CompressChoice = tt.protocol, true, tt.choice
		b := fakeBatch(func(string) (rsync.File, error) { return fake("x"), nil }, "f")
		session, err := dialer(t, tt.server, "m").Connect(t.Context(), o)
		if err == nil {
			_, err = session.Send(t.Context(), b)
		}
		if e := wantKind(t, err, rsync.KindRefused); !strings.Contains(e.Error(), tt.want) {
			t.Errorf("protocol %d, %q: %v; want %q", tt.protocol, tt.choice, e, tt.want)
		}
	}
	checkGoroutines(t)
}
