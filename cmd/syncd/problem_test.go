package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/syncd/syncd/internal/config"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/scan"
	"github.com/syncd/syncd/transfer"
)

func TestExplain(t *testing.T) {
	session := func(kind rsync.Kind, hint string, err error) error {
		return fmt.Errorf("wrapped: %w", &rsync.Error{Kind: kind, Server: "h", Op: "op", Hint: hint, Err: err})
	}
	for _, tt := range []struct {
		err    error
		status int
		text   string
	}{
		{errInterrupted, exitInterrupted, "interrupted; run it again to go on"},
		{fmt.Errorf("session: %w", context.Canceled), exitInterrupted, "interrupted; run it again to go on"},
		{
			fmt.Errorf("x: %w", &scan.PathError{Op: "open", Path: "/src", Err: scan.ErrRootChanged}), exitUnsafe,
			"x: open /src: source root is no longer the directory that was opened; " +
				"nothing was deleted for it; mount SRC again and run it again",
		},
		{
			session(rsync.KindAuth, "no", &config.UsageError{Reason: "none", Remedy: "give one"}), exitFailed,
			"h: none; give one",
		},
		{
			session(rsync.KindReadOnly, "open it", errors.New("read\nonly")), exitFailed,
			"wrapped: h: op: read\\#012only; open it",
		},
		{
			session(rsync.KindLost, "", errors.New("EOF")), exitFailed,
			"wrapped: h: op: EOF; look at the network and the server's log, then run it again to go on",
		},
		{
			&os.PathError{Op: "open", Path: "a\nb", Err: syscall.EACCES}, exitFailed,
			"a b: open: permission denied; run it as a user that may, or exclude it",
		},
		{errors.New("odd"), exitFailed, "odd"},
	} {
		p := explain(tt.err)
		if p.status != tt.status || p.Error() != tt.text {
			t.Errorf("%v:\n got %d %s\nwant %d %s", tt.err, p.status, p, tt.status, tt.text)
		}
	}
}

func TestExplainPath(t *testing.T) {
	for _, tt := range []struct {
		err  error
		text string
	}{
		{
			&scan.PathError{Op: "open", Path: "p", Err: syscall.EIO},
			"p: open: input/output error; look at the disk: dmesg names it",
		},
		{
			errors.New(`rsync: [receiver] mkstemp "/.x" (in m) failed: Disk quota exceeded (122)`),
			`p: rsync: [receiver] mkstemp "/.x" (in m) failed: Disk quota exceeded (122); ` +
				"raise the quota at the destination and run it again",
		},
		{
			errors.New("set_acl: xacl_set(p, ACL_TYPE_ACCESS): No space left on device (28)"),
			"p: set_acl: xacl_set(p, ACL_TYPE_ACCESS): No space left on device (28); the destination's file system takes " +
				"no more for one file: remove some, or leave out -X or -A",
		},
		{rsync.ErrChanged, "p: changed while it was sent; run it again when it is written less, or sync a snapshot"},
		{errors.New("p: odd"), "p: odd"},
	} {
		if p := explainPath("p", tt.err); p.Error() != tt.text || p.status != exitPartial {
			t.Errorf("%v:\n got %s\nwant %s", tt.err, p, tt.text)
		}
	}
}

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		s    transfer.Summary
		p    *problem
		want int
	}{
		{transfer.Summary{}, nil, exitDone},
		{transfer.Summary{Vanished: 3}, nil, exitDone},
		{transfer.Summary{Failed: 1}, nil, exitPartial},
		{transfer.Summary{LimitHit: true}, nil, exitPartial},
		{transfer.Summary{Failed: 1}, &problem{status: exitUnsafe}, exitUnsafe},
	} {
		if got := statusOf(&tt.s, tt.p); got != tt.want {
			t.Errorf("%+v, %v: status %d, want %d", tt.s, tt.p, got, tt.want)
		}
	}
}
