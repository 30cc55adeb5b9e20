package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/syncd/syncd/internal/config"
	"github.com/syncd/syncd/internal/control"
	"github.com/syncd/syncd/internal/cutover"
	"github.com/syncd/syncd/internal/daemon"
	"github.com/syncd/syncd/systemd/notify"
)

// cutOver moves the service from SRC to DEST, by whoever follows SRC: a service that
// runs, or this process. It shows how it goes, and prints the report. It returns the
// exit status.
func cutOver(ctx context.Context, c *config.Config, s streams) int {
	ctx, release := abortable(ctx, s.err, os.Exit)
	defer release()
	news := newTeller(s.err)
	by := cutOverThere
	if c.Source != "" {
		by = cutOverHere
	}
	r, p := by(ctx, c, s, news)
	news.end()
	if p != nil {
		return failed(c, s, p)
	}
	return printReport(s, r, c.JSON)
}

// cutOverThere asks the service that runs.
func cutOverThere(ctx context.Context, c *config.Config, _ streams, news *teller) (*cutover.Report, *problem) {
	path, err := socketOf(c)
	if err != nil {
		return nil, explainAnswer(err)
	}
	r, err := control.Cutover(ctx, path, c.Cutover, news.tell)
	if err != nil {
		return nil, explainAnswer(err)
	}
	return r, nil
}

// cutOverHere follows SRC itself.
func cutOverHere(ctx context.Context, c *config.Config, s streams, news *teller) (*cutover.Report, *problem) {
	level := c.LogLevel
	if level == slog.LevelInfo { // what it would say is in the news
		level = slog.LevelWarn
	}
	conf, err := serviceConfig(c, slog.New(notify.Limit(notify.Logger(s.err, level).Handler(), "path")))
	if err != nil {
		return nil, explainService(err)
	}
	defer conf.Engine.Dialer.Logins.Close()
	interrupt, give := context.WithCancelCause(context.WithoutCancel(ctx))
	defer give(nil)
	defer context.AfterFunc(ctx, func() { give(cutover.ErrInterrupted) })()
	r, err := daemon.CutOver(interrupt, conf, c.Cutover, news.tell)
	switch {
	case errors.Is(err, cutover.ErrInterrupted):
		return nil, explain(errInterrupted)
	case err != nil:
		return nil, explainService(err)
	}
	return r, nil
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
