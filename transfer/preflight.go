package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"strings"
	"time"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/flist"
)

// ProbePrefix is how the names of the directories begin that a preflight makes at the destination, and deletes at once.
const ProbePrefix = ".syncd-probe."

const (
	// cleanTime is how long a run that is interrupted may take to delete its probe.
	cleanTime = 2 * time.Second
)

// Kept says what a destination keeps of what it is given.
type Kept struct {
	// Window is how many seconds times may differ by that are the same to the file system there, as
	// rsync.Options.ModifyWindow; -1: none, and nanoseconds count.
	Window int
	// Lost are the differences that every comparison finds, because what they are about is not kept.
	Lost rsync.ItemFlags
	// Losses is what is not kept, in words for an operator: a line each, with reason and remedy.
	Losses []string
}

// Kept returns what the first session found out; false while that is not known, and where it cannot be.
func (e *Engine) Kept() (Kept, bool) {
	if k := e.kept.Load(); k != nil {
		return *k, true
	}
	return Kept{}, false
}

// preflight finds out what the destination does not keep, and says so. Nothing but trying tells: a server that does not
// run as root takes every owner and keeps none, a daemon without chroot changes what symlinks point to. So a directory of
// specimens is sent, the server is asked what of them differs, and the directory is deleted.
//
// The work does not depend on it: what could not be tried is only not told. But the directory has to go.
func (e *Engine) preflight(ctx context.Context) error {
	name := e.probeName()
	if name == "" || e.protocol < itemizing || !e.following && e.moves.on { // it was tried when the catalogue began
		return nil
	}
	root, err := e.lookUp(".")
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	s := newSpecimens(EntryOf(".", &root), name, &e.session)
	o := e.probeOptions()
	made, err := e.probeSession(ctx, s.made, o)
	var asked *rsync.Report
	if err == nil && s.result(made, "").State == rsync.Acked {
		asked, err = e.askAbout(ctx, s, o)
	}
	if len(made.Results) > 0 { // else it was not begun
		if err := e.removeProbe(ctx, s, o); err != nil {
			return err
		}
	}
	switch words := s.result(made, "").Err; {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case words != nil && strings.Contains(words.Error(), "Read-only file system"):
		return &rsync.Error{
			Kind: rsync.KindReadOnly, Server: e.cfg.Dialer.Dest.String(), Hint: "mount the file system there for writing", Err: words,
		}
	case asked == nil:
		e.log.Info("what the destination keeps could not be tried", "err", cmp.Or(err, words))
	default:
		e.conclude(s, made, asked)
	}
	return nil
}

// probeName is the same in each run from one source, so that what an interrupted one left is used again, and goes. "" says
// that there is none: nothing is to be changed, or it could not be deleted, or the destination's own
// directory is none of this run's business, or the tree has an entry of this name.
func (e *Engine) probeName() string {
	if e.session.DryRun || e.lacks(deletesNames) || e.bare(".") {
		return ""
	}
	h := fnv.New32a()
	host, _ := os.Hostname() // it only has to be another one elsewhere
	id := e.cfg.Root.ID()
	fmt.Fprint(h, host, id.FSID, id.Ino)
	name := fmt.Sprintf("%s%08x", ProbePrefix, h.Sum32())
	if _, _, err := e.cfg.Root.Stat(name); !errors.Is(err, os.ErrNotExist) {
		return ""
	}
	return name
}

// itemizing is the first protocol in which a server says what differs (7.1).
const itemizing = 29

// probeOptions are those that say what is set, and none of how or of what is left out.
func (e *Engine) probeOptions() rsync.Options {
	o := &e.session
	return rsync.Options{
		Protocol: o.Protocol, Links: o.Links, Perms: o.Perms, Times: o.Times, Owner: o.Owner, Group: o.Group, Devices: o.Devices,
		Specials: o.Specials, HardLinks: o.HardLinks, NumericIDs: o.NumericIDs, ModifyWindow: o.ModifyWindow,
		Timeout: o.Timeout, Mkpath: o.Mkpath,
		MaxDelete: -1, DeleteMissing: true, Force: true, Itemize: true,
	}
}

