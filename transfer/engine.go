package transfer

import (
	"context"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/syncd/syncd/internal/filesfrom"
	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/rsync"
	"github.com/syncd/syncd/internal/rsync/filter"
	"github.com/syncd/syncd/internal/rsync/flist"
	"github.com/syncd/syncd/internal/scan"
)

// An Engine makes one destination equal to one source. New makes it; Run may be called once.
//
// The goroutine of Run owns the queue and every batch that is not in a session. It talks by channels to those that
// list directories and those that run sessions; nothing else is shared but the counters and the Observer, which have
// locks of their own.
type Engine struct {
	cfg      Config
	log      *slog.Logger
	dest     destination
	spare    *spare        // nil with a local destination
	reaper   *rsync.Reaper // the same
	names    flist.Names
	session  rsync.Options // the user's, with what the first session taught
	protocol int
	most     int // sessions
	sessions int // of them, how many the server takes at present
	bigFile  int64

	rootScope atomic.Pointer[filter.Scope] // nil: no rules
	only      *filesfrom.Selection         // nil: everything

	queue    *queue.Queue[*dir]
	work     map[string]*work // directories in flight
	filling  [fills]*batch
	clearing *batch              // prune
	ready    [2][]*batch         // all but copyBig; copyBig
	delayed  []delayed           // what waits after a bad session
	prunes   []pruneJob          // directories to prune, to be listed again
	locked   map[string]pruneJob // being pruned, by path
	trees    []listJob           // Dirs and Trees of live changes, in flight
	guard    *deletions          // nil: not following, or without a limit
	left     leftovers

	following  bool      // until ctx ends
	changed    time.Time // when the last change came
	pressed    time.Time // Queue.Press
	pace       pace      // of sessions for changes
	paused     bool
	links      linkIndex
	gathering  gathering
	moves      moves
	renames    renames
	litter     litter
	litterDue  time.Time // when it is looked at again
	ledger     ledger
	sending    map[*batch]struct{} // given to sessions
	census     *Census             // of the pass that Recount began; nil: none is wanted
	counting   bool                // that pass has not begun
	plainly    plainly
	outage     outage
	lost       lost
	noMissing  atomic.Bool   // the server takes no names to be deleted
	wanting    atomic.Uint32 // abilities that the server was found to lack
	kept       atomic.Pointer[Kept]
	trouble    trouble
	asked      chan func()
	inbox      inbox
	round      bool      // directories are locked to be pruned
	roundSize  int       // how many of them
	roundTaken int       // so far
	passedOver time.Time // since then there is a directory to prune that could not be locked; zero: there is none
	pruneLists int       // of them, how many are being listed

	listing    int // directories being listed
	running    [2]int
	fewerUntil time.Time // sessions is less than most until then

	badRun   int // sessions in a row that ended badly and got nothing done
	believed int // sessions in a row that broke, and seem to have got something done
	fullRun  int // sessions in a row that found the destination full

	counters counters
	tell     teller
}

// work is a directory in flight: it is done when no batch holds a part of it any more.
type work struct {
	left   int
	prune  bool
	failed error // why it is to be listed again, as a Tree; nil: it is not
	parent *dir
}

// delayed is work that waits after a bad session: a batch, or directories to prune.
type delayed struct {
	due    time.Time
	b      *batch
	prunes []pruneJob
}

// A pruneJob is a directory in which what is gone here is to be deleted.
type pruneJob struct {
	path   string
	parent *dir
	origin
}

// A listJob asks for a listing. What it is for comes back with it.
type listJob struct {
	path   string
	parent *dir
	alone  bool // parent is not known
	only   bool // without what is below its subdirectories
	prune  bool
	check  bool      // by checksum
	recent time.Time // dir.recent
	count  bool      // for the census
}

type listed struct {
	listJob
	*listing
}

type outcome struct {
	given  *batch
	found  *lookup // of the paths in given; nil: it had none
	b      *batch  // what was sent: given, or what was found; nil: nothing
	report *rsync.Report
	err    error
	stale  []queue.Item // what is no longer what was sent of it, though nobody looked
	// changed has the entries of which the same holds, where nothing tells of changes.
	changed map[int]bool
}

