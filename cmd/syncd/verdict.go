package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/syncd/syncd/internal/config"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/verify"
)

// A verdict tells what a comparison finds and found. end comes last.
type verdict interface {
	verify.Sink
	// end says how the comparison ended; p is nil when it came to its end.
	end(s *verify.Summary, p *problem, status int)
}

// textVerdict is the verdict for people: differences on stdout, as rsync prints changes, the rest on stderr.
type textVerdict struct {
	out *printer
	err *console
	c   *config.Config
	num numbers
}

func (t *textVerdict) Equal(string, verify.Proof) {}

func (t *textVerdict) Different(d verify.Difference) {
	shown := text{c: t.c}
	if d.Extra {
		name := escape(d.Path, t.c.EightBit)
		if d.Dir {
			name += "/"
		}
		t.out.print("*deleting   ", name, "\n")
		return
	}
	t.out.print(itemized(d.Flags, &d.Entry, t.c), " ", shown.name(&d.Entry), "\n")
}

// Uncompared names every path: a proof has no "and others".
func (t *textVerdict) Uncompared(path string, err error) {
	t.err.line(explainUncompared(escape(path, false), err).Error())
}

func (t *textVerdict) Note(s string) {
	if !t.c.Quiet {
		t.err.line(oneLine(s))
	}
}

func (t *textVerdict) end(s *verify.Summary, p *problem, status int) {
	t.out.close()
	if p != nil {
		t.err.line(p.Error())
		return
	}
	if !t.c.Quiet {
		t.err.line(t.sentence(s, status))
	}
}

// sentence is the outcome in one line.
func (t *textVerdict) sentence(s *verify.Summary, status int) string {
	n := t.num.int
	looked := fmt.Sprintf("%s entries compared, %s files with %s bytes read on both sides (%s)",
		n(s.Compared), n(s.Files), n(s.Bytes), s.Hash)
	switch status {
	case exitDone:
		return "equal: " + looked
	case exitPartial:
		return fmt.Sprintf("no difference found, but %s could not be compared: %s", paths(n, s.Uncompared), looked)
	}
	var parts []string
	for _, p := range []struct {
		n    int64
		what string
	}{
		{s.Missing, "missing"}, {s.Extra, "only at the destination"}, {s.Content, "with other content"},
		{s.Attributes, "with other attributes"},
	} {
		if p.n > 0 {
			parts = append(parts, n(p.n)+" "+p.what)
		}
	}
	line := fmt.Sprintf("different: %s (%s)", paths(n, s.Different()), strings.Join(parts, ", "))
	if s.Uncompared > 0 {
		line += fmt.Sprintf("; %s could not be compared", paths(n, s.Uncompared))
	}
	return line + "; " + looked
}

func paths(num func(int64) string, n int64) string {
	if n == 1 {
		return "1 path"
	}
	return num(n) + " paths"
}

// explainUncompared makes a problem of the reason why one path was not compared.
func explainUncompared(path string, err error) *problem {
	switch {
	case errors.Is(err, verify.ErrChanged):
		return &problem{
			status: exitPartial, what: path, reason: err.Error(),
			remedy: "compare it again when it is written less, or compare a snapshot",
		}
	case errors.Is(err, verify.ErrUnreadable):
		return &problem{
			status: exitPartial, what: path, reason: err.Error(),
			remedy: "let the server run as a user that may, or look at the disk there",
		}
	}
	return explainPath(path, err)
}

// jsonVerdict is the verdict for programs: one JSON object a line on stdout.
type jsonVerdict struct {
	out *printer
	c   *config.Config
}

// A differenceEvent is one path that differs. docs/output.md promises its keys.
type differenceEvent struct {
	event
	Difference string   `json:"difference"` // missing, extra, content or attributes
	What       []string `json:"what,omitempty"`
}

