package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/syncd/syncd/internal/config"
	"github.com/syncd/syncd/internal/control"
	"github.com/syncd/syncd/internal/daemon"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/ratelimit"
	"github.com/syncd/syncd/systemd/notify"
)

// stopGrace is how long a service may take to end, beside what --stop-timeout
// leaves to running sessions. Both by their defaults are less than systemd waits
// before it kills (TimeoutStopSec= of the unit).
const stopGrace = 5 * time.Second

// follow copies SRC and then what changes in it, until a signal or the end of
// ctx. It returns the exit status. again parses the command line once more, and
// by that the files that it names.
func follow(ctx context.Context, c *config.Config, s streams, again func() (*config.Config, error)) int {
	// Errors of one path are of one kind, whatever the server says this time.
	log := slog.New(notify.Limit(notify.Logger(s.err, c.LogLevel).Handler(), "path"))
	var cutting atomic.Int32 // a source that is frozen has to be thawed, however long that takes
	busy := func() bool { return cutting.Load() > 0 }
	ctx, hangups, release := stoppable(ctx, c.StopTimeout+stopGrace, busy, log, os.Exit)
	defer release()
	conf, err := serviceConfig(c, log)
	if err == nil {
		defer conf.Engine.Dialer.Logins.Close()
		conf.Cutting, conf.Hangups, conf.Reload = &cutting, hangups, reloading(again)
		log.Info("starting", "version", conf.Version, "path", conf.Source, "target", conf.Destination)
		err = daemon.Run(ctx, conf)
	}
	switch cause := context.Cause(ctx); {
	case err == nil, cause != nil && (errors.Is(err, cause) || errors.Is(err, context.Canceled)):
		if errors.Is(cause, errInterrupted) {
			return exitInterrupted
		}
		return exitDone
	}
	p := explainService(err)
	log.Error(p.Error())
	return p.status
}

// reloading reads the command line once more, for what a service may change.
func reloading(again func() (*config.Config, error)) func() (*filter.List, *ratelimit.Timetable, error) {
	return func() (*filter.List, *ratelimit.Timetable, error) {
		c, err := again()
		if err != nil {
			return nil, nil, err
		}
		return c.Filter, c.Bandwidth, nil
	}
}

// serviceConfig is what the command line says of a service.
func serviceConfig(c *config.Config, log *slog.Logger) (daemon.Config, error) {
	// Whoever asks the service does so from another directory.
	source, err := filepath.Abs(c.Source)
	if err != nil {
		return daemon.Config{}, err
	}
	root, err := openSource(c.Source)
	if err != nil {
		return daemon.Config{}, err
	}
	root.Close() // the daemon opens it itself, as often as it goes and comes back
	if err := apart(c); err != nil {
		return daemon.Config{}, err
	}
	engine := engineConfig(c)
	engine.Dialer.Warn = once(func(line string) { log.Warn(line) })
	if c.MOTD {
		engine.Dialer.MOTD = once(func(line string) {
			if line != "" { // rsync ends the message with one
				log.Info("message of the day", "text", line)
			}
		})
	}
	return daemon.Config{
		Source: source, Destination: c.Target, Engine: engine,
		Control: c.Control, StateDir: c.StateDir, Recheck: c.Recheck, StopTimeout: c.StopTimeout, Bandwidth: c.Bandwidth,
		Audit: daemon.Audit{Off: c.NoAudit, Interval: c.AuditInterval, Reads: c.ReadLimit},
		Watch: c.Watch, RaiseWatchLimit: c.RaiseWatchLimit, ScanInterval: c.ScanInterval,
		Log: log, Version: buildVersion(),
	}, nil
}

// explainService makes a problem of an error that kept a service from starting,
// or ended it. Those of single paths and of the destination do not: it waits.
func explainService(err error) *problem {
	var (
		own  *problem
		over *daemon.TakenOverError
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &over):
		return &problem{
			status: exitUnsafe, reason: oneLine(err.Error()),
			remedy: "if it is to be, remove " + over.Mark,
		}
	case errors.Is(err, control.ErrInUse):
		return &problem{
			status: exitFailed, reason: oneLine(err.Error()),
			remedy: "stop that one, or name another socket by --control=PATH",
		}
	}
	return &problem{status: exitFailed, reason: oneLine(err.Error())}
}
