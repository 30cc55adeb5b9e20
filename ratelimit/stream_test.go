package ratelimit

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

func TestReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 1 << 20
		l := New(rate)
		r := newRecorder()
		source := io.LimitReader(zeros{}, 10*rate)
		// WriterTo and ReaderFrom would go round the limit.
		n, err := io.Copy(struct{ io.Writer }{r}, struct{ io.Reader }{l.Reader(t.Context(), source)})
		if n != 10*rate || err != nil {
			t.Errorf("read %d, %v", n, err)
		}
		checkMean(t, "10 s", int64(time.Since(r.start).Seconds()*rate), 10*rate)
		if peak := r.peak(0); peak > rate*110/1000 {
			t.Errorf("%d bytes in 100 ms, want at most %d", peak, rate*110/1000)
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestReaderKeepsWhatItRead has nothing lost when the wait ends early, and nothing done twice when the rate goes down.
func TestReaderKeepsWhatItRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		l := New(10 << 10)
		reader := l.Reader(ctx, zeros{})
		time.AfterFunc(time.Second, func() { cancel(stop) })
		var sum int
		for {
			n, err := reader.Read(make([]byte, 100))
			sum += n
			if n == 0 {
				t.Fatal("read nothing")
			}
			if err != nil {
				if !errors.Is(err, stop) {
					t.Error(err)
				}
				break
			}
		}
		checkMean(t, "1 s", int64(sum), 10<<10)

		l = New(1 << 20)
		source := readerFunc(func(p []byte) (int, error) {
			l.Set(1 << 10) // after the size of the piece was chosen
			return len(p), nil
		})
		begin := time.Now()
		n, err := l.Reader(t.Context(), source).Read(make([]byte, 512))
		if took := time.Since(begin); n != 512 || err != nil || took < 490*time.Millisecond || took > 510*time.Millisecond {
			t.Errorf("read %d, %v in %v; want 512 in half a second", n, err, took)
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestErrorsOfTheStream(t *testing.T) {
	bad := errors.New("bad")
	for _, rate := range []int64{0, 1 << 20} {
		pr, pw := io.Pipe()
		c := New(rate).Wrap(t.Context(), pipe{pr, pw})
		if err := pr.CloseWithError(bad); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Write([]byte("text")); n != 0 || !errors.Is(err, bad) {
			t.Errorf("rate %d: wrote %d, %v", rate, n, err)
		}
		r := New(rate).Reader(t.Context(), io.MultiReader())
		if n, err := r.Read(make([]byte, 10)); n != 0 || err != io.EOF {
			t.Errorf("rate %d: read %d, %v", rate, n, err)
		}
	}
}

type pipe struct {
	*io.PipeReader
	*io.PipeWriter
}

func (p pipe) Close() error { return errors.Join(p.PipeReader.Close(), p.PipeWriter.Close()) }

func TestWrap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pr, pw := io.Pipe()
		c := New(1<<10).Wrap(t.Context(), pipe{pr, pw})
		done := make(chan []byte)
		go func() {
			b, _ := io.ReadAll(c) // reads are not limited
			done <- b
		}()
		begin := time.Now()
		if _, err := c.Write(make([]byte, 1<<10)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < 980*time.Millisecond || took > 1020*time.Millisecond {
			t.Errorf("1 KiB at 1 KiB/s took %v", took)
		}
		pw.Close()
		if b := <-done; len(b) != 1<<10 {
			t.Errorf("read %d bytes", len(b))
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if _, err := pr.Read(nil); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestNoLimitPassesWhole(t *testing.T) {
	var zero Limiter
	for _, l := range []*Limiter{&zero, New(0), New(-5)} {
		if l.Limit() != 0 {
			t.Errorf("Limit: %d", l.Limit())
		}
		r := newRecorder()
		if _, err := l.Writer(t.Context(), r).Write(make([]byte, 100<<20)); err != nil {
			t.Error(err)
		}
		if len(r.all) != 1 || r.all[0].bytes != 100<<20 {
			t.Errorf("%d writes", len(r.all))
		}
		w, p := l.Writer(t.Context(), io.Discard), make([]byte, 10)
		if n := testing.AllocsPerRun(100, func() { w.Write(p) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func BenchmarkNoLimit(b *testing.B) {
	l := New(0)
	b.RunParallel(func(pb *testing.PB) {
		w, p := l.Writer(b.Context(), io.Discard), make([]byte, 32<<10)
		for pb.Next() {
			w.Write(p)
		}
	})
}
