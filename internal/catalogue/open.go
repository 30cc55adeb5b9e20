package catalogue

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// Names in the directory of a store.
const (
	lockName    = "lock"    // locked by the process that has it open, whose pid is in it
	intactName  = "intact"  // there unless the store failed and was not begun afresh since
	damagedName = "damaged" // there if it failed because of what is in it
	dbName      = "db"
	asideName   = "db.damaged-"
)

// An Identity is what a catalogue is valid for, as name and value in order: destination, source, the options that change
// the meaning of an acknowledgement.
type Identity [][2]string

// quoted returns the identity in a form that JSON keeps, whatever bytes are in it.
func (id Identity) quoted() Identity {
	q := make(Identity, len(id))
	for i, pair := range id {
		q[i] = [2]string{pair[0], strconv.QuoteToASCII(pair[1])}
	}
	return q
}

// difference says where the identity was and what it is at the first difference, "" if there is none.
func (id Identity) difference(was Identity) string {
	for i := range max(len(id), len(was)) {
		switch {
		case i >= len(was):
			return fmt.Sprintf("%s is %s and was not set", id[i][0], id[i][1])
		case i >= len(id):
			return fmt.Sprintf("%s was %s and is not set", was[i][0], was[i][1])
		case id[i][0] != was[i][0]:
			return fmt.Sprintf("%s is %s where %s was %s", id[i][0], id[i][1], was[i][0], was[i][1])
		case id[i] != was[i]:
			return fmt.Sprintf("%s is %s and was %s", id[i][0], id[i][1], was[i][1])
		}
	}
	return ""
}

// Opened tells what Open found.
type Opened struct {
	// Fresh: nothing is known. The store is new, of another identity or format, was damaged and set aside, or failed.
	Fresh bool
	// Unclean: the machine stopped without Close. All records read as Doubt and no directory is complete.
	Unclean bool
	// Reason is one line for the log; empty if the store is new, or as it was left.
	Reason string
}

// A LockedError is what Open returns when another process has the store.
type LockedError struct {
	Dir string
	PID int // 0 if it can't be told
}

func (e *LockedError) Error() string {
	who := "another process"
	if e.PID > 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("the catalogue in %s is in use by %s: stop that one first, or give this one another --state-dir", e.Dir, who)
}

// An UnfitError is what a guest gets for a store that cannot be used as it is.
type UnfitError struct {
	Dir    string
	Reason string // one line
}

func (e *UnfitError) Error() string { return fmt.Sprintf("the catalogue in %s: %s", e.Dir, e.Reason) }

// Options tunes a store. The zero value is good.
type Options struct {
	Log *slog.Logger // nil: nothing is logged
	// CacheBytes bounds the memory for blocks read and for changes not yet in tables; 0 is 16 MiB.
	CacheBytes int64
	// Guest leaves alone a store that is of another identity or format, or damaged: Open fails with an *UnfitError then,
	// where else it would begin afresh.
	Guest bool

	bootID string // for tests; empty: the kernel's
	fs     vfs.FS // for tests; nil: the real one
	limits limits // for tests; zero: defaultLimits
}

const defaultCacheBytes = 16 << 20

// Open opens the store in dir, which is made with mode 0700 if it is not there, for a source and destination of identity id.
// Only one process can have it open: another gets a *LockedError. A store that can't be used, because it is of another
// identity or damaged, is not an error: Open begins afresh and says so. An error is left for what the operator has to see to:
// permissions, a full disk.
func Open(dir string, id Identity, o Options) (*Store, Opened, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = defaultCacheBytes
	}
	if o.fs == nil {
		o.fs = vfs.Default
	}
	if o.limits == (limits{}) {
		o.limits = defaultLimits
	}
	if o.bootID == "" {
		// Without a boot id, each start looks like one after a crash of the machine, unless the store was closed.
		b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
		if err != nil {
			o.Log.Debug("no boot id", "err", err)
			b = []byte("unknown at " + time.Now().String())
		}
		o.bootID = strings.TrimSpace(string(b))
	}
	if err := makeDir(dir); err != nil {
		return nil, Opened{}, fmt.Errorf("catalogue: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, Opened{}, err
	}
	s, opened, err := openLocked(dir, id, o)
	if err != nil {
		lock.Close()
		if errors.As(err, new(*UnfitError)) {
			return nil, Opened{}, err
		}
		return nil, Opened{}, fmt.Errorf("catalogue: %w", err)
	}
	s.lock = lock
	go s.run()
	return s, opened, nil
}

