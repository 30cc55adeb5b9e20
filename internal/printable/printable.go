// Package printable makes text of any bytes safe for an operator's terminal.
package printable

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Text is s with control characters and bytes that are no UTF-8 as rsync prints them in names, \#ooo in octal, so that no
// name can move the cursor.
func Text(s string) string {
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
