package main

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"github.com/syncd/syncd/internal/config"
	"github.com/syncd/syncd/internal/filesfrom"
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
	case errors.As(err, &usage): // of a password, asked for after the start
		p := &problem{status: exitFailed, what: usage.What, reason: usage.Reason, remedy: usage.Remedy}
		if p.what == "" && errors.As(err, &session) {
			p.what = session.Server
		}
		return p
	case errors.As(err, &session):
		return &problem{status: exitFailed, reason: oneLine(err.Error()), remedy: sessionRemedy(session)}
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
	if p.remedy == "" && errors.As(err, &session) {
		p.remedy = sessionRemedy(session)
	}
	return p
}

// sessionRemedy is what the session itself advises, or else what helps with
// errors of its kind.
func sessionRemedy(e *rsync.Error) string {
	switch {
	case e.Hint != "":
		return e.Hint
	case e.Kind == rsync.KindLost, e.Kind == rsync.KindTimeout, e.Kind == rsync.KindBusy, e.Kind == rsync.KindStuck:
		return "look at the network and the server's log, then run it again to go on"
	case e.Kind == rsync.KindProtocol, e.Kind == rsync.KindNotRsync:
		return "check that rsync is what answers there; --protocol=30 may help with an old one"
	case e.Kind == rsync.KindDiskFull:
		return "make room at the destination, blocks or inodes, and run it again"
	}
	return "see the server's log"
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
	if ofAttributes(text) && (strings.Contains(text, "o space left on device") || strings.Contains(text, "rgument list too long")) {
		return "the destination's file system takes no more for one file: remove some, or leave out -X or -A"
	}
	for _, r := range remedies {
		if r.errno != 0 && errors.Is(err, r.errno) || strings.Contains(text, r.words) {
			return r.remedy
		}
	}
	return ""
}

// ofAttributes reports whether an error is about extended attributes or an ACL.
func ofAttributes(text string) bool {
	for _, words := range []string{"setxattr(", "ACL_TYPE_", "set extended attribute", "set ACL", "set default ACL"} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
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
	{0, "daemon refused to receive", "exclude or filter of the module in rsyncd.conf keeps it out: exclude it here too"},
	{0, filesfrom.ErrSymlink.Error(), "name it by the path that has none"},
	{0, scan.ErrOtherDevice.Error(), "leave out -x to copy what is there too"},
	{0, rsync.ErrChanged.Error(), "run it again when it is written less, or sync a snapshot"},
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
