package config

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestHelpAndVersion(t *testing.T) {
	for args, want := range map[string]Action{
		"--help":        Help,
		"-a --help a b": Help,
		"-h":            Help,
		"--version":     Version,
		"-V":            Version,
	} {
		c, err := Parse(strings.Fields(args), noEnv, nil)
		if err != nil || c.Action != want {
			t.Errorf("%s: %+v, %v", args, c, err)
		}
	}
	if c := parse(t, "-ah"); c.Action != Full || !c.Human {
		t.Errorf("-ah is not human-readable: %+v", c)
	}
}

// The usage names every flag that works and none that does not.
func TestUsage(t *testing.T) {
	f := newFlags(new(Config), noEnv, nil)
	named := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^  ( ?-\S|    ).*`).FindAllString(Usage, -1) {
		for _, name := range regexp.MustCompile(`(^|[ ,])(--?[A-Za-z0-9@-]+)`).FindAllStringSubmatch(m, -1) {
			named[name[2]] = true
		}
	}
	f.VisitAll(func(p *pflag.Flag) {
		other := isOther(p.Name, p.Shorthand)
		for _, name := range []string{"--" + p.Name, "-" + p.Shorthand} {
			switch {
			case name == "-" || len(name) == 3 || strings.HasPrefix(name, "--no-"):
			case other && named[name]:
				t.Errorf("usage offers %s, which is refused", name)
			case !other && !named[name]:
				t.Errorf("usage does not name %s", name)
			}
		}
	})
	for i, line := range strings.Split(Usage, "\n") {
		if len(line) > 80 {
			t.Errorf("usage line %d has %d columns: %s", i+1, len(line), line)
		}
	}
	for _, status := range []string{"\n  0  ", "\n  1  ", "\n  2  ", "\n  3  ", "\n  4  ", "\n  5  ", "\n  130  "} {
		if !strings.Contains(Usage, status) {
			t.Errorf("usage does not explain exit status %q", status)
		}
	}
}

// What rsync knows is either taken or refused by name.
func TestEveryFlagOfRsync(t *testing.T) {
	f := newFlags(new(Config), noEnv, nil)
	for _, name := range strings.Fields(rsyncFlags) {
		if f.Lookup(name) == nil {
			t.Errorf("--%s is unknown", name)
		}
	}
	for _, short := range "vqcaRbudlLkKHpEAXogDtUNOJSnWxBeCfFmIT@yzP0iMhV468sr" {
		if f.ShorthandLookup(string(short)) == nil {
			t.Errorf("-%c is unknown", short)
		}
	}
}
