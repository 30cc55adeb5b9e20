package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// liveNames are the scenarios in which programs follow changes, in the order in which they run.
var liveNames = []string{"live-latency", "live-burst", "live-rate", "live-idle"}

const (
	incumbent = "lsyncd" // what following is judged by

	restLimit = 5 * time.Minute       // for anything that must come to an end
	restCPU   = 20 * time.Millisecond // less, in the span that --live-rest gives, is no work
)

// liveResult is all that is known of a scenario of following programs.
type liveResult struct {
	title  string
	rows   [][]string
	others float64 // share of the processors that neither the programs, the daemon nor the benchmark took
}

var liveHeader = []string{"", "syncd", incumbent, "ratio", "spread", "bound"}

// side is one program that follows a source of its own to a destination of its own. Both run at the same time: what one
// waits for, the other does not disturb, and their turns lie close together.
type side struct {
	name     string
	src, dst string
	run      *follower
}

type sides [2]*side

// live runs the scenarios that were asked for. With an error it returns the results up to there.
func (b *bench) live(ctx context.Context) (results []*liveResult, err error) {
	for _, name := range liveNames {
		if !slices.Contains(b.scenarios, name) {
			continue
		}
		if _, err := exec.LookPath(incumbent); err != nil && b.defaults {
			b.logf("%s: left out: %v", name, err)
			continue
		}
		if name != "live-latency" {
			r, err := b.liveScenario(ctx, name, b.tree)
			if err != nil {
				return results, fmt.Errorf("%s: %w", name, err)
			}
			results = append(results, r)
			continue
		}
		for _, files := range []int{b.tree, b.files} {
			r, err := b.liveScenario(ctx, name, files)
			if err != nil {
				return results, fmt.Errorf("%s: %w", name, err)
			}
			results = append(results, r)
		}
	}
	return results, nil
}

// liveScenario makes equal trees, lets both programs follow them, and runs one scenario.
func (b *bench) liveScenario(ctx context.Context, name string, files int) (r *liveResult, err error) {
	each := perDir
	if name == "live-idle" {
		files, each = b.dirs, 1
	}
	b.logf("%s: making trees of %d files, %d to a directory", name, files, each)
	create := func(dir string) error { return makeLive(dir, files, each) }
	b.lives++
	both, err := b.follow(ctx, create)
	defer func() { err = errors.Join(err, both.stop()) }()
	if err != nil {
		return nil, err
	}
	meter, err := b.meter(both)
	if err != nil {
		return nil, err
	}
	r = new(liveResult)
	switch name {
	case "live-latency":
		err = b.latency(ctx, both, r, files)
	case "live-burst":
		err = b.burst(ctx, both, r)
	case "live-rate":
		err = b.rate(ctx, both, r)
	default:
		err = b.rest(ctx, both, r)
	}
	if err != nil {
		return nil, errors.Join(err, both.alive())
	}
	r.others, err = meter()
	return r, err
}

// follow makes source and destination of both sides, starts the programs and waits until they have nothing to do.
func (b *bench) follow(ctx context.Context, create func(dir string) error) (sides, error) {
	var both sides
	for i, name := range []string{"syncd", incumbent} {
		tree := fmt.Sprintf("live%d-%s", b.lives, name)
		s := &side{name: name, src: filepath.Join(b.dir, tree), dst: filepath.Join(filepath.Dir(b.dst), tree)}
		if err := errors.Join(create(s.src), create(s.dst)); err != nil {
			return both, err
		}
		both[i] = s
	}
	if err := flush(b.dir); err != nil {
		return both, err
	}
	for i, s := range both {
		command, err := b.liveCommand(i, s)
		if err != nil {
			return both, err
		}
		if s.run, err = startFollower(command, filepath.Join(b.dir, filepath.Base(s.src)+".log")); err != nil {
			return both, err
		}
		if err := b.settled(ctx, s); err != nil {
			return both, err
		}
	}
	return both, nil
}

// liveCommand is the command line of one side.
func (b *bench) liveCommand(i int, s *side) ([]string, error) {
	url := b.server.URL("bench/" + filepath.Base(s.dst))
	config := s.src + ".lua"
	text := fmt.Sprintf(lsyncdConfig, config+".log", s.src, url)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	var command []string
	for _, word := range strings.Fields([2]string{b.liveSyncd, b.lsyncd}[i]) {
		command = append(command, strings.NewReplacer("{src}", s.src, "{dst}", url, "{config}", config).Replace(word))
	}
	return command, nil
}

