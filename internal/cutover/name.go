package cutover

import "github.com/syncd/syncd/internal/printable"

// A Path is a name of a file, which is any bytes, in a form that JSON can hold.
type Path struct {
	Text string `json:"path"`                 // as it is shown: bytes that are no UTF-8 and control characters as \#ooo
	Raw  []byte `json:"path_bytes,omitempty"` // the bytes, if Text is not they
}

// NewPath is the Path of name.
func NewPath(name string) Path {
	p := Path{Text: printable.Text(name)}
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
