// Command demo shows and checks, within a minute and without rsync, what syncd
// does on this machine: it makes a tree, copies it into a local directory with
// the built program, changes the tree in every way that it can, follows it as
// a service and cuts over, and compares source and destination itself after
// each step.
//
// Usage: demo PATH-OF-SYNCD
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: demo PATH-OF-SYNCD")
		os.Exit(2)
	}
	if err := demo(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "demo: FAILED:", err)
		os.Exit(1)
	}
}

func demo(program string) error {
	program, err := filepath.Abs(program)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "syncd-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := &show{program: program, dir: dir, src: filepath.Join(dir, "src"), dst: filepath.Join(dir, "dst")}
	for _, step := range []func() error{s.firstCopy, s.nothingToDo, s.changes, s.refusals, s.live} {
		if err := step(); err != nil {
			return err
		}
	}
	fmt.Println(`
Shown and checked by comparing content, type, mode, owner, time to the
nanosecond and link target of every entry on both sides:
  - a full copy of files, directories, symlinks and a fifo, with odd names
  - a second run that sends nothing
  - changed files, deletions, changes of type, mode and time after the source changed
  - a dry run that names what will be done and touches nothing
  - a destination inside the source is refused
  - the service: a change arrives at once, and a changed tree becomes equal
  - a cutover while somebody writes: frozen, proven by checksum, handed over
Not shown here: rsync daemons and ssh as destinations, deltas, resumed
transfers; make test covers them.`)
	return nil
}

// show is one demonstration in a directory of its own.
type show struct {
	program, dir, src, dst string
}

// summary holds what the demo looks at of syncd's last line of --json.
type summary struct {
	Event            string
	Exit             int
	TransferredFiles int64 `json:"transferred_files"`
	TransferredSize  int64 `json:"transferred_size"`
	Deleted          int64
	Created          struct{ Total int64 }
	Files            struct{ Total int64 }
}

func (s *show) firstCopy() error {
	step("a tree of 400 entries: names with spaces, quotes and line breaks, empty, sparse and large files")
	if err := makeTree(s.src); err != nil {
		return err
	}
	sum, err := s.copy()
	if err != nil {
		return err
	}
	fmt.Printf("   %d entries made, %d files with %d bytes sent\n",
		sum.Created.Total, sum.TransferredFiles, sum.TransferredSize)
	return s.compare()
}

func (s *show) nothingToDo() error {
	step("the same again: nothing may be sent")
	sum, err := s.copy()
	if err != nil {
		return err
	}
	if sum.TransferredFiles != 0 || sum.Created.Total != 0 || sum.Deleted != 0 {
		return fmt.Errorf("a second run did something: %+v", *sum)
	}
	fmt.Printf("   %d entries looked at, nothing sent\n", sum.Files.Total)
	return s.compare()
}

func (s *show) changes() error {
	step("the source changes: files rewritten, grown, renamed, deleted, swapped for links and directories")
	if err := changeTree(s.src); err != nil {
		return err
	}
	before, err := snapshot(s.dst)
	if err != nil {
		return err
	}
	out, err := s.run("--full", "-a", "--delete", "-n", s.src, s.dst)
	if err != nil {
		return err
	}
	lines := strings.SplitAfter(strings.TrimSuffix(out, "\n"), "\n")
	for _, l := range lines[:min(len(lines), 6)] {
		fmt.Print("   " + l)
	}
	fmt.Printf("   ... %d lines in all\n", len(lines))
	after, err := snapshot(s.dst)
	if err != nil {
		return err
	}
	if d := difference(before, after); d != "" {
		return fmt.Errorf("the dry run changed the destination: %s", d)
	}
	sum, err := s.copy()
	if err != nil {
		return err
	}
	if sum.Deleted == 0 || sum.TransferredFiles == 0 {
		return fmt.Errorf("the changes were not seen: %+v", *sum)
	}
	fmt.Printf("   %d files with %d bytes sent, %d entries deleted\n",
		sum.TransferredFiles, sum.TransferredSize, sum.Deleted)
	return s.compare()
}

func (s *show) refusals() error {
	step("a destination inside the source")
	_, err := s.run("--full", "-a", s.src, filepath.Join(s.src, "copy"))
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 5 {
		return fmt.Errorf("not refused with status 5: %v", err)
	}
	fmt.Println("   refused:", strings.TrimSpace(string(exit.Stderr)))
	return nil
}

// copy runs the copy proper and returns its summary.
func (s *show) copy() (*summary, error) {
	out, err := s.run("--full", "-a", "--delete", "--json", s.src, s.dst)
	if err != nil {
		return nil, err
	}
	last := out[strings.LastIndexByte(strings.TrimSuffix(out, "\n"), '\n')+1:]
	sum := new(summary)
	if err := json.Unmarshal([]byte(last), sum); err != nil || sum.Event != "summary" {
		return nil, fmt.Errorf("no summary in %q: %v", last, err)
	}
	return sum, nil
}

// run shows the command and returns its standard output.
func (s *show) run(args ...string) (string, error) {
	fmt.Println("$ syncd", s.short(shown(args)))
	var stderr bytes.Buffer
	cmd := exec.Command(s.program, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		exit.Stderr = []byte(s.short(stderr.String()))
		return "", fmt.Errorf("syncd: %w\n%s", exit, stderr.String())
	}
	return string(out), err
}

// short leaves out the directory of the demonstration.
func (s *show) short(text string) string { return strings.ReplaceAll(text, s.dir+"/", "") }

// shown is a command line as it would be typed.
func shown(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		if name, value, ok := strings.Cut(a, "="); ok && strings.ContainsAny(value, " ;") {
			a = name + "='" + value + "'"
		}
		quoted[i] = a
	}
	return strings.Join(quoted, " ")
}

func (s *show) compare() error {
	want, err := snapshot(s.src)
	if err != nil {
		return err
	}
	got, err := snapshot(s.dst)
	if err != nil {
		return err
	}
	if d := difference(want, got); d != "" {
		return fmt.Errorf("source and destination differ: %s", d)
	}
	fmt.Printf("   compared: %d entries are equal on both sides\n", len(want))
	return nil
}

func step(text string) { fmt.Println("\n-- " + text) }
