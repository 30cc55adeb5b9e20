// Command syncd makes a directory tree on another host equal to one here and
// keeps it so. The destination is an ordinary rsync daemon, rsync behind ssh, or
// a directory.
//
// See config.Usage for flags and exit statuses, docs/output.md for what is
// printed.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/syncd/syncd/internal/config"
)

// The exit statuses of design.md, section 10.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitPartial     = 3
	exitDiffer      = 4
	exitUnsafe      = 5
	exitInterrupted = 130
)

// streams are what a process reads and writes, so that a test can run a whole
// command in its own process.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

func main() {
	os.Exit(run(context.Background(), os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}, os.Getenv))
}

// run is the whole command: it returns the exit status. Signals may exit before.
func run(ctx context.Context, args []string, s streams, env func(string) string) int {
	c, err := config.Parse(args, env, s.in)
	if err != nil {
		fmt.Fprintln(s.err, "syncd:", err)
		return exitUsage
	}
	switch c.Action {
	case config.Help:
		io.WriteString(s.out, config.Usage)
		return exitDone
	case config.Version:
		io.WriteString(s.out, version())
		return exitDone
	case config.Follow:
		again := func() (*config.Config, error) { return config.Parse(args, env, readOnce{}) }
		return follow(ctx, c, s, again)
	}
	if c.Action == config.Cutover {
		return cutOver(ctx, c, s)
	}
	ctx, release := interruptible(ctx, s.err, os.Exit)
	defer release()
	switch c.Action {
	case config.Ask:
		return ask(ctx, c, s)
	case config.Verify:
		return verifyTree(ctx, c, s)
	}
	return full(ctx, c, s)
}

// readOnce is the standard input when it has been read already.
type readOnce struct{}

func (readOnce) Read([]byte) (int, error) {
	return 0, errors.New("it cannot be read a second time; name a file instead of -")
}

func version() string {
	return fmt.Sprintf("syncd %s, rsync protocols 27 to 32, %s %s/%s\n",
		buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// buildVersion is the version of this program alone.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "(unknown)"
}
