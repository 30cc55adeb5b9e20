package catalogue

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// maxExamined is how many records one call of Unproven looks at.
const maxExamined = 1 << 16

// Unproven goes on with a round over the regular files that are Known or Racy, in the order of a depth-first walk: it
// returns at most n paths that were never verified, or last verified before the time before (seconds since the
// epoch). A round begins with after "" and goes on with the next of the call before; it is over when next is "". A call
// looks at a bounded number of records: it may return no path and a next.
//
// An audit that proves first what was never proven, and then what was proven longest ago, makes rounds with before 0 until one
// finds nothing, and then rounds with before being the time at which the round began, or that less the age at which a proof
// is to be renewed.
func (s *Store) Unproven(ctx context.Context, after string, before int64, n int) (paths []string, next string, err error) {
	return s.round(ctx, after, n, func(r *Record) bool {
		return r.State != Doubt && r.Version.isRegular() && (r.Verified == 0 || r.Verified < before)
	})
}

// Dirs goes on, as Unproven does, with a round over the directories that are Known or Racy; the root is ".".
func (s *Store) Dirs(ctx context.Context, after string, n int) (paths []string, next string, err error) {
	return s.round(ctx, after, n, func(r *Record) bool { return r.State != Doubt && r.Version.isDir() })
}

// round returns the next paths whose records are wanted.
func (s *Store) round(ctx context.Context, after string, n int, wanted func(*Record) bool) (paths []string, next string, err error) {
	if n <= 0 {
		return nil, after, nil
	}
	start := []byte{keyPath}
	if after != "" {
		if err := checkPath(after); err != nil {
			return nil, "", err
		}
		start = append(appendKey(nil, after), 0)
	}
	var cause error
	err = s.use(func() error {
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: []byte{keyPath + 1}})
		if err != nil {
			return err
		}
		paths, next, cause, err = s.choose(ctx, it, n, wanted)
		return errors.Join(err, it.Close())
	})
	return paths, next, errors.Join(err, cause)
}

// choose returns in cause why ctx ended, which is no failure of the store.
func (s *Store) choose(ctx context.Context, it *pebble.Iterator, n int, wanted func(*Record) bool) (
	paths []string, next string, cause, err error) {
	var r Record
	examined := 0
	for valid := it.First(); valid; valid = it.Next() {
		path, ok := "", false
		if !isMark(it.Key()) {
			if err := decodeRecord(&r, it.Value(), s.epoch); err != nil {
				return nil, "", nil, err
			}
			if wanted(&r) {
				path, ok = pathOf(it.Key())
			}
		}
		if ok {
			paths = append(paths, path)
		}
		examined++
		if len(paths) < n && examined < maxExamined || isMark(it.Key()) {
			continue
		}
		if cause := context.Cause(ctx); cause != nil {
			return nil, "", cause, nil
		}
		next, _ = pathOf(it.Key())
		if !it.Next() {
			next = ""
		}
		return paths, next, nil, nil
	}
	return paths, "", nil, nil
}
