package transfer

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/delta"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/transfer/embedded"
)

// A destination runs one session.
type destination interface {
	Send(ctx context.Context, b *rsync.Batch, o rsync.Options) (*rsync.Report, error)
}

// remote is a destination reached over a connection of its own for each session.
type remote struct {
	reaper   *rsync.Reaper
	protocol func(int)
	spare    *spare
	live     func(rsync.Options) bool // are these options worth a spare session?
}

func (r remote) Send(ctx context.Context, b *rsync.Batch, o rsync.Options) (*rsync.Report, error) {
	warm := r.spare.take(o)
	if r.live(o) {
		r.spare.fill(o)
	}
	if warm != nil {
		// What a waiting session died of, it tells only now; a fresh one may be luckier.
		if report, err := r.over(ctx, warm, b, o); err == nil || ctx.Err() != nil || gotToWork(report) {
			return report, err
		}
	}
	s, err := r.reaper.Connect(ctx, o)
	if err != nil {
		return &rsync.Report{}, err
	}
	return r.over(ctx, s, b, o)
}

// gotToWork reports whether a session that broke had got to work.
func gotToWork(r *rsync.Report) bool {
	return slices.ContainsFunc(r.Results, func(res rsync.Result) bool {
		return res.State != rsync.Pending || res.Items != 0 || res.Literal > 0
	})
}

func (r remote) over(ctx context.Context, s *rsync.Session, b *rsync.Batch, o rsync.Options) (*rsync.Report, error) {
	r.protocol(s.Protocol())
	if o.Checksum {
		b = summed(b, s.Checksum())
	}
	defer r.reaper.Reap(s)
	return s.Settle(ctx, b)
}

// summed returns b with the checksums of its regular files. One that cannot be read gets a sum that nothing has, so
// that the server asks for it and is told.
func summed(b *rsync.Batch, c delta.Checksum) *rsync.Batch {
	with := *b
	with.Entries = slices.Clone(b.Entries)
	links := map[int32][]byte{} // names of one inode have one content
	for i := range with.Entries {
		e := &with.Entries[i]
		if !isRegular(e.Mode) {
			continue
		}
		if e.Sum = links[e.Link]; e.Sum == nil {
			e.Sum = sum(b, i, c)
		}
		if e.Link > 0 {
			links[e.Link] = e.Sum
		}
	}
	return &with
}

func sum(b *rsync.Batch, i int, c delta.Checksum) []byte {
	none := make([]byte, c.Hash.Size())
	none[0] = 1 // zeros are what a server has of a file that it cannot read
	f, err := b.Open(i)
	if err != nil {
		return none
	}
	defer f.Close()
	if sum, err := c.List(f, nil); err == nil {
		return sum
	}
	return none
}

// local reports whether the destination is embedded.
func (e *Engine) local() bool { return e.cfg.Dialer.Dest.Kind == rsync.Local }

func (e *Engine) newDestination() (destination, error) {
	if e.local() {
		local, err := embedded.Open(e.cfg.Dialer.Dest.Path)
		if err != nil {
			return nil, err
		}
		local.Wrap = e.wrap
		return local, nil
	}
	d := e.cfg.Dialer
	d.Wrap = e.wrap
	e.reaper = rsync.NewReaper(&d)
	e.spare = newSpare(e.reaper)
	e.spare.found = e.found
	return remote{e.reaper, func(p int) { e.counters.protocol.Store(int64(p)) }, e.spare, e.isLive}, nil
}

// wrap limits and counts what moves on a connection.
func (e *Engine) wrap(c io.ReadWriteCloser) io.ReadWriteCloser {
	if e.cfg.Limiter != nil {
		c = e.cfg.Limiter.Wrap(context.Background(), c)
	}
	return &counted{c, &e.counters}
}

