package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/syncd/syncd/internal/cutover"
)

// An Action is what a request wants done.
type Action string

// The actions.
const (
	DoStatus  Action = "status"
	DoPause   Action = "pause"
	DoResume  Action = "resume"
	DoSet     Action = "set"     // Key and Value
	DoWhy     Action = "why"     // Path
	DoCutover Action = "cutover" // Cutover; by Cutover, not by Ask
)

// A Request is one question or order.
type Request struct {
	Do    Action `json:"do"`
	Key   string `json:"key,omitempty"`
	Value string `json:"value,omitempty"`
	Path  string `json:"path,omitempty"` // any bytes; relative to the root of the tree, or absolute

	Cutover *cutover.Plan `json:"cutover,omitempty"`
}

// An Answer is what came of a request.
type Answer struct {
	Syncd  int     `json:"syncd"`           // version of the protocol
	Error  string  `json:"error,omitempty"` // why not; Ask makes a Refused of it
	Status *Status `json:"status,omitempty"`
	Why    *Why    `json:"why,omitempty"`

	Event  *cutover.Event  `json:"event,omitempty"`  // more will come
	Report *cutover.Report `json:"report,omitempty"` // of the cutover, and the end of it
}

// A Handler does what is asked. The server calls it from several goroutines at
// once, and stops waiting for a call after ten seconds. The text of an error goes
// to the client as it is: it says what is wrong and what would be right.
type Handler interface {
	Status() Status
	Pause() error                // nil also if it is paused already
	Resume() error               // nil also if it is not paused
	Set(key, value string) error // knows the keys and checks the values
	Why(path string) (Why, error)
}

// A Cutter is a Handler that can cut over.
type Cutter interface {
	// Cutover does what the plan says and tells emit how it goes. The server calls it
	// once at a time, and waits until it returns: it does so only when the source
	// serves again or the destination has taken over, also if ctx ends, which says that
	// nobody wants it any more. The error is that it was not begun.
	Cutover(ctx context.Context, plan cutover.Plan, emit func(cutover.Event)) (*cutover.Report, error)
}

// decodeRequest reads what a client sent, without its line feed.
func decodeRequest(p []byte) (Request, error) {
	var r Request
	if err := json.Unmarshal(p, &r); err != nil {
		return Request{}, fmt.Errorf("not a request of syncd: %w", err)
	}
	return r, r.check()
}

// check refuses what no handler could answer.
func (r Request) check() error {
	hasSet, hasPath, hasPlan := r.Key != "" || r.Value != "", r.Path != "", r.Cutover != nil
	if hasPlan != (r.Do == DoCutover) {
		return errors.New("cutover takes a plan under the key cutover, and nothing else does")
	}
	switch r.Do {
	case DoCutover:
		if hasSet || hasPath {
			return fmt.Errorf("%s takes nothing else", r.Do)
		}
		return r.Cutover.Check()
	case DoStatus, DoPause, DoResume:
		if hasSet || hasPath {
			return fmt.Errorf("%s takes nothing else", r.Do)
		}
	case DoSet:
		if r.Key == "" || hasPath {
			return errors.New("set takes a key and a value")
		}
	case DoWhy:
		if !hasPath || hasSet {
			return errors.New("why takes a path")
		}
	default:
		return fmt.Errorf("unknown request %.40q: it is status, pause, resume, set, why or cutover", r.Do)
	}
	return nil
}

// answer lets h do what r wants.
func answer(h Handler, r Request) Answer {
	var (
		a   Answer
		err error
	)
	switch r.Do {
	case DoStatus:
		s := h.Status()
		s.derive(time.Now())
		a.Status = &s
	case DoPause:
		err = h.Pause()
	case DoResume:
		err = h.Resume()
	case DoSet:
		err = h.Set(r.Key, r.Value)
	case DoWhy:
		var w Why
		if w, err = h.Why(r.Path); err == nil {
			a.Why = &w
		}
	}
	if err != nil {
		return refusal(err)
	}
	return a
}

// refusal is the answer of a handler that does not want to.
func refusal(err error) Answer {
	if text := unicode(err.Error()); text != "" {
		return Answer{Error: text}
	}
	return Answer{Error: "refused"}
}

// line returns a as it is sent, or what says that it would be too long. Long ones take their time, under load more than a
// client is given to read them.
func (a Answer) line() ([]byte, error) {
	a.Syncd = version
	line, err := json.Marshal(a)
	if err != nil { // a time beyond the year 9999, a rate that is no number
		line, err = json.Marshal(Answer{Syncd: version, Error: "the answer has no JSON form: " + err.Error()})
	} else if len(line)+1 > maxAnswer {
		line, err = json.Marshal(Answer{Syncd: version, Error: fmt.Sprintf("the answer of %d bytes is too long", len(line))})
	}
	return append(line, '\n'), err
}
