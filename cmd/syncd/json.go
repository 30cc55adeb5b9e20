package main

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"github.com/syncd/syncd/internal/config"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/transfer"
)

// An event is one line of --json. docs/output.md promises its keys: they may
// be added to, but neither renamed nor given another meaning.
type event struct {
	Event string `json:"event"`

	// Path is escaped where it is no UTF-8; PathBytes then holds it as it is.
	Path      string `json:"path,omitempty"`
	PathBytes []byte `json:"path_bytes,omitempty"`
	Type      string `json:"type,omitempty"`

	Flags       string `json:"flags,omitempty"`
	Size        *int64 `json:"size,omitempty"`
	Target      string `json:"target,omitempty"`
	TargetBytes []byte `json:"target_bytes,omitempty"`

	Text   string `json:"text,omitempty"`
	Error  string `json:"error,omitempty"`
	Remedy string `json:"remedy,omitempty"`
}

// summaryEvent is the last line.
type summaryEvent struct {
	Event  string `json:"event"`
	Exit   int    `json:"exit"`
	DryRun bool   `json:"dry_run"`

	Files            counts `json:"files"`
	Created          counts `json:"created"`
	Deleted          int64  `json:"deleted"`
	DeletedDirs      int64  `json:"deleted_directories"`
	TransferredFiles int64  `json:"transferred_files"`

	TotalSize       int64 `json:"total_size"`
	TransferredSize int64 `json:"transferred_size"`
	Literal         int64 `json:"literal_bytes"`
	Matched         int64 `json:"matched_bytes"`
	Sent            int64 `json:"sent_bytes"`
	Received        int64 `json:"received_bytes"`

	Failed       int64   `json:"failed"`
	Unreadable   int64   `json:"unreadable"`
	Changed      int64   `json:"changed"`
	Vanished     int64   `json:"vanished"`
	LimitReached bool    `json:"max_delete_reached"`
	Sessions     int64   `json:"sessions"`
	Retries      int64   `json:"retries"`
	Protocol     int     `json:"protocol"`
	Elapsed      float64 `json:"elapsed_seconds"`
}

type counts struct {
	Total       int64 `json:"total"`
	Files       int64 `json:"files"`
	Directories int64 `json:"directories"`
	Symlinks    int64 `json:"symlinks"`
	Devices     int64 `json:"devices"`
	Specials    int64 `json:"specials"`
}

// machine is the report for programs: one JSON object a line on stdout.
type machine struct {
	out    *printer
	c      *config.Config
	failed int64
}

func (m *machine) write(v any) { m.out.print(jsonLine(v)) }

// jsonLine is v as one line of JSON.
func jsonLine(v any) string {
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false)              // flags begin with "<", and nobody puts this into a page
	if err := e.Encode(v); err != nil { // neither the types above nor those of control can fail
		panic("internal error: " + err.Error())
	}
	return line.String()
}

// errorEvent is why a command did not do what it was to.
func errorEvent(p *problem) event {
	return event{Event: "error", Path: p.what, Error: p.reason, Remedy: p.remedy}
}

// changes reports whether single changes were asked for.
func (m *machine) changes() bool { return m.c.Itemize > 0 || m.c.Verbose > 0 }

func (m *machine) Item(f rsync.ItemFlags, e *flist.Entry) {
	if !m.changes() {
		return
	}
	flags := itemized(f, e, m.c)
	if unchanged(flags) {
		return
	}
	v := event{Event: "item", Flags: flags, Type: kindOf(e.Mode)}
	v.Path, v.PathBytes = textAndBytes(e.Path)
	switch v.Type {
	case "file":
		v.Size = &e.Size
	case "symlink":
		v.Target, v.TargetBytes = textAndBytes(e.Target)
	}
	m.write(v)
}

func (m *machine) Deleted(path string, dir bool) {
	if !m.changes() {
		return
	}
	v := event{Event: "deleted", Type: "other"}
	if dir {
		v.Type = "directory"
	}
	v.Path, v.PathBytes = textAndBytes(path)
	m.write(v)
}

func (m *machine) Failed(path string, err error) {
	m.failed++
	p := explainPath(path, err)
	v := event{Event: "failed", Error: p.reason, Remedy: p.remedy}
	v.Path, v.PathBytes = textAndBytes(path)
	m.write(v)
}

func (m *machine) Note(s string) { m.write(event{Event: "note", Text: oneLine(s)}) }

// end always writes a summary, so that a line with "event":"summary" tells a
// run that ended from output that was cut off.
func (m *machine) end(s *transfer.Summary, p *problem, status int) {
	if p != nil {
		m.write(errorEvent(p))
	}
	v := summaryEvent{Event: "summary", Exit: status, DryRun: m.c.Session.DryRun, Failed: m.failed}
	if s != nil {
		v.Files, v.Created = countsOf(s.Found), countsOf(s.Created)
		v.Deleted, v.DeletedDirs = s.Deleted, s.DeletedDirs
		v.TransferredFiles, v.TotalSize, v.TransferredSize = s.TransferredFiles, s.TotalSize, s.TransferredSize
		v.Literal, v.Matched = s.Literal, s.Matched
		v.Sent, v.Received, v.LimitReached = s.Sent, s.Received, s.LimitHit
		v.Unreadable, v.Changed, v.Vanished = s.Unreadable, s.Changed, s.Vanished
		v.Sessions, v.Retries, v.Protocol = s.Sessions, s.Retries, s.Protocol
		v.Elapsed = s.Elapsed.Seconds()
	}
	m.write(v)
}

func countsOf(c transfer.ByType) counts {
	return counts{
		Total: c.All(),
		Files: c.Regular, Directories: c.Dirs, Symlinks: c.Symlinks, Devices: c.Devices, Specials: c.Specials,
	}
}

// textAndBytes is a name for JSON, which holds only Unicode, and, where that
// loses something, the name itself.
func textAndBytes(s string) (string, []byte) {
	if utf8.ValidString(s) {
		return s, nil
	}
	return escape(s, false), []byte(s)
}
