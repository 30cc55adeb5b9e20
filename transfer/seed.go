package transfer

import (
	"context"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
)

// A server writes a file that is new there into a temporary one, which is kept as a part if it is the connection that ends;
// but if the server is killed nobody comes back to it. A part that exists is written in place instead, from the first byte
// on (7.6). So before a large file that is new is sent, an empty part is put there, and whatever ends the session, what
// has arrived is found by the next one.

const (
	// seedFrom is from how many times the size of a large file on this is worth two more sessions.
	seedFrom = 2
	// writesParts is the first protocol in which a server writes parts in place.
	writesParts = 30
)

// seed puts empty parts for those files of b that are large and new there, in the goroutine of a sender. Nothing depends on
// it: where it fails a file begins anew if its server is killed.
func (e *Engine) seed(ctx context.Context, b *batch) {
	o := e.options(b)
	worth := func(i int) bool {
		f := &b.entries[i]
		return b.about[i].primary && isRegular(f.Mode) && f.Size >= seedFrom*e.bigFile
	}
	switch {
	case b.kind > copyBig, b.resumes, o.DryRun, e.spare == nil, e.protocol < writesParts:
		return
	case o.PartialDir == "", strings.Contains(path.Clean(o.PartialDir), "/"):
		return
	case e.following && len(b.answers) > 0: // what changes comes and goes: parts would be left of it
		return
	case o.Fuzzy: // a part has precedence over a file of another name
		return
	}
	ask := b.subset(worth)
	if ask.primaries() == 0 {
		return
	}
	o.PartialDir, o.Delete, o.DeleteMissing, o.Acks, o.Itemize = "", false, false, false, true
	o.Checksum, o.IgnoreTimes, o.HardLinks, o.Backup, o.ACLs, o.Xattrs = false, false, false, false, false, false
	o.DryRun = true
	report, err := e.dest.Send(ctx, &rsync.Batch{Entries: ask.entries, Open: nobodyOpens, Names: e.names}, o)
	if err != nil {
		e.log.Debug("whether large files are new there could not be asked", "err", err)
		return
	}
	isNew := map[string]bool{}
	for i := range ask.entries {
		items := result(report, i).Items
		switch {
		case !ask.about[i].primary || items&rsync.ItemTransfer == 0:
		case items&rsync.ItemNew != 0:
			isNew[ask.entries[i].Path] = true
		case o.WholeFile:
			return // parts would have what is there compared, too
		}
	}
	if len(isNew) == 0 {
		return
	}
	e.ledger.expect(b)
	o.DryRun, o.IgnoreExisting = false, true // what arrived in an earlier run stays
	o.Owner, o.Group = false, false
	_, err = e.dest.Send(ctx, &rsync.Batch{Entries: emptyParts(ask, e.options(b).PartialDir, isNew), Open: openNothing}, o)
	if err != nil {
		e.log.Debug("parts for large files that are new could not be made", "err", err)
	}
	b.resumes = true
	b.seeded = make([]bool, len(b.entries))
	for i := range b.entries {
		b.seeded[i] = worth(i) && isNew[b.entries[i].Path]
	}
}

// emptyParts returns what the server makes for the files in b that are new: beside each the partial directory, as the
// server itself would make it, and in it the part. It has the mode that the file gets: one that exists may keep its own.
func emptyParts(b *batch, partialDir string, isNew map[string]bool) (parts []flist.Entry) {
	made := map[string]bool{}
	for i := range b.entries {
		f := b.entries[i]
		f.Attrs, f.Link = nil, 0
		if isDir(f.Mode) {
			parts = append(parts, f)
			continue
		}
		if !isNew[f.Path] {
			continue
		}
		dir := queue.Join(path.Dir(f.Path), path.Clean(partialDir))
		if !made[dir] {
			made[dir] = true
			parts = append(parts, flist.Entry{Path: dir, Mode: unix.S_IFDIR | 0o700, Mtime: f.Mtime, Dir: flist.NoContent})
		}
		f.Path, f.Size = queue.Join(dir, path.Base(f.Path)), 0
		parts = append(parts, f)
	}
	return parts
}

// unused tells whose parts may be left because the file did not come.
func (e *Engine) unused(o outcome) {
	left := make([]bool, len(o.b.seeded))
	for i, seeded := range o.b.seeded {
		left[i] = seeded && result(o.report, i).State != rsync.Acked
	}
	e.littered(o, left)
}
