package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/syncd/syncd/internal/config"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/transfer"
)

const (
	barEvery  = 250 * time.Millisecond
	lineEvery = time.Minute
)

// A progress counts SRC and shows, until it is stopped, how much of it is done:
// a bar on a terminal, elsewhere one line a minute.
type progress struct {
	read  func() transfer.Progress
	total atomic.Int64 // 0: still counting
	num   numbers
	stop  func()
	done  sync.WaitGroup
}

// startProgress shows what read returns. Lines that out and err take meanwhile
// appear above the bar.
func startProgress(ctx context.Context, c *config.Config, root *scan.Root, read func() transfer.Progress,
	out *printer, err *console, s streams) *progress {
	p := &progress{read: read, num: numbers{c.Human}}
	ctx, p.stop = context.WithCancel(ctx)
	p.done.Go(func() {
		if n, err := root.Count(ctx, countOptions(c), nil); err == nil {
			p.total.Store(n + 1) // the root itself is an entry too
		}
	})
	if !isTerminal(s.err) {
		p.done.Go(func() { p.lines(ctx, err.line) })
		return p
	}
	p.bar(ctx, out, err, s)
	return p
}

// countOptions leaves out what the filter leaves out. Rules in the tree's own
// merge files are not read for it: the count may then be too high, and the time
// left with it, never too low.
func countOptions(c *config.Config) scan.Options {
	o := scan.Options{OneFileSystem: c.OneFS}
	var scope *filter.Scope
	if !c.Filter.Empty() && !c.Filter.HasMerge() {
		var err error
		if scope, err = c.Filter.Root(noMergeFile); err != nil {
			return o
		}
		o.Skip = scope.Skip
	}
	if c.Only != nil {
		c.Only.Select(scope).Choose(&o)
	}
	return o
}

// close takes the bar away and waits until nothing more is written.
func (p *progress) close() {
	p.stop()
	p.done.Wait()
}

func (p *progress) sample() sample {
	now := p.read()
	return sample{
		entries: now.Entries, total: p.total.Load(), found: now.TotalEntries,
		bytes: now.Bytes, known: now.TotalBytes, listed: now.ScanDone,
	}
}

func (p *progress) lines(ctx context.Context, write func(string)) {
	t := newTracker(time.Now())
	tick := time.NewTicker(lineEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s := p.sample()
			write(p.line(t.update(now, s), s))
		}
	}
}

// line is how far the run is, in words.
func (p *progress) line(v view, s sample) string {
	parts := []string{fmt.Sprintf("%s of %s entries", p.num.int(min(s.entries, s.total)), p.num.int(s.total))}
	if s.total == 0 {
		parts = []string{p.num.int(s.entries) + " entries, still counting"}
	} else {
		parts = append([]string{percent(v)}, parts...)
	}
	amount := human0(s.bytes) + "B"
	if s.listed {
		amount += " of " + human0(s.known) + "B"
	}
	parts = append(parts, amount, human0(int64(v.rate))+"B/s")
	if v.left >= 0 {
		parts = append(parts, clock(v.left)+" left")
	}
	return strings.Join(parts, ", ")
}

// percent never says 100 before the end.
func percent(v view) string { return fmt.Sprintf("%d%%", min(int(v.share*100), 99)) }

// human0 is a size in units of 1000, whatever -h says: in a bar it changes too
// fast to be read otherwise.
func human0(n int64) string { return numbers{human: true}.int(n) }

// bar draws on the terminal. mpb owns it while the bar is there, so everything
// else that is to appear goes through mpb.
func (p *progress) bar(ctx context.Context, out *printer, err *console, s streams) {
	bars := mpb.New(mpb.WithOutput(s.err), mpb.WithAutoRefresh(), mpb.WithRefreshRate(barEvery))
	var shown atomic.Pointer[string]
	first := ""
	shown.Store(&first)
	const whole = 1000
	bar := bars.AddBar(whole, mpb.BarRemoveOnComplete(),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return " " + *shown.Load() })))
	w := io.Writer(&aboveBar{bars, s.err})
	before := err.to.Swap(&w)
	if isTerminal(s.out) {
		out.redirect(w)
	}
	p.done.Go(func() {
		t := newTracker(time.Now())
		tick := time.NewTicker(barEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				bar.Abort(true)
				bars.Wait()
				err.to.Store(before)
				if isTerminal(s.out) {
					out.redirect(s.out)
				}
				return
			case now := <-tick.C:
				smp := p.sample()
				v := t.update(now, smp)
				text := p.line(v, smp)
				shown.Store(&text)
				bar.SetCurrent(int64(v.share * (whole - 1)))
			}
		}
	})
}

// aboveBar writes lines above the bar, and after its end where it was.
type aboveBar struct {
	bars  *mpb.Progress
	plain io.Writer
}

func (a *aboveBar) Write(p []byte) (int, error) {
	n, err := a.bars.Write(p)
	if errors.Is(err, mpb.ErrDone) {
		return a.plain.Write(p)
	}
	return n, err
}
