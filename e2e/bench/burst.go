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
	var create, there, remove, gone [2]time.Duration
	var left [2]difference
	alone, plain, err := b.plain(ctx)
	if err != nil {
		return err
	}
	for i, s := range both {
		if err := flush(b.dir); err != nil {
			return err
		}
		begin := time.Now()
		if err := makeBurst(filepath.Join(s.src, burstDir), b.burstFiles); err != nil {
			return err
		}
		create[i] = time.Since(begin)
		err := s.awaitBurst(ctx, b.burstFiles)
		if there[i] = time.Since(begin); err != nil {
			return err
		}
		b.logf("%s: %d files made in %v, all there after %v", s.name, b.burstFiles, create[i], there[i])
		if err := b.atRest(ctx, s, restLimit); err != nil {
			return err
		}
		if left[i], err = compare(s.dst, s.src); err != nil {
			return err
		}
	}
	for i, s := range both {
		if err := flush(b.dir); err != nil {
			return err
		}
		begin := time.Now()
		if out, err := exec.CommandContext(ctx, "rm", "-rf", filepath.Join(s.src, burstDir)).CombinedOutput(); err != nil {
			return fmt.Errorf("rm -rf: %w: %s", err, out)
		}
		remove[i] = time.Since(begin)
		err := s.await(ctx, burstDir, false)
		if gone[i] = time.Since(begin); err != nil {
			return err
		}
		b.logf("%s: rm -rf took %v, gone after %v", s.name, remove[i], gone[i])
		if err := b.atRest(ctx, s, restLimit); err != nil {
			return err
		}
	}
	r.title = fmt.Sprintf("%d files made in one directory, then `rm -rf`", b.burstFiles)
	// Whoever makes them more slowly than rsync copies them is who is waited for.
	limit := max(plain, create[0]) + burstSlack
	r.rows = append(r.rows,
		[]string{"making them, nobody follows", secondsText(alone.Seconds()), "", "", "", ""},
		[]string{"plain `rsync -a` of them", secondsText(plain.Seconds()), "", "", "", ""},
		durations("making them", create, ""),
		durations("all there, from the first", there, verdict("≤ "+secondsText(limit.Seconds()), there[0] <= limit)),
		counts("differing content at rest", left[0].content, left[1].content),
		counts("other modes or times at rest", left[0].attributes, left[1].attributes),
		durations("`rm -rf`", remove, ""),
		durations("gone, from its beginning", gone, verdict("≤ 3.00 s", gone[0] <= burstGone)))
	return r.addProcesses(both)
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
	name := fmt.Sprintf("live%d-plain", b.lives)
	src := filepath.Join(b.dir, name)
	begin := time.Now()
	if err := makeBurst(src, b.burstFiles); err != nil {
		return 0, 0, err
	}
	alone = time.Since(begin)
	if err := errors.Join(flush(b.dir), warm(src)); err != nil {
		return 0, 0, err
	}
	u, err := measure(ctx, []string{"rsync", "-a", src + "/", b.server.URL("bench/" + name)})
	b.logf("%d files made in %v, rsync -a takes %v", b.burstFiles, alone, u.Wall)
	return alone, u.Wall, err
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

// addProcesses adds what the programs themselves took since they were started.
func (r *liveResult) addProcesses(both sides) error {
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
		[]string{"peak memory, without children", bytesText(float64(most[0])), bytesText(float64(most[1])),
			ratioText(float64(most[0]), float64(most[1])), "", ""})
	return nil
}
