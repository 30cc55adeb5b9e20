package hook

import (
	"bytes"
	"io"
)

// output is what a command says: each line goes to the log, the end of it is kept.
type output struct {
	log  func(string)
	line []byte // begun
	kept []byte // at most twice tailSize
	cut  bool   // something before kept is gone
}

func (o *output) readFrom(r io.Reader) {
	buf := make([]byte, 4<<10)
	for {
		n, err := r.Read(buf)
		o.add(buf[:n])
		if err != nil {
			break
		}
	}
	if len(o.line) > 0 {
		o.say(o.line)
	}
}

func (o *output) add(p []byte) {
	o.kept = append(o.kept, p...)
	if n := len(o.kept) - tailSize; n > tailSize {
		o.kept, o.cut = append(o.kept[:0], o.kept[n:]...), true
	}
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		whole := i >= 0
		if !whole {
			i = len(p)
		}
		o.line = append(o.line, p[:i]...)
		for len(o.line) > lineSize {
			o.say(o.line[:lineSize])
			o.line = append(o.line[:0], o.line[lineSize:]...)
		}
		if !whole {
			return
		}
		o.say(o.line)
		o.line, p = o.line[:0], p[i+1:]
	}
}

func (o *output) say(line []byte) {
	if o.log != nil {
		o.log(string(line))
	}
}

// tail is the end of the output, from the beginning of a line if there is one.
func (o *output) tail() string {
	t := o.kept
	if n := len(t) - tailSize; n > 0 {
		t, o.cut = t[n:], true
	}
	if i := bytes.IndexByte(t, '\n'); o.cut && i >= 0 && i < len(t)-1 {
		t = t[i+1:]
	}
	return string(t)
}
