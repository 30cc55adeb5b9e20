package notify

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// Logger writes each record as one line to w: the message, then key=value for
// each attribute, quoted where needed.
//
// If w is what systemd connected to the journal (JOURNAL_STREAM=), the line
// begins with the priority as the journal understands it (sd-daemon(3)), so that
// journalctl -p works, and has no time, which the journal adds. Elsewhere it
// begins with time and level.
//
// The attributes "time", "level" and "msg" outside of a group are not written.
func Logger(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(newHandler(w, level, isJournal(w, os.Getenv("JOURNAL_STREAM"))))
}

// isJournal reports whether w is the stream that systemd described in
// JOURNAL_STREAM, device and inode: a service's output may have been redirected
// since, and the variable is inherited.
func isJournal(w io.Writer, stream string) bool {
	f, ok := w.(*os.File)
	if !ok || stream == "" {
		return false
	}
	fi, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// A handler writes lines. Those made from it by With share its buffer and lock.
type handler struct {
	*line
	level   slog.Leveler
	journal bool
	attrs   slog.Handler // writes the attributes into the line's buffer
}

type line struct {
	mu  sync.Mutex
	w   io.Writer
	buf bytes.Buffer
}

func newHandler(w io.Writer, level slog.Leveler, journal bool) *handler {
	l := &line{w: w}
	return &handler{line: l, level: level, journal: journal, attrs: slog.NewTextHandler(&l.buf, &slog.HandlerOptions{
		Level:       level,
		ReplaceAttr: withoutBuiltin,
	})}
}

// withoutBuiltin leaves only the attributes to slog's own handler.
func withoutBuiltin(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
		return slog.Attr{}
	}
	return a
}

func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

func (h *handler) WithAttrs(a []slog.Attr) slog.Handler {
	n := *h
	n.attrs = h.attrs.WithAttrs(a)
	return &n
}

func (h *handler) WithGroup(name string) slog.Handler {
	n := *h
	n.attrs = h.attrs.WithGroup(name)
	return &n
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buf.Reset()
	if h.journal {
		fmt.Fprintf(&h.buf, "<%d>", priority(r.Level))
	} else {
		if !r.Time.IsZero() {
			h.buf.WriteString(r.Time.Format("2006-01-02T15:04:05.000Z07:00 "))
		}
		fmt.Fprintf(&h.buf, "%-5s ", r.Level)
	}
	h.buf.WriteString(oneLine(r.Message))
	h.buf.WriteByte(' ')
	at := h.buf.Len()
	if err := h.attrs.Handle(ctx, r); err != nil {
		return err
	}
	if h.buf.Len() == at+1 { // no attributes: only the line feed came
		h.buf.Truncate(at - 1)
		h.buf.WriteByte('\n')
	}
	_, err := h.w.Write(h.buf.Bytes())
	return err
}

// priority is a level as syslog numbers it.
func priority(l slog.Level) int {
	switch {
	case l < slog.LevelInfo:
		return 7 // debug
	case l < slog.LevelInfo+2:
		return 6 // informational
	case l < slog.LevelWarn:
		return 5 // notice
	case l < slog.LevelError:
		return 4 // warning
	case l < slog.LevelError+4:
		return 3 // error
	}
	return 2 // critical
}

// oneLine quotes a message that holds what could pass for another line, or
// reach the terminal of whoever reads the log.
func oneLine(s string) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// since is a duration as the log writes it, without digits that say nothing.
func since(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Second)
}
