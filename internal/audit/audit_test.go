package audit

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/catalogue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/delta"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/internal/verify"
	"github.com/syncd/syncd/transfer"
)

// A fake is a world in which everything is as the test says. What its fields have is of one test's goroutine, or of the
// audit's while that runs.
type fake struct {
	t     *testing.T
	store *catalogue.Store

	source  map[string]scan.Stat
	wrong   map[string]verify.Difference // at the destination
	pending map[string]bool
	busy    bool
	broken  error                      // Compare
	each    func(item string)          // called for each item that is compared
	between func(comparison int)       // called at the end of each comparison
	synced  func(times int)            // called by Sync
	calm    func(looks int) (now bool) // instead of busy

	compared []string // the items of each comparison; "/" behind those with names, "!" behind all that is ahead
	sent     []string // again
	syncs    int
	looks    int
	runs     int
}

func (w *fake) Calm(context.Context, bool) bool {
	w.looks++
	if w.calm != nil {
		return w.calm(w.looks)
	}
	return !w.busy
}

func (w *fake) Sync(context.Context) error {
	w.syncs++
	if w.synced != nil {
		w.synced(w.syncs)
	}
	return nil
}

func (w *fake) Pending(_ context.Context, p string) (bool, error) { return w.pending[p], nil }
func (w *fake) Again(p string)                                    { w.sent = append(w.sent, p) }

func (w *fake) Lookup(p string) (scan.Stat, error) {
	if st, ok := w.source[p]; ok {
		return st, nil
	}
	return scan.Stat{}, fs.ErrNotExist
}

// Compare finds equal what the test does not call wrong.
func (w *fake) Compare(ctx context.Context, items iter.Seq[verify.Item], s verify.Sink, ahead bool) (verify.Summary, error) {
	w.runs++
	if w.broken != nil {
		return verify.Summary{}, w.broken
	}
	var did []string
	for it := range items {
		name := it.Path
		if it.Names {
			name += "/"
		}
		did = append(did, name)
		if w.each != nil {
			w.each(it.Path)
		}
		if ctx.Err() != nil {
			return verify.Summary{}, context.Cause(ctx)
		}
		w.compare(it, s)
	}
	line := strings.Join(did, " ")
	if ahead {
		line += "!"
	}
	w.compared = append(w.compared, line)
	if w.between != nil {
		w.between(w.runs)
	}
	return verify.Summary{}, nil
}

func (w *fake) compare(it verify.Item, s verify.Sink) {
	if it.Names {
		for p, d := range w.wrong {
			if path.Dir(p) == it.Path {
				s.Different(d)
			}
		}
		s.Equal(it.Path, verify.Proof{Version: w.source[it.Path]})
		return
	}
	if d, ok := w.wrong[it.Path]; ok {
		s.Different(d)
		return
	}
	s.Equal(it.Path, verify.Proof{Version: w.source[it.Path], Digest: make([]byte, 16), Hash: delta.MD5, Read: time.Now()})
}

// took returns what was compared since the last time.
func (w *fake) took() []string {
	all := w.compared
	w.compared = nil
	return all
}

// differs has a file be another one at the destination.
func (w *fake) differs(p string) {
	w.wrong[p] = verify.Difference{Path: p, Flags: rsync.ItemTransfer | rsync.ItemContent, Entry: flist.Entry{Path: p, Mode: unix.S_IFREG}}
}

// has an extra entry at the destination.
func (w *fake) extra(p string) { w.wrong[p] = verify.Difference{Path: p, Extra: true} }

// put has an entry at the source, which the catalogue knows to be at the destination.
func (w *fake) put(p string, mode uint32, size int64) {
	w.t.Helper()
	st := scan.Stat{Mode: mode, Size: size, Ino: uint64(len(w.source) + 1)}
	w.source[p] = st
	w.apply(catalogue.Put(p, transfer.VersionOf(&st), false))
}

