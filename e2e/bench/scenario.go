package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/rsynctest"
)

// scenarioNames are in the order in which they run.
var scenarioNames = []string{"small", "nothing", "restart", "verify", "big", "delta", "text", "text-slow", "photos", "attrs", "attrs-nothing", "million",
	"restart-million"}

// program is one of the two that are compared.
type program struct {
	name    string
	command []string // with {flags}, {src}, {dst} and {state}
}

// stateWord stands in a command for a directory in which the program remembers what it has done.
const stateWord = "{state}"

// bench is one run of the benchmark.
type bench struct {
	options
	dir      string // for all files
	dst      string // the destination of every scenario, served as bench/dst
	aside    int    // destinations put aside so far
	lives    int    // pairs of followed trees so far
	server   *rsynctest.Server
	programs [2]program
	stderr   io.Writer
}

// scenario is one task for both programs.
type scenario struct {
	title string
	src   string
	flags []string
	// programs are nil, or other than the bench's for this task.
	programs *[2]program
	rounds   int
	reset    func() error // puts the destination back before every run
	bounds   bounds
}

// sample is what one run took on both sides.
type sample struct {
	usage
	serverCPU time.Duration
	machine   time.Duration // processor time of everything on the machine
}

// result is all that is known of a scenario. Index 0 is syncd, 1 is rsync.
type result struct {
	title    string
	samples  [2][]sample
	up, down [2]int64 // bytes on the wire, from the round that was counted
	bounds   bounds
}

// all runs the scenarios that were asked for. With an error it returns the results up to there.
func (b *bench) all(ctx context.Context) (results []*result, err error) {
	for _, name := range scenarioNames {
		if !slices.Contains(b.scenarios, name) {
			continue
		}
		r, err := b.scenario(ctx, name)
		if err != nil {
			return results, fmt.Errorf("%s: %w", name, err)
		}
		results = append(results, r)
	}
	return results, nil
}

// scenario makes what a scenario needs and runs it.
func (b *bench) scenario(ctx context.Context, name string) (*result, error) {
	b.logf("%s: making the tree", name)
	s, err := b.prepare(ctx, name)
	if err != nil {
		return nil, err
	}
	r := &result{title: s.title, bounds: s.bounds}
	programs := b.programs
	if s.programs != nil {
		programs = *s.programs
	}
	for i, p := range programs {
		if r.up[i], r.down[i], err = b.count(ctx, s, p); err != nil {
			return nil, err
		}
		b.logf("%s: %s sent %d and received %d bytes, the copy is equal", name, p.name, r.up[i], r.down[i])
	}
	for _, p := range programs {
		if err := b.prime(ctx, s, p, b.server.URL("bench/dst")); err != nil {
			return nil, err
		}
	}
	for round := range s.rounds {
		for turn := range programs {
			i := (turn + round) % 2 // A B, B A, ...
			taken, err := b.time(ctx, s, programs[i])
			if err != nil {
				return nil, err
			}
			r.samples[i] = append(r.samples[i], taken)
			b.logf("%s %d/%d: %s %.2f s, CPU %.2f s, memory %.1f MiB, server's CPU %.2f s", name, round+1, s.rounds,
				programs[i].name, taken.Wall.Seconds(), taken.CPU.Seconds(), mib(taken.MaxRSS), taken.serverCPU.Seconds())
		}
	}
	return r, nil
}

func (b *bench) logf(format string, args ...any) { fmt.Fprintf(b.stderr, format+"\n", args...) }

// prepare makes the source of a scenario.
func (b *bench) prepare(ctx context.Context, name string) (*scenario, error) {
	s := &scenario{
		flags: []string{"-a"}, rounds: b.rounds,
		reset: b.putAside,
	}
	switch name {
	case "small", "nothing":
		return s, b.prepareSmall(ctx, s, name)
	case "restart", "restart-million":
		return s, b.prepareRestart(ctx, s, name)
	case "verify":
		return s, b.prepareVerify(ctx, s)
	case "big", "delta":
		return s, b.prepareBig(s, name)
	case "attrs", "attrs-nothing":
		return s, b.prepareAttrs(ctx, s, name)
	case "text", "text-slow", "photos":
		return s, b.prepareCompress(ctx, s, name)
	default:
		s.title, s.rounds = fmt.Sprintf("%d empty files", b.entries), 1
		s.bounds.memory = 100 << 20
		return s, b.prepareMillion(s)
	}
}

func (b *bench) prepareMillion(s *scenario) error {
	return b.once(s, "million", func(dir string) error { return makeEmpty(dir, b.entries) })
}

