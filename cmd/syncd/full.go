package main

import (
	"context"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/syncd/syncd/internal/config"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/ratelimit"
	"github.com/syncd/syncd/transfer"
)

// full is one pass over the whole tree. It returns the exit status.
func full(ctx context.Context, c *config.Config, s streams) int {
	out, err := newPrinter(s.out), newConsole(s.err)
	var r report = &text{out: out, err: err, c: c, num: numbers{c.Human}}
	if c.JSON {
		r = &machine{out: out, c: c}
	}
	sum, failure := pass(ctx, c, s, r, out, err)
	var p *problem
	if failure != nil {
		p = explain(failure)
	}
	status := statusOf(sum, p)
	r.end(sum, p, status)
	return status
}

// pass runs the engine. The summary is nil when nothing was begun.
func pass(ctx context.Context, c *config.Config, s streams, r report, out *printer, err *console) (*transfer.Summary, error) {
	root, failure := openSource(c.Source)
	if failure != nil {
		return nil, failure
	}
	defer root.Close()
	if failure := apart(c); failure != nil {
		return nil, failure
	}
	background, stop := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer stop()

	engine, failure := transfer.New(engineConfig(background, c, root, r, err, &helpers))
	if failure != nil {
		return nil, failure
	}
	helpers.Go(func() { out.run(background) })
	if c.Progress {
		p := startProgress(background, c, root, engine.Progress, out, err, s)
		defer p.close()
	}
	failure = engine.Run(ctx)
	sum := engine.Summary()
	return &sum, failure
}

func engineConfig(ctx context.Context, c *config.Config, root *scan.Root, r report, err *console,
	helpers *sync.WaitGroup) transfer.Config {
	e := transfer.Config{
		Root: root,
		Dialer: rsync.Dialer{
			Dest: c.Dest, Password: c.Password, RemoteShell: c.RemoteShell, RsyncPath: c.RsyncPath,
			ConnectTimeout: c.ConnectTimeout, Timeout: c.Timeout,
		},
		Session: c.Session, NanosecondsAuto: c.NanosecondsAuto,
		Delete: c.Delete, MaxDelete: c.MaxDelete,
		Filter: c.Filter, OneFileSystem: c.OneFS,
		Sessions: c.Sessions, BigFile: c.BigFile, PartialDir: c.PartialDir,
		Observer: r,
	}
	if c.MOTD && !c.Quiet {
		e.Dialer.MOTD = once(err)
	}
	if c.Bandwidth != nil {
		e.Limiter = ratelimit.New(c.Bandwidth.At(time.Now()))
		helpers.Go(func() { c.Bandwidth.Run(ctx, e.Limiter) })
	}
	return e
}

// once passes each line of the daemon's message on one time: every session is
// greeted with it.
func once(err *console) func(string) {
	var mu sync.Mutex
	seen := map[string]bool{}
	return func(line string) {
		mu.Lock()
		defer mu.Unlock()
		if len(seen) < 1000 && !seen[line] {
			seen[line] = true
			err.plain(oneLine(line))
		}
	}
}

// statusOf is the exit status of a run.
func statusOf(s *transfer.Summary, p *problem) int {
	switch {
	case p != nil:
		return p.status
	case s.Failed > 0 || s.LimitHit:
		return exitPartial
	}
	return exitDone
}

func noMergeFile(dir, name string) (io.ReadCloser, error) { return nil, fs.ErrNotExist }
