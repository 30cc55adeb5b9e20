package cutover

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A Path is a name of a file, which is any bytes, in a form that JSON can hold.
type Path struct {
	Text string `json:"path"`                 // as it is shown: bytes that are no UTF-8 and control characters as \#ooo
	Raw  []byte `json:"path_bytes,omitempty"` // the bytes, if Text is not they
}

// NewPath is the Path of name.
func NewPath(name string) Path {
	p := Path{Text: shown(name)}
	if p.Text != name {
		p.Raw = []byte(name)
	}
	return p
}

// Name is what the Path was made of.
func (p Path) Name() string {
	if p.Raw != nil {
		return string(p.Raw)
	}
	return p.Text
}

// shown is a text that cannot move the cursor of a terminal, as rsync prints names.
func shown(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || r < ' ' || r >= 0x7f && r < 0xa0 {
			for _, c := range []byte(s[i : i+size]) {
				fmt.Fprintf(&b, `\#%03o`, c)
			}
		} else {
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}
