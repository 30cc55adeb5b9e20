package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	burstDir   = "burst"
	burstSize  = 1 << 10
	burstSlack = 2 * time.Second // over what a plain rsync takes
	burstGone  = 3 * time.Second
)

// burst measures many files that appear in one new directory and go again. First both programs get the files, then both
// lose them: for half a minute after a removal ext4 is slow to make files, see putAside.
func (b *bench) burst(ctx context.Context, both sides, r *liveResult) error {
	alone, plain, err := b.plain(ctx)
	if err != nil {
		return err
	}
	var made, removed [2]wave
	var left [2]difference
	for i, s := range both {
		made[i], err = b.wave(ctx, s,
			func() error { return makeBurst(filepath.Join(s.src, burstDir), b.burstFiles) },
			func() error { return s.awaitBurst(ctx, b.burstFiles) })
		if err != nil {
			return err
		}
		if left[i], err = compare(s.dst, s.src); err != nil {
			return err
		}
	}
	for i, s := range both {
		removed[i], err = b.wave(ctx, s,
			func() error { return removeAll(ctx, filepath.Join(s.src, burstDir)) },
			func() error { return s.await(ctx, burstDir, false) })
		if err != nil {
			return err
		}
	}
	begin := time.Now()
	if err := removeAll(ctx, b.plainDir()); err != nil {
		return err
	}
	removeAlone := time.Since(begin)
	r.title = fmt.Sprintf("%d files made in one directory, then `rm -rf`", b.burstFiles)
	// The bounds are those that were promised. Where making or removing the files takes longer by itself, as on a slow
	// disk, they are missed by no fault of the follower; the rows beside them show it.
	limit, goneLimit := plain+burstSlack, burstGone
	r.rows = append(r.rows,
		[]string{"making them, nobody follows", secondsText(alone.Seconds()), "", "", "", ""},
		[]string{"plain `rsync -a` of them", secondsText(plain.Seconds()), "", "", "", ""},
		durations("making them", [2]time.Duration{made[0].source, made[1].source}, ""),
		durations("all there, from the first", [2]time.Duration{made[0].both, made[1].both},
			verdict("≤ "+secondsText(limit.Seconds()), made[0].both <= limit)),
		counts("differing content at rest", left[0].content, left[1].content),
		counts("other modes or times at rest", left[0].attributes, left[1].attributes),
		[]string{"`rm -rf`, nobody follows", secondsText(removeAlone.Seconds()), "", "", "", ""},
		durations("`rm -rf`", [2]time.Duration{removed[0].source, removed[1].source}, ""),
		durations("gone, from its beginning", [2]time.Duration{removed[0].both, removed[1].both},
			verdict("≤ "+secondsText(goneLimit.Seconds()), removed[0].both <= goneLimit)))
	return r.addProcesses(both, [2]time.Duration{made[0].served + removed[0].served, made[1].served + removed[1].served})
}

// wave is how long a large change took from its beginning: at the source, and until the destination had it.
type wave struct{ source, both, served time.Duration }

// wave makes a change, waits until it has arrived, and until all is at rest, which is not counted but for the server's
// processor time.
func (b *bench) wave(ctx context.Context, s *side, change, arrived func() error) (wave, error) {
	var w wave
	if err := flush(b.dir); err != nil {
		return w, err
	}
	before, err := familyCPU(b.server.PID())
	if err != nil {
		return w, err
	}
	begin := time.Now()
	if err := change(); err != nil {
		return w, err
	}
	w.source = time.Since(begin)
	if err := arrived(); err != nil {
		return w, err
	}
	w.both = time.Since(begin)
	b.logf("%s: %v at the source, arrived after %v", s.name, w.source, w.both)
	if err := b.atRest(ctx, s, restLimit); err != nil {
		return w, err
	}
	after, err := familyCPU(b.server.PID())
	w.served = after - before
	return w, err
}

// makeBurst makes a directory with files.
func makeBurst(dir string, files int) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	content := make([]byte, burstSize)
	source := seed(6)
	for i := range files {
		if _, err := source.Read(content); err != nil {
			return err
		}
		if err := os.WriteFile(burstName(dir, i), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func burstName(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("file%06d.dat", i)) }

// awaitBurst waits until all files are there. Each is seen once, so that waiting costs little.
func (s *side) awaitBurst(ctx context.Context, files int) error {
	dir := filepath.Join(s.dst, burstDir)
	seen := 0
	return s.until(ctx, restLimit, 5*time.Millisecond, func() (bool, error) {
		for seen < files && exists(burstName(dir, seen)) {
			seen++
		}
		return seen == files, nil
	})
}

// plain is how long it takes to make the files where nobody looks, and then to copy them by rsync.
func (b *bench) plain(ctx context.Context) (alone, copied time.Duration, err error) {
	src := b.plainDir()
	begin := time.Now()
	if err := makeBurst(src, b.burstFiles); err != nil {
		return 0, 0, err
	}
	alone = time.Since(begin)
	if err := errors.Join(flush(b.dir), warm(src)); err != nil {
		return 0, 0, err
	}
	u, err := measure(ctx, []string{"rsync", "-a", src + "/", b.server.URL("bench/" + filepath.Base(src))})
	b.logf("%d files made in %v, rsync -a takes %v", b.burstFiles, alone, u.Wall)
	return alone, u.Wall, err
}

// plainDir is where files are that nobody follows.
func (b *bench) plainDir() string { return filepath.Join(b.dir, fmt.Sprintf("live%d-plain", b.lives)) }

// removeAll is what an operator does, who does not use this program.
func removeAll(ctx context.Context, dir string) error {
	if out, err := exec.CommandContext(ctx, "rm", "-rf", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("rm -rf %s: %w: %s", dir, err, out)
	}
	return nil
}

// durations is a row of times.
func durations(name string, t [2]time.Duration, bound string) []string {
	return []string{name, secondsText(t[0].Seconds()), secondsText(t[1].Seconds()),
		ratioText(t[0].Seconds(), t[1].Seconds()), "", bound}
}

// counts is a row of what should not be.
func counts(name string, a, b int) []string {
	return []string{name, fmt.Sprint(a), fmt.Sprint(b), "", "", verdict("0", a == 0)}
}

// addProcesses adds what the programs themselves took since they were started, and the server for them.
func (r *liveResult) addProcesses(both sides, served [2]time.Duration) error {
	var used [2]time.Duration
	var most [2]int64
	for i, s := range both {
		var err error
		if used[i], err = familyCPU(s.run.pid()); err != nil {
			return err
		}
		if _, most[i], err = s.run.memory(); err != nil {
			return err
		}
	}
	r.rows = append(r.rows, durations("CPU of the sender, from its start", used, ""),
		durations("CPU of the server", served, ""),
		[]string{"peak memory, without children", bytesText(float64(most[0])), bytesText(float64(most[1])),
			ratioText(float64(most[0]), float64(most[1])), "", ""})
	return nil
}
