package config

import (
	"strings"
	"testing"

	"github.com/syncd/syncd/internal/scan"
)

// With a list of names -r stands for itself: -a does not imply it, wherever both stand, and nothing needs it.
func TestFilesFromRecurses(t *testing.T) {
	for flags, recurse := range map[string]bool{
		"-a": false, "-ar": true, "-a -r": true, "-r -a": true, "-rlt": true, "-lt": false, "-ar --no-r": false, "-a --no-r -r": true,
		"-r --no-recursive -a": false,
	} {
		args := append(strings.Fields(flags), "--full", "--files-from=-", "src", "h::m")
		c, err := Parse(args, noEnv, strings.NewReader("dir\n"))
		if err != nil {
			t.Errorf("%s: %v", flags, err)
			continue
		}
		var o scan.Options
		c.Only.Select(nil).Choose(&o)
		if _, known := o.Names("dir"); known == recurse {
			t.Errorf("%s: recurses %v", flags, !known)
		}
	}
}

// How names end is known by --from0, wherever it stands.
func TestFilesFromZero(t *testing.T) {
	for _, args := range []string{"--files-from=- -0", "-0 --files-from=-", "--from0 --files-from -"} {
		c, err := Parse(append(strings.Fields(args), "-a", "--full", "src", "h::m"), noEnv, strings.NewReader("a\nb\x00c\x00"))
		if err != nil {
			t.Errorf("%s: %v", args, err)
			continue
		}
		if s := c.Only.Select(nil); !s.Asked("a\nb") || !s.Asked("c") || s.Asked("a") || s.Asked(".") {
			t.Errorf("%s: other names", args)
		}
	}
}
