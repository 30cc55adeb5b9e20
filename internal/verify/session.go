package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/transfer"
	"github.com/syncd/syncd/transfer/embedded"
)

// A destination answers for one list.
type destination interface {
	// Send runs one session. agreed is called before the list goes out, with what both sides have agreed on.
	Send(ctx context.Context, b *rsync.Batch, o rsync.Options, agreed func(terms)) (*rsync.Report, error)
	Close() error
}

func (v *Verifier) local() bool { return v.cfg.Dialer.Dest.Kind == rsync.Local }

func (v *Verifier) newDestination() (destination, error) {
	d := v.cfg.Dialer
	if v.local() {
		dest, err := embedded.OpenDry(d.Dest.Path)
		return local{dest}, err
	}
	if outer := d.Wrap; v.cfg.Writes != nil {
		d.Wrap = func(c io.ReadWriteCloser) io.ReadWriteCloser {
			if outer != nil {
				c = outer(c)
			}
			return v.cfg.Writes.Wrap(context.Background(), c)
		}
	}
	return remote{rsync.NewReaper(&d)}, nil
}

// remote is a destination reached over a connection of its own for each session.
type remote struct{ *rsync.Reaper }

func (r remote) Send(ctx context.Context, b *rsync.Batch, o rsync.Options, agreed func(terms)) (*rsync.Report, error) {
	s, err := r.Connect(ctx, o)
	if err != nil {
		return &rsync.Report{}, err
	}
	agreed(terms{s.Protocol(), s.Checksum()})
	defer r.Reap(s)
	return s.Settle(ctx, b)
}

// Close cuts what has not ended: a server that compared has nothing more to do.
func (r remote) Close() error {
	r.Reaper.Close(0)
	return nil
}

// prime finds out, once, whether the server serves this module to this user with these options, and what it can do.
func (r *run) prime(ctx context.Context) error {
	v := r.v
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.session == nil {
		o, items := v.options(), rsync.ItemFlags(0)
		for {
			r.opts = o
			t, first, err := r.primeOnce(ctx, o, 0)
			if err == nil {
				v.terms, items = t, first
				break
			}
			if !r.yield(&o, err) {
				return err
			}
		}
		if v.terms.protocol < itemizing {
			return &rsync.Error{
				Kind: rsync.KindProtocol, Op: "compare", Server: v.cfg.Dialer.Dest.String(),
				Hint: "install rsync 2.6.7 or later there, or leave out --protocol",
				Err:  fmt.Errorf("protocol %d cannot say what differs", v.terms.protocol),
			}
		}
		if v.cfg.NanosecondsAuto && v.terms.protocol < nanoseconds {
			o.ModifyWindow = 0
		}
		if o.ModifyWindow == 0 && v.cfg.NanosecondsAuto {
			r.note("the server compares times by whole seconds only")
		}
		if err := r.tryOwners(ctx, o, items); err != nil {
			return err
		}
		v.session = &o
	}
	r.terms, r.opts = v.terms, *v.session
	return nil
}

// tryOwners asks the server about another owner of its directory than it has nothing against. One that says nothing again
// does not look at owners.
func (r *run) tryOwners(ctx context.Context, o rsync.Options, first rsync.ItemFlags) error {
	if !o.Owner || o.UserMap != "" || r.v.local() || first&(rsync.ItemOwner|rsync.ItemNew) != 0 {
		return nil
	}
	_, items, err := r.primeOnce(ctx, o, 1)
	if err == nil && items&rsync.ItemOwner == 0 {
		r.note("owners are not compared: the server does not run as root")
	}
	return err
}

// The first protocols in which a server says what differs (7.1), and to which nanoseconds travel (6.3).
const (
	itemizing   = 29
	nanoseconds = 31
)

// yield takes an option back that the server does not know or allow, if it can be done without.
func (r *run) yield(o *rsync.Options, err error) bool {
	var refused *rsync.Error
	if !errors.As(err, &refused) || refused.Kind != rsync.KindRefused {
		return false
	}
	switch {
	case o.IgnoreErrors && strings.Contains(err.Error(), "ignore-errors"):
		// A directory that cannot be read there then hides what is extra in others: settle sees to it.
		o.IgnoreErrors = false
	case r.v.cfg.IgnoreUnsupported && o.Xattrs && strings.Contains(refused.Op, "--xattrs"):
		o.Xattrs = false
		r.note(fmt.Sprintf("extended attributes are not compared: %v", err))
	case r.v.cfg.IgnoreUnsupported && o.ACLs && strings.Contains(refused.Op, "--acls"):
		o.ACLs = false
		r.note(fmt.Sprintf("ACLs are not compared: %v", err))
	case r.v.cfg.NanosecondsAuto && o.ModifyWindow < 0:
		o.ModifyWindow = 0 // before 3.1.3 there was no such option
	default:
		return false
	}
	return true
}

