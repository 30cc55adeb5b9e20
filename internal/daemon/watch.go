package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/transfer"
	"github.com/syncd/syncd/watcher"
)

// A watch is a watcher that runs and feeds an engine.
type watch struct {
	*watcher.Watcher
	stop  context.CancelFunc
	alone atomic.Bool   // no other watcher may know of changes that this one does not
	ended chan struct{} // closed when it has; err says why
	err   error
}

// end stops the watcher and waits for it.
func (w *watch) end() {
	w.stop()
	<-w.ended
}

// watch starts watching root by the filter rules of the configuration.
func (s *service) watch(ctx context.Context, root *scan.Root, engine *transfer.Engine) (*watch, error) {
	skip, err := excluded(s.c.Engine.Filter)
	if err != nil {
		return nil, err
	}
	running := &watch{ended: make(chan struct{})}
	changed := func(it queue.Item) {
		s.log.Debug("changed", "kind", it.Kind, "path", it.Path)
		s.writes.add(it)
		engine.Changed(it)
	}
	running.Watcher, err = watcher.New(watcher.Config{
		Root: root, Path: s.c.Source, Skip: skip, OneFileSystem: s.c.Engine.OneFileSystem, Log: s.log,
		Renamed: func(r queue.Rename) {
			if !running.alone.Load() {
				for _, it := range r.Items() {
					changed(it)
				}
				return
			}
			s.log.Debug("renamed", "from", r.From, "to", r.To)
			for _, it := range r.Items() {
				s.writes.add(it)
			}
			engine.Renamed(r)
		},
	})
	if err != nil {
		return nil, err
	}
	ctx, running.stop = context.WithCancel(ctx)
	go func() {
		defer close(running.ended)
		running.err = running.Run(ctx, changed)
	}()
	return running, nil
}

// reload reads limits and filter rules again. A new watcher runs before the old one ends, so nothing is missed; until
// all of it has succeeded the old rules hold.
func (s *service) reload(ctx context.Context, root *scan.Root, engine *transfer.Engine, old *watch) *watch {
	s.notify.Reloading()
	defer s.notify.Ready()
	if s.c.Reload == nil {
		return old
	}
	rules, table, err := s.c.Reload()
	if err != nil {
		s.log.Error("not reloaded; what held before holds on", "err", err)
		return old
	}
	before := s.c.Engine.Filter
	s.c.Engine.Filter = rules
	next, err := s.watch(ctx, root, engine)
	if err == nil {
		if err = s.ready(next); err == nil {
			err = engine.SetFilter(ctx, rules)
		}
		if err != nil {
			next.end()
		}
	}
	if err != nil {
		s.c.Engine.Filter = before
		s.log.Error("not reloaded; what held before holds on", "err", err)
		return old
	}
	old.end()
	next.alone.Store(true)
	s.limit(table)
	s.log.Info("reloaded limits and filters")
	return next
}

// excluded is the filter as the watcher asks it.
func excluded(l *filter.List) (func(dir, name string, isDir bool) bool, error) {
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
