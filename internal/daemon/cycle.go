package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/syncd/syncd/internal/control"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/transfer"
	"github.com/syncd/syncd/watcher"
)

// How long a session may be silent in both directions if the operator sets no --timeout. A server that hangs would
// otherwise be waited for for ever.
const silence = 2 * time.Minute

// cycle watches and follows one root until ctx ends or the root is gone.
func (s *service) cycle(ctx context.Context, root *scan.Root) error {
	c := s.c.Engine
	c.Root, c.Observer, c.Limiter, c.Log = root, observer{s}, s.limiter, s.log
	c.StopTimeout = s.c.StopTimeout
	if c.Dialer.Timeout == 0 {
		c.Dialer.Timeout = silence
	}
	c.Alive, c.AliveEvery = s.watchdog.Alive, s.watchdog.Every()
	engine, err := transfer.New(c)
	if err != nil {
		return err
	}
	skip, err := excluded(c.Filter, root)
	if err != nil {
		return err
	}
	w, err := watcher.New(watcher.Config{
		Root: root, Path: s.c.Source, Skip: skip, OneFileSystem: c.OneFileSystem, Log: s.log,
	})
	if err != nil {
		return err
	}
	s.now.runs(engine, w)
	defer s.now.runs(nil, nil)

	watching, stop := context.WithCancelCause(ctx)
	var watched sync.WaitGroup
	var watchErr error
	watched.Go(func() {
		watchErr = w.Run(watching, func(it queue.Item) {
			s.log.Debug("changed", "kind", it.Kind, "path", it.Path)
			engine.Changed(it)
		})
		stop(watchErr) // what is not watched must not be followed as if it were
	})
	defer watched.Wait()
	defer stop(nil)
	if !s.ready(watching, w) {
		watched.Wait()
		return watchErr
	}
	s.now.set(control.Passing, "")
	err = engine.Follow(watching)
	s.ended(ctx, engine)
	stop(err)
	watched.Wait()
	if watchErr != nil && ctx.Err() == nil && !errors.Is(watchErr, context.Canceled) {
		return errors.Join(watchErr, onlyRoot(err))
	}
	return err
}

// onlyRoot keeps what says that the root changed.
func onlyRoot(err error) error {
	if errors.Is(err, scan.ErrRootChanged) {
		return err
	}
	return nil
}

// ready waits until every directory is watched and says so.
func (s *service) ready(ctx context.Context, w *watcher.Watcher) bool {
	alive := time.NewTicker(max(s.watchdog.Every(), time.Second))
	defer alive.Stop()
	for {
		select {
		case <-w.Ready():
			s.notify.Ready()
			s.log.Info("watching", "directories", w.Stats().Watches, "elapsed", time.Since(s.started).Round(time.Millisecond))
			return true
		case <-alive.C:
			s.watchdog.Alive()
		case <-ctx.Done():
			return false
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

// excluded is the filter as the watcher asks it: one scope for each directory that it asks about, kept because scopes
// of directories without rules of their own are those of their parents.
func excluded(l *filter.List, root *scan.Root) (func(dir, name string, isDir bool) bool, error) {
	if l == nil || l.Empty() {
		return nil, nil
	}
	if l.HasMerge() {
		return nil, errors.New("per-directory filter files (-F, dir-merge) can't be followed in this version; " +
			"use --exclude, or --full")
	}
	scope, err := l.Root(nil)
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	return func(dir, name string, isDir bool) bool { return scope.Excluded(scan.Join(dir, name), isDir) }, nil
}

// observer writes the engine's news into the log.
type observer struct{ s *service }

func (o observer) Item(f rsync.ItemFlags, e *flist.Entry) {
	o.s.log.Debug("sent", "path", e.Path, "items", f.Format(e.Mode))
}

func (o observer) Deleted(path string, dir bool) { o.s.log.Debug("deleted", "path", path) }

func (o observer) Failed(path string, err error) {
	o.s.log.Warn("not copied", "path", path, "err", err)
}

func (o observer) Note(text string) { o.s.log.Warn(text) }
