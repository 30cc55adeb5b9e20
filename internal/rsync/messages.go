package rsync

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/syncd/syncd/internal/rsync/wire"
)

const (
	// maxWords is how much of the server's error texts is kept for a report, in bytes. A text for each of some thousand
	// entries fits; a server that says more is not believed to have done anything.
	maxWords = 8 << 20
	// maxEarly is how many texts wait for a session that waits for its batch.
	maxEarly = 100
	// maxTimeout is the longest timeout that a server may ask for (2.6).
	maxTimeout = 86400 * time.Second
)

// A remark is one text of the server: usually one line, but a name in it may hold a line break.
type remark struct {
	tag  wire.Tag
	text string
}

// words is what a server says beside the data. It is written by the session's reader and by the listener to a remote
// shell, and read at the end.
type words struct {
	events sync.Mutex // held while a method of Events runs
	over   bool       // none may any more; guarded by events

	mu       sync.Mutex
	x        *exchange                // whose list indexes refer to; nil before there is one
	acked    []bool                   // by index on the wire
	partial  [wire.Warning + 1][]byte // by tag: begun and not complete
	remarks  []remark                 // those that may concern an entry
	size     int                      // bytes in remarks
	troubles int                      // MSG_ERROR_XFER
	dropped  int                      // remarks over maxWords
	early    []remark                 // said before there was anybody to hear them
	deaths   int                      // MSG_ERROR_EXIT, or a text that says the same
	code     int                      // exit code, as far as known
	deleted  int64                    // MSG_DELETED
	dirsGone int64                    // those of directories
	missing  map[string]bool          // entries of mode 0 by path: whether the server said that it deleted them
}

// begin is called when the list's order is known and before the server can refer to it.
func (s *words) begin(x *exchange) {
	s.mu.Lock()
	s.x = x
	s.acked = make([]bool, len(x.order))
	s.missing = make(map[string]bool)
	for _, place := range x.order {
		if e := &x.b.Entries[place]; e.Mode == 0 {
			s.missing[e.Path] = false
		}
	}
	early := s.early
	s.early = nil
	s.mu.Unlock()
	for _, m := range early {
		s.tell(x.b.Events, m)
	}
}

// tell passes a text to the caller, a line at a time.
func (s *words) tell(ev Events, m remark) {
	if ev == nil {
		return
	}
	s.events.Lock()
	defer s.events.Unlock()
	if s.over {
		return
	}
	for _, line := range splitLines(m.text) {
		if line != "" {
			ev.Message(m.tag, oneLine(line))
		}
	}
}

// hush keeps from the caller what comes from now on.
func (s *words) hush() {
	s.events.Lock()
	defer s.events.Unlock()
	s.over = true
}

// exited reports whether the server has said that it ends.
func (s *words) exited() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deaths > 0
}

// handle takes one message of the server (4.2). It runs in the reader's goroutine.
func (s *Session) handle(tag wire.Tag, p []byte) error {
	switch tag {
	case wire.ErrorXfer, wire.Info, wire.Error, wire.Warning:
		return s.hear(tag, p)
	case wire.Success:
		n, err := number(tag, p)
		if err != nil {
			return err
		}
		return s.said.success(n)
	case wire.Deleted:
		return s.deletion(p)
	case wire.IOTimeout:
		n, err := number(tag, p)
		if err != nil {
			return err
		}
		if d := time.Duration(n) * time.Second; d > 0 && d <= maxTimeout {
			s.conn.serverLimit(d)
			s.hasten()
		}
		return nil
	case wire.IOError:
		_, err := number(tag, p)
		return err
	case wire.Noop:
		return nil
	case wire.ErrorExit:
		return s.serverExit(p)
	}
	return wire.Errorf("message %v from a server", tag)
}

// number reads the payload of a message that is one int32.
func number(tag wire.Tag, p []byte) (int32, error) {
	if len(p) != 4 {
		return 0, wire.Errorf("message %v of %d bytes", tag, len(p))
	}
	return int32(binary.LittleEndian.Uint32(p)), nil
}

// success notes that an entry is in place.
func (s *words) success(n int32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n < 0 || int(n) >= len(s.acked) {
		return wire.Errorf("success of index %d of a list of %d entries", n, len(s.acked))
	}
	s.acked[n] = true
	return nil
}