// askAbout has the server compare. It follows symlinks to directories if it can be told to, which shows whether those
// that it made lead anywhere.
func (e *Engine) askAbout(ctx context.Context, s *specimens, o rsync.Options) (*rsync.Report, error) {
	o.DryRun, o.DeleteMissing, o.KeepDirlinks = true, false, o.Links && e.spare != nil
	s.follows = o.KeepDirlinks
	report, err := e.probeSession(ctx, s.asked, o)
	if kindOf(err) == rsync.KindRefused && o.KeepDirlinks {
		o.KeepDirlinks, s.follows = false, false
		report, err = e.probeSession(ctx, s.asked, o)
	}
	if err != nil {
		return nil, err
	}
	return report, nil
}

// removeProbe deletes the specimens. It is done even if the run is interrupted.
func (e *Engine) removeProbe(ctx context.Context, s *specimens, o rsync.Options) error {
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
		defer cancel()
	}
	report, err := e.probeSession(ctx, []flist.Entry{s.made[0], {Path: s.name}}, o)
	if err != nil {
		return err
	}
	if gone := result(report, 1); gone.State != rsync.Acked {
		words := append(append(report.DeleteErrors, report.Loose...), fmt.Sprint(gone.Err))
		e.tell.note(fmt.Sprintf("%s could not be deleted at the destination: %s; delete it there", s.name, words[0]))
	}
	return nil
}

// probeSession runs a session that the work does not depend on, in a single pass a few times if it breaks.
func (e *Engine) probeSession(ctx context.Context, entries []flist.Entry, o rsync.Options) (*rsync.Report, error) {
	b := &rsync.Batch{
		Entries: entries, Open: openNothing,
		Xattr: func(i int, name string) ([]byte, error) { return e.cfg.Root.Xattr(entries[i].Path, name) },
	}
	for try := 1; ; try++ {
		report, err := e.dest.Send(ctx, b, o)
		switch kind := kindOf(err); kind {
		case rsync.KindBusy, rsync.KindLost, rsync.KindTimeout, rsync.KindDial, rsync.KindServer, rsync.KindShell:
			// While following, who awaits the destination says so, and begins anew.
			again := kind == rsync.KindBusy || !e.following
			if again && try < sessionTries && sleep(ctx, e.cfg.tuning.sessionBackoff.Delay(try)) == nil {
				continue
			}
		}
		return report, err
	}
}

// nothingInside is the content of specimens, and of parts of what has not begun.
type nothingInside struct{}

func openNothing(int) (rsync.File, error) { return nothingInside{}, nil }

func (nothingInside) Read([]byte) (int, error) { return 0, io.EOF }
func (nothingInside) Size() int64              { return 0 }
func (nothingInside) Close() error             { return nil }

// conclude tells what is lost, and has times compared as exactly as they are kept.
func (e *Engine) conclude(s *specimens, made, asked *rsync.Report) {
	kept := s.judge(made, asked, e.cfg.Dialer.Dest.Kind)
	if kept == nil {
		e.log.Info("what the destination keeps could not be tried", "err", "somebody else changes "+s.name)
		return
	}
	if e.cfg.NanosecondsAuto && e.session.ModifyWindow < 0 {
		e.session.ModifyWindow = kept.Window
	}
	e.kept.Store(kept)
	for _, words := range kept.Losses {
		e.tell.note(words)
	}
}

// tellSpace says how much room there is at the destination, where that can be known: when what it keeps is tried, too.
func (e *Engine) tellSpace(ctx context.Context) {
	if e.session.DryRun || !e.following && e.moves.on {
		return
	}
	if s, ok := e.cfg.Dialer.Space(ctx); ok {
		e.log.Info("room at the destination", "bytes", s.Bytes, "inodes", s.Inodes)
	}
}