// makeDir makes dir, for us alone: names and digests of files are nobody else's business.
func makeDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Chmod(dir, 0o700)
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		defer f.Close()
		b := make([]byte, 32)
		n, _ := f.Read(b)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(b[:n])))
		return nil, &LockedError{Dir: dir, PID: max(pid, 0)}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("catalogue: lock %s: %w", f.Name(), err)
	}
	// The pid is for people: the lock holds without it, on a full disk too.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt(strconv.AppendInt(nil, int64(os.Getpid()), 10), 0)
	}
	return f, nil
}

// openGuest opens what is there, or makes a store if nothing is.
func openGuest(dir string, id Identity, o Options) (*Store, Opened, error) {
	if _, err := os.Stat(filepath.Join(dir, dbName)); err == nil {
		if _, err := os.Stat(filepath.Join(dir, intactName)); err != nil {
			return nil, Opened{}, &UnfitError{dir, "it failed when it was open last"}
		}
	}
	s, opened, err := openOnce(dir, id, o)
	if err != nil && !environmental(err) {
		err = &UnfitError{dir, err.Error()}
	}
	return s, opened, err
}

// openLocked opens what is there, or begins afresh if it can't be used.
func openLocked(dir string, id Identity, o Options) (*Store, Opened, error) {
	if o.Guest {
		return openGuest(dir, id, o)
	}
	reason, err := discardFailed(dir)
	if err != nil {
		return nil, Opened{}, err
	}
	s, opened, err := openOnce(dir, id, o)
	var stale staleError
	switch {
	case err == nil:
		if reason != "" {
			opened.Reason = reason
		}
		return s, opened, nil
	case environmental(err):
		return nil, Opened{}, err
	case errors.As(err, &stale):
		reason, err = stale.Error(), os.RemoveAll(filepath.Join(dir, dbName))
	default:
		reason, err = setAside(dir, err.Error())
	}
	if err != nil {
		return nil, Opened{}, err
	}
	s, opened, err = openOnce(dir, id, o)
	opened.Reason = reason
	return s, opened, err
}

// openOnce opens what is there; a staleError says that it is sound, but of no use.
func openOnce(dir string, id Identity, o Options) (*Store, Opened, error) {
	s := &Store{dir: dir, log: o.Log, limits: o.limits, stop: make(chan struct{}), stopped: make(chan struct{})}
	s.counts.Store(new(Counts))
	s.fs = newFrozenFS(o.fs, s.fail)
	if err := s.openPebble(filepath.Join(dir, dbName), o.CacheBytes); err != nil {
		return nil, Opened{}, err
	}
	opened, err := s.begin(id.quoted(), o.bootID)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, intactName), nil, 0o600)
	}
	if err != nil {
		s.fs.frozen.Store(true)
		s.closePebble()
		return nil, Opened{}, err
	}
	return s, opened, nil
}

// discardFailed removes a store that failed when it was open last. What was sent after that is not in it.
func discardFailed(dir string) (reason string, err error) {
	if _, err := os.Stat(filepath.Join(dir, dbName)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil
		}
		return "", err
	}
	if why, err := os.ReadFile(filepath.Join(dir, damagedName)); err == nil {
		return setAside(dir, strings.TrimSpace(string(why)))
	}
	_, err = os.Stat(filepath.Join(dir, intactName))
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return "it failed when it was open last", os.RemoveAll(filepath.Join(dir, dbName))
}

// setAside keeps a damaged store for whoever wants to look into it: the last one only.
func setAside(dir, why string) (reason string, err error) {
	old, err := filepath.Glob(filepath.Join(dir, asideName+"*"))
	if err != nil {
		return "", err
	}
	for _, name := range old {
		if err := os.RemoveAll(name); err != nil {
			return "", err
		}
	}
	aside := filepath.Join(dir, asideName+time.Now().UTC().Format("20060102T150405Z"))
	if err := os.Rename(filepath.Join(dir, dbName), aside); err != nil {
		return "", err
	}
	if err := os.Remove(filepath.Join(dir, damagedName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	why, _, _ = strings.Cut(why, "\n")
	return fmt.Sprintf("it is damaged (%s) and was set aside as %s", why, aside), nil
}

// environmental tells errors that say something about the machine from those that say something about the store.
func environmental(err error) bool {
	for _, errno := range []error{
		syscall.ENOSPC, syscall.EDQUOT, syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.EIO,
		syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
