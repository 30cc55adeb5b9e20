package filter

import (
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
)

// A server models how a stock server deletes (protocol 5.3) when it is not
// recursing: it reads rules off the wire, and in each content directory only the
// merge files of that directory and, further down, of what it deletes.
type server struct {
	t              *testing.T
	root           string
	kept           []string
	deleteExcluded bool
	bad            bool // a merge file at the destination does not parse
}

// prune deletes, in the model, what the content directory dir has beyond listed.
func (v *server) prune(wire []string, dir string, listed map[string]bool) {
	l := &List{Base: v.root}
	for _, rule := range wire {
		if err := l.Filter(rule); err != nil {
			v.t.Fatalf("our own wire rule: %v", err)
		}
	}
	top, err := l.Root(func(string, string) (io.ReadCloser, error) { return nil, fs.ErrNotExist })
	if err != nil {
		v.t.Fatal(err)
	}
	s := v.enter(top, dir)
	for _, e := range v.list(dir) {
		name := path.Join(dir, e.Name())
		switch {
		case listed[name]:
			v.keep(name, e.IsDir())
		case !v.protected(s, name, e.IsDir(), false):
			v.remove(s, name, e.IsDir())
		case e.IsDir():
			v.keepAll(name)
		default:
			v.keep(name, false)
		}
	}
}

// remove reports whether name is gone.
func (v *server) remove(s *Scope, name string, isDir bool) bool {
	if !isDir {
		return true
	}
	in, empty := v.enter(s, name), true
	for _, e := range v.list(name) {
		child := path.Join(name, e.Name())
		if !v.protected(in, child, e.IsDir(), true) {
			empty = v.remove(in, child, e.IsDir()) && empty
			continue
		}
		empty = false
		if e.IsDir() {
			v.keepAll(child)
		} else {
			v.keep(child, false)
		}
	}
	if !empty {
		v.keep(name, true)
	}
	return empty
}

func (v *server) enter(s *Scope, dir string) *Scope {
	sh := *s.shared
	sh.read = reader(v.root)
	c := *s
	c.shared = &sh
	if s.next == s {
		c.next = &c
	} else {
		n := *s.next
		n.shared = &sh
		c.next = &n
	}
	in, err := c.Enter(dir)
	if err != nil {
		v.bad = true
		return &c
	}
	return in
}

func (v *server) list(dir string) []os.DirEntry {
	entries, err := os.ReadDir(filepath.Join(v.root, dir))
	if err != nil {
		v.t.Fatal(err)
	}
	return entries
}

func (v *server) keep(name string, isDir bool) {
	if isDir {
		name += "/"
	}
	v.kept = append(v.kept, name)
}

func (v *server) keepAll(dir string) {
	v.keep(dir, true)
	for _, e := range v.list(dir) {
		if name := path.Join(dir, e.Name()); e.IsDir() {
			v.keepAll(name)
		} else {
			v.keep(name, false)
		}
	}
}

// protected evaluates the rules as a receiver does.
func (v *server) protected(s *Scope, name string, isDir, dying bool) (result bool) {
	decided := false
	s.each(s.shared.rules, func(r *rule) {
		if decided || r.merge != nil || r.xattr || r.sides == senderSide || r.sides == 0 && v.deleteExcluded ||
			dying && r.perishable {
			return
		}
		if r.matches(s.shared.base, name, isDir) {
			decided, result = true, !r.include
		}
	})
	return result
}

func TestDeletesWhatRsyncDeletes(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("CVSIGNORE", "")
	compared := 0
	for i := range uint64(*sets / 2) {
		n := *seed + i
		g := &generator{Rand: rand.New(rand.NewPCG(n, 3)), clean: true, cvs: n%5 == 0}
		src, dst := t.TempDir(), t.TempDir()
		g.plain = n%3 == 0
		g.tree(t, src, 40, !g.plain)
		args := g.arguments(1 + g.IntN(6))
		run(t, "cp", "-a", src+"/.", dst)
		g.extras(t, dst, 25)
		deleteExcluded := n%4 == 0
		option := "--delete"
		if deleteExcluded {
			option = "--delete-excluded"
		}
		want, got, ok := compareDeletion(t, src, dst, args, option, deleteExcluded)
		if diff := cmp.Diff(want, got); ok && diff != "" {
			t.Errorf("set %d: %s %q\nkept (-rsync +syncd)\n%s\nsource:\n%sdestination:\n%s",
				n, option, args, diff, mergeFiles(src), mergeFiles(dst))
		}
		if ok {
			compared++
		}
		os.RemoveAll(src)
		os.RemoveAll(dst)
	}
	if compared < *sets/4 {
		t.Errorf("only %d of %d sets were compared", compared, *sets/2)
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// compareDeletion returns what rsync keeps at dst, and what it keeps by our rules; not ok when rules do not parse.
func compareDeletion(t *testing.T, src, dst string, args []argument, option string, deleteExcluded bool) (
	want, got []string, ok bool,
) {
	t.Helper()
	l, err := build(src, args)
	if err != nil {
		t.Fatal(err)
	}
	root, err := l.Root(reader(src))
	if err != nil {
		return nil, nil, false
	}
	v := &server{t: t, root: dst, deleteExcluded: deleteExcluded}
	var walk func(s *Scope, dir string) bool
	walk = func(s *Scope, dir string) bool {
		entries, err := os.ReadDir(filepath.Join(src, dir))
		if err != nil {
			t.Fatal(err)
		}
		listed := map[string]bool{}
		for _, e := range entries {
			name := path.Join(dir, e.Name())
			if s.Excluded(name, e.IsDir()) {
				continue
			}
			listed[name] = true
			if e.IsDir() {
				in, err := s.Enter(name)
				if err != nil || !walk(in, name) {
					return false
				}
			}
		}
		wire, err := s.Wire(32, deleteExcluded)
		if err != nil {
			return false
		}
		v.prune(wire, dir, listed)
		return true
	}
	if !walk(root, ".") || v.bad {
		return nil, nil, false
	}
	if _, err := rsync(t, append(append([]string{"-a", option}, options(args)...), src+"/", dst+"/")...); err != nil {
		return nil, nil, false
	}
	filepath.WalkDir(dst, func(p string, d fs.DirEntry, err error) error {
		if name := strings.TrimPrefix(p, dst+"/"); err == nil && p != dst {
			if d.IsDir() {
				name += "/"
			}
			want = append(want, name)
		}
		return nil
	})
	slices.Sort(want)
	slices.Sort(v.kept)
	return want, v.kept, true
}
