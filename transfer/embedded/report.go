package embedded

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/wire"
)

// errLimit is why an entry of mode 0 may still be there.
var errLimit = errors.New("deletions stopped due to --max-delete")

// Exit codes as rsync's (protocol 8.3).
const (
	codeInterrupted = 20
	codeGeneral     = 12
	codePartial     = 23
	codeVanished    = 24
	codeLimit       = 25
)

// sumUp completes the report. The bytes of Stats.Sent and Received are those of the sessions that carry data: there is
// no other wire.
func (s *send) sumUp() {
	r := s.rep
	r.Complete = s.fatal == nil
	r.Stats.Deleted = s.deleted.stats
	if n := s.deleted.skipped; n > 0 {
		r.LimitHit, r.SkippedDeletes = true, n
		s.ev.Message(wire.Warning, fmt.Sprintf("Deletions stopped due to --max-delete limit (%d skipped)", n))
	}
	r.ExitCode = s.exitCode()
}

// exitCode returns what rsync would end with (protocol 8.2).
func (s *send) exitCode() int {
	r := s.rep
	typed, isTyped := errors.AsType[*rsync.Error](s.fatal)
	switch {
	case isTyped:
		return typed.Code
	case s.ctx.Err() != nil && s.fatal != nil:
		return codeInterrupted
	case s.fatal != nil:
		return codeGeneral
	case len(r.Loose) > 0 || len(r.DeleteErrors) > 0 && !r.LimitHit:
		return codePartial
	}
	code := 0
	for _, res := range r.Results {
		switch {
		case res.State == rsync.Failed, res.State == rsync.Skipped && res.Err != errLimit,
			res.State == rsync.NotSent && !errors.Is(res.Err, fs.ErrNotExist):
			return codePartial
		case res.State == rsync.NotSent:
			code = codeVanished
		}
	}
	if code == 0 && r.LimitHit {
		return codeLimit
	}
	return code
}
