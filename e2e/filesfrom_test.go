package e2e

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/syncd/syncd/internal/treetest"
)

// What a list of names brings is what it brings with rsync, over random trees and lists, at the first copy and after
// changes of the tree and of the list.
func TestFilesFromAsRsync(t *testing.T) {
	rounds, first := 1, 0
	if n, err := strconv.Atoi(os.Getenv("SYNCD_MATRIX")); err == nil {
		rounds = n
	}
	if s, err := strconv.Atoi(os.Getenv("SYNCD_SEED")); err == nil {
		first = s
	}
	for i, flags := range []string{
		"", "-0", "-r", "-r0", "-H -0", "-rH --exclude=a*", "-0 --exclude=*[0-5]", "-r --include=b* --exclude=/*/*", "-0 --exclude=/??*",
		"--protocol=31 --exclude=?1", "-AX", "-r -O --chmod=Dg+s,Fo-r", "-0 --no-l --no-D", "-r --exclude=??*/",
	} {
		for _, form := range []string{"daemon", "local"} {
			if form == "local" && strings.Contains(flags, "protocol") || testing.Short() && (form == "local") == (i%2 == 0) {
				continue
			}
			t.Run(form+" "+flags, func(t *testing.T) {
				t.Parallel()
				for seed := range rounds {
					filesFromAsRsync(t, uint64(first+100*seed+i), form == "local", strings.Fields(flags))
				}
			})
		}
	}
}

func filesFromAsRsync(t *testing.T, seed uint64, local bool, flags []string) {
	list := filepath.Join(t.TempDir(), "list")
	// Without a chroot a server changes links that lead out of it, but not always if it is told of --relative.
	w := newTwinsIn(t, map[string]string{"use chroot": "yes"}, seed)
	w.local = local
	w.flags = append([]string{"-a", "-@-1", "--files-from=" + list}, flags...)
	line := " " + strings.Join(flags, " ")
	if strings.Contains(line, "H") {
		w.options.Ignore &^= treetest.HardLinks
	}
	if strings.Contains(line, "X") {
		w.options.Ignore &^= treetest.Xattrs
	}
	if strings.Contains(line, "-O") {
		w.options.Ignore |= treetest.DirMtime // nobody sets them
	}
	if err := os.Chmod(w.src, 0o751); err != nil { // else than those of both destinations
		t.Fatal(err)
	}
	treetest.Random(t, w.rng, w.src, 150)
	if strings.Contains(line, "X") {
		treetest.MutateAttrs(t, w.rng, w.src, 100)
	}
	for range 4 {
		names, root := randomNames(t, w.rng, w.src, strings.Contains(line, "0"))
		if err := os.WriteFile(list, []byte(names), 0o600); err != nil {
			t.Fatal(err)
		}
		w.looked = func() {
			if root {
				return
			}
			for _, dir := range []string{w.ours, w.theirs} {
				if err := os.Chtimes(dir, time.Unix(2, 0), time.Unix(2, 0)); err != nil { // else when something was made in it
					t.Fatal(err)
				}
			}
		}
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("seed %d, list %q", seed, names)
			}
		})
		if w.run(t) {
			syncd(t, 0, slices.Concat([]string{"--verify"}, w.flags, []string{w.src, w.dest("a")})...)
		}
		treetest.Mutate(t, w.rng, w.src, 30)
		w.clearWay(t)
	}
}

// clearWay removes directories that are where the source has something else: without --delete they would stay, and
// rsync -H gives up at one (exit status 2).
func (w *twins) clearWay(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(w.src, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		for _, dir := range []string{w.ours, w.theirs} {
			at := filepath.Join(dir, strings.TrimPrefix(p, w.src))
			if info, err := os.Lstat(at); err == nil && info.IsDir() {
				if err := os.RemoveAll(at); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// randomNames is a list of names of a tree, and of some that are not in it. Root says that the root is asked for itself.
func randomNames(t *testing.T, rng *rand.Rand, src string, nul bool) (list string, root bool) {
	t.Helper()
	var all []string
	kinds := map[string]fs.FileMode{}
	err := filepath.WalkDir(src, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, p)
		if rel != "." {
			all, kinds[rel] = append(all, rel), d.Type()
		}
		return err
	})
	if err != nil || len(all) == 0 {
		t.Fatalf("%d names in %s: %v", len(all), src, err)
	}
	var b strings.Builder
	first := 2 * rng.IntN(2) // 0: with names that are not there
	for range 1 + rng.IntN(len(all)) {
		name := all[rng.IntN(len(all))]
		symlink := kinds[name] == fs.ModeSymlink
		switch first + rng.IntN(12-first) {
		case 0:
			name = fmt.Sprintf("%s-%d", name, rng.IntN(3)) // is not there
		case 1:
			if !symlink {
				name += "/below/" + strconv.Itoa(rng.IntN(3))
			}
		case 2, 3, 4:
			if !symlink { // rsync follows it
				name += []string{"/", "//", "/.", "/x/.."}[rng.IntN(4)]
			}
		}
		switch rng.IntN(10) {
		case 0:
			name = "../" + name
		case 1:
			name = "x/../" + strings.ReplaceAll(name, "/", "//")
		case 2:
			name, root = "./"+name, true
		}
		if rng.IntN(100) == 0 {
			name, root = ".", true
		}
		if rng.IntN(3) == 0 || name[0] == '#' {
			name = "/" + name
			if rng.IntN(3) == 0 {
				name = "/" + name
			}
		}
		if strings.ContainsAny(name, "\n\r") && !nul {
			continue
		}
		end := []string{"\n", "\r\n", "\r", "\n\n", "\n#" + name + "\n", "\n;\n"}[rng.IntN(6)]
		if nul {
			end = []string{"\x00", "\x00\x00", "\x00#" + name + "\x00"}[rng.IntN(3)]
		}
		b.WriteString(name + end)
	}
	return b.String(), root
}
