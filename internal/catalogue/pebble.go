package catalogue

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// formatVersion changes when keys or values do. A store of another version is begun afresh.
const formatVersion = 1

// storeFormat is Pebble's format of files. In the next one, the log says how far it is on disk, which it is not when our
// Sync returns (frozenFS): after a crash of the machine, a torn end would pass for damage.
const storeFormat = pebble.FormatColumnarBlocks

// Sizes that keep a pass over a million paths within some 60 MiB. Larger memtables would make fewer, longer
// compactions.
const (
	memTableBytes = 8 << 20
	blockBytes    = 16 << 10 // larger ones take less space, and more time for a single record
	maxOpenFiles  = 256

	// Pebble compacts at half of this depth of tables not yet sorted in. Each start and end of a process leaves one, with
	// next to nothing in it: with 4, every other restart would write the first megabytes of the store anew.
	compactionDepth = 8
)

// openPebble opens or makes the database.
func (s *Store) openPebble(dir string, cacheBytes int64) (err error) {
	cache := pebble.NewCache(cacheBytes)
	defer cache.Unref()
	logger := &logger{s}
	opts := &pebble.Options{
		FS:                          s.fs,
		Cache:                       cache,
		FormatMajorVersion:          storeFormat,
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       compactionDepth,
		L0StopWritesThreshold:       24,
		MaxOpenFiles:                maxOpenFiles,
		BytesPerSync:                1 << 20,
		WALBytesPerSync:             1 << 20,
		Logger:                      logger,
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { s.log.Debug("catalogue", "err", err) },
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				s.fail(fmt.Errorf("catalogue: %w: %s: %v", pebble.ErrCorruption, info.Path, info.Details))
			},
		},
	}
	for i := range opts.Levels {
		opts.Levels[i].BlockSize = blockBytes
		opts.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.SnappyCompression }
	}
	last := &opts.Levels[len(opts.Levels)-1]
	last.Compression = func() *sstable.CompressionProfile { return sstable.BalancedCompression }

	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: panic: %v", pebble.ErrCorruption, r)
		}
		if err != nil {
			// Pebble may have stumbled over what did not get written.
			err = cmp.Or(s.failed(), err)
		}
	}()
	s.db, err = pebble.Open(dir, opts)
	return err
}

// logger is Pebble's. What Pebble says is for those who debug it: what matters of it comes as an error of a method.
type logger struct{ s *Store }

func (*logger) Infof(string, ...any) {}

func (l *logger) Errorf(format string, args ...any) {
	l.s.log.Debug("catalogue", "pebble", fmt.Sprintf(format, args...))
}

// Fatalf is called where Pebble can't go on. It must not return, says Pebble, but it does: the files are frozen, so that
// whatever follows does no harm, and the process has better things to do than to die of its notes.
func (l *logger) Fatalf(format string, args ...any) {
	l.s.fail(fmt.Errorf("catalogue: %w: %s", pebble.ErrCorruption, fmt.Sprintf(format, args...)))
}

// A staleError says why a sound store is of no use.
type staleError string

func (e staleError) Error() string { return string(e) }

// meta is what the store knows of itself.
type meta struct {
	Format   int
	Identity Identity // quoted
	BootID   string   // of the machine, when the store was opened
	Clean    bool     // closed since
	Epoch    uint64   // records and marks of other epochs are not trusted
}

func readMeta(db *pebble.DB) (m meta, err error) {
	b, err := get(db, []byte{keyMeta})
	if err != nil || b == nil {
		return m, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("%w: meta: %v", errRecord, err)
	}
	return m, nil
}

func (m *meta) write(w pebble.Writer) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return w.Set([]byte{keyMeta}, b, pebble.Sync)
}

// begin finds out whether the store is of use, and marks it as open.
func (s *Store) begin(id Identity, bootID string) (opened Opened, err error) {
	defer func() { err = cmp.Or(s.failed(), err) }()
	defer s.recovered()
	m, err := readMeta(s.db)
	if err != nil {
		return opened, err
	}
	counts := new(Counts)
	switch {
	case m.Format == 0:
		opened.Fresh = true
		m = meta{Format: formatVersion, Identity: id}
	case m.Format != formatVersion:
		return opened, staleError(fmt.Sprintf("its format is %d and was %d", formatVersion, m.Format))
	case id.difference(m.Identity) != "":
		return opened, staleError(id.difference(m.Identity))
	case !m.Clean && m.BootID != bootID:
		opened.Unclean = true
		opened.Reason = "the machine stopped while it was open"
		m.Epoch++
	default:
		b, err := get(s.db, []byte{keyCounts})
		if err == nil && b != nil {
			err = counts.decode(b)
		}
		if err != nil {
			return opened, err
		}
	}
	m.BootID, m.Clean = bootID, false
	b := s.db.NewBatch()
	defer b.Close()
	if err := errors.Join(m.write(b), b.Set([]byte{keyCounts}, counts.encode(), nil), b.Commit(pebble.Sync)); err != nil {
		return opened, err
	}
	// A mark that says clean must not come back.
	s.fs.syncLogs()
	s.epoch = m.Epoch
	s.counts.Store(counts)
	return opened, nil
}