// putAside empties the destination, without removing a file before the end of the benchmark: for half a minute ext4 does
// not use a freed inode again, and the search for others costs the server ten times the work (recently_deleted in the
// kernel's profile), more in one run than in the next. The files are cut to nothing, so that only their inodes pile up.
func (b *bench) putAside() error {
	b.aside++
	old := filepath.Join(b.dir, fmt.Sprintf("aside%d", b.aside))
	if err := os.Rename(b.dst, old); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return filepath.WalkDir(old, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		return os.Truncate(path, 0)
	})
}

// once makes a source in the folder of that name, unless an earlier scenario has.
func (b *bench) once(s *scenario, name string, create func(dir string) error) error {
	s.src = filepath.Join(b.dir, name)
	if _, err := os.Lstat(s.src); err == nil {
		return nil
	}
	return create(s.src)
}

func (b *bench) prepareSmall(ctx context.Context, s *scenario, name string) error {
	if err := b.once(s, "small", func(dir string) error { return makeSmall(dir, b.files) }); err != nil {
		return err
	}
	if name == "small" {
		s.title = fmt.Sprintf("%d small files, `-a`", b.files)
		s.bounds = bounds{wall: 0.80, cpu: 1.30}
		return nil
	}
	s.title = fmt.Sprintf("nothing to do, %d files, `-a --delete`", b.files)
	s.bounds = bounds{wall: 1.00}
	s.flags = append(s.flags, "--delete")
	return b.fill(ctx, s)
}

// fill makes the destination equal, and leaves it so before every run.
func (b *bench) fill(ctx context.Context, s *scenario) error {
	s.reset = func() error { return warm(b.dst) }
	if err := b.putAside(); err != nil {
		return err
	}
	// The program that is compared with fills the destination: it is the one that is known to be right.
	_, err := b.run(ctx, s, b.programs[1], b.server.URL("bench/dst"))
	return err
}

func (b *bench) prepareAttrs(ctx context.Context, s *scenario, name string) error {
	if err := b.once(s, "attrs", func(dir string) error { return makeAttrs(dir, b.groups) }); err != nil {
		return err
	}
	s.flags, s.bounds = []string{"-aHAX"}, bounds{wall: 1.00}
	if name == "attrs" {
		s.title = fmt.Sprintf("%d files of two names, each with an extended attribute, `-aHAX`", b.groups)
		return nil
	}
	s.title = fmt.Sprintf("nothing to do, the same %d files, `-aHAX --delete`", b.groups)
	s.flags = append(s.flags, "--delete")
	return b.fill(ctx, s)
}

// prepareRestart has syncd begin with what it remembers, where nothing has changed.
func (b *bench) prepareRestart(ctx context.Context, s *scenario, name string) error {
	s.programs = &[2]program{{name: "syncd", command: strings.Fields(b.restart)}, b.programs[1]}
	if name == "restart" {
		err := b.prepareSmall(ctx, s, "nothing")
		s.title = fmt.Sprintf("restart with nothing changed, %d files, `%s`", b.files, strings.Join(s.flags, " "))
		s.bounds = bounds{wall: 0.30}
		return err
	}
	s.flags, s.rounds = append(s.flags, "--delete"), 1
	s.title = fmt.Sprintf("restart with nothing changed, %d empty files, `%s`", b.entries, strings.Join(s.flags, " "))
	s.bounds = bounds{seconds: 3, memory: 150 << 20}
	if err := b.prepareMillion(s); err != nil {
		return err
	}
	return b.fill(ctx, s)
}

// prepareVerify has both programs read everything on both sides, where nothing differs.
func (b *bench) prepareVerify(ctx context.Context, s *scenario) error {
	s.flags = append(s.flags, "-@-1")
	if err := b.prepareSmall(ctx, s, "nothing"); err != nil {
		return err
	}
	s.title = fmt.Sprintf("compare %d files by checksum, `%s`", b.files, strings.Join(s.flags, " "))
	s.bounds = bounds{wall: 0.70}
	theirs := b.programs[1]
	theirs.name, theirs.command = "rsync -nc", slices.Insert(slices.Clone(theirs.command), 1, "-nc")
	s.programs = &[2]program{{name: "syncd", command: strings.Fields(b.verify)}, theirs}
	return nil
}

