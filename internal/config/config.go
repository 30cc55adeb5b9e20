// Package config turns a command line and an environment into what one run of
// syncd is to do.
//
// Flags carry rsync's names where rsync has them and mean what they mean there.
// What rsync knows and this version does not is refused by name, never
// accepted and ignored: a mirror that silently lacks ACLs is found out too late.
//
// Precedence: defaults, environment (RSYNC_RSH, RSYNC_PARTIAL_DIR,
// RSYNC_PASSWORD, RSYNC_SSL_CA_CERT, RSYNC_SSL_CERT, RSYNC_SSL_KEY), flags. Among flags the later one wins, so -a --no-o keeps
// owners out and --no-o -a does not.
package config

import (
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/syncd/syncd/internal/control"
	"github.com/syncd/syncd/internal/cutover"
	"github.com/syncd/syncd/internal/filesfrom"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/ratelimit"
	"github.com/syncd/syncd/watcher"
)

// Action is what the program was asked to do.
type Action uint8

// The actions. Ask, Help and Version have neither SRC nor DEST.
const (
	Follow  Action = iota // a full pass, then what changes, until stopped
	Full                  // one full pass
	Verify                // compare by checksum, change nothing
	Cutover               // move the service to DEST; asks a running service if there is no Source
	Ask                   // ask or steer a running service
	Help
	Version
)

// Config is one command line, understood and checked. It says nothing of the
// state of the file system: whether SRC is there is found out by the run.
type Config struct {
	Action Action

	Source  string // SRC as given, a local directory
	Target  string // DEST as given, for messages
	Dest    rsync.Dest
	TLS     *rsync.TLS    // nil unless Dest is behind it
	Session rsync.Options // what was asked of the protocol
	Filter  *filter.List
	Only    *filesfrom.Set // of SRC; nil: everything
	// IgnoreUnsupported goes on without what the destination cannot have of -A and -X.
	IgnoreUnsupported bool

	Delete   bool
	NoExtra  bool  // Verify, --no-delete: what is only at DEST does not count
	OneFS    bool  // --one-file-system
	Sessions int   // parallel sessions; 0: chosen from the machine
	BigFile  int64 // bytes from which a file gets a session of its own; 0: the engine's default

	// NanosecondsAuto says that no --modify-window was given: times compare to
	// the nanosecond where the server can, to the second elsewhere.
	NanosecondsAuto bool

	MaxDelete int // -1: no limit
	// DeleteWindow is the time for which MaxDelete holds while changes are followed; 0: the default.
	DeleteWindow time.Duration
	PartialDir   string // "": the engine's default

	// StateDir is where what is to outlive the process is kept: what the destination is
	// known to hold, and how far a cutover got; "": nowhere.
	StateDir string
	Recheck  bool // do not believe what is kept there

	// How what is at the destination is proven while changes are followed: not at all, or in such a time; 0 is the
	// default.
	NoAudit       bool
	AuditInterval time.Duration

	RemoteShell    string   // "": ssh
	Batch          bool     // nobody may be asked
	ShareLogins    bool     // sessions go over one connection of ssh where that can be
	RuntimeDirs    []string // for its socket: the first that will do
	RsyncPath      string   // "": rsync
	ConnectTimeout time.Duration
	Timeout        time.Duration
	Bandwidth      *ratelimit.Timetable // nil: no limit
	ReadLimit      int64                // Verify, Follow: bytes a second read for checksums here; 0: no limit
	Readers        int                  // Verify: files read here at once; 0: chosen from the machine

	Verbose  int
	Itemize  int // 0: no; 1: changes; also set by --dry-run
	Stats    bool
	Progress bool
	JSON     bool
	Quiet    bool
	Human    bool // -h: numbers with units
	EightBit bool // -8: names are not escaped, but for control characters
	MOTD     bool

	// Control is the path of the control socket. Follow, and Cutover with a Source: ""
	// is none. Ask, and Cutover without: "" is that of the only service that runs.
	Control     string
	StopTimeout time.Duration // Follow: for sessions that run when it is to end; 0: none
	LogLevel    slog.Level    // Follow
	Watch       watcher.Mode  // Follow and Cutover: how changes are noticed
	// RaiseWatchLimit has the kernel grant more watches where it grants too few.
	RaiseWatchLimit bool
	ScanInterval    time.Duration   // between passes, where nothing tells of changes; 0: the default
	Request         control.Request // Ask
	Cutover         cutover.Plan    // Cutover

	password password
}

// Parse reads the arguments after the program's name. The stdin is read only
// by flags whose file is "-". Every error is a *UsageError.
func Parse(args []string, env func(string) string, stdin io.Reader) (*Config, error) {
	c := &Config{
		MaxDelete:       -1,
		NanosecondsAuto: true,
		MOTD:            true,
		RemoteShell:     env("RSYNC_RSH"),
		ShareLogins:     true,
		RuntimeDirs:     runtimeDirs(env),
		PartialDir:      env("RSYNC_PARTIAL_DIR"),
		Filter:          new(filter.List),
		StopTimeout:     defaultStopTimeout,
	}
	c.Session.MaxDelete = -1
	f := newFlags(c, env, stdin)
	if err := f.parse(args); err != nil {
		return nil, err
	}
	switch {
	case f.help, f.human && len(args) == 1:
		return &Config{Action: Help}, nil
	case f.version:
		return &Config{Action: Version}, nil
	}
	if err := f.finish(); err != nil {
		return nil, err
	}
	return c, nil
}

// runtimeDirs are where what lives as long as the process may be put.
func runtimeDirs(env func(string) string) []string {
	var dirs []string
	for _, name := range []string{"RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"} {
		if dir, _, _ := strings.Cut(env(name), ":"); dir != "" { // more than one is separated by colons
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// Password is the rsync daemon's password, from --password-file or else
// RSYNC_PASSWORD. A file is read anew each time, so that it may be changed
// while a long run goes on. Safe for concurrent use.
func (c *Config) Password() (string, error) { return c.password.get() }
