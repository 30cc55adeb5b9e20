package rsync_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsynctest"
)

// TestSilence has a server that falls silent at different points of the conversation, in a world where waiting takes no
// time.
func TestSilence(t *testing.T) {
	recorded := loadRecording(t, "02-p32-aH-noinc")
	end := len(recorded.s2c)
	for _, n := range []int{0, 10, 41, 50, 53, 54, 60, 94, 95, 100, 120, end - 10, end - 5} {
		synctest.Test(t, func(t *testing.T) {
			const limit = 30 * time.Second
			start := time.Now()
			p := newPlayer(recorded.s2c, 32)
			p.rest = nil
			if n < len(p.say) {
				p.say = recorded.s2c[:n]
			} else {
				p.rest = recorded.s2c[len(p.say):n]
			}
			d := &rsync.Dialer{Dest: rsync.Dest{Kind: rsync.Daemon, Host: "h", Module: "m"}, Timeout: limit,
				Dial: func(context.Context) (io.ReadWriteCloser, error) { return p, nil }}
			err := func() error {
				s, err := d.Connect(t.Context(), archive())
				if err != nil {
					return err
				}
				entries, content := recordedTree()
				b := recordedBatch(t, s, archive(), entries, content)
				p.arm()
				r, err := s.Send(t.Context(), b)
				if r.Complete {
					t.Errorf("silent after %d bytes: complete", n)
				}
				return err
			}()
			wantKind(t, err, rsync.KindTimeout)
			if took := time.Since(start); took != limit {
				t.Errorf("silent after %d bytes: gave up after %v, want %v", n, took, limit)
			}
		})
	}
}

// TestServersTimeout takes over the timeout that a daemon announces, and keeps a waiting session alive by it.
func TestServersTimeout(t *testing.T) {
	recorded := loadRecording(t, "02-p32-aH-noinc")
	synctest.Test(t, func(t *testing.T) {
		p := newPlayer(recorded.s2c, 32)
		p.say = append(slices.Clip(p.say), 4, 0, 0, 7+33, 9, 0, 0, 0) // MSG_IO_TIMEOUT of 9 seconds
		p.rest = nil
		d := &rsync.Dialer{Dest: rsync.Dest{Kind: rsync.Daemon, Host: "h", Module: "m"}, Timeout: time.Hour,
			Dial: func(context.Context) (io.ReadWriteCloser, error) { return p, nil }}
		s, err := d.Connect(t.Context(), archive())
		must(t, err)
		synctest.Wait()
		p.mu.Lock()
		said := p.heard.Len()
		p.mu.Unlock()
		time.Sleep(10 * time.Minute)
		p.mu.Lock()
		alive := bytes.Count(p.heard.Bytes()[said:], []byte{0, 0, 0, 7})
		p.mu.Unlock()
		if alive < 190 || alive > 210 {
			t.Errorf("%d signs of life in 10 minutes, want one every 3 s", alive)
		}
		entries, content := recordedTree()
		start := time.Now()
		_, err = s.Send(t.Context(), recordedBatch(t, s, archive(), entries, content))
		wantKind(t, err, rsync.KindTimeout)
		if took := time.Since(start); took != 9*time.Second {
			t.Errorf("gave up after %v, the server asked for 9 s", took)
		}
	})
}

// TestWarm lets a session wait for longer than the daemon's timeout before it is used.
func TestWarm(t *testing.T) {
	s := rsynctest.Daemon(t, rsynctest.Config{Modules: []rsynctest.Module{
		{Name: "m", Options: map[string]string{"timeout": "1"}},
		{Name: "ro", Options: map[string]string{"read only": "yes"}},
	}})
	sess, err := dialer(t, s, "m").Connect(t.Context(), archive())
	must(t, err)
	select {
	case <-sess.Done():
		t.Error("the waiting session has ended")
	case <-time.After(2500 * time.Millisecond): // the time is what is tested: the daemon's own clock runs
	}
	b := fakeBatch(func(string) (rsync.File, error) { return fake("x"), nil }, "f")
	r, err := sess.Send(t.Context(), b)
	must(t, err)
	if got := states(b, r); got != "" {
		t.Errorf("not acked:\n%s", got)
	}
	if _, err := sess.Send(t.Context(), b); err == nil {
		t.Error("a second batch was sent")
	}

	// What the server has against the module comes to light while the session waits.
	sess, err = dialer(t, s, "ro").Connect(t.Context(), archive())
	must(t, err)
	<-sess.Done()
	_, err = sess.Send(t.Context(), b)
	wantKind(t, err, rsync.KindReadOnly)

	// A server that goes away is noticed without being used.
	sess, err = dialer(t, s, "m").Connect(t.Context(), archive())
	must(t, err)
	must(t, s.Kill())
	<-sess.Done()
	_, err = sess.Send(t.Context(), b)
	wantKind(t, err, rsync.KindLost)
	checkGoroutines(t)
}

// TestCancel ends the context at every step of a session. Send and Connect must return its cause, and leave nothing.
func TestCancel(t *testing.T) {
	s := rsynctest.Daemon(t, rsynctest.Config{})
	src := t.TempDir()
	for i := range 20 {
		write(t, filepath.Join(src, fmt.Sprint(i)), noise(uint64(i), 10_000))
	}
	cause := errors.New("changed my mind")
	for step := range 60 {
		ctx, cancel := context.WithCancelCause(t.Context())
		n := 0
		tick := func(string) {
			if n++; n == step {
				cancel(cause)
			}
		}
		d := dialer(t, s, fmt.Sprintf("m/%d", step))
		d.Wrap = func(rw io.ReadWriteCloser) io.ReadWriteCloser { return ticking{rw, tick} }
		err := func() error {
			sess, err := d.Connect(ctx, archive())
			if err != nil {
				return err
			}
			b := treeBatch(t, src)
			r, err := sess.Send(ctx, b)
			if err != nil && r.Complete {
				t.Errorf("step %d: complete with error %v", step, err)
			}
			return err
		}()
		if n < step || step == 0 {
			must(t, err) // it was over before
		} else if err != nil && !errors.Is(err, cause) {
			t.Errorf("step %d: error %v, want %v", step, err, cause)
		}
		cancel(nil)
	}
	checkGoroutines(t)

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := dialer(t, s, "m").Connect(ctx, archive()); err != cause {
		t.Errorf("connect: %v", err)
	}
	sess, err := dialer(t, s, "m").Connect(t.Context(), archive())
	must(t, err)
	if _, err := sess.Send(ctx, treeBatch(t, src)); err != cause {
		t.Errorf("send: %v", err)
	}
	checkGoroutines(t)
}

// ticking calls a function before each write.
type ticking struct {
	io.ReadWriteCloser
	tick func(string)
}

func (c ticking) Write(p []byte) (int, error) {
	c.tick("write")
	return c.ReadWriteCloser.Write(p)
}
