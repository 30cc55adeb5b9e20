package rsync

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/syncd/syncd/internal/rsync/wire"
)

// reason returns why a session failed. err is what its own goroutine noticed, which is often only a consequence.
func (s *Session) reason(err error) error {
	s.flushPartial()
	s.said.mu.Lock()
	deaths, code, remarks := s.said.deaths, s.said.code, s.said.remarks
	s.said.mu.Unlock()
	cut := s.conn.cutBecause()
	switch {
	case cut != nil && !errors.Is(cut, errSilence) && !errors.Is(cut, errStuck):
		return cut // by the owner
	case deaths > 0 || code != 0 && !partialCode(code):
		return s.serverError(remarks, code)
	case err != nil && err == s.unmet:
		return err
	case errors.Is(cut, errStuck):
		return s.dialer.errorf(KindStuck, "", "mend what the server complains of", "%w; the last: %s", cut, lastWords(remarks))
	case cut != nil:
		return s.dialer.errorf(KindTimeout, "", "check the connection, or raise --timeout", "%w for too long", cut)
	case errors.Is(s.readErr, wire.ErrProtocol):
		return s.dialer.fail(KindProtocol, "", "", s.readErr)
	case errors.Is(err, wire.ErrProtocol):
		return s.dialer.fail(KindProtocol, "", "", err)
	}
	if batch, ok := errors.AsType[batchError](err); ok {
		return batch.error
	}
	return s.lostError(err, remarks)
}

// lostError explains a connection that ended in the middle.
func (s *Session) lostError(err error, remarks []remark) error {
	if s.readErr != nil && !isClosed(s.readErr) {
		err = s.readErr
	} else if s.readErr == nil || isClosed(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the server closed the connection in the middle")
	}
	if words := lastWords(remarks); unknown(words) {
		return s.dialer.fail(KindRefused, unknownOption(words), unknownHint, errors.New(words))
	} else if words != "" {
		err = fmt.Errorf("%w; its last words: %s", err, words)
	} else if s.shell != nil {
		if words := s.shell.words(); words != "" {
			err = fmt.Errorf("%w; the remote shell says: %s", err, words)
		}
	}
	return s.dialer.fail(KindLost, "", "see the server's log; the work can be tried again", err)
}

// lastWords returns the reason that a server gave before it ended: its last error, if possible one about no entry.
func lastWords(remarks []remark) string {
	farewell := ""
	for i := len(remarks) - 1; i >= 0; i-- {
		switch kindOf(remarks[i]) {
		case speechError:
			return oneLine(remarks[i].text)
		case speechFarewell:
			if farewell == "" {
				farewell = oneLine(remarks[i].text)
			}
		}
	}
	return farewell
}

// Exit codes that say more than "failed" (8.3).
const (
	codeProtocolVersion = 2
	codeUnsupported     = 4
	codeStream          = 12
	codeMemory          = 22
	codeTimeout         = 30
)

// serverError types the end of a session by the server (1.9, 9.7).
func (s *Session) serverError(remarks []remark, code int) error {
	words := lastWords(remarks)
	for _, m := range remarks {
		if full(m.text) {
			words = oneLine(m.text)
			break
		}
	}
	if words == "" {
		words = fmt.Sprintf("the server ended with code %d", code)
	}
	e := s.dialer.fail(KindServer, "", "see the server's log", errors.New(words))
	e.Code = code
	switch has := func(t string) bool { return strings.Contains(words, t) }; {
	case full(words):
		e.Kind, e.Hint = KindDiskFull, "make room at the destination: bytes, inodes (df -i) or quota"
	case has("module is read only"):
		e.Kind, e.Hint = KindReadOnly, "set read only = no for this module in the daemon's rsyncd.conf"
	case has("configured to refuse "):
		_, e.Op, _ = strings.Cut(words, "configured to refuse ")
		e.Op = strings.TrimPrefix(e.Op, "--(null) ") // what 3.5 calls some of which the short form is enough
		e.Kind, e.Hint = KindRefused, "take it out of refuse options of the module in the daemon's rsyncd.conf, or do without it"
	case has("xtended attributes are not supported"):
		e.Kind, e.Op, e.Hint = KindRefused, "--xattrs", "the rsync there is built without them: install another one, or do without it"
	case has("ACLs are not supported"):
		e.Kind, e.Op, e.Hint = KindRefused, "--acls", "the rsync there is built without them: install another one, or do without it"
	case unknown(words):
		e.Kind, e.Op, e.Hint = KindRefused, unknownOption(words), unknownHint
	case code == codeUnsupported:
		e.Kind = KindRefused
	case code == codeTimeout:
		e.Kind, e.Hint = KindTimeout, "raise --timeout here or timeout in the daemon's rsyncd.conf"
	case code == codeStream, code == codeProtocolVersion:
		e.Kind, e.Hint = KindProtocol, ""
	case code == codeMemory:
		e.Hint = "send smaller batches, or give the server more memory (--max-alloc)"
	case has("mkdir ") && has("failed"), has("change_dir"):
		e.Hint = "make the parent directory of the destination there, or use --mkpath"
	}
	return e
}

// full reports whether a text says that there is no more room.
func full(text string) bool {
	return strings.Contains(text, "No space left on device (28)") || strings.Contains(text, "Disk quota exceeded (122)")
}

const unknownHint = "the rsync there is too old for it: upgrade it, or do without it"

// unknown reports whether a server says that it does not know an option.
func unknown(words string) bool { return strings.Contains(words, ": unknown option") }

// unknownOption finds the option in "rsync: on remote machine: --frobnicate: unknown option".
func unknownOption(words string) string {
	before, _, _ := strings.Cut(words, ": unknown option")
	if i := strings.LastIndex(before, ": "); i >= 0 {
		before = before[i+2:]
	}
	return before
}

// isClosed reports whether an error only says that we closed the connection ourselves.
func isClosed(err error) bool {
	return errors.Is(err, os.ErrClosed) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}
