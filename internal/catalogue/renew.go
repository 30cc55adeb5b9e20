package catalogue

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// Renew makes id the identity of the store, and begins a new epoch: every record reads as Doubt from now on, and no
// directory as complete. It waits for the methods under way.
func (s *Store) Renew(id Identity) error {
	s.users.Lock()
	defer s.users.Unlock()
	return s.tried(func() error { return s.renew(id) })
}

func (s *Store) renew(id Identity) error {
	m, err := readMeta(s.db)
	if err != nil {
		return err
	}
	m.Identity = id.quoted()
	m.Epoch++
	counts := new(Counts)
	b := s.db.NewBatch()
	defer b.Close()
	if err := errors.Join(m.write(b), b.Set([]byte{keyCounts}, counts.encode(), nil), b.Commit(pebble.Sync)); err != nil {
		return err
	}
	s.epoch = m.Epoch
	s.counts.Store(counts)
	return nil
}
