package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/syncd/syncd/internal/printable"
)

// A Refused is an error in the words of the service: it is there and does not
// want to do what was asked.
type Refused struct{ Reason string }

func (e *Refused) Error() string { return e.Reason }

// An AskError says why the service could not be asked at all.
type AskError struct {
	Path   string // of the socket; may be empty
	Reason string
	Remedy string // what the operator can do; may be empty
	Err    error  // the cause; may be nil
}

// Error is one line: "path: reason; remedy".
func (e *AskError) Error() string {
	s := e.Reason
	if e.Path != "" {
		s = e.Path + ": " + s
	}
	if e.Remedy != "" {
		s += "; " + e.Remedy
	}
	return s
}

func (e *AskError) Unwrap() error { return e.Err }

// Find is the socket to ask if the caller names none: that of the only instance
// of syncd@.service that runs. With none or several the *AskError names what to do.
func Find() (string, error) { return find(RuntimeDir) }

func find(dir string) (string, error) {
	all, err := filepath.Glob(filepath.Join(dir, "*", SocketName))
	if err != nil { // the pattern is ours
		return "", &AskError{Reason: err.Error(), Err: err}
	}
	switch len(all) {
	case 1:
		return all[0], nil
	case 0:
		return "", &AskError{
			Reason: "no running service found in " + dir,
			Remedy: "see systemctl list-units 'syncd@*', or name its socket by --control=PATH",
		}
	}
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = filepath.Base(filepath.Dir(p))
	}
	return "", &AskError{
		Reason: fmt.Sprintf("%d services run: %s", len(all), strings.Join(names, ", ")),
		Remedy: "name one of their sockets, such as --control=" + all[0],
	}
}

// Ask sends r to the service at path and returns its answer. It waits until ctx
// ends, at most half a minute. The error is a *Refused if the service said no, and
// else an *AskError, or ctx's.
func Ask(ctx context.Context, path string, r Request) (Answer, error) {
	line, err := r.encode()
	if err != nil {
		return Answer{}, err
	}
	conn, err := dial(ctx, path)
	if err != nil {
		return Answer{}, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(askTimeout))
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })()
	p, err := exchange(conn, line)
	if err != nil && len(p) == 0 {
		if ctx.Err() != nil {
			return Answer{}, ctx.Err()
		}
		return Answer{}, silent(path, bare(err))
	}
	return decodeAnswer(path, p)
}

// encode is the line to send.
func (r Request) encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, &Refused{Reason: err.Error()}
	}
	line, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if len(line)+1 > maxRequest {
		return nil, &Refused{Reason: errTooLong.Error()}
	}
	return append(line, '\n'), nil
}

func dial(ctx context.Context, path string) (*net.UnixConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		return conn.(*net.UnixConn), nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, unreachable(path, bare(err))
}

// exchange sends a line and reads all of the answer.
func exchange(conn net.Conn, line []byte) ([]byte, error) {
	// A server that refuses may close before it has read all: what it said counts.
	_, sent := conn.Write(line)
	p, err := io.ReadAll(io.LimitReader(conn, maxAnswer+1))
	if err == nil && len(p) == 0 {
		err = sent
		if err == nil {
			err = io.EOF
		}
	}
	return p, err
}

func decodeAnswer(path string, p []byte) (Answer, error) {
	var a Answer
	err := json.Unmarshal(p, &a)
	switch {
	case len(p) > 0 && p[len(p)-1] != '\n' && strings.HasPrefix(string(p), `{"syncd":`):
		return Answer{}, &AskError{
			Path: path, Reason: "the answer was cut off", Remedy: remedyFor(path), Err: io.ErrUnexpectedEOF,
		}
	case err != nil, a.Syncd == 0:
		return Answer{}, &AskError{
			Path: path, Reason: "not the control socket of a syncd", Remedy: "check the path given by --control", Err: err,
		}
	case a.Syncd != version:
		return Answer{}, &AskError{
			Path:   path,
			Reason: fmt.Sprintf("the service speaks version %d of the control protocol and this program %d", a.Syncd, version),
			Remedy: "use the syncd that the service was started from, or restart the service",
		}
	case a.Error != "":
		return Answer{}, &Refused{Reason: printable.Text(a.Error)}
	}
	return a, nil
}

// unreachable explains why no connection came about.
func unreachable(path string, err error) *AskError {
	e := &AskError{Path: path, Reason: err.Error(), Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Reason, e.Remedy = "no such socket", "is the service running? "+remedyFor(path)
	case errors.Is(err, fs.ErrPermission):
		e.Reason, e.Remedy = "permission denied", "run this as root or as the service's user"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Reason, e.Remedy = "nobody answers", "has the service ended? "+remedyFor(path)
		if fi, statErr := os.Stat(path); statErr == nil && fi.Mode().Type() != fs.ModeSocket {
			e.Reason, e.Remedy = "not a socket", "check the path given by --control"
		}
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EPROTOTYPE):
		e.Reason, e.Remedy = "not the control socket of a syncd", "check the path given by --control"
	case errors.Is(err, syscall.EAGAIN):
		e.Reason, e.Remedy = "the service does not take connections: it is stuck or overloaded", remedyFor(path)
	}
	return e
}

// silent explains why no answer came.
func silent(path string, err error) *AskError {
	e := &AskError{Path: path, Reason: err.Error(), Remedy: remedyFor(path), Err: err}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Reason = fmt.Sprintf("no answer within %s", askTimeout)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		e.Reason = "the service closed the connection without an answer: it is ending, or is no syncd"
	}
	return e
}

// remedyFor is the command that shows more about the service behind path.
func remedyFor(path string) string {
	name := Instance(path)
	if name == "" {
		name = "NAME"
	}
	return "systemctl status syncd@" + name
}
