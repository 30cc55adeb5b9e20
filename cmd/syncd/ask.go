package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/syncd/syncd/internal/config"
	"github.com/syncd/syncd/internal/control"
)

// ask passes a command on to a running service and prints what it answers. It
// returns the exit status.
func ask(ctx context.Context, c *config.Config, s streams) int {
	a, err := answerOf(ctx, c)
	if err != nil {
		return failed(c, s, explainAnswer(err))
	}
	if err := printAnswer(s.out, a, c.JSON, time.Now()); err != nil {
		fmt.Fprintln(s.err, "syncd: standard output:", oneLine(err.Error()))
		return exitFailed
	}
	return exitDone
}

// failed says why there is no answer, and returns the exit status.
func failed(c *config.Config, s streams, p *problem) int {
	if c.JSON {
		io.WriteString(s.out, jsonLine(errorEvent(p)))
	} else {
		fmt.Fprintln(s.err, "syncd:", p)
	}
	return p.status
}

func answerOf(ctx context.Context, c *config.Config) (control.Answer, error) {
	path, err := socketOf(c)
	if err != nil {
		return control.Answer{}, err
	}
	return control.Ask(ctx, path, c.Request)
}

// socketOf is the control socket of the service to ask.
func socketOf(c *config.Config) (string, error) {
	if c.Control != "" {
		return c.Control, nil
	}
	return control.Find()
}

// printAnswer writes a. What was done and has no answer but that leaves nothing
// to print.
func printAnswer(w io.Writer, a control.Answer, asJSON bool, now time.Time) error {
	var answer interface {
		WriteText(io.Writer, time.Time) error
	}
	switch {
	case a.Status != nil:
		answer = a.Status
	case a.Why != nil:
		answer = a.Why
	default:
		return nil
	}
	if asJSON {
		_, err := io.WriteString(w, jsonLine(answer))
		return err
	}
	return answer.WriteText(w, now)
}

// explainAnswer makes a problem of an error of control's.
func explainAnswer(err error) *problem {
	var (
		unasked *control.AskError
		refused *control.Refused
	)
	switch {
	case errors.As(err, &refused):
		return &problem{status: exitFailed, reason: oneLine(refused.Reason)}
	case errors.As(err, &unasked):
		return &problem{
			status: exitFailed, what: escape(unasked.Path, false),
			reason: oneLine(unasked.Reason), remedy: unasked.Remedy,
		}
	}
	return explain(err)
}
