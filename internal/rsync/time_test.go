package rsync_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
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
			want := limit
			if n >= len(p.say) && n > 94 { // it has the list, and may be reading 512 MiB of "big"
				want += 64 * time.Second
			}
			if took := time.Since(start); took != want {
				t.Errorf("silent after %d bytes: gave up after %v, want %v", n, took, want)
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
		<-time.After(10 * time.Minute)
		p.mu.Lock()
		alive := bytes.Count(p.heard.Bytes()[said:], []byte{0, 0, 0, 7})
		p.mu.Unlock()
		if alive < 190 || alive > 210 {
			t.Errorf("%d signs of life in 10 minutes, want one every 3 s", alive)
		}
		entries, content := recordedTree()
		entries = without(entries, "big")
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

// patient has a server say what comes after it has got a list of one file, and returns how the session ended and after
// what time. The file's content is read at 32 KiB a second.
func patient(t *testing.T, o rsync.Options, setup, after string) (took time.Duration, err error) {
	recorded := loadRecording(t, "02-p32-aH-noinc")
	synctest.Test(t, func(t *testing.T) {
		p := newPlayer(recorded.s2c, 32)
		p.say = append(slices.Clip(p.say), setup...)
		p.rest = []byte(after)
		d := &rsync.Dialer{Dest: rsync.Dest{Kind: rsync.Daemon, Host: "h", Module: "m"}, Timeout: 30 * time.Second,
			Dial: func(context.Context) (io.ReadWriteCloser, error) { return p, nil }}
		s, connectErr := d.Connect(t.Context(), o)
		must(t, connectErr)
		synctest.Wait()
		p.arm()
		start := time.Now()
		_, err = s.Send(t.Context(), &rsync.Batch{
			Entries: []flist.Entry{{Path: "f", Mode: 0o100644, Size: 100 << 20}},
			Open:    func(int) (rsync.File, error) { return slow{}, nil },
		})
		took = time.Since(start)
	})
	return took, err
}

// slow is a file of 100 MiB on a slow disk.
type slow struct{}

func (slow) Read(p []byte) (int, error) {
	<-time.After(time.Second)
	return min(len(p), 32<<10), nil
}
func (slow) Size() int64  { return 100 << 20 }
func (slow) Close() error { return nil }

// TestServerMustBeHeard has a server that was given a timeout, asks for a file and is not heard of again. That we go on
// sending is no sign that it lives.
func TestServerMustBeHeard(t *testing.T) {
	ask := data("\x01\x00\xa0" + strings.Repeat("\x00", 16)) // index 0, to be transferred, no block sums
	const read = 100 << 20 / (8 << 20) * time.Second         // the time that the server may read what it has of the file
	took, err := patient(t, archive(), "", ask)
	wantKind(t, err, rsync.KindTimeout)
	if want := 30*time.Second + read; took < want || took > want+2*time.Second {
		t.Errorf("gave up after %v, want %v", took, want)
	}

	// A daemon's own timeout may be longer: then it shows that it lives later.
	took, err = patient(t, archive(), message(33, "\x58\x02\x00\x00"), ask)
	wantKind(t, err, rsync.KindTimeout)
	if want := 315*time.Second + read; took < want || took > want+2*time.Second {
		t.Errorf("gave up after %v, want %v", took, want)
	}
}

// TestServerMustGetOn has a server that shows that it lives and does nothing else.
func TestServerMustGetOn(t *testing.T) {
	recorded := loadRecording(t, "02-p32-aH-noinc")
	synctest.Test(t, func(t *testing.T) {
		p := newPlayer(recorded.s2c, 32)
		p.rest = nil
		d := &rsync.Dialer{Dest: rsync.Dest{Kind: rsync.Daemon, Host: "h", Module: "m"}, Timeout: 30 * time.Second,
			Dial: func(context.Context) (io.ReadWriteCloser, error) { return p, nil }}
		s, err := d.Connect(t.Context(), archive())
		must(t, err)
		start := time.Now()
		go func() {
			for tick := time.NewTicker(15 * time.Second); ; {
				select {
				case <-s.Done():
					return
				case <-tick.C:
					p.mu.Lock()
					p.say = append(p.say, 0, 0, 0, 7)
					p.more.Broadcast()
					p.mu.Unlock()
				}
			}
		}()
		_, err = s.Send(t.Context(), fakeBatch(func(string) (rsync.File, error) { return fake("x"), nil }, "f"))
		wantKind(t, err, rsync.KindTimeout)
		if took := time.Since(start); took < 5*time.Minute || took > 5*time.Minute+20*time.Second {
			t.Errorf("gave up after %v, want 5 minutes", took)
		}
	})
}

// TestStuckServer has a server that was asked for acknowledgements stop after it could not create some files, as 3.5.0
// does.
func TestStuckServer(t *testing.T) {
	texts := strings.Repeat(message(1, "rsync: [receiver] mkstemp \".f.abcdef\" (in m) failed: No space left on device (28)\n"), 8)
	o := archive()
	o.Acks = true
	took, err := patient(t, o, "", texts)
	e := wantKind(t, err, rsync.KindStuck)
	if !strings.Contains(e.Error(), "No space left") {
		t.Errorf("error %q does not name the reason", e)
	}
	if took != 3*time.Second {
		t.Errorf("gave up after %v", took)
	}
	_, err = patient(t, o, "", texts[:7*len(texts)/8]) // fewer than it takes
	wantKind(t, err, rsync.KindTimeout)
	o.Acks = false // then it does not stop
	_, err = patient(t, o, "", texts)
	wantKind(t, err, rsync.KindTimeout)
}
