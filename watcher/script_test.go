package watcher

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/treetest"
)

// A script sets up a tree, and changes it in steps after each of which Sync is called. Its items must be exactly those
// wanted; those with a question mark depend on who is faster. "out" is a directory beside the tree "in".
type script struct {
	name  string
	setup func(place)
	steps []func(place)
	want  string // items, comma-separated
}

func step(f ...func(place)) []func(place) { return f }

var scripts = []script{
	{"create", nil, step(func(p place) { p.write("in/f", "x") }), "path f"},
	{"create empty", nil, step(func(p place) { p.write("in/f", "") }), "path f"},
	{"rewrite", func(p place) { p.write("in/f", "x") }, step(func(p place) { p.write("in/f", "y") }), "path f"},
	{"remove", func(p place) { p.write("in/f", "x") }, step(func(p place) { p.rm("in/f") }), "path f"},
	{"rename", func(p place) { p.write("in/f", "x") }, step(func(p place) { p.mv("in/f", "in/g") }), "path f, path g"},
	{"rename over", func(p place) { p.write("in/f", "x"); p.write("in/g", "y") },
		step(func(p place) { p.mv("in/f", "in/g") }), "path f, path g"},
	{"exchange files", func(p place) { p.write("in/f", "x"); p.write("in/g", "y") },
		step(func(p place) { p.exchange("in/f", "in/g") }), "path f, path g"},
	{"move in", func(p place) { p.write("out/f", "x") }, step(func(p place) { p.mv("out/f", "in/f") }), "path f"},
	{"move out", func(p place) { p.write("in/f", "x") }, step(func(p place) { p.mv("in/f", "out/f") }), "path f"},
	{"truncate", func(p place) { p.write("in/f", "xyz") }, step(func(p place) { ok(p.t, os.Truncate(p.at("in/f"), 1)) }), "path f"},
	{"chmod", func(p place) { p.write("in/f", "") }, step(func(p place) { ok(p.t, os.Chmod(p.at("in/f"), 0o600)) }), "path f"},
	{"touch", func(p place) { p.write("in/f", "") },
		step(func(p place) { ok(p.t, os.Chtimes(p.at("in/f"), time.Time{}, time.Unix(1e9, 5))) }), "path f"},
	{"chown link", func(p place) { ok(p.t, os.Symlink("x", p.at("in/l"))) },
		step(func(p place) { ok(p.t, os.Lchown(p.at("in/l"), os.Getuid(), os.Getgid())) }), "path l"},
	{"setxattr", func(p place) { p.write("in/f", "") },
		step(func(p place) { ok(p.t, unix.Setxattr(p.at("in/f"), "user.a", []byte("b"), 0)) }), "path f"},
	{"hard link", func(p place) { p.write("in/f", "x") }, step(func(p place) { ok(p.t, os.Link(p.at("in/f"), p.at("in/g"))) }), "path g"},
	{"fifo", nil, step(func(p place) { ok(p.t, unix.Mkfifo(p.at("in/p"), 0o600)) }), "path p"},
	{"symlink swap", func(p place) { ok(p.t, os.Symlink("a", p.at("in/l"))) }, step(func(p place) {
		ok(p.t, os.Symlink("b", p.at("in/.l")))
		p.mv("in/.l", "in/l")
	}), "path .l, path l"},
	{"temporary file renamed", nil, step(func(p place) { p.write("in/.f.tmp", "x"); p.mv("in/.f.tmp", "in/f") }), "path .f.tmp, path f"},

	{"mkdir", nil, step(func(p place) { p.mkdir("in/d") }), "tree d"},
	{"new directory is watched", nil, step(
		func(p place) { p.mkdir("in/d/e") },
		func(p place) { p.write("in/d/e/f", "x") }), "path d/e/f, tree d"},
	{"rmdir", func(p place) { p.mkdir("in/d") }, step(func(p place) { p.rm("in/d") }), "path d"},
	{"rm -r", func(p place) { p.mkdir("in/d/e"); p.write("in/d/e/f", "x") }, step(func(p place) { p.rm("in/d") }),
		"path d, path d/e, path d/e/f"},
	{"chmod directory", func(p place) { p.mkdir("in/d") }, step(func(p place) { ok(p.t, os.Chmod(p.at("in/d"), 0o700)) }), "path d"},
	{"chmod root", nil, step(func(p place) { ok(p.t, os.Chmod(p.at("in"), 0o700)) }), "path ."},
	{"touch directory", func(p place) { p.mkdir("in/d") }, step(func(p place) {
		onlyMtime := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: 1e9}}
		ok(p.t, unix.UtimesNanoAt(unix.AT_FDCWD, p.at("in/d"), onlyMtime, 0))
		ok(p.t, unix.UtimesNanoAt(unix.AT_FDCWD, p.at("in"), onlyMtime, 0))
	}), "path d, path ."},
	{"rename directory", func(p place) { p.mkdir("in/d/e/f") }, step(
		func(p place) { p.mv("in/d", "in/g") },
		func(p place) { p.write("in/g/e/f/x", "") },
		func(p place) { p.mkdir("in/g/e/h") },
		func(p place) { p.write("in/g/e/h/x", "") }),
		"path d, path g/e/f/x, path g/e/h/x, tree g, tree g/e/h"},
	{"rename directory there and back", func(p place) { p.mkdir("in/d/e") }, step(
		func(p place) { p.mv("in/d", "in/g"); p.mv("in/g", "in/d") },
		func(p place) { p.write("in/d/e/x", "") }), "path d, path d/e/x, path g, tree d, tree g?"},
	{"move directory in", func(p place) { p.mkdir("out/d/e"); p.write("out/d/e/f", "") }, step(
		func(p place) { p.mv("out/d", "in/d") },
		func(p place) { p.write("in/d/e/g", "") }), "path d/e/g, tree d"},
	{"move directory out", func(p place) { p.mkdir("in/d/e") }, step(
		func(p place) { p.mv("in/d", "out/d") },
		func(p place) { p.write("out/d/e/g", ""); p.mkdir("out/d/h") }), "path d"},
	{"move directory out, another in", func(p place) { p.mkdir("in/d/e", "out/g/e") }, step(
		func(p place) { p.mv("in/d", "out/d"); p.mv("out/g", "in/d") },
		func(p place) { p.write("out/d/e/no", "") },
		func(p place) { p.write("in/d/e/yes", "") }), "path d, path d/e/yes, tree d"},
	{"move directory over another", func(p place) { p.mkdir("in/d/e", "in/g") }, step(
		func(p place) { p.mv("in/d", "in/g") },
		func(p place) { p.write("in/g/e/x", "") }), "path d, path g/e/x, tree g"},
	{"move directory in over another", func(p place) { p.mkdir("out/d/e", "in/g") }, step(
		func(p place) { p.mv("out/d", "in/g") },
		func(p place) { p.write("in/g/e/x", "") }), "path g/e/x, tree g"},
	{"exchange directories", func(p place) { p.mkdir("in/a/x", "in/b/y") }, step(
		func(p place) { p.exchange("in/a", "in/b") },
		func(p place) { p.write("in/a/y/1", "") },
		func(p place) { p.write("in/b/x/2", "") }), "path a, path a/y/1, path b, path b/x/2, tree a, tree b"},
	{"exchange directory with file", func(p place) { p.mkdir("in/a/x"); p.write("in/b", "") }, step(
		func(p place) { p.exchange("in/a", "in/b") },
		func(p place) { p.write("in/b/x/2", "") }), "path a, path b, path b/x/2, tree b"},
	{"exchange file with directory", func(p place) { p.mkdir("in/a/x"); p.write("in/b", "") }, step(
		func(p place) { p.exchange("in/b", "in/a") },
		func(p place) { p.write("in/b/x/2", "") }), "path a, path b, path b/x/2, tree b"},
	{"exchange with one outside", func(p place) { p.mkdir("in/a/x", "out/b/y") }, step(
		func(p place) { p.exchange("out/b", "in/a") },
		func(p place) { p.write("out/b/x/no", "") },
		func(p place) { p.write("in/a/y/yes", "") }), "path a, path a/y/yes, tree a"},
	{"exchange with a child's directory", func(p place) { p.mkdir("in/a/b/c", "in/d/e") }, step(
		func(p place) { p.exchange("in/a/b", "in/d") },
		func(p place) { p.write("in/a/b/e/1", "") },
		func(p place) { p.write("in/d/c/2", "") }), "path a/b, path a/b/e/1, path d, path d/c/2, tree a/b, tree d"},
	{"rmdir and mkdir", func(p place) { p.mkdir("in/d/e") }, step(
		func(p place) { p.rm("in/d"); p.mkdir("in/d/e") },
		func(p place) { p.write("in/d/e/x", "") }), "path d, path d/e, path d/e/x, tree d"},
	{"rmdir of an open directory and mkdir", func(p place) { p.mkdir("in/d") }, step(
		func(p place) {
			f, err := os.Open(p.at("in/d"))
			ok(p.t, err)
			p.t.Cleanup(func() { f.Close() })
			p.rm("in/d")
			p.mkdir("in/d")
		},
		func(p place) { p.write("in/d/x", "") }), "path d, path d/x, tree d"},
	{"directory, file, symlink, directory", func(p place) { p.mkdir("in/d", "out/x") }, step(
		func(p place) {
			p.rm("in/d")
			p.write("in/d", "")
			p.rm("in/d")
			ok(p.t, os.Symlink(p.at("out/x"), p.at("in/d")))
			p.rm("in/d")
			p.mkdir("in/d")
		},
		func(p place) { p.write("out/x/no", "") },
		func(p place) { p.write("in/d/yes", "") }), "path d, path d/yes, tree d"},
	{"directory to symlink", func(p place) { p.mkdir("in/d/e", "out/x/e") }, step(
		func(p place) { p.mv("in/d", "in/old"); ok(p.t, os.Symlink(p.at("out/x"), p.at("in/d"))) },
		func(p place) { p.write("out/x/e/no", "") }), "path d, tree old"},
	{"hostile names", nil, step(
		func(p place) { p.mkdir("in/ \n\\ü\xff/-") },
		func(p place) { p.write("in/ \n\\ü\xff/-/*", "") },
		func(p place) { p.mv("in/ \n\\ü\xff", "in/..\t") },
		func(p place) { p.write("in/..\t/-/"+strings.Repeat("n", 255), "") }),
		"path  \n\\ü\xff, path  \n\\ü\xff/-/*, path ..\t/-/" + strings.Repeat("n", 255) + ", tree  \n\\ü\xff, tree ..\t"},
}

