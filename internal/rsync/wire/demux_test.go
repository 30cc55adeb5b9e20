package wire

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
)

func frame(tag Tag, payload string) string {
	n := len(payload)
	return string([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(tag) + 7}) + payload
}

func TestDemux(t *testing.T) {
	in := frame(DataTag, "one") + frame(DataTag, "") + frame(Info, "hello\n") + frame(DataTag, "two") +
		frame(Success, "\x05\x00\x00\x00") + frame(DataTag, strings.Repeat("x", 3*chunkSize)) + frame(Noop, "")
	for name, src := range map[string]io.Reader{
		"whole": strings.NewReader(in), "bytes": iotest.OneByteReader(strings.NewReader(in)),
		"error with data": iotest.DataErrReader(strings.NewReader(in)),
	} {
		var heard []string
		d := NewDemux(src, func(tag Tag, p []byte) error {
			heard = append(heard, tag.String()+" "+string(p))
			return nil
		})
		done := make(chan error, 1)
		go func() { done <- d.Run() }()
		data, err := io.ReadAll(d.Data())
		if want := "onetwo" + strings.Repeat("x", 3*chunkSize); string(data) != want || err != nil {
			t.Errorf("%s: %d bytes of data, error %v", name, len(data), err)
		}
		if err := <-done; err != nil {
			t.Errorf("%s: Run: %v", name, err)
		}
		if got := strings.Join(heard, "|"); got != "INFO hello\n|SUCCESS \x05\x00\x00\x00|NOOP " {
			t.Errorf("%s: messages %q", name, got)
		}
	}
}

func TestDemuxErrors(t *testing.T) {
	refuse := errors.New("refused")
	for _, c := range []struct {
		name, in string
		want     error
	}{
		{"tag below data", "\x00\x00\x00\x06", ErrProtocol},
		{"internal tag", frame(10, "stats"), ErrProtocol},
		{"unknown tag", frame(77, ""), ErrProtocol},
		{"message too long", frame(Info, strings.Repeat("x", MaxMessage+1)), ErrProtocol},
		{"cut header", "\x01\x00", io.ErrUnexpectedEOF},
		{"cut data", frame(DataTag, "abc")[:6], io.ErrUnexpectedEOF},
		{"data without payload", frame(DataTag, "abc")[:4], io.ErrUnexpectedEOF},
		{"cut message", frame(Info, "abc")[:6], io.ErrUnexpectedEOF},
		{"message without payload", frame(Info, "abc")[:4], io.ErrUnexpectedEOF},
		{"handler", frame(Warning, "no"), refuse},
	} {
		d := NewDemux(strings.NewReader(frame(DataTag, "before")+c.in), func(Tag, []byte) error { return refuse })
		if err := d.Run(); !errors.Is(err, c.want) {
			t.Errorf("%s: Run = %v, want %v", c.name, err, c.want)
		}
		data, err := io.ReadAll(d.Data())
		if !strings.HasPrefix(string(data), "before") || !errors.Is(err, c.want) {
			t.Errorf("%s: Data gives %q and error %v", c.name, data, err)
		}
	}
}

// The longest message passes, and the payload is only what the frame holds.
func TestDemuxLongMessage(t *testing.T) {
	var sizes []int
	d := NewDemux(strings.NewReader(frame(Error, strings.Repeat("x", MaxMessage))+frame(Error, "y")),
		func(_ Tag, p []byte) error { sizes = append(sizes, len(p)); return nil })
	if err := d.Run(); err != nil || len(sizes) != 2 || sizes[0] != MaxMessage || sizes[1] != 1 {
		t.Errorf("sizes %v, error %v", sizes, err)
	}
}

