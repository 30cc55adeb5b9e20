package main

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/syncd/syncd/internal/config"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/transfer"
)

// A report tells what a run does and did. Its Observer's methods are called by
// the engine, never two at once; end comes last.
type report interface {
	transfer.Observer
	// end says how the run ended; p is nil when it came to its end.
	end(s *transfer.Summary, p *problem, status int)
}

// shownFailures is how many failed paths are named at the end without -v. With
// more, it is the reason that matters, and the number.
const shownFailures = 20

// text is the report for people: results as rsync prints them on stdout, the
// rest on stderr.
type text struct {
	out *printer
	err *console
	c   *config.Config
	num numbers

	failed []*problem // the first of them
	more   int64
}

// console is the standard error. While a progress bar is drawn, lines go above
// it: to is then the bar's writer.
type console struct {
	to atomic.Pointer[io.Writer]
}

func newConsole(w io.Writer) *console {
	c := new(console)
	c.to.Store(&w)
	return c
}

// plain writes one line as it is.
func (c *console) plain(s string) { fmt.Fprintln(*c.to.Load(), s) }

// line writes one line, prefixed with the program's name.
func (c *console) line(s string) { fmt.Fprintln(*c.to.Load(), "syncd: "+s) }

func (t *text) Item(f rsync.ItemFlags, e *flist.Entry) {
	if t.c.Itemize == 0 && t.c.Verbose == 0 {
		return
	}
	flags := itemized(f, e, t.c)
	switch {
	case unchanged(flags):
	case t.c.Itemize > 0:
		t.out.print(flags, " ", t.name(e), "\n")
	case t.c.Verbose > 0 && worthNaming(flags):
		t.out.print(t.name(e), "\n")
	}
}

// itemized is rsync's %i. To a directory of this host rsync receives ('>'), to
// another host it sends ('<').
func itemized(f rsync.ItemFlags, e *flist.Entry, c *config.Config) string {
	flags := f.Format(e.Mode)
	if c.Dest.Kind == rsync.Local && flags[0] == '<' {
		return ">" + flags[1:]
	}
	return flags
}

// unchanged reports whether itemized flags name no difference at all.
func unchanged(flags string) bool {
	return strings.HasPrefix(flags, ".") && strings.Trim(flags[2:], " .") == ""
}

// worthNaming tells what rsync -v names from what only -i shows: attributes
// that change, of anything but a directory, pass in silence.
func worthNaming(flags string) bool {
	return flags[0] != '.' || flags[1] == 'd'
}

// name is rsync's %n%L: the path, a slash after a directory, and where a
// symlink leads.
func (t *text) name(e *flist.Entry) string {
	name := escape(e.Path, t.c.EightBit)
	switch kindOf(e.Mode) {
	case "directory":
		name += "/"
	case "symlink":
		name += " -> " + escape(e.Target, t.c.EightBit)
	}
	return name
}

func (t *text) Deleted(path string, dir bool) {
	word := "*deleting   "
	switch {
	case t.c.Itemize == 0 && t.c.Verbose == 0:
		return
	case t.c.Itemize == 0:
		word = "deleting "
	}
	name := escape(path, t.c.EightBit)
	if dir {
		name += "/"
	}
	t.out.print(word, name, "\n")
}

func (t *text) Failed(path string, err error) {
	p := explainPath(escape(path, false), err)
	switch {
	case t.c.Verbose > 0:
		t.err.line(p.Error())
		t.more++
	case len(t.failed) < shownFailures:
		t.failed = append(t.failed, p)
	default:
		t.more++
	}
}

func (t *text) Note(s string) {
	if !t.c.Quiet {
		t.err.line(oneLine(s))
	}
}

func (t *text) end(s *transfer.Summary, p *problem, _ int) {
	if s != nil && p == nil {
		t.out.print(summary(s, t.c, t.num))
	}
	t.out.close()
	for _, f := range t.failed {
		t.err.line(f.Error())
	}
	if line := t.tail(s); line != "" {
		t.err.line(line)
	}
	if s != nil && s.LimitHit {
		t.err.line(limitReached(t.c))
	}
	if p != nil {
		t.err.line(p.Error())
	}
}

// tail counts what failed, where that is not seen at a glance.
func (t *text) tail(s *transfer.Summary) string {
	total := int64(len(t.failed)) + t.more
	switch {
	case total == 0:
		return ""
	case t.c.Verbose == 0 && t.more > 0:
		return fmt.Sprintf("%s paths are not equal at the destination, %s of them not shown; -v or --json names all",
			t.num.int(total), t.num.int(t.more))
	case total == 1:
		return "1 path is not equal at the destination; all else is done"
	}
	return fmt.Sprintf("%s paths are not equal at the destination; all else is done", t.num.int(total))
}

func limitReached(c *config.Config) string {
	return fmt.Sprintf("--max-delete=%d: the limit was reached and the rest was not deleted; "+
		"look at it with -n, then raise the limit", c.MaxDelete)
}

// kindOf names the type of an entry by its mode's bits (st_mode).
func kindOf(mode uint32) string {
	switch mode & 0o170000 {
	case 0o040000:
		return "directory"
	case 0o100000:
		return "file"
	case 0o120000:
		return "symlink"
	case 0o020000, 0o060000:
		return "device"
	}
	return "special"
}
