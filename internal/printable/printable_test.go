package printable

import "testing"

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"":                   "",
		"a b\\#033/ü/€":      "a b\\#033/ü/€",
		"x\x1b[2J\n":         `x\#033[2J\#012`,
		"\xff\x80é\x7f":      `\#377\#200é\#177`,
		"\u009b31m":          `\#302\#23331m`,
		"\ufffd is a letter": "\ufffd is a letter",
	} {
		if got := Text(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