// A full buffer stops the reading, and draining it starts it again; nothing is lost.
func TestDemuxBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pr, pw := io.Pipe()
		d := NewDemux(pr, func(Tag, []byte) error { return nil })
		d.limit = 2 * chunkSize
		var sent int
		go func() {
			defer pw.Close()
			for range 100 {
				pw.Write([]byte(frame(DataTag, strings.Repeat("x", 1000))))
				sent += 1000
			}
		}()
		done := make(chan error, 1)
		go func() { done <- d.Run() }()
		synctest.Wait()
		held := d.Data().(interface{ Buffered() int }).Buffered()
		// The last read into a chunk may pass the limit by less than a chunk.
		if int64(held) < d.limit || int64(held) >= d.limit+chunkSize || sent == 100000 {
			t.Errorf("%d bytes are held at a limit of %d, %d sent", held, d.limit, sent)
		}
		data, err := io.ReadAll(d.Data())
		if len(data) != 100000 || err != nil {
			t.Errorf("%d bytes, error %v", len(data), err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Chunks that have been read are used again, whatever they were linked to before.
func TestDemuxRecycles(t *testing.T) {
	pr, pw := io.Pipe()
	d := NewDemux(pr, nil)
	done := make(chan error, 1)
	go func() { done <- d.Run() }()
	for round := range 20 {
		want := bytes.Repeat([]byte{byte(round)}, (1+round%3)*chunkSize)
		if _, err := pw.Write([]byte(frame(DataTag, string(want)))); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(d.Data(), got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("round %d: other bytes than were sent, error %v", round, err)
		}
	}
	pw.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// When nobody reads the data any more, Run still delivers the messages at the end.
func TestDemuxDiscard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := frame(DataTag, strings.Repeat("x", 10*chunkSize)) + frame(Error, "reason")
		var heard string
		d := NewDemux(strings.NewReader(in), func(_ Tag, p []byte) error { heard = string(p); return nil })
		d.limit = chunkSize
		done := make(chan error, 1)
		go func() { done <- d.Run() }()
		synctest.Wait()
		if heard != "" {
			t.Fatal("Run did not stop at the limit")
		}
		d.Discard()
		d.Discard()
		if err := <-done; err != nil || heard != "reason" {
			t.Errorf("Run = %v, heard %q", err, heard)
		}
		if n, err := d.Data().Read(make([]byte, 10)); n != 0 || err != io.ErrClosedPipe {
			t.Errorf("Read = %d, %v", n, err)
		}
	})
}

// Discard also frees a reader that waits for data.
func TestDemuxDiscardWakesReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pr, pw := io.Pipe()
		d := NewDemux(pr, nil)
		done := make(chan error, 2)
		go func() { done <- d.Run() }()
		go func() {
			_, err := d.Data().Read(make([]byte, 1))
			done <- err
		}()
		synctest.Wait()
		d.Discard()
		if err := <-done; err != io.ErrClosedPipe {
			t.Errorf("Read = %v", err)
		}
		cause := errors.New("connection closed")
		pw.CloseWithError(cause)
		if err := <-done; err != cause {
			t.Errorf("Run = %v", err)
		}
	})
}

// Every recorded server stream consists of frames to its end; the Reader of the setup hands over what it has buffered.
func TestDemuxSessions(t *testing.T) {
	files, err := filepath.Glob("../testdata/sessions/*.s2c.bin")
	if err != nil || len(files) == 0 {
		t.Fatalf("no sessions: %v", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, b, found := bytes.Cut(b, []byte("@RSYNCD: OK\n"))
		if !found {
			t.Fatalf("%s: no end of the greeting", name)
		}
		r := NewReader(bytes.NewReader(b))
		base := filepath.Base(name)
		if protocol := base[4]; protocol == '3' && r.Varint()&0x80 != 0 {
			if s := r.Vstring(255); !strings.Contains(s, "md5") {
				t.Errorf("%s: checksums %q", base, s)
			}
			if strings.Contains(base, "zstd") {
				if s := r.Vstring(255); !strings.Contains(s, "zstd") {
					t.Errorf("%s: compressions %q", base, s)
				}
			}
		}
		if seed := r.Int32(); seed != 1 || r.Err() != nil {
			t.Errorf("%s: seed %d, error %v", base, seed, r.Err())
		}
		messages := 0
		d := NewDemux(r, func(Tag, []byte) error { messages++; return nil })
		if err := d.Run(); err != nil {
			t.Errorf("%s: %v", base, err)
		}
		data, _ := io.ReadAll(d.Data())
		if len(data)+messages == 0 {
			t.Errorf("%s: nothing came", base)
		}
	}
}
