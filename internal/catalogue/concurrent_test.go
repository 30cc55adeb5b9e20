package catalogue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
)

// Everybody at once, until the store is closed under them.
func TestConcurrentUse(t *testing.T) {
	s, _ := mustOpen(t, tempDir(t), nil, Options{})
	var started, all sync.WaitGroup
	worker := func(f func(i int) error) {
		started.Add(1)
		all.Go(func() {
			for i := 0; ; i++ {
				err := f(i)
				if i == 20 {
					started.Done()
				}
				if errors.Is(err, ErrClosed) {
					if i < 20 {
						t.Error("closed before it was")
					}
					return
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for w := range 3 {
		dir := fmt.Sprint(w)
		worker(func(i int) error {
			v := file
			v.Size = int64(i)
			if err := s.Apply(MarkDoubt(dir+"/a"), Put(dir+"/a", v, false), Complete(dir, true)); err != nil {
				return err
			}
			// One sees what one has applied.
			records, complete, err := s.Dir(dir)
			if err == nil && (!complete || len(records) != 1 || records[0].Version != v) {
				t.Errorf("%d applied; found %+v, %v", i, records, complete)
			}
			return err
		})
	}
	worker(func(int) error {
		_, err := s.Paths(file.Ino)
		return err
	})
	worker(func(int) error {
		_, _, err := s.Unproven(t.Context(), "", 0, 2)
		return err
	})
	worker(func(int) error {
		_, _, err := s.Get("0/a")
		s.Counts()
		return err
	})
	started.Wait()
	mustClose(t, s)
	all.Wait()
}

func TestUnprovenEndsWithItsContext(t *testing.T) {
	s, _ := mustOpen(t, tempDir(t), nil, Options{})
	mustApply(t, s, Put("a", file, false), Put("b", file, false))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if paths, _, err := s.Unproven(ctx, "", 0, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("%q, %v", paths, err)
	}
	// Which is no failure of the store.
	if paths, next, err := s.Unproven(t.Context(), "", 0, 1); err != nil || len(paths) != 1 || next != "a" {
		t.Errorf("%q, %q, %v", paths, next, err)
	}
}