// lsyncdConfig is what an operator who wants changes at once would write. Other values, maxProcesses = 1 among them,
// are the defaults of default.rsync.
const lsyncdConfig = `settings { logfile = %q, nodaemon = true, insist = true }
sync {
	default.rsync,
	source = %q,
	target = %q,
	delay = 0,
	maxDelays = 1,
	delete = true,
	rsync = { archive = true },
}
`

// settled waits until a file written now has arrived, and the program and the daemon do nothing more.
func (b *bench) settled(ctx context.Context, s *side) error {
	begin := time.Now()
	if err := s.arrives(ctx); err != nil {
		return err
	}
	if err := b.atRest(ctx, s, restLimit); err != nil {
		return err
	}
	b.logf("%s follows and is at rest after %.1f s", s.name, time.Since(begin).Seconds())
	return nil
}

// arrives waits until a file made now is at the destination, and gone there when it is gone here.
func (s *side) arrives(ctx context.Context) error {
	const probe = ".probe"
	if err := os.WriteFile(filepath.Join(s.src, probe), []byte("probe"), 0o644); err != nil {
		return err
	}
	if err := s.await(ctx, probe, true); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(s.src, probe)); err != nil {
		return err
	}
	return s.await(ctx, probe, false)
}

// await waits until a path is there, or gone, at the destination.
func (s *side) await(ctx context.Context, path string, there bool) error {
	name := filepath.Join(s.dst, path)
	return s.until(ctx, restLimit, 5*time.Millisecond, func() (bool, error) { return exists(name) == there, nil })
}

func exists(name string) bool {
	var st unix.Stat_t
	return unix.Lstat(name, &st) == nil
}

// errLate is what until returns when its limit is over.
var errLate = errors.New("it takes too long")

// until asks again and again until the answer is yes.
func (s *side) until(ctx context.Context, limit, pause time.Duration, done func() (bool, error)) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for begin := time.Now(); ; {
		if yes, err := done(); yes || err != nil {
			return err
		}
		if time.Since(begin) > limit {
			return fmt.Errorf("%s: %w: %v", s.name, errLate, limit)
		}
		select {
		case <-tick.C:
		case <-s.run.ended:
			return s.run.alive()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// atRest waits until neither the program nor the daemon works.
func (b *bench) atRest(ctx context.Context, s *side, limit time.Duration) error {
	var since time.Time
	var then time.Duration
	return s.until(ctx, limit, 100*time.Millisecond, func() (bool, error) {
		own, err := treeCPU(s.run.pid())
		if err != nil {
			return false, err
		}
		served, err := treeCPU(b.server.PID())
		if err != nil {
			return false, err
		}
		if now := own + served; since.IsZero() || now-then > restCPU {
			since, then = time.Now(), now
		}
		return time.Since(since) >= b.span, nil
	})
}

func (both sides) stop() (err error) {
	for _, s := range both {
		if s != nil && s.run != nil {
			err = errors.Join(err, s.run.stop())
		}
	}
	return err
}

func (both sides) alive() (err error) {
	for _, s := range both {
		err = errors.Join(err, s.run.alive())
	}
	return err
}

// meter begins to measure what else the machine does. The function it returns says the share of the processors.
func (b *bench) meter(both sides) (func() (float64, error), error) {
	own := func() (time.Duration, error) {
		sum := time.Duration(0)
		for _, pid := range []int{os.Getpid(), b.server.PID(), both[0].run.pid(), both[1].run.pid()} {
			t, err := familyCPU(pid)
			if err != nil {
				return 0, err
			}
			sum += t
		}
		return sum, nil
	}
	begin := time.Now()
	all, err := machineCPU()
	if err != nil {
		return nil, err
	}
	ours, err := own()
	return func() (float64, error) {
		allNow, err := machineCPU()
		if err != nil {
			return 0, err
		}
		oursNow, err := own()
		foreign := max(0, allNow-all-(oursNow-ours))
		return foreign.Seconds() / time.Since(begin).Seconds() / cpus, err
	}, err
}
