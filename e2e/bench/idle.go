package main

import (
	"context"
	"fmt"
	"time"
)

const (
	idleSpans  = 10 // of rest: 20 s
	idleCPU    = 10 * time.Millisecond
	idleMemory = 60 << 20
)

// rest measures what programs take that have many directories to follow and nothing to do.
func (b *bench) rest(ctx context.Context, both sides, r *liveResult) error {
	var before, used [2]time.Duration
	var now, most [2]int64
	for i, s := range both {
		var err error
		if before[i], err = treeCPU(s.run.pid()); err != nil {
			return err
		}
	}
	if err := pause(ctx, idleSpans*b.span); err != nil {
		return err
	}
	for i, s := range both {
		after, err := treeCPU(s.run.pid())
		if err != nil {
			return err
		}
		used[i] = after - before[i]
		if now[i], most[i], err = s.run.memory(); err != nil {
			return err
		}
	}
	r.title = fmt.Sprintf("%.0f s of rest with %d directories", (idleSpans * b.span).Seconds(), b.dirs)
	memory := func(name string, n [2]int64, bound string) []string {
		return []string{name, bytesText(float64(n[0])), bytesText(float64(n[1])),
			ratioText(float64(n[0]), float64(n[1])), "", bound}
	}
	r.rows = append(r.rows,
		memory("resident memory", now, verdict("≤ 60.0 MiB", now[0] <= idleMemory)),
		memory("peak, since its start", most, ""),
		[]string{"CPU", msText(used[0].Seconds()), msText(used[1].Seconds()), "", "", verdict("< 10 ms", used[0] < idleCPU)})
	b.logf("%s: memory %v, CPU %v", r.title, now, used)
	return nil
}
