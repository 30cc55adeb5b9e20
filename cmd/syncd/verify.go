package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/syncd/syncd/internal/config"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/internal/verify"
	"github.com/syncd/syncd/ratelimit"
	"github.com/syncd/syncd/transfer"
)

// verifyTree compares SRC with DEST and changes neither. It returns the exit status.
func verifyTree(ctx context.Context, c *config.Config, s streams) int {
	out, stderr := newPrinter(s.out), newConsole(s.err)
	var v verdict = &textVerdict{out: out, err: stderr, c: c, num: numbers{c.Human}}
	if c.JSON {
		v = &jsonVerdict{out: out, c: c}
	}
	sum, failure := compare(ctx, c, s, v, out, stderr)
	var p *problem
	if failure != nil {
		p = explain(failure)
	}
	status := verdictStatus(&sum, p)
	v.end(&sum, p, status)
	if err := out.close(); err != nil && (status == exitDone || status == exitDiffer) {
		stderr.line("standard output: " + oneLine(err.Error()) + "; what is printed is not complete")
		return exitFailed
	}
	return status
}

// compare runs the verifier.
func compare(ctx context.Context, c *config.Config, s streams, v verdict, out *printer,
	stderr *console) (verify.Summary, error) {
	root, err := openSource(c.Source)
	if err != nil {
		return verify.Summary{}, err
	}
	defer root.Close()
	if err := apart(c); err != nil {
		return verify.Summary{}, err
	}
	background, stop := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer stop()

	proofs, err := rememberProofs(c, root, v)
	if err != nil {
		return verify.Summary{}, err
	}
	conf := verifyConfig(background, c, root, stderr, &helpers)
	defer conf.Dialer.Logins.Close()
	conf.Proven = proofs.known()
	verifier, err := verify.New(conf)
	if err != nil {
		return verify.Summary{}, errors.Join(err, proofs.close(false))
	}
	defer verifier.Close()
	helpers.Go(func() { out.run(background) })
	if c.Progress {
		read := func() transfer.Progress {
			now := verifier.Progress()
			return transfer.Progress{
				Entries: now.Entries, TotalEntries: now.TotalEntries,
				Bytes: now.Bytes, TotalBytes: now.TotalBytes, ScanDone: now.ScanDone,
			}
		}
		p := startProgress(background, c, root, read, out, stderr, s)
		defer p.close()
	}
	sum, err := verifier.Tree(ctx, ".", proofs)
	return sum, errors.Join(err, proofs.close(err == nil))
}

// verifyConfig is what the command line says of a comparison: what the copy that it is about would be made with.
// Helpers run until ctx ends.
func verifyConfig(ctx context.Context, c *config.Config, root *scan.Root, stderr *console,
	helpers *sync.WaitGroup) verify.Config {
	copied := engineConfig(c)
	v := verify.Config{
		Root: root, Dialer: copied.Dialer, Session: copied.Session, NanosecondsAuto: copied.NanosecondsAuto,
		IgnoreUnsupported: copied.IgnoreUnsupported, NoExtra: c.NoExtra, Filter: copied.Filter, OneFileSystem: copied.OneFileSystem, Only: copied.Only,
		PartialDir: copied.PartialDir,
		Sessions:   c.Sessions, Readers: c.Readers,
	}
	v.Dialer.Warn = once(stderr.line)
	if c.MOTD && !c.Quiet {
		v.Dialer.MOTD = once(stderr.plain)
	}
	if c.Bandwidth != nil {
		v.Writes = ratelimit.New(c.Bandwidth.At(time.Now()))
		helpers.Go(func() { c.Bandwidth.Run(ctx, v.Writes) })
	}
	if c.ReadLimit > 0 {
		v.Reads = ratelimit.New(c.ReadLimit)
	}
	return v
}

// verdictStatus is the exit status of a comparison. A difference that is certain says more than something unknown.
func verdictStatus(s *verify.Summary, p *problem) int {
	switch {
	case p != nil:
		return p.status
	case s.Different() > 0:
		return exitDiffer
	case s.Uncompared > 0:
		return exitPartial
	}
	return exitDone
}
