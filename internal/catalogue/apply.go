package catalogue

import (
	"bytes"
	"cmp"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Apply makes changes in order. They are in the kernel's hands when it returns, all or none of them (but see Moved). It takes
// microseconds, and for thousands of changes some per change; it is quickest where they come in the order of a walk.
// A change that makes no sense fails before anything is done, and is no failure of the store.
func (s *Store) Apply(changes ...Change) error {
	for i := range changes {
		if err := changes[i].check(); err != nil {
			return err
		}
	}
	if len(changes) == 0 {
		return nil
	}
	s.writer.Lock()
	defer s.writer.Unlock()
	return s.use(func() error {
		for {
			a := newApplication(s, changes)
			err := a.all(changes)
			a.end()
			if err != nil || len(a.replaced) == 0 {
				return err
			}
			changes = slices.Clone(changes)
			for _, i := range a.replaced {
				changes[i].clear = true
			}
		}
	})
}

// An application is one Apply under way.
type application struct {
	*Store
	batch   *pebble.Batch
	tally   Counts  // what the counts are to be
	entries []entry // not in the batch yet
	keys    []byte  // what entries and points refer to
	value   []byte
	// replaced are the indices of changes that Put something else where a directory is. All begins again with them marked.
	replaced []int
}

// entry is a change of the index: the entry of a record, identified by the inode and the record's key.
type entry struct {
	ino    uint64
	key    []byte
	remove bool
}

func newApplication(s *Store, changes []Change) *application {
	a := &application{Store: s, keys: s.scratch[:0]}
	a.begin(slices.ContainsFunc(changes, func(c Change) bool { return c.structural() }))
	return a
}

// begin begins a batch. If indexed, what is read sees what is written, which costs time, and only structural changes need.
func (a *application) begin(indexed bool) {
	a.tally = *a.counts.Load()
	if indexed {
		a.batch = a.db.NewIndexedBatch()
	} else {
		a.batch = a.db.NewBatch()
	}
}

// maxScratch is how much memory for keys is kept from one Apply to the next.
const maxScratch = 1 << 20

func (a *application) end() {
	_ = a.batch.Close() // frees memory: it can't fail
	if cap(a.keys) <= maxScratch {
		a.scratch = a.keys
	}
}

// commit writes the batch to the log.
func (a *application) commit() error {
	if err := a.writeEntries(); err != nil {
		return err
	}
	if a.batch.Empty() {
		return nil
	}
	if a.tally != *a.counts.Load() {
		if err := a.batch.Set([]byte{keyCounts}, a.tally.encode(), nil); err != nil {
			return err
		}
	}
	if err := a.batch.Commit(pebble.Sync); err != nil {
		return err
	}
	counts := a.tally
	a.counts.Store(&counts)
	// Cursors opened before this are stale from here on.
	a.applied.Add(1)
	return nil
}

// writeEntries puts the gathered changes of the index into the batch, in order of inodes: one memtable insertion helps
// the next then.
func (a *application) writeEntries() error {
	slices.SortStableFunc(a.entries, func(x, y entry) int { return cmp.Compare(x.ino, y.ino) })
	var key []byte
	for _, e := range a.entries {
		key = appendInode(key[:0], e.ino, e.key)
		var err error
		if e.remove {
			err = a.batch.Delete(key, nil)
		} else {
			err = a.batch.Set(key, nil, nil)
		}
		if err != nil {
			return err
		}
	}
	clear(a.entries)
	a.entries = a.entries[:0]
	return nil
}

// all makes changes: those of single records together, as far as there are no structural ones between them.
func (a *application) all(changes []Change) error {
	for from := 0; from < len(changes); {
		to := from
		for to < len(changes) && !changes[to].structural() {
			to++
		}
		var err error
		if to > from {
			err = a.points(changes[from:to], from)
			from = to
		} else {
			err = a.structural(&changes[from], from)
			from++
		}
		if err != nil {
			return err
		}
	}
	if len(a.replaced) > 0 {
		return nil
	}
	return a.commit()
}

// keyed is a change of a single key, at an index of the changes.
type keyed struct {
	from, to int // its key in application.keys
	index    int
}

// points makes changes of single keys, each with its index counted from base. They are made in order of keys, those of one
// key in their order: so that what is there is read in one sweep.
func (a *application) points(changes []Change, base int) error {
	keys := a.keys
	order := make([]keyed, len(changes))
	for i := range changes {
		from := len(keys)
		keys = changes[i].appendKey(keys)
		order[i] = keyed{from, len(keys), i}
	}
	a.keys = keys
	byKey := func(x, y keyed) int { return bytes.Compare(keys[x.from:x.to], keys[y.from:y.to]) }
	if !slices.IsSortedFunc(order, byKey) {
		slices.SortStableFunc(order, byKey)
	}
	at, err := a.newSweep()
	if err != nil {
		return err
	}
	for len(order) > 0 && err == nil {
		n := 1
		for n < len(order) && byKey(order[0], order[n]) == 0 {
			n++
		}
		key := keys[order[0].from:order[0].to:order[0].to]
		if isMark(key) {
			err = a.mark(at, key, changes[order[n-1].index].on)
		} else {
			err = a.record(at, key, changes, order[:n], base)
		}
		order = order[n:]
	}
	return errors.Join(err, at.close())
}

// mark sets or takes a mark.
func (a *application) mark(at *sweep, key []byte, on bool) error {
	value, found := at.find(key)
	switch {
	case on && (!found || !a.current(value)):
		return a.batch.Set(key, a.epochValue(), nil)
	case !on && found:
		return a.batch.Delete(key, nil)
	}
	return nil
}

// record makes the changes of one record.
func (a *application) record(at *sweep, key []byte, changes []Change, order []keyed, base int) error {
	var old Record
	value, found := at.find(key)
	if found {
		if err := decodeRecord(&old, value, a.epoch); err != nil {
			return err
		}
	}
	r, exists := old, found
	for _, k := range order {
		c := &changes[k.index]
		if c.op == opPut && !c.clear && r.Version.isDir() && !c.record.Version.isDir() {
			a.replaced = append(a.replaced, base+k.index)
		}
		exists = c.apply(&r, exists)
	}
	if !exists || found && r == old {
		return nil // also if it was written in another epoch: it reads the same
	}
	return a.set(key, &old, &r)
}

// set writes a record in place of old, which is zero if there was none.
func (a *application) set(key []byte, old, r *Record) error {
	a.tally.add(old, -1)
	a.tally.add(r, 1)
	a.index(key, old.Version.Ino, r.Version.Ino)
	a.value = appendRecord(a.value[:0], r, a.epoch)
	return a.batch.Set(key, a.value, nil)
}

// index moves the index entry of a record from one inode to another; 0 is none.
func (a *application) index(key []byte, from, to uint64) {
	if from == to {
		return
	}
	if from != 0 {
		a.entries = append(a.entries, entry{from, key, true})
	}
	if to != 0 {
		a.entries = append(a.entries, entry{to, key, false})
	}
}