// New checks c and returns an engine for it. The destination is not contacted yet.
func New(c Config) (*Engine, error) {
	e := &Engine{
		roundSize: minPruneRound,
		cfg:       c, log: c.Log, names: flist.SystemNames(), session: c.Session,
		sessions: c.Sessions, bigFile: c.BigFile,
		work: map[string]*work{}, inbox: inbox{news: make(chan struct{}, 1)}, asked: make(chan func()), links: newLinkIndex(),
		gathering: newGathering(), locked: map[string]pruneJob{}, left: leftovers{}, litter: litter{},
		sending: map[*batch]struct{}{}, renames: renames{from: map[string]*rename{}},
	}
	if e.cfg.tuning == (tuning{}) {
		e.cfg.tuning = defaults
	}
	e.queue = queue.New[*dir](e.cfg.tuning.pathBackoff)
	e.queue.MaxPending = -1 // a pass has only what failed: to collapse it would copy what did not
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.ledger.log = e.log
	e.ledger.ruled.Store(c.Filter != nil && c.Filter.HasMerge())
	e.ledger.distrusted.Store(c.Distrusted)
	if !c.Session.DryRun && !c.Session.Selective() { // else what is said to be well is not there
		e.ledger.store.Store(c.Catalogue)
		e.moves.on = e.knowsSome()
	}
	if e.sessions <= 0 {
		e.sessions = max(2, min(8, 2*runtime.NumCPU()))
	}
	e.most = e.sessions
	if e.bigFile <= 0 {
		e.bigFile = DefaultBigFile
	}
	if c.NanosecondsAuto {
		e.session.ModifyWindow = -1
	}
	e.tell = teller{Observer: c.Observer, made: map[string]struct{}{}}
	if c.Observer == nil {
		e.tell.Observer = nobody{}
	}
	if err := e.setFilter(c.Filter); err != nil {
		return nil, err
	}
	if err := e.selects(); err != nil {
		return nil, err
	}
	var err error
	e.dest, err = e.newDestination()
	return e, err
}

// setFilter makes the rules hold for what is looked at from now on.
func (e *Engine) setFilter(l *filter.List) error {
	if l == nil || l.Empty() {
		e.rootScope.Store(nil)
		return nil
	}
	scope, err := l.Root(e.openMergeFile)
	if err == nil {
		e.rootScope.Store(scope)
	}
	return err
}

// Run makes the full pass. It returns nil when the pass came to its end, even if single paths failed: Summary has
// them. An error means that the pass could not begin or had to be given up; a cancelled ctx is such an error. When Run
// returns, every session is closed and every goroutine gone.
func (e *Engine) Run(ctx context.Context) error {
	e.counters.begin()
	defer e.counters.end()
	defer e.closeConnections()
	if err := e.prime(ctx); err != nil {
		return err
	}
	e.queue.AddTree(".", nil)
	e.roundSize = maxPruneRound // no change waits for it
	return e.run(ctx, ctx)
}

// run is the pass, and what follows it, until ctx ends. work is the context of those that list and send.
func (e *Engine) run(ctx, work context.Context) error {
	lists, listings := make(chan listJob), make(chan listed)
	batches, outcomes := make(chan *batch), make(chan outcome)
	work, stop := context.WithCancelCause(work)
	var workers errgroup.Group
	for range scan.DefaultWorkers() {
		workers.Go(func() error { return e.lister(work, lists, listings) })
	}
	for range e.most {
		workers.Go(func() error { return e.sender(work, batches, outcomes) })
	}
	workers.Go(func() error { return e.searcher(work) })
	err := e.loop(ctx, lists, listings, batches, outcomes)
	stop(err)
	close(lists)
	close(batches)
	workers.Wait()
	return err
}

func (e *Engine) lister(ctx context.Context, in <-chan listJob, out chan<- listed) error {
	var s scratch
	for job := range in {
		l := listed{job, e.list(ctx, &job, &s)}
		l.listJob = job
		select {
		case out <- l:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

func (e *Engine) sender(ctx context.Context, in <-chan *batch, out chan<- outcome) error {
	for b := range in {
		o := outcome{given: b, report: nothing}
		if b.tree != nil {
			o.b = b
			o.stale, o.err = e.relinkTree(ctx, b.tree)
		} else if o.b, o.found = e.lookedUp(b); o.b != nil {
			e.seed(ctx, o.b)
			o.report, o.err = e.send(ctx, o.b)
			o.stale, o.changed = e.stale(o.b), e.changedLinks(o.b)
		}
		select {
		case out <- o:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}
