package rsync

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsync/wire"
)

// concerns reports whether a text may say something about an entry, or about why the session ends.
func concerns(m remark) bool {
	switch m.tag {
	case wire.ErrorXfer, wire.Error:
		return !strings.HasPrefix(m.text, "WARNING: ")
	}
	return kindOf(m) != speechOther
}

// speech is what kind of statement a text makes.
type speech uint8

const (
	speechOther    speech = iota // nothing that changes a result
	speechError                  // something failed
	speechSkip                   // an entry is not taken
	speechBelow                  // what is below the directory of the text before is not taken
	speechKept                   // something was not deleted
	speechLimit                  // --max-delete stopped deletions
	speechFarewell               // the line with the exit code
)

// kindOf reads a text. Before protocol 30 errors and infos have one tag each, so the words decide where they can.
func kindOf(m remark) speech {
	has := func(s string) bool { return strings.Contains(m.text, s) }
	if _, ok := exitText(m.text); ok {
		return speechFarewell
	}
	switch {
	case has("Skipping any contents from this failed directory"):
		return speechBelow
	case has("Deletions stopped due to --max-delete limit"):
		return speechLimit
	case has("cannot delete non-empty directory: "), has("skipping file deletion"),
		has("delete_file: "), has("not deleting"):
		return speechKept
	case has("daemon refused to receive"), has("skipping non-regular file"), has("ignoring unsafe symlink"):
		return speechSkip
	}
	if m.tag == wire.ErrorXfer || m.tag == wire.Error {
		if strings.HasPrefix(m.text, "WARNING: ") {
			return speechOther
		}
		return speechError
	}
	return speechOther
}

// report makes up what is known at the end.
func (x *exchange) report(complete bool) *Report {
	x.flushPartial()
	x.said.mu.Lock()
	defer x.said.mu.Unlock()
	r := &Report{Results: x.results, Complete: complete, Stats: x.stats}
	x.judge(r)
	x.settle(r)
	x.count(r)
	r.ExitCode = x.exitCode(r)
	return r
}

// judge goes through the server's texts.
func (x *exchange) judge(r *Report) {
	if len(x.said.remarks) == 0 && x.said.dropped == 0 {
		return
	}
	ix := newIndex(x)
	var last []int32 // what the text before named
	for _, m := range x.said.remarks {
		kind := kindOf(m)
		if kind == speechBelow {
			x.failBelow(last, m.text)
			last = nil
			continue
		}
		last = ix.named(m.text)
		lines := splitLines(m.text)
		if len(lines) > 1 {
			for _, line := range lines {
				last = append(last, ix.named(line)...)
			}
		}
		x.mark(r, kind, last, m.text)
	}
	if x.said.dropped > 0 {
		r.Loose = append(r.Loose, fmt.Sprintf("%d more messages of the server were dropped", x.said.dropped))
	}
}

// mark applies one text to the entries that it names.
func (x *exchange) mark(r *Report, kind speech, named []int32, text string) {
	words := oneLine(text)
	switch kind {
	case speechLimit:
		r.LimitHit = true
		r.SkippedDeletes = max(r.SkippedDeletes, skippedDeletes(words))
		return
	case speechFarewell, speechOther:
		return
	case speechKept:
		r.DeleteErrors = append(r.DeleteErrors, words)
	case speechError:
		if len(named) == 0 {
			r.Loose = append(r.Loose, words)
		}
	}
	state := Failed
	if kind == speechSkip {
		state = Skipped
	}
	for _, place := range named {
		x.condemn(place, state, errors.New(words))
	}
}

// skippedDeletes reads the number in "Deletions stopped due to --max-delete limit (3 skipped)".
func skippedDeletes(words string) int {
	_, after, _ := strings.Cut(words, "--max-delete limit (")
	digits, _, _ := strings.Cut(after, " skipped)")
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || n < 0 {
		return 0
	}
	return int(n)
}

// condemn sets a result of the server's, unless there is one that says more.
func (x *exchange) condemn(place int32, state State, err error) {
	if res := &x.results[place]; res.State == Pending || res.State == Changed {
		res.State, res.Err = state, err
	}
}

// failBelow condemns what is below directories that could not be made.
func (x *exchange) failBelow(dirs []int32, text string) {
	for _, d := range dirs {
		e := &x.b.Entries[d]
		if !isDir(e.Mode) {
			continue
		}
		err := fmt.Errorf("%s: %s", e.Path, oneLine(text))
		if first := x.results[d].Err; first != nil {
			err = first
		}
		for _, place := range x.order {
			p := x.b.Entries[place].Path
			if e.Path == "." || strings.HasPrefix(p, e.Path) && len(p) > len(e.Path) && p[len(e.Path)] == '/' {
				x.condemn(place, x.results[d].State, err)
			}
		}
	}
}

