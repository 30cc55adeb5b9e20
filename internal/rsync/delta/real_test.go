package delta

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/syncd/syncd/internal/rsync/wire"
	"github.com/syncd/syncd/internal/rsynctest"
)

// A push is a session with a real server in which one file, "f", is brought up to date: just enough of the protocol
// to ask the server what it thinks of our answers.
type push struct {
	protocol int
	c        Checksum
	inPlace  bool
	requests int // times the file was asked for; more than once is a failed verification
	stats    Stats
	errors   []string
}

func (p *push) run(t *testing.T, dir string, file []byte) {
	t.Helper()
	args := []string{"--server", "-tIe.LsfxC"}
	if p.inPlace {
		args = append(args, "--inplace")
	}
	if p.protocol >= 30 {
		args = append(args, "--checksum-choice="+p.c.Hash.String())
	}
	cmd := exec.CommandContext(t.Context(), rsynctest.Rsync(t), append(args, ".", dir+"/")...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w, raw := wire.NewWriter(stdin), wire.NewReader(stdout)
	w.Int32(int32(p.protocol))
	w.Flush()
	raw.Int32()
	if p.protocol >= 30 {
		p.c.SeedFirst = raw.Varint()&(1<<5) != 0
		w.StartFraming()
	}
	p.c.Seed, p.c.Protocol = raw.Int32(), p.protocol

	demux := wire.NewDemux(raw, func(tag wire.Tag, text []byte) error {
		if tag == wire.Error || tag == wire.ErrorXfer || tag == wire.Warning {
			p.errors = append(p.errors, string(text))
		}
		return nil
	})
	demuxed := make(chan error, 1)
	go func() { demuxed <- demux.Run() }()
	r := wire.NewReader(demux.Data())
	r.SetBeforeBlock(func() { w.Flush() })
	p.list(w, len(file))
	err = p.answer(w, r, file)
	stdin.Close()
	if e := <-demuxed; err == nil {
		err = e
	}
	if e := cmd.Wait(); err == nil {
		err = e
	}
	if err != nil || len(p.errors) > 0 {
		t.Fatalf("%v; server: %q %q", err, p.errors, stderr.String())
	}
}

// list sends the file list of one regular file (protocol 6).
func (p *push) list(w *wire.Writer, size int) {
	w.Byte(0x18) // SAME_UID | SAME_GID
	w.Byte(1)
	w.String("f")
	if p.protocol >= 30 {
		w.Varlong(int64(size), 3)
		w.Varlong(1700000000, 4)
	} else {
		w.Longint(int64(size))
		w.Int32(1700000000)
	}
	w.Int32(0o100644)
	w.Byte(0)
	if p.protocol < 30 {
		w.Int32(0)
	}
}

// answer serves requests and says goodbye (protocol 7.7, 8.1).
func (p *push) answer(w *wire.Writer, r *wire.Reader, file []byte) error {
	var scratch Scratch
	phases := 2
	if p.protocol < 29 {
		phases = 1
	}
	for phase := 0; phase <= phases; {
		n := r.Ndx(p.protocol)
		if r.Err() != nil {
			return r.Err()
		}
		if n == wire.NdxDone {
			if phase++; phase <= phases {
				w.Ndx(n, p.protocol)
			}
			continue
		}
		w.Ndx(n, p.protocol)
		if p.protocol >= 29 {
			w.Uint16(r.Uint16())
		}
		h, err := ReadHead(r, p.protocol, p.c.Hash.Size())
		if err != nil {
			return err
		}
		h.Write(w)
		p.requests++
		p.stats, err = Send(w, r, bytes.NewReader(file), int64(len(file)), h, p.c, p.inPlace, &scratch)
		if err != nil {
			return err
		}
	}
	w.Ndx(wire.NdxDone, p.protocol)
	if r.Ndx(p.protocol); p.protocol >= 31 {
		w.Ndx(wire.NdxDone, p.protocol)
		r.Ndx(p.protocol)
	}
	w.Flush()
	return r.Err()
}

// The real server must accept what we send, at the first try, with every algorithm, in place too: there it writes into
// the very file that it is still summing.
func TestRealServer(t *testing.T) {
	const size = 2 << 20
	base := randomBytes(newRand(1), size)
	copy(base[size/4:], make([]byte, size/4)) // a run of zeros
	insert := bytes.Join([][]byte{base[:size/3], []byte("0123456789"), base[size/3:]}, nil)
	edits := map[string][]byte{
		"equal": base, "places": changeEvery(base, size/20), "inserted": insert, "deleted": base[50_001:],
		"truncated": base[:size/3], "appended": append(bytes.Clone(base), base[:20_000]...),
		"swapped": append(bytes.Clone(base[size/2:]), base[:size/2]...), "new": randomBytes(newRand(2), size),
	}
	var sums []Checksum
	for _, h := range []Hash{MD5, MD4, XXH64, XXH3, XXH128, SHA1} {
		sums = append(sums, Checksum{Hash: h})
	}
	for i, protocol := range []int{27, 28, 29, 30, 31, 32} {
		for _, inPlace := range []bool{false, true} {
			p := push{protocol: protocol, inPlace: inPlace, c: sums[i]}
			if protocol < 30 {
				p.c = Checksum{Hash: MD4Old}
			}
			t.Run(fmt.Sprintf("p%d inplace=%t", protocol, inPlace), func(t *testing.T) {
				for name, file := range edits {
					p.check(t, name, base, file)
				}
			})
		}
	}
	for _, c := range sums {
		p := push{protocol: 32, c: c}
		p.check(t, c.Hash.String(), base, insert)
	}
}

func (p push) check(t *testing.T, name string, old, file []byte) {
	t.Helper()
	dir := t.TempDir()
	target := filepath.Join(dir, "f")
	if err := os.WriteFile(target, old, 0o644); err != nil {
		t.Fatal(err)
	}
	p.run(t, dir, file)
	got, err := os.ReadFile(target)
	if err != nil || !bytes.Equal(got, file) {
		t.Errorf("%s: the file there is not the file sent; %v", name, err)
	}
	if p.requests != 1 || p.stats.Literal+p.stats.Matched != int64(len(file)) {
		t.Errorf("%s: asked %d times, %+v for %d bytes", name, p.requests, p.stats, len(file))
	}
	moved := name == "inserted" || name == "swapped" // some of that is behind the position written
	if most := int64(len(file) / 10); name != "new" && (!moved || !p.inPlace) && p.stats.Literal > most {
		t.Errorf("%s: %d literal bytes, want %d at most", name, p.stats.Literal, most)
	}
}