// prime runs the first session alone, with nothing in it but the root: it creates the destination directory before
// several sessions could try at once, and it finds out, before any work, whether the server serves this module to this
// user with these options.
func (e *Engine) prime(ctx context.Context) error {
	e.protocol = 32
	coarse := false
	for try := 1; ; try++ {
		err := e.primeOnce(ctx)
		switch {
		case e.yields(err):
		case unsupported(err).Any() && e.cfg.IgnoreUnsupported:
			e.without(unsupported(err), err)
		case unsupported(err).Any():
			return err
		case err == nil:
			e.protocol = e.counters.protocolOr(32)
			if coarse {
				e.tell.note("the server compares times by whole seconds only")
			}
			if e.cfg.NanosecondsAuto && e.protocol < 31 {
				e.session.ModifyWindow = 0
			}
			if err := e.preflight(ctx); err != nil {
				return err
			}
			e.tellSpace(ctx)
			return e.witness(ctx)
		case kindOf(err) == rsync.KindRefused && e.cfg.NanosecondsAuto && e.session.ModifyWindow < 0:
			// Before 3.1.3 there was no such option; whole seconds are what such a server can compare. If it was
			// another option, it is refused again.
			e.session.ModifyWindow, coarse = 0, true
		case kindOf(err) == rsync.KindBusy && try < sessionTries:
			e.log.Info("waiting for the server", "err", err)
			if err := sleep(ctx, e.cfg.tuning.sessionBackoff.Delay(try)); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

func (e *Engine) primeOnce(ctx context.Context) error {
	root, err := e.lookUp(".")
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	self := EntryOf(".", &root)
	b := e.rootBatch(self, versionOf(&root.Stat))
	if e.bare(".") {
		b = newBatch(copySmall, e.rootScope.Load()) // which makes the directory, too
	}
	b.content, b.first = e.cfg.Delete, !e.session.DryRun
	if name := e.probeName(); name != "" { // what an interrupted run left; and some servers cannot do such entries
		b.addDir(flist.Entry{Path: name}, version{}, true)
	}
	if _, err = e.send(ctx, b); err == nil && e.attrs().Any() && !e.session.DryRun && !e.bare(".") {
		err = e.probe(ctx, self)
	}
	return hinted(err)
}

// rootBatch has nothing in it but the root.
func (e *Engine) rootBatch(self flist.Entry, v version) *batch {
	b := newBatch(copySmall, e.rootScope.Load())
	b.addDir(self, v, true)
	return b
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// send runs one session with b, in the goroutine of a sender.
func (e *Engine) send(ctx context.Context, b *batch) (*rsync.Report, error) {
	o := e.options(b)
	if o.Delete || o.DeleteMissing || e.following {
		if err := e.cfg.Root.Same(); err != nil {
			return &rsync.Report{}, err
		}
	}
	rules, err := e.rules(b, o)
	if err != nil {
		return &rsync.Report{}, err
	}
	if !b.first {
		e.ledger.expect(b)
	}
	e.counters.sessions.Add(1)
	e.counters.active.Add(1)
	defer e.counters.active.Add(-1)
	heard := &events{e: e, b: b}
	defer func() { e.counters.live.Add(-heard.sent) }()
	report, err := e.dest.Send(ctx, &rsync.Batch{
		Entries: b.entries,
		Open:    func(i int) (rsync.File, error) { return e.open(b, i) },
		Xattr:   func(i int, name string) ([]byte, error) { return e.cfg.Root.Xattr(b.entries[i].Path, name) },
		Filter:  rules,
		Names:   e.names,
		Events:  heard,
	}, o)
	b.deleted, b.heard = heard.deleted, heard.words
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return report, err
}

// rules returns the filter rules that keep a deleting server from what is not ours to delete.
func (e *Engine) rules(b *batch, o rsync.Options) ([]string, error) {
	if !o.Delete {
		return nil, nil
	}
	var rules []string
	if b.scope != nil {
		var err error
		if rules, err = b.scope.Wire(e.protocol, false); err != nil {
			return nil, err
		}
	}
	return append(e.keepParts(b), rules...), nil
}

// openMergeFile reads a per-directory filter file of the source.
func (e *Engine) openMergeFile(dir, name string) (io.ReadCloser, error) {
	return e.cfg.Root.Open(queue.Join(dir, name))
}

// open opens the regular file of entry i and watches that it stays the version that was listed.
func (e *Engine) open(b *batch, i int) (rsync.File, error) {
	if b.kind == relink && !b.check { // else its checksum is wanted
		return nil, errNotLinked
	}
	f, err := e.cfg.Root.Open(b.entries[i].Path)
	if err != nil {
		return nil, err
	}
	st := f.Opened()
	opened := versionOf(&st)
	return &source{File: f, opened: opened, changed: opened != b.about[i].version}, nil
}

// source is a file being sent.
type source struct {
	*scan.File
	opened  version
	changed bool // since it was listed: its attributes as sent are no longer its own
}

func (s *source) Size() int64 { return s.opened.Size }

// Close compares the version after the last byte with that before the first one.
func (s *source) Close() error {
	st, err := s.Stat()
	if closeErr := s.File.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if s.changed || versionOf(&st) != s.opened {
		return rsync.ErrChanged
	}
	return nil
}

// counted counts the bytes of a connection.
type counted struct {
	io.ReadWriteCloser
	c *counters
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadWriteCloser.Read(p)
	c.c.received.Add(int64(n))
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.ReadWriteCloser.Write(p)
	c.c.sent.Add(int64(n))
	return n, err
}

// teller passes what sessions report on to the Observer, one call at a time.
type teller struct {
	mu sync.Mutex
	Observer
	made map[string]struct{} // directories reported as changed while they are in flight
}

func (t *teller) note(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Note(text)
}

func (t *teller) failed(p string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Failed(p, err)
}

// forget drops the memory of a directory whose content is all there: no session will report it again.
func (t *teller) forget(p string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.made, p)
}
