package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/syncd/syncd/internal/config"
	"github.com/syncd/syncd/internal/control"
	"github.com/syncd/syncd/internal/cutover"
)

// cutOver lets the service that follows SRC cut over, shows how it goes, and prints
// the report. It returns the exit status.
func cutOver(ctx context.Context, c *config.Config, s streams) int {
	if c.Source != "" {
		return failed(c, s, &problem{
			status: exitUsage, what: "--cutover", reason: "without a running service not available in this version",
			remedy: "start syncd SRC DEST with --control=PATH, then run this without SRC and DEST",
		})
	}
	ctx, release := abortable(ctx, s.err, os.Exit)
	defer release()
	path, err := socketOf(c)
	if err != nil {
		return failed(c, s, explainAnswer(err))
	}
	news := newTeller(s.err)
	r, err := control.Cutover(ctx, path, c.Cutover, news.tell)
	news.end()
	if err != nil {
		return failed(c, s, explainAnswer(err))
	}
	return printReport(s, r, c.JSON)
}

// printReport writes the report to the standard output.
func printReport(s streams, r *cutover.Report, asJSON bool) int {
	var err error
	if asJSON {
		_, err = io.WriteString(s.out, jsonLine(r))
	} else {
		err = r.WriteText(s.out)
	}
	if err != nil {
		fmt.Fprintln(s.err, "syncd: standard output:", oneLine(err.Error()))
	}
	return r.ExitStatus()
}

// A teller shows the news of a cutover: what is new on a line of its own, and on a
// terminal below it what goes on.
type teller struct {
	w     io.Writer
	width int // columns of the terminal; 0: it is none
	shown bool
}

func newTeller(w io.Writer) *teller {
	t := &teller{w: w}
	if f, ok := w.(*os.File); ok && isTerminal(w) {
		if t.width, _, _ = term.GetSize(int(f.Fd())); t.width < 20 {
			t.width = 0
		}
	}
	return t
}

func (t *teller) tell(e cutover.Event) {
	at := e.At.Local().Format("15:04:05")
	switch {
	case e.Loud:
		t.clear()
		fmt.Fprintln(t.w, "syncd:", e.Text)
	case e.Fresh:
		t.clear()
		fmt.Fprintln(t.w, at, e.Text)
	case t.width > 0:
		line := []rune(at + " " + e.Text)
		t.clear()
		fmt.Fprint(t.w, string(line[:min(len(line), t.width-1)]))
		t.shown = true
	}
}

// clear removes the line that goes on.
func (t *teller) clear() {
	if t.shown {
		fmt.Fprint(t.w, "\r"+strings.Repeat(" ", t.width-1)+"\r")
		t.shown = false
	}
}

func (t *teller) end() { t.clear() }
