package daemon

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/syncd/syncd/internal/audit"
	"github.com/syncd/syncd/internal/control"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/internal/verify"
	"github.com/syncd/syncd/ratelimit"
	"github.com/syncd/syncd/transfer"
)

// Audit says how what is at the destination is proven while the service runs. It needs a catalogue.
type Audit struct {
	Off      bool
	Interval time.Duration // in which everything is compared at least once; 0: audit.DefaultInterval
	Reads    int64         // bytes a second read here for checksums; 0: defaultReads

	look time.Duration // audit.Config.Look, for tests
}

const (
	// defaultReads is a tenth of what a single disk gives, and a terabyte in less than a day.
	defaultReads = 16 << 20
	// auditFiles a second are compared at most: on a disk with heads each one is a seek, here and there.
	auditFiles = 2000
)

// When the service has other work to do than to be audited.
const (
	busyAge   = 2 * time.Second        // of the oldest change
	busyPaths = 1000                   // that wait
	calmWait  = time.Second            // for a moment between two short passes
	calmLook  = 100 * time.Millisecond // between two looks for one
)

// newAudit makes the audit; nil if there is to be none.
func (s *service) newAudit() *audit.Audit {
	store := s.c.Engine.Catalogue
	if s.c.Audit.Off || store == nil {
		return nil
	}
	if s.c.Audit.Reads <= 0 {
		s.c.Audit.Reads = defaultReads
	}
	return audit.New(audit.Config{
		Catalogue: store, Interval: s.c.Audit.Interval, Files: auditFiles, Look: s.c.Audit.look, Log: s.log,
	})
}

// comparison is how both sides are compared by the rules of now. It has no root.
func (s *service) comparison(e *transfer.Config) verify.Config {
	return verify.Config{
		Dialer: e.Dialer, Session: e.Session, NanosecondsAuto: e.NanosecondsAuto, IgnoreUnsupported: e.IgnoreUnsupported,
		NoExtra: !e.Delete, Filter: e.Filter, OneFileSystem: e.OneFileSystem, PartialDir: e.PartialDir,
		Sessions: e.Sessions, Writes: s.limiter, Log: s.log,
	}
}

// audited runs the audit of one engine until end is called.
func (s *service) audited(ctx context.Context, root *scan.Root, e *transfer.Engine, with transfer.Config) (end func(), err error) {
	nothing := func() {}
	if s.audit == nil {
		return nothing, nil
	}
	w := &auditWorld{s: s, e: e, root: root}
	c := s.comparison(&with)
	c.Root, c.Kept = root, e.Kept
	if w.quick, err = verify.New(c); err != nil {
		return nothing, err
	}
	c.Sessions, c.Readers, c.Reads = 1, 1, ratelimit.New(s.c.Audit.Reads)
	if w.gentle, err = verify.New(c); err != nil {
		return nothing, errors.Join(err, w.quick.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.audit.Run(ctx, w); ctx.Err() == nil {
			s.log.Error("the audit has ended", "err", err)
		}
	}()
	return func() {
		cancel()
		<-done
		if err := errors.Join(w.gentle.Close(), w.quick.Close()); err != nil {
			s.log.Debug("close the audit", "err", err)
		}
	}, nil
}

// auditWorld is one engine, and what it follows, as the audit sees it (audit.World).
type auditWorld struct {
	s             *service
	e             *transfer.Engine
	root          *scan.Root
	gentle, quick *verify.Verifier
}

// Calm reports whether nothing that runs would be in the way, or be held up.
func (w *auditWorld) Calm(ctx context.Context, ahead bool) bool {
	for end := time.Now().Add(calmWait); ; {
		calm, soon := w.calm(ctx, ahead)
		if calm || !soon || time.Now().After(end) {
			return calm
		}
		select {
		case <-time.After(calmLook):
		case <-ctx.Done():
			return false
		}
	}
}

// calm says also whether that may be otherwise in a moment: new directories are short passes.
func (w *auditWorld) calm(ctx context.Context, ahead bool) (calm, soon bool) {
	snap, err := w.e.Snapshot(ctx)
	switch {
	case err != nil, w.s.held.Load(), snap.Paused, snap.Trouble != nil, snap.Held != nil:
		return false, false
	}
	if !snap.Passing {
		w.s.first.Store(false)
	}
	switch {
	case w.s.first.Load():
		return false, false
	case ahead:
		return true, true
	case snap.Queue.Live-snap.Queue.Failing > busyPaths, snap.Sessions >= max(2, snap.Most):
		return false, true
	}
	return !snap.Passing && (snap.Oldest.IsZero() || snap.Queue.Failing > 0 || time.Since(snap.Oldest) < busyAge), true
}

func (w *auditWorld) Sync(ctx context.Context) error { return w.s.now.sync(ctx) }

func (w *auditWorld) Pending(ctx context.Context, path string) (bool, error) {
	covers, err := w.e.Why(ctx, path)
	if err != nil || len(covers) > 0 {
		return true, err
	}
	return w.e.HeldDelete(ctx, path)
}

func (w *auditWorld) Again(path string) { w.e.Changed(pathItem(path)) }

func (w *auditWorld) Lookup(path string) (scan.Stat, error) {
	st, _, err := w.root.Stat(path)
	return st, err
}

func (w *auditWorld) Compare(ctx context.Context, items iter.Seq[verify.Item], sink verify.Sink, ahead bool) (verify.Summary, error) {
	v := w.gentle
	if ahead {
		v = w.quick
	}
	return v.Paths(ctx, items, sink)
}

// auditStatus fills in how much is proven.
func (s *service) auditStatus(st *control.Status) {
	store := s.c.Engine.Catalogue
	if store == nil {
		return
	}
	n := store.Counts()
	a := &control.Audit{
		Files: n.Files, Bytes: n.Bytes, ProvenFiles: n.ProvenFiles, ProvenBytes: n.ProvenBytes, Last: []control.Alarm{},
	}
	st.Audit = a
	if s.audit == nil {
		return
	}
	now := s.audit.Status()
	a.On, a.Alarms, a.Uncompared, a.Surveyed, a.Trouble = true, now.Alarms, now.Uncompared, now.Surveyed, now.Trouble
	for _, l := range now.Last {
		a.Last = append(a.Last, control.Alarm{Path: l.Path, What: l.What, At: l.At})
	}
	a.FileRate, a.ByteRate = s.auditRates(now)
}

func pathItem(path string) queue.Item { return queue.Item{Kind: queue.Path, Path: path} }

// auditRates meters what the audit counts.
func (s *service) auditRates(now audit.Status) (files, bytes float64) {
	s.now.mu.Lock()
	defer s.now.mu.Unlock()
	s.provenFiles.Add(max(0, now.Files-s.proved.files))
	s.provenBytes.Add(max(0, now.Bytes-s.proved.bytes))
	s.proved.files, s.proved.bytes = now.Files, now.Bytes
	return s.provenFiles.Rate(), s.provenBytes.Rate()
}