func (b *bench) prepareBig(s *scenario, name string) error {
	err := b.once(s, "big", func(dir string) error { return makeBig(filepath.Join(dir, bigName), b.bigSize) })
	if err != nil {
		return err
	}
	s.bounds = bounds{wall: 0.95}
	if name == "big" {
		s.title = fmt.Sprintf("one file of %d MiB, whole, `-a`", b.bigSize>>20)
		return nil
	}
	s.title = fmt.Sprintf("the same file changed in %d places, `-a`", changes)
	old, file := filepath.Join(b.dir, "old"), filepath.Join(s.src, bigName)
	s.reset = func() error {
		if err := b.putAside(); err != nil {
			return err
		}
		return copyFile(filepath.Join(b.dst, bigName), old)
	}
	if err := copyFile(old, file); err != nil {
		return err
	}
	return change(file, b.bigSize)
}

// prepareCompress makes what compression is worth, and what it is not.
func (b *bench) prepareCompress(ctx context.Context, s *scenario, name string) error {
	s.flags = append(s.flags, "-z", "--zc=zstd")
	s.bounds = bounds{wall: 0.90, cpu: 1.00}
	if name != "photos" {
		s.title = "Go's library as source text, `-az --zc=zstd`"
		if name == "text-slow" {
			s.title = strings.TrimSuffix(s.title, "`") + " --bwlimit=8m`"
			s.flags, s.bounds = append(s.flags, "--bwlimit=8m"), bounds{}
		}
		return b.once(s, "text", func(dir string) error {
			root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
			return errors.Join(err, makeText(dir, filepath.Join(strings.TrimSpace(string(root)), "src")))
		})
	}
	s.title = fmt.Sprintf("%d photos, half of them without a suffix that tells, `-az --zc=zstd`", b.photos)
	return b.once(s, name, func(dir string) error { return makePhotos(dir, b.photos) })
}

const bigName = "big.dat"

// count runs a program through a relay that counts, and compares what it made with the source.
func (b *bench) count(ctx context.Context, s *scenario, p program) (up, down int64, err error) {
	relay, err := rsynctest.NewRelay(b.server.Addr(), rsynctest.Faults{})
	if err != nil {
		return 0, 0, err
	}
	defer relay.Close()
	if err := b.settle(s); err != nil {
		return 0, 0, err
	}
	if err := b.prime(ctx, s, p, relay.URL("bench/dst")); err != nil {
		return 0, 0, err
	}
	primedUp, primedDown := relay.Bytes()
	if _, err := b.run(ctx, s, p, relay.URL("bench/dst")); err != nil {
		return 0, 0, err
	}
	up, down = relay.Bytes()
	up, down = up-primedUp, down-primedDown
	if err := equal(b.dst, s.src); err != nil {
		return 0, 0, fmt.Errorf("after %s: %w", p.name, err)
	}
	return up, down, nil
}

// prime has a program that remembers what it has done do it once for this destination.
func (b *bench) prime(ctx context.Context, s *scenario, p program, dst string) error {
	if !slices.ContainsFunc(p.command, func(word string) bool { return strings.Contains(word, stateWord) }) {
		return nil
	}
	_, err := b.run(ctx, s, p, dst)
	return err
}

// time runs a program straight against the daemon.
func (b *bench) time(ctx context.Context, s *scenario, p program) (sample, error) {
	if err := b.settle(s); err != nil {
		return sample{}, err
	}
	return b.run(ctx, s, p, b.server.URL("bench/dst"))
}

// settle makes the same state before every run: destination put back, nothing left to be written, source in memory.
func (b *bench) settle(s *scenario) error {
	if err := s.reset(); err != nil {
		return err
	}
	if err := flush(b.dir); err != nil {
		return err
	}
	return warm(s.src)
}

// flush writes out what the file system of dir has in memory only.
func flush(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
}

// run runs a program once and waits until the server has done its part.
func (b *bench) run(ctx context.Context, s *scenario, p program, dst string) (sample, error) {
	if err := ctx.Err(); err != nil {
		return sample{}, err
	}
	var command []string
	for _, word := range p.command {
		if word == "{flags}" {
			command = append(command, s.flags...)
			continue
		}
		command = append(command, strings.NewReplacer("{src}", s.src, "{dst}", dst, stateWord, filepath.Join(b.dir, "state")).Replace(word))
	}
	before, err := b.server.ServedCPU()
	if err != nil {
		return sample{}, err
	}
	machineBefore, err := machineCPU()
	if err != nil {
		return sample{}, err
	}
	u, err := measure(ctx, command)
	if err != nil {
		return sample{}, err
	}
	machineAfter, err := machineCPU()
	if err != nil {
		return sample{}, err
	}
	after, err := b.server.ServedCPU()
	return sample{usage: u, serverCPU: after - before, machine: machineAfter - machineBefore}, err
}
