package config

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// manFlags are the flags that the man page explains: those of lines like
// ".It Fl a , Fl Fl archive".
func manFlags(t *testing.T) map[string]bool {
	t.Helper()
	page, err := os.ReadFile("../../docs/syncd.1")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	flag := regexp.MustCompile(`Fl (Fl )?(\S+)`)
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, ".It Fl ") {
			continue
		}
		for _, m := range flag.FindAllStringSubmatch(line, -1) {
			dash := "-"
			if m[1] != "" {
				dash = "--"
			}
			named[dash+m[2]] = true
		}
	}
	return named
}

// The man page explains every flag that works, and none that does not.
func TestManPage(t *testing.T) {
	named := manFlags(t)
	known := map[string]bool{}
	newFlags(new(Config), noEnv, nil).VisitAll(func(p *pflag.Flag) {
		if isOther(p.Name, p.Shorthand) {
			return
		}
		for _, name := range []string{"--" + p.Name, "-" + p.Shorthand} {
			known[name] = true
			// One letter is there because pflag needs a long name; -- no-x is explained for all.
			if name == "-" || len(name) == 3 || strings.HasPrefix(name, "--no-") {
				continue
			}
			if !named[name] {
				t.Errorf("docs/syncd.1 does not explain %s", name)
			}
		}
	})
	for name := range named {
		if !known[name] {
			t.Errorf("docs/syncd.1 explains %s, which there is not", name)
		}
	}
}

// What the page says of exit statuses is what --help says.
func TestManPageStatuses(t *testing.T) {
	page, err := os.ReadFile("../../docs/syncd.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^  (\d+) +\S`).FindAllStringSubmatch(Usage, -1) {
		if !strings.Contains(string(page), "\n.It "+m[1]+"\n") {
			t.Errorf("docs/syncd.1 does not explain exit status %s", m[1])
		}
	}
}
