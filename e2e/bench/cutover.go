package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// cutoverName is the scenario in which a service is cut over while its source is written: for how long is it frozen?
const cutoverName = "cutover"

// cutoverWrites are the files written in each second until the freeze.
const cutoverWrites = 100

// cutoverMemory is what a service may take.
const cutoverMemory = 150 << 20 // bytes

// cutoverResult is one cutover.
type cutoverResult struct {
	files   int
	restart time.Duration // from the start of the service, with what it remembers, until it says "in sync"
	memory  int64         // bytes: the most that the service took
	report  struct {
		Outcome string
		Reason  string
		Frozen  float64 `json:"frozen_seconds"`
		Phases  []struct {
			State   string
			Seconds float64
		}
		Settled  struct{ Entries, Sent int64 }
		Verified struct{ Files, Proven, Different int64 }
	}
}

// cutovers makes one for each number of files that was asked for.
func (b *bench) cutovers(ctx context.Context) (results []*cutoverResult, err error) {
	if !slices.Contains(b.scenarios, cutoverName) {
		return nil, nil
	}
	for _, files := range b.cutoverFiles {
		r, err := b.cutover(ctx, files)
		if err != nil {
			return results, fmt.Errorf("%s of %d files: %w", cutoverName, files, err)
		}
		results = append(results, r)
	}
	return results, nil
}

func (b *bench) cutover(ctx context.Context, files int) (_ *cutoverResult, err error) {
	b.logf("%s: making trees of %d files", cutoverName, files)
	name := fmt.Sprintf("cutover%d", files)
	s := &side{name: "syncd", src: filepath.Join(b.dir, name), dst: filepath.Join(filepath.Dir(b.dst), name)}
	defer func() { err = errors.Join(err, os.RemoveAll(s.src), os.RemoveAll(s.dst)) }()
	if err := errors.Join(makeLive(s.src, files, perDir), makeLive(s.dst, files, perDir)); err != nil {
		return nil, err
	}
	socket, marks := s.src+".sock", s.src+".marks"
	if err := errors.Join(flush(b.dir), os.Mkdir(marks, 0o755)); err != nil {
		return nil, err
	}
	command := []string{
		b.service, "-a", "--delete", "--state-dir=" + s.src + ".state", "--control=" + socket,
		s.src, b.server.URL("bench/" + name),
	}
	r := &cutoverResult{files: files}
	defer func() {
		if s.run != nil {
			err = errors.Join(err, s.run.stop())
		}
	}()
	peak, err := b.startTwice(ctx, s, command, socket, r)
	if err != nil {
		return nil, err
	}
	writing, stop := context.WithCancel(ctx)
	var writer sync.WaitGroup
	writer.Go(func() { writeUntilFrozen(writing, s.src, marks, files) })
	defer writer.Wait()
	defer stop()
	if err := pause(ctx, 5*time.Second); err != nil {
		return nil, err
	}
	freeze := fmt.Sprintf("cd %s && touch stop && while [ ! -e stopped ]; do sleep 0.002; done", marks)
	out, err := exec.CommandContext(ctx, b.service, "--cutover", "--json", "--control="+socket, "--freeze-hook="+freeze,
		"--thaw-hook=:", "--go-hook=:").Output()
	if jerr := json.Unmarshal(out, &r.report); jerr != nil {
		return nil, errors.Join(err, jerr)
	}
	v := r.report.Verified
	if r.report.Outcome != "done" || v.Different != 0 || v.Files+v.Proven != int64(files) {
		return nil, fmt.Errorf("%s (%s): %d files compared and %d proven earlier", r.report.Outcome, r.report.Reason, v.Files, v.Proven)
	}
	most, err := peak(ctx)
	if err != nil {
		return nil, err
	}
	r.memory = max(r.memory, most)
	b.logf("%s of %d files: frozen for %.2f s, %d sent in it; in sync %.2f s after a restart; memory %.1f MiB", cutoverName, files,
		r.report.Frozen, r.report.Settled.Sent, r.restart.Seconds(), mib(r.memory))
	return r, nil
}

// startTwice starts a service where it knows nothing, and once more where it remembers all: what that takes is noted in
// r. The audit may go on. peak waits for the end of the service and returns its peak memory.
func (b *bench) startTwice(ctx context.Context, s *side, command []string, socket string, r *cutoverResult) (
	peak func(context.Context) (int64, error), err error) {
	for restart := range 2 {
		if restart > 0 {
			if err := s.run.stop(); err != nil {
				return nil, err
			}
			if r.memory, err = peak(ctx); err != nil {
				return nil, err
			}
		}
		if s.run, err = startFollower(command, s.src+".log"); err != nil {
			return nil, err
		}
		peak = s.run.watchMemory()
		if r.restart, err = b.inSync(ctx, s, socket); err != nil {
			return nil, err
		}
	}
	return peak, nil
}

// inSync waits until the service at the socket says that everything is at the destination, and returns how long.
func (b *bench) inSync(ctx context.Context, s *side, socket string) (time.Duration, error) {
	begin := time.Now()
	err := s.until(ctx, restLimit, 50*time.Millisecond, func() (bool, error) {
		var status struct {
			UpTo time.Time `json:"in_sync_up_to"`
		}
		out, err := exec.CommandContext(ctx, b.service, "--status", "--json", "--control="+socket).Output()
		if err == nil { // else it does not listen yet
			err = json.Unmarshal(out, &status)
		} else {
			err = s.run.alive()
		}
		return !status.UpTo.IsZero(), err
	})
	return time.Since(begin), err
}

// writeUntilFrozen rewrites files, evenly, until somebody makes the mark "stop"; then it makes "stopped".
func writeUntilFrozen(ctx context.Context, src, marks string, files int) {
	tick := time.NewTicker(time.Second / cutoverWrites)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if exists(filepath.Join(marks, "stop")) {
			_ = os.WriteFile(filepath.Join(marks, "stopped"), nil, 0o600)
			return
		}
		i := n * 7919 % files
		name := filepath.Join(src, treeDir(i/perDir), fmt.Sprintf("file%04d.dat", i%perDir))
		if os.WriteFile(name, fmt.Appendf(nil, "written %d\n", n), 0o644) != nil {
			return // the report will not be what it should
		}
	}
}

func printCutovers(w io.Writer, results []*cutoverResult) error {
	if len(results) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "\nCutover of a service with %d writes a second, each file proven equal.\n\n", cutoverWrites)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, r := range results {
		times := map[string]float64{}
		for _, p := range r.report.Phases {
			times[p.State] += p.Seconds
		}
		rows = append(rows, []string{
			fmt.Sprint(r.files), fmt.Sprintf("%.2f s", r.report.Frozen),
			fmt.Sprintf("%.2f s, %.2f s", times["settling"], times["verifying"]),
			fmt.Sprintf("%d, %d", r.report.Verified.Files, r.report.Verified.Proven),
			fmt.Sprintf("%.1f s", times["draining"]),
			fmt.Sprintf("%.2f s", r.restart.Seconds()),
			bytesText(float64(r.memory)),
			verdict("≤ 2.00 s, ≤ "+bytesText(cutoverMemory), r.report.Frozen <= 2 && r.memory <= cutoverMemory),
		})
	}
	return printRows(w, []string{"files", "frozen", "settling, verifying", "files compared, proven earlier", "draining", "in sync after a restart",
		"peak memory", "bound"}, rows)
}
