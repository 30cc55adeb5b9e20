package main

import (
	"context"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/syncd/syncd/internal/config"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/internal/ssh"
	"github.com/syncd/syncd/ratelimit"
	"github.com/syncd/syncd/transfer"
)

// full is one pass over the whole tree. It returns the exit status.
func full(ctx context.Context, c *config.Config, s streams) int {
	out, stderr := newPrinter(s.out), newConsole(s.err)
	var r report = &text{out: out, err: stderr, c: c, num: numbers{c.Human}}
	if c.JSON {
		r = &machine{out: out, c: c}
	}
	sum, failure := pass(ctx, c, s, r, out, stderr)
	var p *problem
	if failure != nil {
		p = explain(failure)
	}
	status := statusOf(sum, p)
	r.end(sum, p, status)
	if err := out.close(); err != nil && status == exitDone {
		stderr.line("standard output: " + oneLine(err.Error()) + "; what was copied is complete, what is printed is not")
		return exitFailed
	}
	return status
}

// pass runs the engine. The summary is nil when nothing was begun.
func pass(ctx context.Context, c *config.Config, s streams, r report, out *printer,
	stderr *console) (*transfer.Summary, error) {
	root, err := openSource(c.Source)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if err := apart(c); err != nil {
		return nil, err
	}
	background, stop := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer stop()

	e := passConfig(background, c, root, r, stderr, &helpers)
	defer e.Dialer.Logins.Close()
	if c.StateDir != "" && !c.Session.DryRun {
		opened, err := e.Remember(filepath.Join(c.StateDir, transfer.CatalogueName), c.Recheck)
		if err != nil {
			return nil, err
		}
		defer e.Catalogue.Close()
		if opened.Reason != "" {
			stderr.line(oneLine(opened.Reason))
		}
	}
	engine, err := transfer.New(e)
	if err != nil {
		return nil, err
	}
	helpers.Go(func() { out.run(background) })
	if c.Progress {
		p := startProgress(background, c, root, engine.Progress, out, stderr, s)
		defer p.close()
	}
	err = engine.Run(ctx)
	sum := engine.Summary()
	return &sum, err
}

// logins is what sessions share of ssh. The caller closes it when they have ended; nil needs none of that.
func logins(c *config.Config) *ssh.Pool {
	if !c.ShareLogins || c.Dest.Kind != rsync.Shell {
		return nil
	}
	return ssh.NewPool(c.RuntimeDirs...)
}

// engineConfig is what the command line says of a pass, whoever runs it. The caller closes its Dialer.Logins.
func engineConfig(c *config.Config) transfer.Config {
	return transfer.Config{
		Dialer: rsync.Dialer{
			Dest: c.Dest, TLS: c.TLS, Password: c.Password, RemoteShell: c.RemoteShell, RsyncPath: c.RsyncPath,
			Batch: c.Batch, Logins: logins(c), ConnectTimeout: c.ConnectTimeout, Timeout: c.Timeout,
		},
		Session: c.Session, NanosecondsAuto: c.NanosecondsAuto, IgnoreUnsupported: c.IgnoreUnsupported,
		Delete: c.Delete, MaxDelete: c.MaxDelete, DeleteWindow: c.DeleteWindow,
		Filter: c.Filter, OneFileSystem: c.OneFS, Only: c.Only,
		Sessions: c.Sessions, BigFile: c.BigFile, PartialDir: c.PartialDir,
	}
}

// passConfig adds to it what a single pass has. Helpers run until ctx ends.
func passConfig(ctx context.Context, c *config.Config, root *scan.Root, r report, stderr *console,
	helpers *sync.WaitGroup) transfer.Config {
	e := engineConfig(c)
	e.Root, e.Observer = root, r
	e.Dialer.Warn = once(stderr.line)
	if c.MOTD && !c.Quiet {
		e.Dialer.MOTD = once(stderr.plain)
	}
	if c.Bandwidth != nil {
		e.Limiter = ratelimit.New(c.Bandwidth.At(time.Now()))
		helpers.Go(func() { c.Bandwidth.Run(ctx, e.Limiter) })
	}
	return e
}

// once passes each line of the daemon's message on one time: every session is
// greeted with it.
func once(say func(string)) func(string) {
	var mu sync.Mutex
	seen := map[string]bool{}
	return func(line string) {
		mu.Lock()
		defer mu.Unlock()
		if len(seen) < 1000 && !seen[line] {
			seen[line] = true
			say(oneLine(line))
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
