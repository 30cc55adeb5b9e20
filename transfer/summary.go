package transfer

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
)

// ByType counts entries.
type ByType struct {
	Regular, Dirs, Symlinks, Devices, Specials int64
}

// All returns the sum.
func (n ByType) All() int64 { return n.Regular + n.Dirs + n.Symlinks + n.Devices + n.Specials }

// A Summary says what a pass did. Sizes are in bytes.
type Summary struct {
	Found            ByType // entries of the source
	Created          ByType // entries that the destination did not have
	Deleted          int64  // entries deleted there, directories included
	DeletedDirs      int64
	TransferredFiles int64 // regular files whose data was sent or rebuilt
	TotalSize        int64 // of all regular files and symlinks found
	TransferredSize  int64 // of the transferred files
	Literal, Matched int64 // file data sent, and data that the destination already had
	Sent, Received   int64 // bytes on the wire
	Failed           int64 // paths not equal at the end, whatever the reason
	Unreadable       int64 // of these: not readable here
	Changed          int64 // of these: changed each time they were sent
	Vanished         int64 // gone while the pass ran; no failure
	LimitHit         bool  // --max-delete stopped deletions
	Sessions         int64 // sessions run
	Retries          int64 // of these: ended badly
	Protocol         int   // as negotiated, 0 if no session began
	Elapsed          time.Duration
}

// Progress is what can be said while the pass runs. Totals grow until ScanDone.
type Progress struct {
	Entries, TotalEntries int64 // settled, and found so far
	Files, TotalFiles     int64 // regular files of these
	Bytes, TotalBytes     int64 // of file data: looked after, and found so far
	Sent                  int64 // bytes on the wire
	ScanDone              bool
	Sessions              int // running now
	Current               string
}

type count = atomic.Int64

type typeCount struct{ regular, dirs, symlinks, devices, specials count }

func (c *typeCount) add(mode uint32) {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		c.regular.Add(1)
	case unix.S_IFDIR:
		c.dirs.Add(1)
	case unix.S_IFLNK:
		c.symlinks.Add(1)
	case unix.S_IFCHR, unix.S_IFBLK:
		c.devices.Add(1)
	default:
		c.specials.Add(1)
	}
}

func (c *typeCount) load() ByType {
	return ByType{c.regular.Load(), c.dirs.Load(), c.symlinks.Load(), c.devices.Load(), c.specials.Load()}
}

// counters are written by the engine and by its sessions, and read by anyone.
type counters struct {
	entries, created                          typeCount
	deleted, deletedDirs                      count
	transferred, totalSize, transferredSize   count
	literal, matched, sent, received          count
	failed, unreadable, changed, vanished     count
	refused                                   count
	sessions, active, retries, protocol       count
	settled, settledFiles, settledBytes, live count // live: file data of running sessions
	limitHit, scanDone                        atomic.Bool
	current                                   atomic.Pointer[string]
	started                                   time.Time
	elapsed                                   atomic.Int64
}

func (c *counters) begin() { c.started = time.Now() }
func (c *counters) end()   { c.elapsed.Store(int64(time.Since(c.started))) }

func (c *counters) protocolOr(p int) int {
	if n := c.protocol.Load(); n != 0 {
		return int(n)
	}
	return p
}

// found counts a listed directory and what is in it; its subdirectories count when they are listed themselves.
func (c *counters) found(l *listing, visited map[string]struct{}) {
	switch {
	case !l.lead:
		c.entries.add(unix.S_IFDIR)
	case !l.dir.bare && len(l.children)+len(l.subdirs) > 0:
		c.entries.add(unix.S_IFDIR)
	}
	for i := range l.subdirs {
		if _, ok := visited[l.subdirs[i].entry.Path]; !ok {
			c.entries.add(unix.S_IFDIR)
		}
	}
	var size int64
	for i := range l.children {
		c.entries.add(l.children[i].entry.Mode)
		size += l.children[i].entry.Size
	}
	c.totalSize.Add(size + l.there.bytes)
	c.there(&l.there)
}

// there counts what nobody has to be asked about.
func (c *counters) there(t *there) {
	c.entries.regular.Add(t.Regular)
	c.entries.dirs.Add(t.Dirs)
	c.entries.symlinks.Add(t.Symlinks)
	c.entries.devices.Add(t.Devices)
	c.entries.specials.Add(t.Specials)
	c.settled.Add(t.All())
	c.settledFiles.Add(t.Regular)
	c.settledBytes.Add(t.bytes)
}

// acknowledged counts an entry that is equal at the destination.
func (c *counters) acknowledged(e *flist.Entry, r rsync.Result) {
	c.settled.Add(1)
	if !isRegular(e.Mode) {
		return
	}
	c.settledFiles.Add(1)
	c.settledBytes.Add(e.Size)
	if r.Items&rsync.ItemTransfer != 0 {
		c.transferred.Add(1)
		c.transferredSize.Add(e.Size)
	}
}

// item counts what the destination did not have.
func (c *counters) item(e *flist.Entry, f rsync.ItemFlags) {
	if f&rsync.ItemNew != 0 {
		c.created.add(e.Mode)
	}
}

func (c *counters) deletion(dir bool) {
	c.deleted.Add(1)
	if dir {
		c.deletedDirs.Add(1)
	}
}

// session counts what a session moved.
func (c *counters) session(r *rsync.Report) {
	if r == nil {
		return
	}
	for i := range r.Results {
		c.literal.Add(r.Results[i].Literal)
		c.matched.Add(r.Results[i].Matched)
	}
}

// deletesLeft is what --max-delete still allows.
func (e *Engine) deletesLeft() int {
	return max(0, e.cfg.MaxDelete-int(e.counters.deleted.Load()))
}

// Progress may be called at any time, by any goroutine.
func (e *Engine) Progress() Progress {
	c := &e.counters
	found := c.entries.load()
	p := Progress{
		Entries:      c.settled.Load() + c.failed.Load(),
		TotalEntries: found.All(),
		Files:        c.settledFiles.Load(),
		TotalFiles:   found.Regular,
		Bytes:        c.settledBytes.Load() + c.live.Load(),
		TotalBytes:   c.totalSize.Load(),
		Sent:         c.sent.Load(),
		ScanDone:     c.scanDone.Load(),
		Sessions:     int(c.active.Load()),
	}
	if at := c.current.Load(); at != nil {
		p.Current = *at
	}
	return p
}

// Summary says what Run did. It is complete once Run has returned.
func (e *Engine) Summary() Summary {
	c := &e.counters
	return Summary{
		Found: c.entries.load(), Created: c.created.load(),
		Deleted: c.deleted.Load(), DeletedDirs: c.deletedDirs.Load(),
		TransferredFiles: c.transferred.Load(),
		TotalSize:        c.totalSize.Load(), TransferredSize: c.transferredSize.Load(),
		Literal: c.literal.Load(), Matched: c.matched.Load(),
		Sent: c.sent.Load(), Received: c.received.Load(),
		Failed: c.failed.Load(), Unreadable: c.unreadable.Load(),
		Changed: c.changed.Load(), Vanished: c.vanished.Load(),
		LimitHit: c.limitHit.Load(),
		Sessions: c.sessions.Load(), Retries: c.retries.Load(), Protocol: int(c.protocol.Load()),
		Elapsed: time.Duration(c.elapsed.Load()),
	}
}
