package rsync

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseDest(t *testing.T) {
	for in, want := range map[string]Dest{
		"rsync://h/m":                     {Kind: Daemon, Host: "h", Module: "m"},
		"RSYNC://joe@h:8730/m/a/b/":       {Kind: Daemon, User: "joe", Host: "h", Port: 8730, Module: "m", Path: "a/b"},
		"rsync://[2001:db8::1]:8730/m":    {Kind: Daemon, Host: "2001:db8::1", Port: 8730, Module: "m"},
		"rsync://[::1]/m/./x//y/../z":     {Kind: Daemon, Host: "::1", Module: "m", Path: "x/z"},
		"rsync://h/m/../../x":             {Kind: Daemon, Host: "h", Module: "m", Path: "x"},
		"rsync://me@corp@h/m/sp ace/\xff": {Kind: Daemon, User: "me@corp", Host: "h", Module: "m", Path: "sp ace/\xff"},
		"rsyncs://joe@h/m/a":              {Kind: Daemon, TLS: true, User: "joe", Host: "h", Module: "m", Path: "a"},
		"RSYNCS://[::1]:8740/m":           {Kind: Daemon, TLS: true, Host: "::1", Port: 8740, Module: "m"},
		"h::m":                            {Kind: Daemon, Host: "h", Module: "m"},
		"joe@h::m/a":                      {Kind: Daemon, User: "joe", Host: "h", Module: "m", Path: "a"},
		"joe@[::1]::m/a:b":                {Kind: Daemon, User: "joe", Host: "::1", Module: "m", Path: "a:b"},
		"h:":                              {Kind: Shell, Host: "h"},
		"h:/abs":                          {Kind: Shell, Host: "h", Path: "/abs"},
		"joe@h:rel/x":                     {Kind: Shell, User: "joe", Host: "h", Path: "rel/x"},
		"[::1]:~/x":                       {Kind: Shell, Host: "::1", Path: "~/x"},
		"h:a:b":                           {Kind: Shell, Host: "h", Path: "a:b"},
		"/tmp/a:b":                        {Kind: Local, Path: "/tmp/a:b"},
		"./a:b":                           {Kind: Local, Path: "./a:b"},
		"dir":                             {Kind: Local, Path: "dir"},
		"dir/[x]:y":                       {Kind: Local, Path: "dir/[x]:y"},
		"[x]/a:b":                         {Kind: Local, Path: "[x]/a:b"},
	} {
		got, err := ParseDest(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", in, diff)
		}
		again, err := ParseDest(got.String())
		if err != nil || again != got {
			t.Errorf("%q: read back from %q: %+v, %v", in, got.String(), again, err)
		}
	}
}

func TestParseDestRefuses(t *testing.T) {
	for in, reason := range map[string]string{
		"":                   "empty",
		"rsync://h":          "no module",
		"rsync://h/":         "no module",
		"rsyncs://h":         "write rsyncs://",
		"rsyncs:///m":        "no host",
		"rsync:///m":         "no host",
		"rsync://h:0/m":      "port",
		"rsync://h:65536/m":  "port",
		"rsync://h:x/m":      "port",
		"rsync://::1/m":      "IPv6",
		"rsync://fe80::a/m":  "port",
		"rsync://[h]/m":      "IPv6",
		"rsync://[::1/m":     "brackets",
		"rsync://@h/m":       "no user",
		"rsync://h/m/a\nb":   "line break",
		"rsync://h h/m":      "white space",
		"h::":                "no module",
		"h::/x":              "no module",
		"::m":                "no host",
		":x":                 "no host",
		"joe@:x":             "no host",
		"-oProxyCommand=x:y": "dash",
		"-l@h:y":             "dash",
		"a\x00b":             "NUL",
	} {
		d, err := ParseDest(in)
		if err == nil {
			t.Errorf("%q: read as %+v, want an error", in, d)
		} else if !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: %v, want the reason %q", in, err, reason)
		}
	}
}

func FuzzParseDest(f *testing.F) {
	for _, s := range []string{"rsync://u@h:1/m/p", "h::m", "u@[::1]:p", "/x", "[a]:b", "rsync://[::1]:9/m", "rsyncs://h/m"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDest(s)
		if err != nil {
			return
		}
		if d.Kind != Local && (d.Host == "" || strings.HasPrefix(d.Host, "-")) {
			t.Errorf("%q: host %q", s, d.Host)
		}
		if d.Kind == Daemon && (d.Module == "" || strings.HasPrefix(d.Path, "..") && (d.Path == ".." || d.Path[2] == '/')) {
			t.Errorf("%q: module %q path %q", s, d.Module, d.Path)
		}
	})
}

// TestAuthVectors has the answers of the protocol document, 1.3.
func TestAuthVectors(t *testing.T) {
	want := map[string]string{
		"md5":    "8irk9erLNcmT6RBgakE0EA",
		"sha1":   "56Kc4SHmze8+AL9bP7V9AOMPpLw",
		"sha256": "QkFrf8mmVq8qLp0JFXMXuyzP3Uo3F9aEeDbkgPhBi0g",
		"sha512": "ylQ63alyHaCPsQT54gV05LMAcf4kqJKw8B71GQ6ApHWrEWG2Q2ylpK3Ky7fWgU+dQaYdN7KZVL2k/gGJiEysBg",
		"md4":    "GlvumtQacXkCEV5DxQ4uzA",
	}
	for name, w := range want {
		d, ok := chooseDigest([]string{"unheard", strings.ToUpper(name)})
		if !ok {
			t.Fatalf("%s: unknown", name)
		}
		if got := d.response("secret", "abc123"); got != w {
			t.Errorf("%s: %s, want %s", name, got, w)
		}
	}
	if got, want := defaultDigest(29).response("secret", "abc123"), "wQYq/hyw0/PavjGhxQOZfA"; got != want {
		t.Errorf("before protocol 30: %s, want %s", got, want)
	}
	if got, want := defaultDigest(30).response("secret", "abc123"), want["md5"]; got != want {
		t.Errorf("from protocol 30 on: %s, want %s", got, want)
	}
	if d, ok := chooseDigest([]string{"md4", "sha256", "md5"}); !ok || d.name != "sha256" {
		t.Errorf("strongest of md4 sha256 md5: %s", d.name)
	}
}

func TestAgree(t *testing.T) {
	for _, c := range []struct{ ours, server, sub, want int }{
		{32, 32, 0, 32}, {32, 31, 0, 31}, {32, 33, 0, 32}, {30, 32, 0, 30},
		{32, 32, 7, 31}, {32, 31, 14, 30}, {32, 33, 5, 32}, {29, 31, 9, 29}, {32, 26, 0, 26},
	} {
		if got := agree(c.ours, c.server, c.sub); got != c.want {
			t.Errorf("agree(%d, %d.%d) = %d, want %d", c.ours, c.server, c.sub, got, c.want)
		}
	}
}
