package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/syncd/syncd/"

// A pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// The walls of design.md, sections 4 and 11. Paths are below the module's.
var (
	// islands know nothing of ours but what lies below themselves.
	islands = []string{"internal/rsync", "internal/scan", "ratelimit", "systemd"}
	// leaves know nothing of ours and may be known by islands.
	leaves = []string{"internal/attr", "internal/chmod", "internal/printable", "internal/ssh"}
	// strangers do not know each other, not even through a third.
	strangers = [][2]string{{"watcher", "transfer"}}
	// owned are packages that only one other may import.
	owned = map[string]string{"internal/daemon": "cmd/syncd"}
	// helpers may be imported by tests only, and by the programs under e2e.
	helpers = []string{"internal/treetest", "internal/rsynctest", "internal/need"}
)

func TestImports(t *testing.T) {
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", module+"...")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var pkgs []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p pkg
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) < 5 {
		t.Fatalf("go list found only %d packages", len(pkgs))
	}
	for _, v := range violations(pkgs) {
		t.Error(v)
	}
}

// A rule that could not be broken would prove nothing.
func TestImportRules(t *testing.T) {
	of := func(path string, imports ...string) pkg {
		p := pkg{ImportPath: module + path}
		for _, i := range imports {
			p.Imports = append(p.Imports, module+i)
		}
		return p
	}
	got := violations([]pkg{
		of("internal/rsync", "internal/rsync/wire", "internal/scan"),
		of("internal/rsync/wire", "internal/attr"),
		of("internal/attr", "internal/queue"),
		of("internal/scan"),
		of("ratelimit", "internal/queue"),
		of("internal/queue"),
		of("watcher", "internal/queue", "internal/middle"),
		of("internal/middle", "transfer"),
		of("transfer", "internal/rsync", "ratelimit"),
		of("internal/daemon", "watcher"),
		of("internal/control", "internal/daemon"),
		of("cmd/syncd", "internal/daemon", "internal/treetest"),
		of("e2e/bench", "internal/rsynctest"),
		{ImportPath: module + "internal/config", TestImports: []string{module + "internal/treetest"}},
	})
	want := []string{
		"cmd/syncd imports internal/treetest, which is for tests",
		"internal/attr imports internal/queue and is a leaf",
		"internal/control imports internal/daemon, which is for cmd/syncd",
		"internal/rsync imports internal/scan and is to know only itself",
		"ratelimit imports internal/queue and is to know only itself",
		"watcher depends on transfer",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func violations(pkgs []pkg) []string {
	direct := map[string][]string{}
	for _, p := range pkgs {
		path := strings.TrimPrefix(p.ImportPath, module)
		for _, i := range p.Imports {
			if ours, ok := strings.CutPrefix(i, module); ok {
				direct[path] = append(direct[path], ours)
			}
		}
	}
	var found []string
	for path, imports := range direct {
		for _, i := range imports {
			found = append(found, broken(path, i)...)
		}
	}
	for _, pair := range strangers {
		for _, ab := range [][2]string{pair, {pair[1], pair[0]}} {
			if reaches(direct, ab[0], ab[1], map[string]bool{}) {
				found = append(found, ab[0]+" depends on "+ab[1])
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// broken are the rules that path breaks by importing i.
func broken(path, i string) []string {
	var found []string
	for _, island := range islands {
		if below(path, island) && !below(i, island) && !slices.Contains(leaves, i) {
			found = append(found, fmt.Sprintf("%s imports %s and is to know only itself", path, i))
		}
	}
	if slices.Contains(leaves, path) {
		found = append(found, fmt.Sprintf("%s imports %s and is a leaf", path, i))
	}
	for p, owner := range owned {
		if below(i, p) && !below(path, p) && path != owner {
			found = append(found, fmt.Sprintf("%s imports %s, which is for %s", path, i, owner))
		}
	}
	for _, helper := range helpers {
		if below(i, helper) && !below(path, "e2e") && !slices.Contains(helpers, path) {
			found = append(found, fmt.Sprintf("%s imports %s, which is for tests", path, i))
		}
	}
	if below(i, "cmd") {
		found = append(found, path+" imports the command "+i)
	}
	return found
}

func below(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func reaches(direct map[string][]string, from, to string, seen map[string]bool) bool {
	for _, i := range direct[from] {
		if below(i, to) {
			return true
		}
		if !seen[i] {
			seen[i] = true
			if reaches(direct, i, to, seen) {
				return true
			}
		}
	}
	return false
}
