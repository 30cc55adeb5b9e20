package delta

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The recorded sessions (protocol 10) rebuild one file by delta: 3000 bytes, ten of which differ in the second block.
// Our server must compute the sums that the real one sent, and our answer must be the real client's, byte for byte.
func TestRecordedSessions(t *testing.T) {
	file := make([]byte, 3000)
	for i := range file {
		file[i] = byte(i*i*7 + i*3 + i>>5*11)
	}
	old := bytes.Clone(file)
	copy(old[800:], "0123456789")
	head := Head{Count: 5, BlockLen: 700, SumLen: 2, Remainder: 200}
	var onWire []byte
	for _, v := range []int32{head.Count, head.BlockLen, head.SumLen, head.Remainder} {
		onWire = binary.LittleEndian.AppendUint32(onWire, uint32(v))
	}
	// after returns what follows the head, which stands in one frame with it.
	after := func(name string) []byte {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, b, _ = bytes.Cut(b, onWire)
		return b
	}
	const dir = "../testdata/sessions/"
	names, _ := filepath.Glob(dir + "*.s2c.bin")
	answers, sums := 0, 0
	for _, name := range names {
		got := after(name)
		if got == nil {
			continue // a session that does not transfer this file
		}
		session := strings.TrimSuffix(filepath.Base(name), ".s2c.bin")
		c := Checksum{Hash: XXH128, Seed: 1, SeedFirst: true, Protocol: 32}
		if session[3:6] < "p30" {
			c = Checksum{Hash: MD4Old, Seed: 1, Protocol: 29}
		}
		s := newServer(old, head, c, false)
		s.perRead = head.Count
		want := make([]byte, 5*6)
		if _, err := s.Read(want); err != nil || !bytes.HasPrefix(got, want) {
			t.Errorf("%s: our sums are not the server's", session)
		}
		sums++

		answer := after(dir + session + ".c2s.bin")
		if strings.Contains(session, "z") { // zstd, lz4, zlibx, zlib
			continue
		}
		var ours bytes.Buffer
		tee := newServer(old, head, c, false)
		w := writerFunc(func(p []byte) (int, error) { ours.Write(p); return tee.Write(p) })
		if err := sendTo(w, tee, file); err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(answer, ours.Bytes()) {
			t.Errorf("%s: answer\n%x\nis not the recorded\n%x", session, ours.Bytes(), answer[:min(len(answer), ours.Len())])
		}
		answers++
	}
	if answers < 11 || sums < 17 {
		t.Errorf("%d answers and %d sets of sums compared", answers, sums)
	}
}
