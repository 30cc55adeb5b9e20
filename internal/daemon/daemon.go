// Package daemon is syncd as a service: it watches a tree, feeds what changes to the engine that makes the destination
// equal, answers those who ask at the control socket, and tells systemd how it is.
//
// The order of the start: control socket, source, watching; when every directory is watched, READY and the full pass,
// while changes flow. The order of the stop: watching ends, running sessions get their time, the socket goes. A source
// that is unmounted or replaced ends watching and engine, and begins them anew when it is back: nothing is deleted for
// want of it.
package daemon

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/syncd/syncd/internal/audit"
	"github.com/syncd/syncd/internal/control"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/ratelimit"
	"github.com/syncd/syncd/systemd/notify"
	"github.com/syncd/syncd/transfer"
	"github.com/syncd/syncd/watcher"
)

// Config says what to follow, and who may ask.
type Config struct {
	Source      string          // path of the tree
	Destination string          // as the operator wrote it, for Status
	Engine      transfer.Config // Root, Observer, Limiter and Alive are set by the daemon
	Control     string          // path of the socket; "" = none
	StateDir    string          // of the catalogue, and where a cutover leaves marks for the next start; "" = nowhere
	Recheck     bool            // believe nothing in the catalogue
	Audit       Audit
	StopTimeout time.Duration // how long running sessions may take after the end of ctx; 0 = cut at once
	Bandwidth   *ratelimit.Timetable

	Watch           watcher.Mode  // how changes are noticed
	RaiseWatchLimit bool          // where the kernel grants too few watches: have it grant more
	ScanInterval    time.Duration // between passes, where nothing tells of changes; 0 = watcher.DefaultInterval

	Log     *slog.Logger // nil = none
	Version string
	// Cutting counts the cutovers that run: while there is one, the process is not to be ended by force. May be nil.
	Cutting *atomic.Int32

	// Reload reads filter rules and bandwidth limit again; it is called for each element of Hangups. Either may be nil.
	Reload  func() (*filter.List, *ratelimit.Timetable, error)
	Hangups <-chan struct{}
}

// How often a source that is away is looked for.
const sourceInterval = 5 * time.Second

// service is one Run.
type service struct {
	c        Config
	log      *slog.Logger
	notify   *notify.Notifier
	watchdog *notify.Watchdog
	limiter  *ratelimit.Limiter
	started  time.Time
	sent     control.Meter
	counted  int64 // bytes that sent has; guarded by now.mu
	now      present
	deleted  transfer.DeleteHistory
	notes    notes
	tables   chan *ratelimit.Timetable // to keepLimit
	audit    *audit.Audit              // nil: there is none

	provenFiles, provenBytes control.Meter
	proved                   struct{ files, bytes int64 } // that these have; guarded by now.mu

	following bool // an engine has been told to follow; cycle's own

	end      context.CancelCauseFunc // ends Run
	ending   <-chan struct{}         // closed when Run is to end
	followed chan struct{}           // closed when changes are followed for the first time
	follows  sync.Once               // closes it

	cutover sync.Mutex    // held by the cutover that runs
	cutting *atomic.Int32 // Config.Cutting
	held    atomic.Bool   // a cutover has paused the engine
	first   atomic.Bool   // the first pass has not ended
	passes  gate          // for those of a scanner
	changes atomic.Int64  // entries sent and deleted
	writes  writes
}

// Run follows the source until ctx ends, and returns nil then. Other errors mean that it could not begin: the source
// is missing, another process answers at the socket, the kernel grants too few watches.
func Run(ctx context.Context, c Config) error { return run(ctx, c, nil) }

