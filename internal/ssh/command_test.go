package ssh

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplit(t *testing.T) {
	for in, want := range map[string][]string{
		"ssh":                              {"ssh"},
		"  ssh   -p 22 ":                   {"ssh", "-p", "22"},
		`ssh -o "ProxyCommand nc %h %p" x`: {"ssh", "-o", "ProxyCommand nc %h %p", "x"},
		`a 'it''s' ""`:                     {"a", "it's", ""},
		`a"b c"d`:                          {"ab cd"},
		`a\ b`:                             {`a\`, "b"},
	} {
		got, err := Split(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", in, diff)
		}
	}
	for _, in := range []string{"", "  ", `ssh "x`, "a 'b"} {
		if got, err := Split(in); err == nil {
			t.Errorf("%q: split into %q, want an error", in, got)
		}
	}
}

func TestSharing(t *testing.T) {
	for command, want := range map[string]bool{
		"ssh h":                                  false,
		"ssh -p 22 -i S -o BatchMode=yes -l M h": false,
		"ssh -vqS /x h":                          true,
		"ssh -S none h":                          true,
		"ssh -Mf h":                              true,
		"ssh -pM h":                              false,
		"ssh -oControlPath=/x h":                 true,
		"ssh -q -o controlmaster=auto h":         true,
		"ssh -4o 'ControlPersist yes' h":         true,
		"ssh -o Port=22 -F ControlPath h":        false,
		"ssh h -S none":                          true,
		"ssh -o":                                 false,
	} {
		argv, err := Split(command)
		if err != nil {
			t.Fatal(err)
		}
		if got := sharing(argv); got != want {
			t.Errorf("%s: %v", command, got)
		}
	}
}

func TestWithLeavesTheCommandAlone(t *testing.T) {
	command := slices.Grow([]string{"ssh", "-q", "h"}, 9)
	a, b := With(command, "-a"), With(command, "-b", "-c")
	if got := strings.Join(slices.Concat(a, b, command), " "); got != "ssh -a -q h ssh -b -c -q h ssh -q h" {
		t.Error(got)
	}
}

func TestRemedy(t *testing.T) {
	for words, want := range map[string]string{
		"WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!\nHost key verification failed.": "ssh-keygen -R",
		"No ED25519 host key is known for h\nHost key verification failed.":               "by hand once",
		"root@h: Permission denied (publickey).":                                          "authorized_keys",
		"ssh: Could not resolve hostname h: Name or service not known":                    "name",
	} {
		if got := Remedy(strings.Split(words, "\n"), false); !strings.Contains(got, want) {
			t.Errorf("%q: %q", words, got)
		}
	}
	if got := Remedy([]string{"Permission denied"}, true); !strings.Contains(got, "agent") {
		t.Error(got)
	}
	if got := Remedy([]string{"unheard of"}, true); got != "" {
		t.Error(got)
	}
}
