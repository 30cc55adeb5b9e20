package catalogue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// Get returns the record of path.
func (s *Store) Get(path string) (r Record, found bool, err error) {
	if err := checkPath(path); err != nil {
		return r, false, err
	}
	err = s.use(func() error {
		r, found, err = s.record(appendKey(nil, path))
		return err
	})
	r.Name = path[bytes.LastIndexByte([]byte(path), '/')+1:]
	return r, found, err
}

// record reads the record at key.
func (s *Store) record(key []byte) (r Record, found bool, err error) {
	value, err := get(s.db, key)
	if err != nil || value == nil {
		return r, false, err
	}
	return r, true, decodeRecord(&r, value, s.epoch)
}

// Paths returns the paths whose record has inode ino in its version, in whatever state, in byte order.
func (s *Store) Paths(ino uint64) (paths []string, err error) {
	var stale [][]byte
	err = s.use(func() error {
		paths, stale, err = s.paths(ino)
		return err
	})
	if err == nil && len(stale) > 0 {
		err = s.removeStale(ino, stale)
	}
	slices.Sort(paths)
	return paths, err
}

// paths returns also the keys of those records whose index entries have no meaning any more. Large changes leave some.
func (s *Store) paths(ino uint64) (paths []string, stale [][]byte, err error) {
	lower := binary.BigEndian.AppendUint64([]byte{keyInode}, ino)
	upper := []byte{keyInode + 1}
	if ino+1 != 0 {
		upper = binary.BigEndian.AppendUint64([]byte{keyInode}, ino+1)
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, nil, err
	}
	for valid := it.First(); valid; valid = it.Next() {
		key := append([]byte{keyPath}, it.Key()[len(lower):]...)
		path, ok := pathOf(key)
		r, found, rerr := s.record(key)
		if err = rerr; err != nil {
			break
		}
		if ok && found && r.Version.Ino == ino {
			paths = append(paths, path)
		} else {
			stale = append(stale, key)
		}
	}
	return paths, stale, errors.Join(err, it.Close())
}

// removeStale removes index entries that are stale still.
func (s *Store) removeStale(ino uint64, keys [][]byte) error {
	s.writer.Lock()
	defer s.writer.Unlock()
	return s.use(func() error {
		b := s.db.NewBatch()
		defer b.Close()
		for _, key := range keys {
			r, found, err := s.record(key)
			if err == nil && !(found && r.Version.Ino == ino) {
				err = b.Delete(appendInode(nil, ino, key), nil)
			}
			if err != nil {
				return err
			}
		}
		return b.Commit(pebble.Sync)
	})
}

// Dir returns the records of dir's children in byte order of their names, and whether dir is complete. The root's own record
// is not among them. It is quickest where directories come in the order of a depth-first walk in byte order: a million
// records a second and more.
func (s *Store) Dir(dir string) (records []Record, complete bool, err error) {
	return s.AppendDir(nil, dir)
}

// AppendDir is Dir for who reads one directory after the other: records are appended to those given, whose memory is
// used as far as it goes. After an error there are none.
func (s *Store) AppendDir(to []Record, dir string) (records []Record, complete bool, err error) {
	if err := checkPath(dir); err != nil {
		return nil, false, err
	}
	err = s.use(func() error {
		start := appendMark(nil, dir)
		c, err := s.cursors.take(s, start)
		if err != nil {
			return err
		}
		records, complete, err = c.dir(s, start, to)
		if err != nil {
			return errors.Join(err, c.it.Close())
		}
		s.cursors.put(c)
		return nil
	})
	return records, complete, err
}

// A cursor reads directories. After one, it stands where the next one of a walk begins.
type cursor struct {
	it      *pebble.Iterator
	applied uint64 // what it sees
	used    bool   // since closeIdle looked last
	end     []byte // there is no key from here to where it stands; nil: it stands nowhere

	// Scratch of dir.
	names []byte
	ends  []int
}

// reaches tells whether the cursor stands at the first key not before start.
func (c *cursor) reaches(start []byte) bool {
	return c.end != nil && bytes.Compare(c.end, start) <= 0 && (!c.it.Valid() || bytes.Compare(start, c.it.Key()) <= 0)
}

// dir appends the directory whose mark's key is start.
func (c *cursor) dir(s *Store, start []byte, records []Record) (_ []Record, complete bool, err error) {
	valid := c.it.Valid()
	if !c.reaches(start) {
		valid = c.it.SeekGE(start)
	}
	c.end = nil
	before := len(records)
	c.names, c.ends = c.names[:0], c.ends[:0]
	for ; valid; valid = c.it.Next() {
		key := c.it.Key()
		if !bytes.HasPrefix(key, start) {
			break
		}
		name := key[len(start):]
		if len(name) == 0 {
			complete = s.current(c.it.Value())
			continue
		}
		if len(start) == 2 && len(name) == 1 && name[0] == '.' {
			continue // the root's own
		}
		records = append(records, Record{})
		if err := decodeRecord(&records[len(records)-1], c.it.Value(), s.epoch); err != nil {
			return nil, false, err
		}
		c.names = append(c.names, name...)
		c.ends = append(c.ends, len(c.names))
	}
	if err := c.it.Error(); err != nil {
		return nil, false, err
	}
	c.end = append(start[:len(start)-1:len(start)-1], endOfDir+1)
	// One string for all names: the records of a directory come and go together.
	names, from := string(c.names), 0
	for i, to := range c.ends {
		records[before+i].Name = names[from:to]
		from = to
	}
	return records, complete, nil
}

// cursors are those that nobody uses at the moment. The zero value is ready.
type cursors struct {
	mu   sync.Mutex
	idle []*cursor
}

// maxCursors is how many iterators are kept open. Each holds on to the tables that it reads from.
const maxCursors = 8

// take returns a cursor that sees everything applied so far: one that stands at start if there is one.
func (cs *cursors) take(s *Store, start []byte) (*cursor, error) {
	// Read before the iterator is made: it may see more than that, never less.
	applied := s.applied.Load()
	cs.closeStale(applied)
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if n := len(cs.idle); n > 0 {
		i := max(0, slices.IndexFunc(cs.idle, func(c *cursor) bool { return c.reaches(start) }))
		c := cs.idle[i]
		cs.idle = slices.Delete(cs.idle, i, i+1)
		return c, nil
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyPath}, UpperBound: []byte{keyPath + 1}})
	if err != nil {
		return nil, err
	}
	return &cursor{it: it, applied: applied}, nil
}

// put gives a cursor back.
func (cs *cursors) put(c *cursor) {
	c.used = true
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if len(cs.idle) >= maxCursors {
		_ = c.it.Close() // its errors were seen when it read
		return
	}
	cs.idle = append(cs.idle, c)
}

// closeWhere closes those idle cursors for which f says so.
func (cs *cursors) closeWhere(f func(*cursor) bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.idle = slices.DeleteFunc(cs.idle, func(c *cursor) bool {
		if !f(c) {
			return false
		}
		_ = c.it.Close()
		return true
	})
}

func (cs *cursors) closeAll() { cs.closeWhere(func(*cursor) bool { return true }) }

// closeStale closes those that do not see everything.
func (cs *cursors) closeStale(applied uint64) {
	cs.closeWhere(func(c *cursor) bool { return c.applied != applied })
}

// closeIdle closes also those that were not used since the last call.
func (cs *cursors) closeIdle(applied uint64) {
	cs.closeWhere(func(c *cursor) bool {
		idle := !c.used
		c.used = false
		return idle || c.applied != applied
	})
}