// run is Run. Once changes are followed it calls task, if there is one, in a goroutine of its own, for which it waits.
func run(ctx context.Context, c Config, task func(*service)) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	s := &service{
		c: c, log: c.Log, notify: notify.New(), started: time.Now(), limiter: ratelimit.New(0),
		end: end, ending: ctx.Done(), cutting: c.Cutting, followed: make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.notes.log = s.log
	if s.cutting == nil {
		s.cutting = new(atomic.Int32)
	}
	if err := s.recall(ctx); err != nil {
		return err
	}
	var err error
	if s.watchdog, err = notify.NewWatchdog(); err != nil {
		return err
	}
	root, err := scan.OpenRoot(c.Source)
	if err != nil {
		return err
	}
	id := root.ID()
	s.now.set(control.Starting, "setting watches")
	if err := s.remember(root); err != nil {
		root.Close()
		return err
	}
	defer s.forget()
	s.audit = s.newAudit()

	beside, stop := context.WithCancel(context.WithoutCancel(ctx))
	var others errgroup.Group
	defer others.Wait()
	defer stop()
	if err := s.listen(beside, &others); err != nil {
		root.Close()
		return err
	}
	others.Go(func() error { s.watchdog.Run(beside); return nil })
	others.Go(func() error { s.report(beside); return nil })
	s.tables = make(chan *ratelimit.Timetable)
	others.Go(func() error { return s.keepLimit(beside) })
	if task != nil {
		others.Go(func() error {
			select {
			case <-s.followed:
				task(s)
			case <-ctx.Done():
			}
			return nil
		})
	}
	s.limit(c.Bandwidth)
	stopping := context.AfterFunc(ctx, func() {
		s.notify.Stopping()
		s.now.set(control.Stopping, "")
	})
	defer stopping()
	for {
		err := s.cycle(ctx, root)
		root.Close()
		switch {
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, scan.ErrRootChanged):
			return err
		}
		s.log.Error("the source is missing; nothing is deleted, waiting for it", "path", c.Source, "err", err)
		s.now.set(control.SourceMissing, err.Error())
		if root = s.awaitSource(ctx, id); root == nil {
			return nil
		}
		s.log.Info("the source is back", "path", c.Source)
	}
}

// remember opens the catalogue.
func (s *service) remember(root *scan.Root) error {
	if s.c.StateDir == "" {
		return nil
	}
	c := &s.c.Engine
	c.Root, c.Log = root, s.log
	opened, err := c.Remember(filepath.Join(s.c.StateDir, transfer.CatalogueName), s.c.Recheck)
	if err == nil && opened.Reason != "" {
		s.log.Warn("the catalogue", "reason", opened.Reason)
	}
	return err
}

// forget closes it.
func (s *service) forget() {
	if c := s.c.Engine.Catalogue; c != nil {
		if err := c.Close(); err != nil {
			s.log.Error("the catalogue could not be closed", "err", err)
		}
	}
}

// limit makes table the bandwidth limit; nil is none.
func (s *service) limit(table *ratelimit.Timetable) { s.tables <- table }

// keepLimit follows the timetable that was given last.
func (s *service) keepLimit(ctx context.Context) error {
	end := func() {}
	for {
		select {
		case table := <-s.tables:
			end()
			end = s.runTable(ctx, table)
		case <-ctx.Done():
			end()
			return nil
		}
	}
}

// runTable sets the limit by table until end is called.
func (s *service) runTable(ctx context.Context, table *ratelimit.Timetable) (end func()) {
	if table == nil {
		s.limiter.Set(0)
		return func() {}
	}
	s.limiter.Set(table.At(time.Now()))
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		table.Run(ctx, s.limiter)
	}()
	return func() { stop(); <-done }
}

// listen answers at the control socket.
func (s *service) listen(ctx context.Context, others *errgroup.Group) error {
	if s.c.Control == "" {
		return nil
	}
	server, err := control.Listen(s.c.Control)
	if err != nil {
		return err
	}
	others.Go(func() error { return server.Run(ctx, s) })
	return nil
}

// awaitSource waits until the directory that the service began with is back at its path; nil when ctx ends first. The
// device number may be another one after a mount.
func (s *service) awaitSource(ctx context.Context, id scan.ID) *scan.Root {
	tick := time.NewTicker(sourceInterval)
	defer tick.Stop()
	for {
		if root, err := scan.OpenRoot(s.c.Source); err == nil {
			if got := root.ID(); got.Ino == id.Ino && got.FSID == id.FSID {
				return root
			}
			root.Close()
		}
		s.watchdog.Alive()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
