package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// flushEvery is how long a line of the results may wait in the buffer.
const flushEvery = 200 * time.Millisecond

// A printer is the standard output: buffered, because a first copy may print
// millions of names, and yet never more than flushEvery behind. Safe for
// concurrent use. The first write error is kept.
type printer struct {
	mu  sync.Mutex
	w   *bufio.Writer
	err error
}

func newPrinter(w io.Writer) *printer { return &printer{w: bufio.NewWriterSize(w, 64<<10)} }

// redirect sends what follows to w: lines above a progress bar go through it.
func (p *printer) redirect(w io.Writer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flush()
	p.w.Reset(w)
}

func (p *printer) print(parts ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range parts {
		if _, err := p.w.WriteString(s); err != nil && p.err == nil {
			p.err = err
		}
	}
}

// flush needs the lock.
func (p *printer) flush() {
	if err := p.w.Flush(); err != nil && p.err == nil {
		p.err = err
	}
}

// close writes what is left and returns the first error there was.
func (p *printer) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flush()
	return p.err
}

// run flushes until ctx is done.
func (p *printer) run(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.mu.Lock()
			p.flush()
			p.mu.Unlock()
		}
	}
}

// isTerminal reports whether w is one.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
