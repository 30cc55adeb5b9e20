package scan

import (
	"context"
	"runtime"
	"sync"
)

// defaultPrefetch is the number of entries held ahead of the consumer: about 10 MiB with names of 20 bytes.
const defaultPrefetch = 64 << 10

// WalkOptions tunes a walk. The zero value lists everything with defaults from the machine.
type WalkOptions struct {
	Options
	Workers  int // directories listed at the same time, beside the one that fn waits for; 0 = from the machine
	Prefetch int // most entries held ahead of fn, in all directories together; 0 = 65536
}

// DefaultWorkers is the number of directories listed at the same time when nothing else is asked for. Disks answer
// several questions at once faster than one by one, so it does not fall below 4 on small machines.
func DefaultWorkers() int { return min(max(runtime.GOMAXPROCS(0), 4), 16) }

// Walk calls fn with the listing of start and of every directory below it: depth first, a directory before its
// children, children in byte order of their names. fn is called from the caller's goroutine while other directories
// are listed ahead; it may keep the listing. A directory that could not be listed comes as a listing with nothing but
// Dir and Err, a vanished one with an Err that wraps fs.ErrNotExist or ErrNotDir; that goes for start as well. A
// MountPoint is not descended.
//
// Walk ends with the first error of fn, as it is, or with the cause of ctx. All its goroutines have ended when it
// returns. Memory is bounded by Prefetch, the largest single directory, and the names of the child directories not
// yet walked along the path.
func Walk(ctx context.Context, r *Root, start string, o WalkOptions, fn func(*Listing) error) error {
	start, err := clean(start)
	if err != nil {
		return &PathError{"list", start, err}
	}
	if o.Workers <= 0 {
		o.Workers = DefaultWorkers()
	}
	if o.Prefetch <= 0 {
		o.Prefetch = defaultPrefetch
	}
	ctx, cancel := context.WithCancelCause(ctx)
	w := newWalker(ctx, r, o, start)
	var workers sync.WaitGroup
	for range o.Workers {
		workers.Go(w.work)
	}
	defer func() {
		cancel(nil)
		w.stop()
		workers.Wait()
	}()
	wake := context.AfterFunc(ctx, w.stop)
	defer wake()
	return w.deliver(fn)
}

// deliver hands all listings to fn, in order.
func (w *walker) deliver(fn func(*Listing) error) error {
	path := []*group{w.first}
	for len(path) > 0 {
		n := w.next(path[len(path)-1])
		if n == nil {
			path[len(path)-1] = nil
			path = path[:len(path)-1]
			continue
		}
		l, below, err := w.await(n)
		if err != nil {
			return err
		}
		if err := fn(l); err != nil {
			return err
		}
		if below != nil {
			path = append(path, below)
		}
	}
	return nil
}

// child directories of l that are to be walked.
func (l *Listing) dirs() []string {
	count := 0
	for i := range l.Entries {
		if e := &l.Entries[i]; e.Stat.IsDir() && !e.MountPoint {
			count++
		}
	}
	if count == 0 {
		return nil
	}
	dirs := make([]string, 0, count)
	for i := range l.Entries {
		if e := &l.Entries[i]; e.Stat.IsDir() && !e.MountPoint {
			dirs = append(dirs, e.Name)
		}
	}
	return dirs
}