// deletion passes on the path of something that was deleted; a directory's ends with a NUL.
func (s *Session) deletion(p []byte) error {
	name, dir := strings.CutSuffix(string(p), "\x00")
	if name == "" || len(name) > maxXname || strings.ContainsRune(name, 0) {
		return wire.Errorf("deletion of %q", clip(string(p)))
	}
	s.said.mu.Lock()
	s.said.deleted++
	if dir {
		s.said.dirsGone++
	}
	if _, ok := s.said.missing[name]; ok {
		s.said.missing[name] = true
	}
	x := s.said.x
	s.said.mu.Unlock()
	if x == nil {
		return wire.Errorf("deletion of %q before the list", clip(name))
	}
	if ev := x.b.Events; ev != nil {
		s.said.events.Lock()
		defer s.said.events.Unlock()
		if !s.said.over {
			ev.Deleted(name, dir)
		}
	}
	return nil
}

// serverExit notes the error exit of protocol 31. The data is of no use from here on, the texts are (8.4).
func (s *Session) serverExit(p []byte) error {
	code := 0
	if len(p) > 0 {
		n, err := number(wire.ErrorExit, p)
		if err != nil {
			return err
		}
		code = int(n)
	}
	s.said.die(code)
	s.demux.Discard()
	if s.warm.TryLock() {
		if !s.warm.over {
			s.conn.close() // nobody is there to answer, and whoever waits for Done is to know
		}
		s.warm.Unlock()
	}
	return nil
}

func (s *words) die(code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaths++
	if code > 0 && code < 256 {
		s.code = code
	}
}

// errServerDied ends the reading from a server before protocol 31 that has said its last words.
var errServerDied = fmt.Errorf("the server ended the session")

// hear takes a text. A message is not always a line, nor a line a message.
func (s *Session) hear(tag wire.Tag, p []byte) error {
	s.said.mu.Lock()
	text := append(s.said.partial[tag], p...)
	if len(text) < maxLine && (len(text) == 0 || text[len(text)-1] != '\n') {
		s.said.partial[tag] = text
		s.said.mu.Unlock()
		return nil
	}
	s.said.partial[tag] = text[:0]
	m := remark{tag, strings.TrimSuffix(string(text), "\n")}
	s.said.mu.Unlock()
	return s.note(m)
}

// flushPartial takes what was said without a line's end.
func (s *Session) flushPartial() {
	for _, tag := range []wire.Tag{wire.Info, wire.Warning, wire.ErrorXfer, wire.Error} {
		s.said.mu.Lock()
		text := string(s.said.partial[tag])
		s.said.partial[tag] = nil
		s.said.mu.Unlock()
		if text != "" {
			s.note(remark{tag, text})
		}
	}
}

// note keeps a text for the report, passes it on, and sees whether it is the server's last.
func (s *Session) note(m remark) error {
	s.said.mu.Lock()
	x := s.said.x
	if concerns(m) {
		if s.said.size += len(m.text); s.said.size > maxWords {
			s.said.dropped++
		} else {
			s.said.remarks = append(s.said.remarks, m)
		}
	}
	if m.tag == wire.ErrorXfer {
		s.said.troubles++
	}
	suspect := s.said.troubles == stuckWords && m.tag == wire.ErrorXfer && s.opts.acks()
	if x == nil && len(s.said.early) < maxEarly {
		s.said.early = append(s.said.early, m)
	}
	s.said.mu.Unlock()
	if suspect {
		s.conn.suspect()
	}
	if x != nil {
		s.said.tell(x.b.Events, m)
	}
	code, fatal := exitText(m.text)
	if !fatal || partialCode(code) {
		return nil
	}
	if s.protocol >= 31 {
		s.said.mu.Lock()
		if s.said.code == 0 {
			s.said.code = code
		}
		s.said.mu.Unlock()
		return nil // MSG_ERROR_EXIT follows
	}
	s.said.die(code)
	return errServerDied
}

// exitText finds the exit code in the last line of a server that fails: "rsync error: ... (code N) at ...".
func exitText(text string) (code int, ok bool) {
	i := strings.Index(text, "rsync error: ")
	if i < 0 || i > 0 && text[i-1] != '\n' {
		return 0, false
	}
	_, rest, ok := strings.Cut(text[i:], "(code ")
	if !ok {
		return 0, false
	}
	digits, _, ok := strings.Cut(rest, ")")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || n > 255 {
		return 0, false
	}
	return n, true
}

// partialCode reports whether a code says that the session went to its end.
func partialCode(code int) bool { return code >= 23 && code <= 25 }

// splitLines splits a text at line breaks, but not at those that stand inside a quoted name.
func splitLines(text string) []string {
	if !strings.Contains(text, "\n") {
		return []string{text}
	}
	var lines []string
	start, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '"':
			quoted = !quoted
		case text[i] == '\n' && !quoted:
			lines = append(lines, strings.TrimSuffix(text[start:i], "\r"))
			start = i + 1
		}
	}
	return append(lines, text[start:])
}