func TestScripts(t *testing.T) {
	for _, s := range scripts {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			p := place{t, t.TempDir()}
			p.mkdir("in", "out")
			if s.setup != nil {
				s.setup(p)
			}
			before := snapshot(t, p.at("in"))
			w := begin(t, p.at("in"))
			for _, f := range s.steps {
				f(p)
				w.sync()
			}
			items := w.take()
			got := withoutNested(names(items))
			var want []string
			for _, i := range withoutNested(strings.Split(s.want, ", ")) {
				if may, ok := strings.CutSuffix(i, "?"); !ok || slices.Contains(got, may) {
					want = append(want, may)
				}
			}
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("items %q\n want %q", got, want)
			}
			after := snapshot(t, p.at("in"))
			if missed := uncovered(before, after, items); missed != nil {
				t.Errorf("not covered: %q\n%s\nitems %v", missed, treetest.Diff(before, after), items)
			}
			if s := w.Stats(); s.Overflows != 0 || s.Rescans != 0 || len(s.Unwatched) != 0 || s.Pending != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// withoutNested leaves out trees inside of others: whether a directory made right after its parent is found with that or
// reported by itself depends on who is faster.
func withoutNested(items []string) []string {
	return slices.DeleteFunc(slices.Clone(items), func(i string) bool {
		return slices.ContainsFunc(items, func(j string) bool {
			return strings.HasPrefix(j, "tree ") && strings.HasPrefix(i, j+"/")
		})
	})
}

// TestDeepStorm makes chains of directories as fast as it can while their parents are being listed.
func TestDeepStorm(t *testing.T) {
	p := place{t, t.TempDir()}
	w := begin(t, p.dir)
	before := snapshot(t, p.dir)
	for i := range 50 {
		deep := fmt.Sprintf("%d/%s", i%3, strings.Repeat("a/b/", i%20+1)) + fmt.Sprint(i)
		p.mkdir(deep)
		p.write(deep+"/f", "x")
	}
	w.sync()
	if missed := uncovered(before, snapshot(t, p.dir), w.take()); missed != nil {
		t.Errorf("not covered: %q", missed)
	}
	before = snapshot(t, p.dir)
	for f := range before {
		if st, err := os.Lstat(p.at(f)); err == nil && st.IsDir() {
			p.write(f+"/late", "")
		}
	}
	w.sync()
	items := w.take()
	if missed := uncovered(before, snapshot(t, p.dir), items); missed != nil {
		t.Errorf("not covered: %q", missed)
	}
	for _, i := range names(items) {
		if !strings.HasPrefix(i, "path ") || !strings.HasSuffix(i, "late") {
			t.Errorf("covers too much: %s", i)
		}
	}
}
