package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const latencySize = 2 << 10

// latency measures from the close of a new small file until its content is at the destination, in turns, each time with
// both programs at rest.
func (b *bench) latency(ctx context.Context, both sides, r *liveResult, files int) error {
	source := seed(4)
	random := rand.New(source)
	content := make([]byte, latencySize)
	var taken [2][]float64
	for i := range b.liveFiles {
		dir := random.IntN((files + perDir - 1) / perDir)
		name := filepath.Join(treeDir(dir), fmt.Sprintf("new%04d", i))
		if _, err := source.Read(content); err != nil {
			return err
		}
		for turn := range both {
			s := (turn + i) % 2 // A B, B A, ...
			t, err := both[s].visible(ctx, name, content)
			if err != nil {
				return err
			}
			taken[s] = append(taken[s], t.Seconds())
			// What follows, such as the directory's time, is done before the next one.
			if err := pause(ctx, 300*time.Millisecond+time.Duration(random.IntN(400))*time.Millisecond); err != nil {
				return err
			}
		}
	}
	var ratios []float64
	for i, t := range taken[0] {
		ratios = append(ratios, t/taken[1][i])
	}
	r.title = fmt.Sprintf("one of %d new files in a tree of %d, from close to visible", b.liveFiles, files)
	middle := [2]float64{median(taken[0]), median(taken[1])}
	r.rows = append(r.rows,
		[]string{"median", msText(middle[0]), msText(middle[1]), ratioText(middle[0], middle[1]), extremes(ratios),
			verdict("≤ 0.25", middle[0] <= 0.25*middle[1])},
		[]string{"95 of 100 within", msText(share(taken[0], 0.95)), msText(share(taken[1], 0.95)),
			ratioText(share(taken[0], 0.95), share(taken[1], 0.95)), "", ""},
		[]string{"extremes", extremesMs(taken[0]), extremesMs(taken[1]), "", "", ""})
	b.logf("%s: median %s and %s", r.title, r.rows[0][1], r.rows[0][2])
	return nil
}

// visible makes a file and returns how long after its close the destination has it.
func (s *side) visible(ctx context.Context, name string, content []byte) (time.Duration, error) {
	to := filepath.Join(s.dst, name)
	watch, err := watchDir(filepath.Dir(to))
	if err != nil {
		return 0, err
	}
	defer watch.Close()
	f, err := os.Create(filepath.Join(s.src, name))
	if err != nil {
		return 0, err
	}
	if _, err := f.Write(content); err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := f.Close(); err != nil {
		return 0, err
	}
	if err := watch.SetReadDeadline(begin.Add(time.Minute)); err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { _ = watch.SetReadDeadline(begin) })
	defer stop()
	events := make([]byte, 64<<10)
	for {
		b, err := os.ReadFile(to)
		if now := time.Now(); err == nil && bytes.Equal(b, content) {
			return now.Sub(begin), nil
		}
		if _, err := watch.Read(events); err != nil {
			return 0, errors.Join(ctx.Err(), s.run.alive(), fmt.Errorf("%s: wait for %s: %w", s.name, to, err))
		}
	}
}

// watchDir returns what can be read when something has happened to an entry of the directory.
func watchDir(dir string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	const news = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO
	if _, err := unix.InotifyAddWatch(fd, dir, news); err != nil {
		f.Close()
		return nil, os.NewSyscallError("inotify_add_watch", err)
	}
	return f, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// share is the least value that this share of the values does not exceed.
func share(values []float64, of float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, int(math.Ceil(of*float64(len(sorted))))-1)]
}

func msText(s float64) string { return fmt.Sprintf("%.1f ms", s*1e3) }

func extremesMs(values []float64) string {
	return fmt.Sprintf("%.0f-%.0f ms", slices.Min(values)*1e3, slices.Max(values)*1e3)
}

func ratioText(a, b float64) string {
	if b <= 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", a/b)
}

func extremes(ratios []float64) string {
	if len(ratios) < 2 {
		return ""
	}
	return fmt.Sprintf("%.2f-%.2f", slices.Min(ratios), slices.Max(ratios))
}
