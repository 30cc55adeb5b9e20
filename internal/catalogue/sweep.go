package catalogue

import (
	"bytes"
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
)

// A sweep finds keys that come in ascending order. Keys that lie side by side cost a step each, not a search.
type sweep struct {
	it    *pebble.Iterator
	valid bool // it stands at the first key not before the last one that was looked for
}

// newSweep begins a sweep over what the batch sees. Nothing the batch writes later is seen for sure.
func (a *application) newSweep() (*sweep, error) {
	it, err := a.iter([]byte{keyPath}, []byte{keyPath + 1})
	return &sweep{it: it}, err
}

// iter iterates over a range as the batch sees it.
func (a *application) iter(lower, upper []byte) (*pebble.Iterator, error) {
	o := &pebble.IterOptions{LowerBound: lower, UpperBound: upper}
	if a.batch.Indexed() {
		return a.batch.NewIter(o)
	}
	return a.db.NewIter(o)
}

// maxSteps is how many keys a sweep steps over before a search is cheaper.
const maxSteps = 4

// find returns the value at key, until the next call. Errors show in close.
func (w *sweep) find(key []byte) (value []byte, found bool) {
	steps := 0
	for w.valid && steps < maxSteps {
		switch bytes.Compare(w.it.Key(), key) {
		case 0:
			return w.it.Value(), true
		case 1:
			return nil, false
		}
		if !w.it.Next() {
			// At the end, or broken: whatever is looked for later, it is not there.
			return nil, false
		}
		steps++
	}
	if w.valid = w.it.SeekGE(key); w.valid && bytes.Equal(w.it.Key(), key) {
		return w.it.Value(), true
	}
	return nil, false
}

func (w *sweep) close() error { return w.it.Close() }

// epochValue is what a mark holds.
func (s *Store) epochValue() []byte { return binary.AppendUvarint(nil, s.epoch) }

// current tells whether a mark is of this epoch.
func (s *Store) current(value []byte) bool {
	epoch, n := binary.Uvarint(value)
	return n > 0 && epoch == s.epoch
}
