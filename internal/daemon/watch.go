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

// A watch is a source of changes that runs and feeds an engine.
type watch struct {
	watcher.Source
	why   string              // changes are found by passes only; "": events tell of them
	limit *watcher.LimitError // that is the reason; nil: another one

	stop  context.CancelFunc
	alone atomic.Bool   // no other watcher may know of changes that this one does not
	ended chan struct{} // closed when it has; err says why
	err   error
}

// scans reports whether changes are found by passes only.
func (w *watch) scans() bool { return w.why != "" }

// end stops the watcher and waits for it.
func (w *watch) end() {
	w.stop()
	<-w.ended
}

// run runs source until the end of ctx, or of the watch.
func (w *watch) run(ctx context.Context, source watcher.Source, emit func(queue.Item)) *watch {
	w.Source, w.ended = source, make(chan struct{})
	ctx, w.stop = context.WithCancel(ctx)
	go func() {
		defer close(w.ended)
		w.err = source.Run(ctx, emit)
	}()
	return w
}

// watch starts watching root by the filter rules of the configuration, and returns when every directory is watched; or
// has passes find what changes, where that is wanted or nothing else is possible.
func (s *service) watch(ctx context.Context, root *scan.Root, engine *transfer.Engine) (*watch, error) {
	skip, err := excluded(s.c.Engine.Filter)
	if err != nil {
		return nil, err
	}
	if s.c.Watch == watcher.Scan {
		return s.scan(ctx, root, engine, "--watch=scan says so", nil)
	}
	why, err := watcher.Silent(root, skip, s.c.Engine.OneFileSystem)
	switch {
	case err != nil:
		return nil, err
	case why == "":
	case s.c.Watch == watcher.Inotify:
		s.log.Warn("not all changes are noticed, as --watch=inotify wants it", "reason", why)
	default:
		return s.scan(ctx, root, engine, why+" (--watch=inotify if nobody else does)", nil)
	}
	return s.events(ctx, root, engine, skip)
}

// events has the kernel tell what changes. Without watches enough, and without the right to have more, passes do.
func (s *service) events(ctx context.Context, root *scan.Root, engine *transfer.Engine,
	skip func(dir, name string, isDir bool) bool) (*watch, error) {
	for {
		w, err := s.inotify(ctx, root, engine, skip)
		if err != nil {
			return nil, err
		}
		if err = s.ready(w); err == nil {
			return w, nil
		}
		w.end()
		var limit *watcher.LimitError
		if !errors.As(err, &limit) {
			return nil, err
		}
		if !s.raise(limit) {
			return s.scan(ctx, root, engine, limit.Error(), limit)
		}
	}
}

// raise makes room for more watches, if it may.
func (s *service) raise(limit *watcher.LimitError) bool {
	if !s.c.RaiseWatchLimit {
		return false
	}
	if err := limit.Raise(); err != nil {
		s.log.Error("the limit of watches could not be raised", "err", err)
		return false
	}
	s.log.Warn("raised the limit of watches, until the machine is started again",
		"setting", limit.Sysctl, "was", limit.Limit, "is", limit.Value, "directories", limit.Needed)
	return true
}

// inotify starts a watcher.
func (s *service) inotify(ctx context.Context, root *scan.Root, engine *transfer.Engine,
	skip func(dir, name string, isDir bool) bool) (*watch, error) {
	w := &watch{}
	changed := func(it queue.Item) {
		s.log.Debug("changed", "kind", it.Kind, "path", it.Path)
		s.writes.add(it)
		engine.Changed(it)
	}
	source, err := watcher.New(watcher.Config{
		Root: root, Path: s.c.Source, Skip: skip, OneFileSystem: s.c.Engine.OneFileSystem, Log: s.log,
		Renamed: func(r queue.Rename) {
			if !w.alone.Load() {
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
	w.run(ctx, source, changed)
	s.now.begins(engine, w)
	return w, nil
}

// rewatch replaces a watch that has ended, or could become a better one. What was missed meanwhile is found by a pass.
// An error leaves old as it is.
func (s *service) rewatch(ctx context.Context, root *scan.Root, engine *transfer.Engine, old *watch) (*watch, error) {
	next, err := s.watch(ctx, root, engine)
	if err != nil {
		return old, err
	}
	old.end()
	if !next.scans() {
		s.writes.blind("the watching was interrupted")
		engine.Changed(everything)
		next.alone.Store(true)
	}
	s.now.rewatched(next)
	return next, nil
}

// outgrown reports whether a watch ended because it needed more watches than there are.
func (w *watch) outgrown() bool {
	var limit *watcher.LimitError
	return errors.As(w.err, &limit)
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
		if err = engine.SetFilter(ctx, rules); err != nil {
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
	return scope.Skip, nil
}
