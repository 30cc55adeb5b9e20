package watcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/queue"
	"github.com/syncd/syncd/internal/scan"
)

// DefaultMaxDelay is Config.MaxDelay when it is 0.
const DefaultMaxDelay = 10 * time.Second

// ErrStopped is returned by Sync when Run has ended.
var ErrStopped = errors.New("the watcher has stopped")

// Config says what to watch. Root must be set.
type Config struct {
	Root *scan.Root
	Path string // of the root, for messages

	// Skip is the filter: entries for which it is true are neither watched nor reported. dir is the path of the
	// directory, relative to the root. It is called from several goroutines, must not block and must not call the
	// Watcher. Nil skips nothing.
	Skip func(dir, name string, isDir bool) bool

	// Renamed, if not nil, is called instead of emit, and on the same terms, for renames within the tree of which all is
	// known that a queue.Rename promises. It is not called for all renames.
	Renamed func(queue.Rename)

	OneFileSystem bool          // do not watch directories on other file systems than the root's
	MaxDelay      time.Duration // how long a change of a file still open for writing may wait for its end; 0 = DefaultMaxDelay
	Log           *slog.Logger  // nil: no log
}

// Stats are counters and the present state.
type Stats struct {
	Watches   int      // directories watched
	Pending   int      // directories found and about to be watched
	Writing   int      // files whose report waits until they are closed
	Events    int64    // kernel events read
	Overflows int64    // times that the kernel dropped events
	Rescans   int64    // items emitted because changes may have been missed, not because one was seen
	Unwatched []string // directories that exist and could not be watched or listed, in no order

	// UpTo is of a Watcher: what happened before has been emitted; once asked for, it is soon up to date, and a later call
	// tells. Of a Scanner: what happened before has been compared; zero: the first pass has not ended.
	UpTo time.Time
}

// A Watcher is made by New and used for one Run. Its methods may be called from any goroutine.
type Watcher struct {
	config  Config
	ready   chan struct{}
	started chan struct{} // closed when fd is valid
	ended   chan struct{} // closed when Run is about to return
	running sync.Once

	fd     int // the inotify instance, until closed
	file   *os.File
	cancel context.CancelCauseFunc
	hooks  hooks

	// retiring keeps a watch that is about to be removed, because nothing in the tree needs it, from being found again
	// meanwhile: held for reading from inotify_add_watch to the entry in wds, for writing around inotify_rm_watch.
	// It is taken before mu.
	retiring sync.RWMutex

	mu       sync.Mutex
	emit     func(queue.Item)
	root     *node
	caughtUp time.Time         // every event before has been handled
	wds      map[int32]*node   // every watch we know of, by its descriptor
	aliases  map[int32][]*node // further places of the same directory: bind mounts
	lastNode *node             // the directory of lastPath; nil after every drop
	lastPath string
	tasks    taskList
	groups   groupList
	repair   repair
	writing  writers
	wakeAt   time.Time // when the housekeeper looks next
	wake     chan struct{}
	rootDue  time.Time // when it is made sure that the root is still in its place
	retired  retired
	failed   map[*node]error
	warned   int // directories named in the log as not watched
	cookies  map[int32]*cookie
	closed   bool
	counting bool // the watch limit is reached: directories are only counted
	counted  int
	stats    Stats
}

// hooks let tests hold the reader.
type hooks struct {
	beforeRead func()
}

// New checks the configuration. Nothing is opened before Run.
func New(c Config) (*Watcher, error) {
	if c.Root == nil {
		return nil, errors.New("watcher: no root")
	}
	if c.MaxDelay < 0 {
		return nil, fmt.Errorf("watcher: negative delay %v", c.MaxDelay)
	}
	if c.MaxDelay == 0 {
		c.MaxDelay = DefaultMaxDelay
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	w := &Watcher{
		config:  c,
		ready:   make(chan struct{}),
		started: make(chan struct{}),
		ended:   make(chan struct{}),
		wake:    make(chan struct{}, 1),
		wds:     map[int32]*node{},
		aliases: map[int32][]*node{},
		failed:  map[*node]error{},
		cookies: map[int32]*cookie{},
		writing: writers{files: map[fileKey]*written{}, maxDelay: c.MaxDelay},
	}
	w.tasks.changed.L = &w.mu
	w.root = &node{name: "."}
	return w, nil
}

// Run watches until ctx ends and returns its cause. It fails with a [LimitError] when the kernel grants no more
// watches, and with an error that wraps scan.ErrRootChanged when the root is moved, removed or unmounted.
//
// emit is called with every item, never twice at once, in the order in which the changes were read. It must not block
// and must not call the Watcher. All goroutines have ended when Run returns. Run may be called once.
func (w *Watcher) Run(ctx context.Context, emit func(queue.Item)) error {
	err := errors.New("watcher: Run called again")
	w.running.Do(func() {
		defer close(w.ended)
		err = w.run(ctx, emit)
	})
	return err
}

func (w *Watcher) run(ctx context.Context, emit func(queue.Item)) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return instanceError(err)
	}
	// In the runtime's poller: reading costs no thread, and a deadline ends it.
	w.fd, w.file, w.emit = fd, os.NewFile(uintptr(fd), "inotify"), emit
	mounts, err := openMounts(w.config.Root)
	if err != nil {
		w.file.Close()
		return err
	}
	ctx, w.cancel = context.WithCancelCause(ctx)
	defer w.cancel(nil)
	close(w.started)

	w.mu.Lock()
	w.caughtUp = time.Now()
	w.checkRootBy(rootEvery)
	w.watchBelow(w.root, &group{root: w.root, initial: true})
	w.mu.Unlock()
	var all sync.WaitGroup
	for range scan.DefaultWorkers() {
		all.Go(w.work)
	}
	all.Go(func() { w.keepHouse(ctx) })
	all.Go(func() { w.followMounts(ctx, mounts) })
	stopped := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(stopped)
		w.mu.Lock()
		w.tasks.stop()
		w.mu.Unlock()
		_ = w.file.SetReadDeadline(time.Unix(1, 0)) // ends read; closing has to wait until nobody uses the number
		mounts.stop()
	})
	w.cancel(w.read())
	all.Wait()
	<-stopped
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.file.Close()
	mounts.close()
	return context.Cause(ctx)
}

// Ready is closed when the whole tree is watched: from then on nothing is missed. What happened before is covered by a
// pass that starts then.
func (w *Watcher) Ready() <-chan struct{} { return w.ready }

// Stats returns the state now. Its cost grows with Unwatched and Writing only.
func (w *Watcher) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.Watches, s.Pending, s.Writing, s.UpTo = len(w.wds), w.tasks.open, len(w.writing.files), w.upTo()
	w.wakeReader(time.Now())
	for n := range w.failed {
		if path, ok := n.path(); ok {
			s.Unwatched = append(s.Unwatched, path)
		}
	}
	return s
}

// rescan emits an item for what may have been missed.
func (w *Watcher) rescan(i queue.Item) {
	w.stats.Rescans++
	w.emit(i)
}