// prove has a file be found equal at some time.
func (w *fake) prove(p string, at time.Time) {
	w.t.Helper()
	st := w.source[p]
	w.apply(catalogue.Verified(p, transfer.VersionOf(&st), at.Unix(), [16]byte{}, catalogue.MD5))
}

func (w *fake) apply(changes ...catalogue.Change) {
	w.t.Helper()
	if err := w.store.Apply(changes...); err != nil {
		w.t.Fatal(err)
	}
}

// auditing runs f in a bubble of time, with a catalogue that has the root and a directory d. Batches are of two.
func auditing(t *testing.T, f func(t *testing.T, w *fake, a *Audit)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store, _, err := catalogue.Open(t.TempDir(), nil, catalogue.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		w := &fake{
			t: t, store: store, source: map[string]scan.Stat{}, wrong: map[string]verify.Difference{}, pending: map[string]bool{},
		}
		w.put(".", unix.S_IFDIR, 0)
		w.put("d", unix.S_IFDIR, 0)
		f(t, w, New(Config{
			Catalogue: store, Interval: 10 * time.Hour, Look: time.Second, tuning: tuning{files: 2, dirs: 2, retry: time.Minute},
		}))
	})
}

// steps makes steps until there is nothing to do, and returns what was compared.
func (w *fake) steps(a *Audit) []string {
	w.t.Helper()
	for {
		switch did, err := a.step(w.t.Context(), w); {
		case err != nil:
			w.t.Fatal(err)
		case !did:
			return w.took()
		}
	}
}

