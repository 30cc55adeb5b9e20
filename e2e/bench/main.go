// Command bench compares syncd with rsync: the same tree to the same daemon on loopback, in turns in one run, so that
// both meet the same machine in the same state. Progress goes to stderr, the table, which is Markdown, to stdout.
//
// Before each run the destination is put back, written data is flushed and the source is read into the page cache. One
// round before the timed ones goes through a counting relay and compares the copy with its source; the timed rounds go
// straight to the daemon, in the order A B, B A, A B ...
//
// What follows changes is compared with lsyncd: see live.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/syncd/syncd/internal/rsynctest"
)

type options struct {
	scenarios []string
	rounds    int
	files     int
	bigSize   int64 // bytes
	photos    int
	groups    int
	entries   int
	work      string
	syncd     string
	rsync     string
	verify    string
	restart   string

	defaults   bool // scenarios are those that are run when none is named
	dirs       int
	tree       int // files
	liveFiles  int
	burstFiles int
	liveTime   time.Duration
	span       time.Duration
	liveSyncd  string
	lsyncd     string

	cutoverFiles []int
	service      string
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == measureArgument {
		os.Exit(measureMain(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, pflag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string, stderr io.Writer) (*options, error) {
	o := new(options)
	flags := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringSliceVar(&o.scenarios, "scenarios", append([]string{"small", "nothing", "restart", "verify", "big", "delta", "text", "text-slow", "photos", "attrs",
		"attrs-nothing"}, liveNames...),
		"what to run; million, restart-million and cutover besides on demand. live-* compare with lsyncd, and are left out by default where there is none")
	flags.IntVar(&o.rounds, "rounds", 5, "timed runs of each program in each scenario")
	flags.IntVar(&o.files, "files", 100_000, "small files")
	bigMiB := flags.Int64("big-mib", 2048, "size of the big file in MiB")
	flags.IntVar(&o.photos, "photos", 1500, "photos, of 300 KiB on average")
	flags.IntVar(&o.groups, "groups", 20_000, "files of two names, with extended attributes, of the scenarios attrs")
	flags.IntVar(&o.entries, "entries", 1_000_000, "empty files of the scenarios million and restart-million, of one timed run")
	flags.StringVar(&o.work, "work", "/var/tmp", "where a folder for all files is made and removed again; it takes 12 GiB")
	flags.StringVar(&o.syncd, "syncd-command", "bin/syncd --full {flags} {src} {dst}", "the program to judge")
	flags.StringVar(&o.verify, "verify-command", "bin/syncd --verify {flags} {src} {dst}", "the program to judge in the scenario verify")
	flags.StringVar(&o.restart, "restart-command", "bin/syncd --full --state-dir={state} {flags} {src} {dst}",
		"the program to judge in the scenarios restart and restart-million")
	flags.StringVar(&o.rsync, "rsync-command", "rsync {flags} {src}/ {dst}", "the program to judge it by")
	flags.IntVar(&o.dirs, "live-dirs", 30_000, "directories of the scenario live-idle")
	flags.IntVar(&o.tree, "live-tree", 3000,
		"files that there are before something happens; live-latency is measured among --files, too")
	flags.IntVar(&o.liveFiles, "live-files", 50, "files of which the scenario live-latency takes the median")
	flags.IntVar(&o.burstFiles, "live-burst", 50_000, "files of the scenario live-burst")
	liveSeconds := flags.Int("live-seconds", 60,
		"how long the scenario live-rate goes on, with 1000 changes in each second")
	flags.DurationVar(&o.span, "live-rest", 2*time.Second,
		"after so long without work a program is taken to be at rest; idle is measured ten times as long")
	flags.StringVar(&o.liveSyncd, "live-syncd-command", "bin/syncd -a --delete {src} {dst}",
		"the program that follows changes, to judge")
	flags.StringVar(&o.lsyncd, "lsyncd-command", "lsyncd {config}", "the program to judge it by")
	flags.IntSliceVar(&o.cutoverFiles, "cutover-files", []int{10_000, 100_000, 1_000_000}, "files of the scenario cutover, of one run each")
	flags.StringVar(&o.service, "cutover-syncd", "bin/syncd", "the program of the scenario cutover")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	o.defaults = !flags.Changed("scenarios")
	o.liveTime = time.Duration(*liveSeconds) * time.Second
	o.bigSize = *bigMiB << 20
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.rounds < 1 || o.files < 1 || o.bigSize < 1 || o.photos < 1 || o.groups < 1 || o.entries < 1 {
		return nil, errors.New("--rounds, --files, --big-mib, --photos, --groups and --entries must be positive")
	}
	if o.dirs < 1 || o.tree < 1 || o.liveFiles < 1 || o.burstFiles < 1 || *liveSeconds < 1 || o.span <= 0 {
		return nil, errors.New("--live-dirs, --live-tree, --live-files, --live-burst, --live-seconds and --live-rest must be positive")
	}
	for _, name := range o.scenarios {
		if all := slices.Concat(scenarioNames, liveNames, []string{cutoverName}); !slices.Contains(all, name) {
			return nil, fmt.Errorf("unknown scenario %q: there are %s", name, strings.Join(all, ", "))
		}
	}
	return o, nil
}

// run does everything; what it has made is gone when it returns.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.work, "syncd-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	module := filepath.Join(dir, "module")
	if err := os.Mkdir(module, 0o755); err != nil {
		return err
	}
	server, err := rsynctest.Start(dir, rsynctest.Config{Modules: []rsynctest.Module{{Name: "bench", Path: module}}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()

	b := &bench{
		options: *o, dir: dir, dst: filepath.Join(module, "dst"), server: server, stderr: stderr,
		programs: [2]program{
			{name: "syncd", command: strings.Fields(o.syncd)},
			{name: "rsync", command: strings.Fields(o.rsync)},
		},
	}
	fmt.Fprint(stdout, machine(ctx))
	results, err := b.all(ctx)
	// What is known is shown, whatever became of the rest.
	if err := errors.Join(err, printTable(stdout, results), printOthers(stdout, results)); err != nil {
		return err
	}
	followed, err := b.live(ctx)
	if err := errors.Join(err, printLive(stdout, followed)); err != nil {
		return err
	}
	cut, err := b.cutovers(ctx)
	return errors.Join(err, printCutovers(stdout, cut))
}