// errLimit is why an entry of mode 0 may still be there.
var errLimit = errors.New("deletions stopped due to --max-delete")

// settle gives every entry that nobody has condemned its state.
func (x *exchange) settle(r *Report) {
	if x.order == nil {
		return // the list was never sent
	}
	fine := r.Complete && len(r.Loose) == 0
	acks := x.opts.acks()
	for n, place := range x.order {
		res := &x.results[place]
		if res.State != Pending {
			continue
		}
		e := &x.b.Entries[place]
		switch {
		case e.Mode == 0 && x.said.missing[e.Path] && !x.opts.DryRun:
			res.State = Acked
		case e.Mode == 0 && r.LimitHit:
			res.State, res.Err = Skipped, errLimit
		case acks && acknowledged(e):
			if x.said.acked[n] && (r.Complete || !x.attributesToCome(place)) {
				res.State = Acked
			}
		case fine:
			res.State = Acked
		}
	}
	x.spreadChange(r.Complete)
	x.doubtLinks()
}

// attributesToCome reports whether an entry may be acknowledged before it has its extended attributes. What needs no data
// is acknowledged by the process that compares, and gets its attributes from the one that receives, perhaps with values
// that it has still to ask for: a session that breaks in between leaves it without.
func (x *exchange) attributesToCome(place int32) bool {
	return x.opts.Xattrs && x.asked[place]&askedSent == 0
}

// acknowledged reports whether a server acknowledges entries like this (9.1).
func acknowledged(e *flist.Entry) bool { return e.Mode != 0 && !isDir(e.Mode) }

// spreadChange makes all names of a file that changed while it was sent Changed: only one of them was asked for.
func (x *exchange) spreadChange(complete bool) {
	var changed map[int32]error
	for i := range x.results {
		if l := x.b.Entries[i].Link; l > 0 && x.results[i].State == Changed {
			if changed == nil {
				changed = make(map[int32]error)
			}
			changed[l] = x.results[i].Err
		}
	}
	if changed == nil {
		return
	}
	for i := range x.results {
		err, ok := changed[x.b.Entries[i].Link]
		if s := x.results[i].State; ok && (s == Acked || complete && s == Pending) {
			x.results[i].State, x.results[i].Err = Changed, err
		}
	}
}

// doubtLinks takes back what was concluded of names of an inode of which another name came to nothing: a server that did
// not get the content for one of them makes no others, and has no word for that. What it linked, it has told.
func (x *exchange) doubtLinks() {
	var broken map[int32]bool
	for i := range x.results {
		l, s := x.b.Entries[i].Link, x.results[i].State
		if l == 0 || s == Acked || s == Changed {
			continue
		}
		if broken == nil {
			broken = make(map[int32]bool)
		}
		broken[l] = true
	}
	if broken == nil || x.opts.acks() {
		return // each is acknowledged by name
	}
	for i := range x.results {
		if res := &x.results[i]; res.State == Acked && broken[x.b.Entries[i].Link] && res.Link == "" && x.asked[i]&askedSent == 0 {
			res.State = Pending
		}
	}
}

// count completes the statistics.
func (x *exchange) count(r *Report) {
	r.Stats.Sent = x.conn.out.Load()
	r.Stats.Received = x.conn.in.Load()
	if !x.deletes {
		r.Stats.Deleted.Files = x.said.deleted - x.said.dirsGone
		r.Stats.Deleted.Dirs = x.said.dirsGone
	}
}

// exitCode returns what rsync would end with (8.2).
func (x *exchange) exitCode(r *Report) int {
	const general, partial, vanishedOnly, limit = 12, 23, 24, 25
	switch {
	case x.said.code != 0 && !partialCode(x.said.code):
		return x.said.code
	case !r.Complete:
		return general
	case len(r.Loose) > 0 || len(r.DeleteErrors) > 0 && !r.LimitHit || x.ioError&ioGeneral != 0:
		return partial
	}
	for i := range r.Results {
		if s := r.Results[i].State; s == Failed || s == Skipped && r.Results[i].Err != errLimit {
			return partial
		}
	}
	switch {
	case x.ioError&ioVanished != 0:
		return vanishedOnly
	case r.LimitHit:
		return limit
	}
	return 0
}
