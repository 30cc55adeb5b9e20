package config

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
)

// A password is where the daemon's password comes from. It never comes from
// the command line, which every user of the host can read.
type password struct {
	file string // "": env; "-": stdin
	env  string
	once func() (string, error) // set for "-": a stream can be read only once
}

// newPassword checks the file at once, so that a wrong mode is found before
// a connection is made.
func newPassword(file, env string, stdin io.Reader) (password, error) {
	p := password{file: file, env: env}
	switch file {
	case "":
		return p, nil
	case "-":
		p.once = sync.OnceValues(func() (string, error) { return firstLine(stdin, "standard input") })
		return p, nil
	}
	_, err := p.get()
	return p, err
}

func (p *password) get() (string, error) {
	switch {
	case p.once != nil:
		return p.once()
	case p.file != "":
		return readPassword(p.file)
	case p.env != "":
		return p.env, nil
	}
	return "", &UsageError{
		Reason: "the server asks for a password and there is none",
		Remedy: "give --password-file=FILE or set RSYNC_PASSWORD",
	}
}

// readPassword refuses what rsync refuses: a file that others may read, and,
// for root, one that somebody else owns.
func readPassword(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", &UsageError{Reason: reason(err), Remedy: "it must be a file that you can read"}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", &UsageError{Reason: reason(err)}
	}
	if info.Mode().Perm()&0o006 != 0 {
		return "", &UsageError{Reason: "other users can read the password", Remedy: "run: chmod 600 " + printable(name)}
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 && st.Uid != 0 {
		return "", &UsageError{
			Reason: fmt.Sprintf("owned by user %d while syncd runs as root", st.Uid),
			Remedy: "run: chown root " + printable(name),
		}
	}
	return firstLine(f, name)
}

// firstLine is the first line of r without its end. 4 KiB are more than any
// daemon's secrets file can hold in a line.
func firstLine(r io.Reader, name string) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", &UsageError{Reason: reason(err)}
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", &UsageError{
			Reason: "no password in " + printable(name),
			Remedy: "write it into the first line",
		}
	}
	return line, nil
}

// reason is the kernel's word without operation and path, which the message
// names already.
func reason(err error) string {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}
