package catalogue

import (
	"bytes"
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// limits of what structural changes hold in memory, in records.
type limits struct {
	deletes int // more are deleted as a range: ranges slow iterators down, so that few keys go one by one
	entries int // more index entries stay behind, and are removed when Paths meets them
	moved   int // more are moved in steps of this many
}

var defaultLimits = limits{deletes: 256, entries: 4096, moved: 4096}

// structural makes a change of more than one key. index is its place among the changes.
func (a *application) structural(c *Change, index int) error {
	switch c.op {
	case opForget:
		return a.forget(c.path)
	case opMoved:
		return a.move(c.path, c.to)
	}
	// A Put where a directory was.
	if err := a.forgetBelow(c.path); err != nil {
		return err
	}
	return a.points([]Change{*c}, index)
}

// forget removes path's record and everything below it.
func (a *application) forget(path string) error {
	if err := a.forgetBelow(path); err != nil || path == "." {
		return err
	}
	key := a.key(path)
	old, found, err := a.get(key)
	if err != nil || !found {
		return err
	}
	a.tally.add(&old, -1)
	a.index(key, old.Version.Ino, 0)
	return a.batch.Delete(key, nil)
}

// key makes the key of path's record, which stays as long as the application.
func (a *application) key(path string) []byte {
	from := len(a.keys)
	a.keys = appendKey(a.keys, path)
	return a.keys[from:len(a.keys):len(a.keys)]
}

// keep copies a key, for as long as the application.
func (a *application) keep(key []byte) []byte {
	from := len(a.keys)
	a.keys = append(a.keys, key...)
	return a.keys[from:len(a.keys):len(a.keys)]
}

// get reads a record as the batch sees it.
func (a *application) get(key []byte) (r Record, found bool, err error) {
	value, err := get(a.batch, key)
	if err != nil || value == nil {
		return r, false, err
	}
	return r, true, decodeRecord(&r, value, a.epoch)
}

// forgetBelow removes everything below path.
func (a *application) forgetBelow(path string) error {
	lower, upper := below(path)
	it, err := a.iter(lower, upper)
	if err != nil {
		return err
	}
	var keys [][]byte
	var r Record
	entries := 0
	for valid := it.First(); valid && err == nil; valid = it.Next() {
		var key []byte
		if len(keys) <= a.limits.deletes {
			key = a.keep(it.Key())
			keys = append(keys, key)
		}
		if isMark(it.Key()) {
			continue
		}
		if err = decodeRecord(&r, it.Value(), a.epoch); err != nil {
			break
		}
		a.tally.add(&r, -1)
		if entries++; entries <= a.limits.entries && r.Version.Ino != 0 {
			if key == nil {
				key = a.keep(it.Key())
			}
			a.index(key, r.Version.Ino, 0)
		}
	}
	if err := errors.Join(err, it.Close()); err != nil {
		return err
	}
	if len(keys) > a.limits.deletes {
		return a.batch.DeleteRange(lower, upper, nil)
	}
	for _, key := range keys {
		if err := a.batch.Delete(key, nil); err != nil {
			return err
		}
	}
	return nil
}

// move makes the records of from and below those of to.
func (a *application) move(from, to string) error {
	if err := a.forget(to); err != nil {
		return err
	}
	own, _, err := a.get(a.key(from))
	if err != nil {
		return err
	}
	lower, upper := below(from)
	n, err := a.countUpTo(lower, upper, a.limits.moved+1)
	if err != nil {
		return err
	}
	if n > a.limits.moved {
		return a.moveInSteps(from, to, own)
	}
	it, err := a.iter(lower, upper)
	if err != nil {
		return err
	}
	m := mover{a, lower, appendMark(nil, to)}
	for valid := it.First(); valid && err == nil; valid = it.Next() {
		err = m.copy(it.Key(), it.Value())
	}
	if err := errors.Join(err, it.Close(), a.forget(from)); err != nil {
		return err
	}
	return a.set(a.key(to), &Record{}, &own)
}

// moveInSteps does the same with a batch for some thousands of records each. First everything at from goes, and to is
// Doubt; then the records come, as they were; then the marks; then to's own record. Whatever has been done when a kill
// comes is true: what is not at to yet is not known, in directories that are not complete.
func (a *application) moveInSteps(from, to string, own Record) error {
	if len(a.replaced) > 0 {
		return nil // all begins again: nothing may be written yet
	}
	if err := a.next(); err != nil {
		return err
	}
	before := a.db.NewSnapshot()
	defer before.Close()
	doubt := Record{State: Doubt, Version: own.Version}
	if err := errors.Join(a.forget(from), a.set(a.key(to), &Record{}, &doubt), a.next()); err != nil {
		return err
	}
	for _, marks := range []bool{false, true} {
		if err := a.copyFrom(before, from, to, marks); err != nil {
			return err
		}
	}
	return a.set(a.key(to), &doubt, &own)
}

// copyFrom copies the records, or the marks, below from in an older state of the store to to, step by step.
func (a *application) copyFrom(before *pebble.Snapshot, from, to string, marks bool) error {
	lower, upper := below(from)
	it, err := before.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	m := mover{a, lower, appendMark(nil, to)}
	n := 0
	for valid := it.First(); valid && err == nil; valid = it.Next() {
		if isMark(it.Key()) != marks {
			continue
		}
		err = m.copy(it.Key(), it.Value())
		if n++; n%a.limits.moved == 0 && err == nil {
			err = a.next()
		}
	}
	return errors.Join(err, it.Close(), a.next())
}

// next commits the batch and begins another one.
func (a *application) next() error {
	err := a.commit()
	_ = a.batch.Close()
	a.keys = a.keys[:0]
	a.begin(true)
	return err
}

// countUpTo counts the keys of a range, but stops at limit.
func (a *application) countUpTo(lower, upper []byte, limit int) (n int, err error) {
	it, err := a.iter(lower, upper)
	if err != nil {
		return 0, err
	}
	for valid := it.First(); valid && n < limit; valid = it.Next() {
		n++
	}
	return n, it.Close()
}

// A mover writes to the place of one subtree what was at that of another. Both are given by the keys of their marks.
type mover struct {
	*application
	from, to []byte
}

// copy writes one key and its value. The index entry of where it was stays: forget removes that.
func (m *mover) copy(key, value []byte) error {
	// The keys of the subtree have in common what goes before the last byte of the mark.
	begin := len(m.keys)
	m.keys = append(m.keys, m.to[:len(m.to)-1]...)
	m.keys = append(m.keys, bytes.TrimPrefix(key, m.from[:len(m.from)-1])...)
	moved := m.keys[begin:len(m.keys):len(m.keys)]
	if isMark(key) {
		return m.batch.Set(moved, value, nil)
	}
	var r Record
	if err := decodeRecord(&r, value, m.epoch); err != nil {
		return err
	}
	m.tally.add(&r, 1)
	m.index(moved, 0, r.Version.Ino)
	return m.batch.Set(moved, value, nil)
}