// options are those of every session.
func (v *Verifier) options() rsync.Options {
	o := v.cfg.Session
	o.DryRun, o.Itemize, o.Checksum = true, true, true
	o.Delete, o.Force, o.IgnoreErrors, o.MaxDelete = !v.cfg.NoExtra, !v.cfg.NoExtra, !v.cfg.NoExtra, -1
	o.Acks, o.Inplace, o.PartialDir, o.Existing, o.IgnoreExisting = false, false, "", false, false
	// What is about writing files only asks for things that a server may not have.
	o.Compress, o.Sparse, o.Preallocate, o.Fsync, o.Fuzzy, o.TempDir = false, false, false, false, false, ""
	o.WholeFile, o.IgnoreTimes, o.SizeOnly, o.DeleteMissing, o.Mkpath = false, false, false, false, false
	if v.cfg.NanosecondsAuto {
		o.ModifyWindow = -1
		if k, known := v.kept(); known {
			o.ModifyWindow = k.Window
		}
	}
	return o
}

// kept is Config.Kept.
func (v *Verifier) kept() (transfer.Kept, bool) {
	if v.cfg.Kept == nil {
		return transfer.Kept{}, false
	}
	return v.cfg.Kept()
}

// primeOnce compares the root alone, with an owner so many further than it has.
func (r *run) primeOnce(ctx context.Context, o rsync.Options, other uint32) (t terms, items rsync.ItemFlags, err error) {
	root, err := r.lookUp(".")
	if err != nil {
		return t, 0, fmt.Errorf("source: %w", err)
	}
	b := newBatch(false, r.v.scope)
	root.Stat.UID += other
	b.addDir(transfer.EntryOf(".", &root), &root.Stat, false)
	report, err := r.deliver(ctx, b, o, func(got terms) { t = got }, nobody{})
	if err == nil {
		items = report.Results[0].Items
	}
	return t, items, err
}

// compare has a batch compared and reports what is known of it.
func (r *run) compare(ctx context.Context, b *batch) error {
	o := r.opts
	o.Checksum = b.contents
	o.Existing, o.IgnoreExisting = b.names, b.names
	o.DeleteMissing = b.gone
	report, err := r.deliver(ctx, b, o, func(t terms) { r.rehash(ctx, b, t) }, &extras{r: r, b: b})
	if err != nil {
		return err
	}
	return r.settle(ctx, b, report)
}

// rehash replaces the digests of a batch, should this session have agreed on another hash than the first one.
func (r *run) rehash(ctx context.Context, b *batch, t terms) {
	if !b.contents || t.sum.Hash == b.hash || r.v.local() {
		return
	}
	b.hash = t.sum.Hash
	b.digestEmpty(t.sum)
	_ = r.readPortion(ctx, portion{b, 0, int32(len(b.entries))}) // the end of ctx is that of the session
}

// deliver runs a session for b, again and again if it breaks.
func (r *run) deliver(ctx context.Context, b *batch, o rsync.Options, agreed func(terms),
	ev rsync.Events) (*rsync.Report, error) {
	rules, err := r.rules(b, o)
	if err != nil {
		return nil, err
	}
	wait := r.v.cfg.tuning.retryAfter
	for try := 1; ; try++ {
		if x, ok := ev.(*extras); ok {
			x.seen = 0
		}
		others := r.active.Add(1) > 1
		report, err := r.v.dest.Send(ctx, &rsync.Batch{
			Entries: b.entries,
			Open:    func(i int) (rsync.File, error) { return r.open(ctx, b, i) },
			Filter:  rules,
			Names:   r.v.names,
			Xattr:   func(i int, name string) ([]byte, error) { return r.v.cfg.Root.Xattr(b.entries[i].Path, name) },
			Events:  ev,
		}, o, agreed)
		r.active.Add(-1)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		r.session(report, err)
		if err == nil {
			return report, nil
		}
		r.v.log.Debug("session failed", "err", err, "try", try)
		if busy(err) && others {
			// The server has room for fewer: this one takes its turn when another has ended.
			try, wait = 0, r.v.cfg.tuning.retryAfter
		}
		if try == sessionTries || !worthRetry(err, r.terms.protocol != 0) {
			return nil, err
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
		wait = min(2*wait, retryAfterMax)
	}
}

func busy(err error) bool {
	var session *rsync.Error
	return errors.As(err, &session) && session.Kind == rsync.KindBusy
}

// worthRetry reports whether a session that failed may do better at another time. The first one, which is to find out
// what the server takes, is tried again only for want of room.
func worthRetry(err error, primed bool) bool {
	var session *rsync.Error
	if !errors.As(err, &session) {
		return false
	}
	switch session.Kind {
	case rsync.KindBusy:
		return true
	case rsync.KindLost, rsync.KindTimeout, rsync.KindDial, rsync.KindServer, rsync.KindShell:
		return primed
	}
	return false
}

// rules returns the filter rules that keep what is not ours from being called extra.
func (r *run) rules(b *batch, o rsync.Options) ([]string, error) {
	if !o.Delete || r.terms.protocol == 0 {
		return nil, nil // the first session has no names to compare
	}
	var rules []string
	if b.scope != nil {
		var err error
		if rules, err = b.scope.Wire(r.terms.protocol, false); err != nil {
			return nil, err
		}
	}
	partial := r.v.cfg.PartialDir
	if partial[0] == '/' {
		return rules, nil
	}
	kind := "-p "
	if r.terms.protocol < 30 {
		kind = "- "
	}
	return append([]string{kind + partial + "/"}, rules...), nil // in front: other rules may have all directories looked at
}