// verdictEvent is the last line.
type verdictEvent struct {
	Event string `json:"event"`
	Exit  int    `json:"exit"`

	Compared   int64 `json:"compared"`
	Equal      int64 `json:"equal"`
	Different  int64 `json:"different"`
	Missing    int64 `json:"missing"`
	Extra      int64 `json:"extra"`
	Content    int64 `json:"content"`
	Attributes int64 `json:"attributes"`
	Uncompared int64 `json:"uncompared"`
	Changed    int64 `json:"changed"`

	Files    int64   `json:"files_read"`
	Bytes    int64   `json:"bytes_read"`
	Proven   int64   `json:"files_known"`
	Hash     string  `json:"hash"`
	Sent     int64   `json:"sent_bytes"`
	Received int64   `json:"received_bytes"`
	Sessions int64   `json:"sessions"`
	Retries  int64   `json:"retries"`
	Protocol int     `json:"protocol"`
	Elapsed  float64 `json:"elapsed_seconds"`
}

func (j *jsonVerdict) write(v any) { j.out.print(jsonLine(v)) }

func (j *jsonVerdict) Equal(string, verify.Proof) {}

func (j *jsonVerdict) Different(d verify.Difference) {
	v := differenceEvent{event: event{Event: "difference"}, Difference: kindOfDifference(&d)}
	v.Path, v.PathBytes = textAndBytes(d.Path)
	if d.Extra {
		v.Type = "other"
		if d.Dir {
			v.Type = "directory"
		}
		j.write(v)
		return
	}
	v.Type, v.Flags = kindOf(d.Entry.Mode), itemized(d.Flags, &d.Entry, j.c)
	v.What = what(&d, v.Type)
	switch v.Type {
	case "file":
		v.Size = &d.Entry.Size
	case "symlink":
		v.Target, v.TargetBytes = textAndBytes(d.Entry.Target)
	}
	j.write(v)
}

func kindOfDifference(d *verify.Difference) string {
	switch {
	case d.Extra:
		return "extra"
	case d.Missing():
		return "missing"
	case d.Flags&(rsync.ItemContent|rsync.ItemSize) != 0:
		return "content"
	}
	return "attributes"
}

// what names what differs of an entry that is there.
func what(d *verify.Difference, kind string) []string {
	if d.Missing() {
		return nil
	}
	content := map[string]string{"symlink": "target", "device": "device"}[kind]
	if content == "" {
		content = "content"
	}
	var all []string
	for _, w := range []struct {
		bit  rsync.ItemFlags
		name string
	}{
		{rsync.ItemContent, content}, {rsync.ItemSize, "size"}, {rsync.ItemTime, "time"}, {rsync.ItemPerms, "mode"},
		{rsync.ItemOwner, "owner"}, {rsync.ItemGroup, "group"}, {rsync.ItemACL, "acl"}, {rsync.ItemXattr, "xattr"},
		{rsync.ItemLink, "hard link"},
	} {
		if d.Flags&w.bit != 0 {
			all = append(all, w.name)
		}
	}
	return all
}

func (j *jsonVerdict) Uncompared(path string, err error) {
	p := explainUncompared(path, err)
	v := event{Event: "uncompared", Error: p.reason, Remedy: p.remedy}
	v.Path, v.PathBytes = textAndBytes(path)
	j.write(v)
}

func (j *jsonVerdict) Note(s string) { j.write(event{Event: "note", Text: oneLine(s)}) }

func (j *jsonVerdict) end(s *verify.Summary, p *problem, status int) {
	if p != nil {
		j.write(errorEvent(p))
	}
	j.write(verdictEvent{
		Event: "summary", Exit: status,
		Compared: s.Compared, Equal: s.Equal, Different: s.Different(), Missing: s.Missing, Extra: s.Extra,
		Content: s.Content, Attributes: s.Attributes, Uncompared: s.Uncompared, Changed: s.Changed,
		Files: s.Files, Bytes: s.Bytes, Proven: s.Proven, Hash: s.Hash.String(),
		Sent: s.Sent, Received: s.Received, Sessions: s.Sessions, Retries: s.Retries, Protocol: s.Protocol,
		Elapsed: s.Elapsed.Seconds(),
	})
}
