package filter

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/syncd/syncd/internal/rsynctest"
)

var (
	sets = flag.Int("filter.sets", 24, "random rule sets for each comparison with rsync")
	seed = flag.Uint64("filter.seed", 1, "seed of the first random rule set")
)

func reader(root string) ReadFunc {
	return func(dir, name string) (io.ReadCloser, error) { return os.Open(filepath.Join(root, dir, name)) }
}

// build makes the List of args for the tree at root.
func build(root string, args []argument) (*List, error) {
	l := &List{Base: root}
	for _, a := range args {
		if err := a.add(l); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// choose walks root as the sender does and returns the names in rsync's form.
func choose(root string, args []argument) ([]string, error) {
	l, err := build(root, args)
	if err != nil {
		return nil, err
	}
	s, err := l.Root(reader(root))
	if err != nil {
		return nil, err
	}
	var out []string
	var walk func(s *Scope, dir string) error
	walk = func(s *Scope, dir string) error {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil {
			return err
		}
		for _, e := range entries {
			name := path.Join(dir, e.Name())
			if s.Excluded(name, e.IsDir()) {
				continue
			}
			if !e.IsDir() {
				out = append(out, name)
				continue
			}
			out = append(out, name+"/")
			in, err := s.Enter(name)
			if err != nil {
				return err
			}
			if err := walk(in, name); err != nil {
				return err
			}
		}
		return nil
	}
	err = walk(s, ".")
	slices.Sort(out)
	return out, err
}

func rsyncChooses(t *testing.T, src string, args []argument) ([]string, error) {
	t.Helper()
	all := append([]string{"-an", "--no-i-r", "-8", "--out-format=%n"}, options(args)...)
	return rsync(t, append(all, src+"/", src+"-none/")...)
}

// errSyntax is what the oracle says to rules that do not parse.
var errSyntax = errors.New("rsync refuses the rules")

func rsync(t testing.TB, args ...string) ([]string, error) {
	t.Helper()
	cmd := exec.Command(rsynctest.Rsync(t), args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && (exit.ExitCode() == 1 || exit.ExitCode() == 11) {
		return nil, errors.Join(errSyntax, errors.New(stderr.String()))
	}
	if err != nil {
		t.Fatalf("rsync %q: %v\n%s", args, err, stderr.String())
	}
	var out []string
	for line := range strings.Lines(stdout.String()) {
		if line = strings.TrimSuffix(line, "\n"); line != "./" {
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return out, nil
}

func TestChoosesWhatRsyncChooses(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("CVSIGNORE", "")
	for i := range uint64(*sets) {
		n := *seed + i
		g := &generator{Rand: rand.New(rand.NewPCG(n, 1)), clean: n%4 != 0, cvs: n%5 == 0}
		above := t.TempDir()
		src := filepath.Join(above, pick(g, components), "ab")
		if err := os.MkdirAll(src, 0o755); err != nil {
			t.Fatal(err)
		}
		g.tree(t, src, 60, n%3 != 0)
		if g.chance(3) {
			g.tree(t, filepath.Dir(src), 3, true)
		}
		args := g.arguments(1 + g.IntN(8))
		want, wantErr := rsyncChooses(t, src, args)
		got, gotErr := choose(src, args)
		report(t, n, filepath.Dir(src), args, got, want, gotErr, wantErr)
		os.RemoveAll(above)
	}
}

// TestChoosesManySetsPerTree compares many rule sets with few processes: each
// top-level directory has its own set in a merge file.
func TestChoosesManySetsPerTree(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("CVSIGNORE", "")
	const perTree = 40
	for i := range uint64(max(1, *sets/8)) {
		n := *seed + i
		g := &generator{Rand: rand.New(rand.NewPCG(n, 2)), clean: true, cvs: n%2 == 0}
		src := t.TempDir()
		for range perTree {
			d := filepath.Join(src, string(rune('A'+g.IntN(26)))+pick(g, components)+pick(g, components))
			if os.Mkdir(d, 0o755) == nil {
				g.tree(t, d, 25, true)
				write(t, filepath.Join(d, ".r"), g.mergeFile())
			}
		}
		rule := pick(g, []string{": .r", ":n .r", ":e .r", "dir-merge,- .r", ": /.r"})
		args := []argument{{"--filter=" + rule, func(l *List) error { return l.Filter(rule) }}}
		want, wantErr := rsyncChooses(t, src, args)
		got, gotErr := choose(src, args)
		report(t, n, src, args, got, want, gotErr, wantErr)
		os.RemoveAll(src)
	}
}

func report(t *testing.T, n uint64, src string, args []argument, got, want []string, gotErr, wantErr error) {
	t.Helper()
	if (gotErr != nil) != (wantErr != nil) {
		t.Errorf("set %d: %q\nour error: %v\nrsync's:   %v\n%s", n, args, gotErr, wantErr, mergeFiles(src))
		return
	}
	if diff := cmp.Diff(want, got); gotErr == nil && diff != "" {
		t.Errorf("set %d: %q\n(-rsync +syncd)\n%s\n%s", n, args, diff, mergeFiles(src))
	}
}

// mergeFiles shows the rule files of a tree, for messages.
func mergeFiles(root string) string {
	var b strings.Builder
	filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (slices.Contains(mergeNames, d.Name()) || d.Name() == ".m" || d.Name() == ".cvsignore") {
			data, _ := os.ReadFile(p)
			b.WriteString(strings.TrimPrefix(p, root) + ": " + strings.ReplaceAll(string(data), "\n", " | ") + "\n")
		}
		return nil
	})
	return b.String()
}
