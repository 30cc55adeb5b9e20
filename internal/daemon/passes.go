package daemon

import (
	"context"
	"time"

	"github.com/syncd/syncd/internal/control"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/transfer"
	"github.com/syncd/syncd/watcher"
)

// scan has passes find what changes.
func (s *service) scan(ctx context.Context, root *scan.Root, engine *transfer.Engine, why string,
	limit *watcher.LimitError) (*watch, error) {
	source, err := watcher.NewScanner(watcher.ScanConfig{
		Root: root, Interval: s.scanInterval(), Turn: s.passes.wait,
		Passed: func(ctx context.Context) error { return passed(ctx, engine) },
	})
	if err != nil {
		return nil, err
	}
	s.log.Warn("CHANGES ARE NOT WATCHED: the whole tree is compared again and again",
		"reason", why, "seconds_between", s.scanInterval().Seconds())
	s.writes.blind(why)
	// A pass is what the scanner begins with. That of the start comes by itself.
	if s.following {
		engine.Changed(everything)
	}
	w := &watch{why: why, limit: limit}
	// What a pass is begun for is no write that somebody made: it is not noted as such.
	return w.run(ctx, source, func(it queue.Item) { engine.Changed(it) }), nil
}

var everything = queue.Item{Kind: queue.Tree, Path: "."}

func (s *service) scanInterval() time.Duration {
	if s.c.ScanInterval > 0 {
		return s.c.ScanInterval
	}
	return watcher.DefaultInterval
}

// How often it is looked whether a pass has come to its end.
const passedEvery = 200 * time.Millisecond

// passed returns when no pass is under way: then all that the engine was told of before has been compared.
func passed(ctx context.Context, engine *transfer.Engine) error {
	tick := time.NewTicker(passedEvery)
	defer tick.Stop()
	for {
		if snap, err := engine.Snapshot(ctx); err != nil || !snap.Passing {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// passesGoOn reports whether the first pass has ended, by which changes are found that nothing else tells of.
func (p *present) passesGoOn() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.watch != nil && p.watch.scans() && !p.inSync.upTo.IsZero()
}

// passBegins notes what was done before a pass that is not the first one.
func (p *present) passBegins(before transfer.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = before
}

// pass is how far a pass is that began at since.
func (p *present) pass(now transfer.Progress, since time.Time) *control.Pass {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.before
	return &control.Pass{
		Started: since, Files: now.Files - b.Files, FilesTotal: now.TotalFiles - b.TotalFiles,
		Bytes: now.Bytes - b.Bytes, BytesTotal: now.TotalBytes - b.TotalBytes, At: now.Current,
	}
}
