package rsync

import (
	"errors"
	"fmt"
	"net"
	"path"
	"strconv"
	"strings"
)

// DestKind says how a destination is reached.
type DestKind uint8

// The kinds of destination.
const (
	Daemon DestKind = iota // an rsync daemon on TCP
	Shell                  // rsync --server, started by a remote shell
	Local                  // a directory of this machine
)

// String returns the kind's name.
func (k DestKind) String() string {
	switch k {
	case Daemon:
		return "daemon"
	case Shell:
		return "shell"
	case Local:
		return "local"
	}
	return "DestKind(" + strconv.Itoa(int(k)) + ")"
}

// The TCP ports of an rsync daemon, and of what speaks TLS in front of one.
const (
	DefaultPort    = 873
	DefaultTLSPort = 874
)

// A Dest is a parsed destination.
type Dest struct {
	Kind   DestKind
	TLS    bool   // Daemon only: behind TLS
	User   string // "" = none given
	Host   string // without brackets; "" for Local
	Port   int    // 0 = default
	Module string // Daemon only
	Path   string // inside the module, without slashes around it; for Shell and Local as written
}

// ParseDest reads a destination as rsync does:
//
//	rsync://[user@]host[:port]/module[/path]    a daemon
//	rsyncs://[user@]host[:port]/module[/path]   a daemon behind TLS
//	[user@]host::module[/path]                  a daemon
//	[user@]host:path                            a remote shell
//	/path or ./path or path                     this machine
//
// A colon before the first slash makes a destination remote. IPv6 addresses stand in brackets.
func ParseDest(s string) (Dest, error) {
	d, err := parseDest(s)
	if err != nil {
		return Dest{}, fmt.Errorf("destination %q: %w", s, err)
	}
	return d, nil
}

const scheme, tlsScheme = "rsync://", "rsyncs://"

func parseDest(s string) (Dest, error) {
	if s == "" {
		return Dest{}, errors.New("empty: give a directory, host:path or rsync://host/module/path")
	}
	if strings.ContainsRune(s, 0) {
		return Dest{}, errors.New("contains a NUL byte")
	}
	for _, scheme := range []string{scheme, tlsScheme} {
		if len(s) >= len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
			d, err := parseURL(s[len(scheme):], scheme+"host/module/path")
			d.TLS = scheme == tlsScheme
			return d, err
		}
	}
	authority, rest, remote := splitColon(s)
	if !remote {
		return Dest{Kind: Local, Path: s}, nil
	}
	d, err := parseHost(authority)
	if err != nil {
		return Dest{}, err
	}
	if module, ok := strings.CutPrefix(rest, ":"); ok {
		d.Kind = Daemon
		return d.inModule(module, "host::module/path")
	}
	d.Kind, d.Path = Shell, rest
	return d, nil
}

// splitColon finds the colon that makes a destination remote: before any slash, but not inside brackets.
func splitColon(s string) (authority, rest string, remote bool) {
	from := 0
	if open := strings.IndexByte(s, '['); open >= 0 && (open == 0 || s[open-1] == '@') {
		if end := strings.IndexByte(s[open:], ']'); end > 0 {
			from = open + end
		}
	}
	i := strings.IndexAny(s[from:], ":/")
	if i < 0 || s[from+i] == '/' || strings.Contains(s[:from], "/") {
		return "", "", false
	}
	return s[:from+i], s[from+i+1:], true
}

func parseURL(s, form string) (Dest, error) {
	authority, rest, _ := strings.Cut(s, "/")
	port := 0
	if at := strings.LastIndexAny(authority, ":]"); at >= 0 && authority[at] == ':' {
		n, err := strconv.Atoi(authority[at+1:])
		if err != nil || n < 1 || n > 65535 {
			return Dest{}, fmt.Errorf("port %q: want a number from 1 to 65535", authority[at+1:])
		}
		authority, port = authority[:at], n
	}
	d, err := parseHost(authority)
	if err != nil {
		return Dest{}, err
	}
	d.Kind, d.Port = Daemon, port
	return d.inModule(rest, form)
}

// parseHost reads [user@]host. A user's name may hold an @ itself.
func parseHost(s string) (Dest, error) {
	var d Dest
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		d.User, s = s[:at], s[at+1:]
		if d.User == "" {
			return Dest{}, errors.New("no user before the @")
		}
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		host, found := strings.CutSuffix(inner, "]")
		if !found || !strings.Contains(host, ":") {
			return Dest{}, errors.New("brackets must hold an IPv6 address, as in [2001:db8::1]")
		}
		s = host
	} else if strings.Contains(s, ":") {
		return Dest{}, errors.New("an IPv6 address must stand in brackets, as in [2001:db8::1]")
	}
	if s == "" {
		return Dest{}, errors.New("no host")
	}
	if strings.HasPrefix(s, "-") || strings.HasPrefix(d.User, "-") {
		return Dest{}, errors.New("neither host nor user may begin with a dash") // a remote shell would take it for an option
	}
	if strings.ContainsAny(s, " \t\r\n") || strings.ContainsAny(d.User, " \t\r\n") {
		return Dest{}, errors.New("white space in host or user")
	}
	d.Host = s
	return d, nil
}

// inModule fills in module and path. The daemon takes every path as rooted in its module, so that is how it is cleaned.
func (d Dest) inModule(s, form string) (Dest, error) {
	module, rest, _ := strings.Cut(s, "/")
	if module == "" {
		return Dest{}, fmt.Errorf("no module: write %s", form)
	}
	if strings.ContainsAny(s, "\r\n") {
		return Dest{}, errors.New("line break in module or path")
	}
	d.Module = module
	d.Path = strings.Trim(path.Clean("/"+rest), "/")
	return d, nil
}

// String returns the destination in a form that ParseDest reads.
func (d Dest) String() string {
	if d.Kind == Local {
		return d.Path
	}
	if d.Kind == Daemon {
		s := scheme
		if d.TLS {
			s = tlsScheme
		}
		s += d.authority()
		if d.Port != 0 {
			s += ":" + strconv.Itoa(d.Port)
		}
		s += "/" + d.Module
		if d.Path != "" {
			s += "/" + d.Path
		}
		return s
	}
	return d.authority() + ":" + d.Path
}

func (d Dest) authority() string {
	host := d.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if d.User != "" {
		return d.User + "@" + host
	}
	return host
}

// address returns host and port of a daemon for a dialer.
func (d Dest) address() string {
	port := d.Port
	switch {
	case port != 0:
	case d.TLS:
		port = DefaultTLSPort
	default:
		port = DefaultPort
	}
	return net.JoinHostPort(d.Host, strconv.Itoa(port))
}
