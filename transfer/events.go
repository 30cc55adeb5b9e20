package transfer

import (
	"strings"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/rsync/wire"
)

// events hears what one session reports.
type events struct {
	e    *Engine
	b    *batch
	sent int64 // part of counters.live while the session runs

	deleted int
	words   []string // of a mute batch
}

// Item passes an itemized change on, each directory's once: it rides along in many sessions, and whichever comes first
// makes it.
func (v *events) Item(i int, f rsync.ItemFlags) {
	if v.b.mute {
		return
	}
	entry := &v.b.entries[i]
	primary := v.b.about[i].primary
	t := &v.e.tell
	t.mu.Lock()
	defer t.mu.Unlock()
	if isDir(entry.Mode) {
		if v.b.kind == relink || !v.reports(entry, f, primary) {
			return
		}
	} else if !primary {
		return
	}
	v.e.counters.item(entry, f)
	t.Observer.Item(f, entry)
}

// reports decides whether this session's item of a directory is the one to show. Times are left to the session that is
// about the directory: they change while others work in it.
func (v *events) reports(entry *flist.Entry, f rsync.ItemFlags, primary bool) bool {
	if !primary && (v.e.session.DryRun || f&^rsync.ItemTime == 0) {
		return false
	}
	made := v.e.tell.made
	if _, done := made[entry.Path]; done {
		return false
	}
	made[entry.Path] = struct{}{}
	return true
}

func (v *events) Sending(i int) { v.e.counters.current.Store(&v.b.entries[i].Path) }

func (v *events) Sent(n int64) {
	v.sent += n
	v.e.counters.live.Add(n)
}

func (v *events) Deleted(p string, dir bool) {
	v.deleted++
	v.e.counters.deletion(dir)
	t := &v.e.tell
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Observer.Deleted(p, dir)
}

// Message logs what the server says. What matters of it comes again in the report, by entry.
func (v *events) Message(t wire.Tag, text string) {
	if v.b.mute {
		v.words = append(v.words, text)
	}
	v.e.log.Debug("server says", "text", strings.TrimRight(text, "\n"))
}
