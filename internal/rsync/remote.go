package rsync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/syncd/syncd/internal/ssh"
)

// openShell starts the remote shell of a session, with a share in a login if there can be one.
func (d *Dialer) openShell(ctx context.Context, o *Options) (*shell, error) {
	base, err := d.shellBase()
	if err != nil {
		return nil, err
	}
	login, err := d.login(ctx, base)
	if err != nil {
		return nil, err
	}
	s, err := startShell(append(login.Command(base), d.serverCommand(o)...), login)
	if err != nil {
		return nil, d.fail(KindShell, "remote shell", "install it, or name another one by --rsh", err)
	}
	return s, nil
}

// login returns a lease, nil if the session is to log in by itself.
func (d *Dialer) login(ctx context.Context, base []string) (*ssh.Lease, error) {
	if d.Batch && d.Timeout > 0 { // else somebody may be asked, which takes as long as it takes
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d.Timeout, errSilence)
		defer cancel()
	}
	login, err := d.Logins.Lease(ctx, base)
	failed, ok := errors.AsType[*ssh.LoginError](err)
	switch {
	case ok:
		e := d.fail(KindShell, "remote shell", d.loginHint(failed.Words, failed.Status, base), failed)
		e.Code = max(0, failed.Status)
		return nil, e
	case errors.Is(err, errSilence):
		return nil, d.errorf(KindTimeout, "setup", "check host, port and firewall", "no answer in time: %w", err)
	}
	return login, err
}

// shellBase composes the local command that leads to the host.
func (d *Dialer) shellBase() ([]string, error) {
	base, err := ssh.Split(cmp.Or(d.RemoteShell, "ssh"))
	if err != nil {
		return nil, d.errorf(KindShell, "remote shell", "see --rsh", "%q: %w", d.RemoteShell, err)
	}
	if d.Batch && ssh.Is(base) {
		base = ssh.With(base, "-o", "BatchMode=yes")
	}
	if d.Dest.User != "" {
		base = append(base, "-l", d.Dest.User)
	}
	return append(base, d.Dest.Host), nil
}

// serverCommand is what the host is to run.
func (d *Dialer) serverCommand(o *Options) []string {
	// The program's name goes to the remote shell as it is: "sudo rsync" is a usual value.
	command := []string{cmp.Or(d.RsyncPath, "rsync")}
	for _, a := range d.shellArgs(o) {
		command = append(command, quoteArg(a))
	}
	return command
}

// shellError explains why a remote shell did not bring up a server. reason is what was noticed on the connection.
func (d *Dialer) shellError(s *shell, reason error) error {
	s.Close()
	ended := s.wait(failedShellGrace)
	status := -1
	if exit, ok := errors.AsType[*exec.ExitError](ended); ok {
		status = exit.ExitCode()
	}
	if status >= 0 {
		reason = fmt.Errorf("%v ended with status %d", s.cmd.Args[0], status)
	}
	if words := s.words(); words != "" {
		reason = fmt.Errorf("%w: %s", reason, words)
	}
	e := d.fail(KindShell, "remote shell", d.loginHint(s.lines(), status, s.cmd.Args), reason)
	e.Code = max(0, status)
	return e
}

// loginHint is what to do about a remote shell that ended with a status, or was killed (-1).
func (d *Dialer) loginHint(words []string, status int, argv []string) string {
	switch status {
	case 126, 127:
		return "install rsync there, or name it by --rsync-path"
	case 255:
		if remedy := ssh.Remedy(words, d.Batch); remedy != "" {
			return remedy
		}
		return "check host, user and key: " + strings.Join(argv[:min(len(argv), 4)], " ")
	}
	return "check that the command works by hand: " + strings.Join(argv, " ")
}
