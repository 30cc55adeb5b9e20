package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// escape writes a name as rsync prints it: control characters but for the tab,
// bytes that are no UTF-8, and a backslash that could be taken for the start of
// an escape become \#ooo, three octal digits. With eightBit (rsync's -8) only
// the bytes below a space do.
func escape(name string, eightBit bool) string {
	clean := true
	for i := 0; i < len(name) && clean; i++ {
		c := name[i]
		clean = c >= ' ' && c < utf8.RuneSelf && c != '\\' || c == '\t'
	}
	if clean {
		return name
	}
	var b strings.Builder
	for i := 0; i < len(name); {
		c := name[i]
		size := 1
		if c >= utf8.RuneSelf && !eightBit {
			_, size = utf8.DecodeRuneInString(name[i:])
		}
		invalid := c >= utf8.RuneSelf && size == 1 && !eightBit
		if c < ' ' && c != '\t' || invalid || c == '\\' && isEscape(name[i+1:]) {
			fmt.Fprintf(&b, `\#%03o`, c)
		} else {
			b.WriteString(name[i : i+size])
		}
		i += size
	}
	return b.String()
}

// isEscape reports whether a backslash before s would read as an escape.
func isEscape(s string) bool {
	if len(s) < 4 || s[0] != '#' {
		return false
	}
	for _, c := range []byte(s[1:4]) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