func want(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// First what was never compared, then names and attributes, then what was compared longest ago: in each half of the
// interval what is older than that.
func TestRounds(t *testing.T) {
	auditing(t, func(t *testing.T, w *fake, a *Audit) {
		for _, p := range []string{"d/a", "d/b", "d/c", "new", "old"} {
			w.put(p, unix.S_IFREG, 1)
		}
		w.prove("old", time.Now().Add(-6*time.Hour))
		w.prove("new", time.Now().Add(-4*time.Hour))
		want(t, "at first", w.steps(a), "d/a d/b", "d/c", "./ d/", "old")
		if n := a.Status(); n.Rounds != 3 || n.Files != 4 || n.Bytes != 4 || !n.Surveyed.Equal(time.Now()) {
			t.Errorf("%+v", n)
		}
		if n := w.store.Counts(); n.ProvenFiles != n.Files {
			t.Errorf("%d of %d files are proven", n.ProvenFiles, n.Files)
		}
		<-time.After(5*time.Hour - time.Second)
		want(t, "before half of the interval", w.steps(a))
		<-time.After(time.Second)
		want(t, "after half of it", w.steps(a), "./ d/", "new")
		<-time.After(5 * time.Hour)
		want(t, "after all of it", w.steps(a), "./ d/", "old d/a", "d/b d/c")

		w.put("d/b", unix.S_IFREG, 2) // changed
		<-time.After(time.Minute)
		want(t, "after a change", w.steps(a), "d/b")
	})
}

// Between two files the audit steps back, and goes on there later.
func TestStepsBack(t *testing.T) {
	auditing(t, func(t *testing.T, w *fake, a *Audit) {
		a.c.tuning.files = 5
		for _, p := range []string{"a", "b", "c"} {
			w.put(p, unix.S_IFREG, 1)
		}
		w.busy = true
		want(t, "while others work", w.steps(a))
		w.busy = false
		w.each = func(p string) {
			<-time.After(calmEvery + time.Millisecond) // it is not looked more often
			w.busy = p == "a"
		}
		if did, err := a.step(t.Context(), w); !did || err != nil {
			t.Error(did, err)
		}
		want(t, "when others begin to work", w.took(), "a")
		w.busy = false
		if did, err := a.step(t.Context(), w); !did || err != nil {
			t.Error(did, err)
		}
		want(t, "after that", w.took(), "b c")
	})
}

// Hold ends what is being compared, and nothing is until it is over.
func TestHold(t *testing.T) {
	auditing(t, func(t *testing.T, w *fake, a *Audit) {
		w.put("a", unix.S_IFREG, 1)
		reached, held := make(chan struct{}), make(chan struct{})
		w.each = func(string) {
			close(reached)
			<-held
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.Run(ctx, w) }()
		<-reached
		over := make(chan error)
		go func() { over <- a.Hold(t.Context(), true) }()
		synctest.Wait()
		select {
		case <-over:
			t.Error("Hold does not wait for the end of the session")
		default:
		}
		short, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if err := a.Hold(short, true); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Hold without time: %v", err)
		}
		close(held)
		if err := <-over; err != nil {
			t.Error(err)
		}
		<-time.After(time.Hour)
		synctest.Wait()
		want(t, "while it is held", w.took())
		w.each = nil
		if err := a.Hold(t.Context(), false); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if got := w.took(); len(got) == 0 || got[0] != "a" {
			t.Errorf("afterwards: %q", got)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
}

// Before a cutover names and attributes go first, and all of it at full speed, once.
func TestAhead(t *testing.T) {
	auditing(t, func(t *testing.T, w *fake, a *Audit) {
		a.c.Files = 1
		for _, p := range []string{"a", "b"} {
			w.put(p, unix.S_IFREG, 1)
		}
		begun := time.Now()
		a.Ahead(true)
		want(t, "ahead", w.steps(a), "./ d/!", "a b!")
		if took := time.Since(begun); took > 0 || !a.Surveyed() {
			t.Errorf("it took %v; surveyed: %t", took, a.Surveyed())
		}
		<-time.After(time.Minute)
		want(t, "a minute later", w.steps(a))
		a.Ahead(false)
		if a.Surveyed() {
			t.Error("surveyed for a cutover that is over")
		}
		a.Ahead(true)
		want(t, "for the next one", w.steps(a), "./ d/!")
	})
}

// So many files, and so many bytes in them, are compared in a second at most.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		files, bytes int64
		want         time.Duration
	}{{0, 0, 0}, {1, 0, 3 * time.Second}, {0, 10, 6 * time.Second}, {1, 10, 6 * time.Second}} {
		auditing(t, func(t *testing.T, w *fake, a *Audit) {
			a.c.Files, a.c.Bytes = c.files, c.bytes
			w.put("a", unix.S_IFREG, 30)
			w.put("b", unix.S_IFREG, 10)
			w.put("c", unix.S_IFREG, 20)
			begun := time.Now()
			w.steps(a)
			if took := time.Since(begun); took != c.want {
				t.Errorf("%d files, %d bytes a second: %v, want %v", c.files, c.bytes, took, c.want)
			}
		})
	}
}

// A comparison that fails is tried again after a while, and what is wrong can be seen.
func TestTrouble(t *testing.T) {
	auditing(t, func(t *testing.T, w *fake, a *Audit) {
		w.put("a", unix.S_IFREG, 1)
		w.broken = errors.New("the destination is away")
		run := func(d time.Duration) Status {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			if err := a.Run(ctx, w); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Run: %v", err)
			}
			return a.Status()
		}
		if st := run(time.Hour - time.Second); st.Trouble != "the destination is away" || w.runs != 60 {
			t.Errorf("%q, tried %d times in an hour", st.Trouble, w.runs)
		}
		w.broken = nil
		if st := run(time.Minute); st.Trouble != "" || st.Files != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// Without its catalogue an audit is of no use.
func TestCatalogueThatIsClosed(t *testing.T) {
	auditing(t, func(t *testing.T, w *fake, a *Audit) {
		w.put("a", unix.S_IFREG, 1)
		w.store.Close()
		if err := a.Run(t.Context(), w); !errors.Is(err, errCatalogue) {
			t.Errorf("Run: %v", err)
		}
	})
}
