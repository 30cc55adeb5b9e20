package catalogue

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// ErrClosed is what methods return after Close.
var ErrClosed = errors.New("catalogue: closed")

// A Store is an open catalogue. Its methods are safe for concurrent use. The first error that comes from the disk or the
// data is returned by every method from then on: the caller goes on without the store, and closes it.
type Store struct {
	dir   string
	log   *slog.Logger
	db    *pebble.DB
	fs    *frozenFS
	epoch uint64

	limits limits

	failure atomic.Pointer[error]
	lock    *os.File
	stop    chan struct{} // closed to end the loop
	stopped chan struct{} // closed when it has ended

	// users is held for reading while a method uses db, and for writing to close it.
	users  sync.RWMutex
	closed bool

	writer  sync.Mutex    // one Apply at a time: each reads what it changes
	scratch []byte        // of Apply, for keys
	applied atomic.Uint64 // batches so far
	counts  atomic.Pointer[Counts]

	cursors cursors
}

// Close waits for the methods under way, writes everything to disk, and marks the store as closed cleanly, so that it
// is trusted after the machine was restarted. Methods called later return ErrClosed. Closing twice is no error.
// After a failure, Close releases what it can; the error is that of the failure.
func (s *Store) Close() error {
	s.users.Lock()
	defer s.users.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	close(s.stop)
	<-s.stopped
	s.cursors.closeAll()
	if s.failed() == nil {
		s.finish()
	}
	s.closePebble()
	s.fs.closing.Wait()
	err := s.failed()
	s.lock.Close() // which unlocks
	return err
}

// finish marks the store as clean, once everything before the mark is on disk.
func (s *Store) finish() {
	defer s.recovered()
	m, err := readMeta(s.db)
	if err == nil {
		s.fs.syncLogs()
		m.Clean = true
		err = m.write(s.db)
	}
	s.fs.syncLogs()
	if err == nil {
		// With everything in tables, the mark too, the next Open has no log to replay and makes no table of it.
		err = s.db.Flush()
	}
	if err != nil {
		s.fail(err)
	}
}

// closeLimit is how long a store that failed may take to close. Pebble was not made to go on after what happened to it.
const closeLimit = 2 * time.Second

// closePebble closes db. After a failure, it is left to itself if that does not end: its files are frozen.
func (s *Store) closePebble() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer s.recovered()
		if err := s.db.Close(); err != nil {
			s.log.Debug("close catalogue", "err", err)
		}
	}()
	var limit <-chan time.Time
	if s.failed() != nil {
		limit = time.After(closeLimit)
	}
	select {
	case <-done:
	case <-limit:
	}
}

// run syncs the logs and frees idle iterators every second until the store is closed.
func (s *Store) run() {
	defer close(s.stopped)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			s.fs.syncLogs()
			s.cursors.closeIdle(s.applied.Load())
		}
	}
}

// use runs f, which may use db, unless the store is closed or has failed. An error of f, or a panic, is a failure.
func (s *Store) use(f func() error) (err error) {
	s.users.RLock()
	defer s.users.RUnlock()
	return s.tried(f)
}

// tried is use for who holds users.
func (s *Store) tried(f func() error) (err error) {
	if s.closed {
		return ErrClosed
	}
	if err := s.failed(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.fail(err)
		}
		// What Pebble told of in the background counts too.
		err = s.failed()
	}()
	defer s.recovered()
	return f()
}

func (s *Store) failed() error {
	if err := s.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// recovered, deferred, turns a panic of Pebble into a failure. Its checks panic where data makes no sense.
func (s *Store) recovered() {
	if r := recover(); r != nil {
		s.fail(fmt.Errorf("catalogue: %w: panic: %v", pebble.ErrCorruption, r))
	}
}

// fail keeps the first error, and sees to it that the files are not trusted by the next Open. It is called from any
// goroutine, also by Pebble with its locks held.
func (s *Store) fail(err error) {
	if !s.failure.CompareAndSwap(nil, &err) {
		return
	}
	s.fs.frozen.Store(true)
	if pebble.IsCorruptionError(err) || errors.Is(err, errRecord) {
		_ = os.WriteFile(filepath.Join(s.dir, damagedName), []byte(err.Error()+"\n"), 0o600)
	}
	if err := os.Remove(filepath.Join(s.dir, intactName)); err != nil {
		s.log.Warn("catalogue failed and can't be marked so; remove it before the next start", "path", s.dir, "err", err)
	}
}

// get returns a copy of what is stored at key, nil if nothing is.
func get(db pebble.Reader, key []byte) ([]byte, error) {
	value, closer, err := db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func(c io.Closer) { _ = c.Close() }(closer)
	return append(make([]byte, 0, len(value)), value...), nil
}

// Counts returns how much is known. It costs nothing.
func (s *Store) Counts() Counts { return *s.counts.Load() }
