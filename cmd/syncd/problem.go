package main

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"github.com/syncd/syncd/internal/config"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/scan"
)

// A problem is an error as the operator reads it: one line that ends with what
// to do, and the exit status.
type problem struct {
	status int
	what   string // path, host or flag; may be empty
	reason string
	remedy string // may be empty
}

func (p *problem) Error() string {
	s := p.reason
	if p.what != "" {
		s = p.what + ": " + s
	}
	if p.remedy != "" {
		s += "; " + p.remedy
	}
	return s
}

// explain makes a problem of an error that ended the run.
func explain(err error) *problem {
	var (
		own     *problem
		usage   *config.UsageError
		session *rsync.Error
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return &problem{status: exitInterrupted, reason: "interrupted", remedy: "run it again to go on"}
	case errors.Is(err, scan.ErrRootChanged):
		return &problem{
			status: exitUnsafe, reason: oneLine(err.Error()),
			remedy: "nothing was deleted for it; mount SRC again and run it again",
		}
	case errors.As(err, &usage):
		return &problem{status: exitFailed, what: usage.What, reason: usage.Reason, remedy: usage.Remedy}
	case errors.As(err, &session):
		return &problem{status: exitFailed, reason: oneLine(err.Error()), remedy: session.Hint}
	}
	what, reason := split(err)
	return &problem{status: exitFailed, what: what, reason: reason, remedy: remedy(err)}
}

// explainPath makes a problem of the reason why one path is not equal.
func explainPath(path string, err error) *problem {
	_, reason := split(err)
	// The path stands in front already.
	reason = strings.TrimPrefix(reason, path+": ")
	p := &problem{status: exitPartial, what: path, reason: reason, remedy: remedy(err)}
	var session *rsync.Error
	if errors.As(err, &session) && session.Hint != "" {
		p.remedy = session.Hint
	}
	return p
}

// split takes the path out of an error that names one.
func split(err error) (path, reason string) {
	var scanned *scan.PathError
	var named *fs.PathError
	switch {
	case errors.As(err, &scanned):
		return oneLine(scanned.Path), oneLine(scanned.Op + ": " + scanned.Err.Error())
	case errors.As(err, &named):
		return oneLine(named.Path), oneLine(named.Op + ": " + named.Err.Error())
	}
	return "", oneLine(err.Error())
}

// remedy is what to do about an error of this kernel, or of the server in the
// words of its kernel.
func remedy(err error) string {
	text := err.Error()
	for _, r := range remedies {
		if errors.Is(err, r.errno) || strings.Contains(text, r.words) {
			return r.remedy
		}
	}
	return ""
}

var remedies = []struct {
	errno  syscall.Errno
	words  string // as a server's strerror says it
	remedy string
}{
	{syscall.ENOSPC, "No space left on device", "make room at the destination, blocks or inodes, and run it again"},
	{syscall.EDQUOT, "Disk quota exceeded", "raise the quota at the destination and run it again"},
	{syscall.EFBIG, "File too large", "the destination's file system or limit takes no file of this size"},
	{syscall.EACCES, "Permission denied", "run it as a user that may, or exclude it"},
	{syscall.EPERM, "Operation not permitted", "run the server as root, or leave out -o, -g or -D"},
	{syscall.ENAMETOOLONG, "File name too long", "shorten the name, or exclude it"},
	{syscall.EILSEQ, "Invalid or incomplete multibyte", "the destination takes no such name: rename it, or exclude it"},
	{syscall.EINVAL, "Invalid argument", "the destination takes no such name or attribute: change it, or exclude it"},
	{syscall.EROFS, "Read-only file system", "mount the destination writable and run it again"},
	{syscall.EIO, "Input/output error", "look at the disk: dmesg names it"},
}

// oneLine keeps what others said on one line. A server has escaped names in it
// already, so that nothing else is touched.
func oneLine(s string) string {
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, strings.TrimSpace(s)), "?")
}
