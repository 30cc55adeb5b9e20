package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/syncd/syncd/internal/control"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/internal/verify"
	"github.com/syncd/syncd/transfer"
)

// What --timeout and --contimeout are if the operator sets none. A server that hangs would otherwise be waited for for
// ever. One that lives shows it after half of the time, whatever it is doing.
const silence = 30 * time.Second

// How often it is looked whether there may be more watches by now, where there were too few.
const limitInterval = 2 * time.Second

// cycle watches and follows one root until ctx ends or the root is gone.
func (s *service) cycle(ctx context.Context, root *scan.Root) error {
	c := s.c.Engine
	c.Root, c.Observer, c.Limiter, c.Log = root, observer{s}, s.limiter, s.log
	c.StopTimeout, c.DeleteHistory = s.c.StopTimeout, &s.deleted
	if c.Dialer.Timeout == 0 {
		c.Dialer.Timeout = silence
	}
	if c.Dialer.ConnectTimeout == 0 {
		c.Dialer.ConnectTimeout = c.Dialer.Timeout
	}
	c.Alive, c.AliveEvery = s.watchdog.Alive, s.watchdog.Every()
	c.Sync = s.now.sync
	engine, err := transfer.New(c)
	if err != nil {
		return err
	}
	defer s.now.runs(nil, nil, verify.Config{})
	watch, err := s.watch(ctx, root, engine)
	if err != nil {
		return err
	}
	defer func() { watch.end() }()
	s.now.runs(engine, watch, s.comparison(&c))
	watch.alone.Store(true)
	s.notify.Ready()
	s.now.set(control.Passing, "")
	s.first.Store(true)

	following, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	followed := make(chan error, 1)
	s.following = true
	defer func() { s.following = false }()
	go func() { followed <- engine.Follow(following) }()
	auditing, err := s.audited(following, root, engine, c)
	if err != nil {
		s.log.Error("there is no audit", "err", err)
	}
	defer func() { auditing() }()
	s.follows.Do(func() { close(s.followed) })
	for {
		var relief <-chan time.Time
		if watch.limit != nil {
			relief = time.After(limitInterval)
		}
		select {
		case err := <-followed:
			s.ended(ctx, engine)
			return err
		case <-watch.ended:
			err := watch.err
			if watch.outgrown() {
				if watch, err = s.rewatch(ctx, root, engine, watch); err == nil {
					continue
				}
			}
			// What is not watched must not be followed as if it were.
			stop(err)
			rest := <-followed
			s.ended(ctx, engine)
			return errors.Join(err, onlyRoot(rest))
		case <-relief:
			if !watch.limit.Relieved() {
				continue
			}
			if watch, err = s.rewatch(ctx, root, engine, watch); err != nil {
				watch.limit = nil // until SIGHUP
				s.log.Error("not watched again", "err", err)
			}
		case <-s.c.Hangups:
			watch = s.reload(ctx, root, engine, watch)
			c.Filter = s.c.Engine.Filter
			s.now.runs(engine, watch, s.comparison(&c))
			auditing()
			if auditing, err = s.audited(following, root, engine, c); err != nil {
				s.log.Error("there is no audit", "err", err)
			}
		}
	}
}

// onlyRoot keeps what says that the root changed.
func onlyRoot(err error) error {
	if errors.Is(err, scan.ErrRootChanged) {
		return err
	}
	return nil
}

// ready waits until every directory is watched.
func (s *service) ready(w *watch) error {
	began := time.Now()
	alive := time.NewTicker(max(s.watchdog.Every(), time.Second))
	defer alive.Stop()
	for {
		select {
		case <-w.Ready():
			s.log.Info("watching", "directories", w.Stats().Watches, "elapsed", time.Since(began).Round(time.Millisecond))
			return nil
		case <-alive.C:
			s.watchdog.Alive()
		case <-w.ended:
			return w.err
		}
	}
}

// ended says what an engine leaves behind.
func (s *service) ended(ctx context.Context, e *transfer.Engine) {
	if ctx.Err() == nil {
		return
	}
	n := e.Left()
	s.log.Info("stopped", "pending", n.Live+n.Waiting, "failing", n.Failing, "unvisited", n.Trees)
}

// observer writes the engine's news into the log.
type observer struct{ s *service }

func (o observer) Item(f rsync.ItemFlags, e *flist.Entry) {
	o.s.changes.Add(1)
	o.s.log.Debug("sent", "path", e.Path, "items", f.Format(e.Mode))
}

func (o observer) Deleted(path string, dir bool) {
	o.s.changes.Add(1)
	o.s.log.Debug("deleted", "path", path)
}

func (o observer) Failed(path string, err error) {
	o.s.log.Warn("not copied", "path", path, "err", err)
}

func (o observer) Note(text string) { o.s.notes.say(text) }
