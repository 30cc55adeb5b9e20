package scan

import (
	"context"
	"sync"

	"golang.org/x/sys/unix"
)

// Count returns the number of entries below the root, directories included and the root not: as many as the listings
// of a walk hold. It reads names only, so that it is several times faster than a walk. What cannot be read is not
// counted: it is for progress totals. progress, when not nil, is called with the running total after every directory,
// never twice at once. The error is that of ctx.
func (r *Root) Count(ctx context.Context, o Options, progress func(n int64)) (int64, error) {
	c := &counter{root: r, o: o, progress: progress}
	return c.run(ctx)
}

// run reads the names of the whole tree.
func (c *counter) run(ctx context.Context) (int64, error) {
	c.changed.L = &c.mu
	c.todo = []group{{names: []string{"."}}}
	stop := context.AfterFunc(ctx, c.stop)
	defer stop()
	var workers sync.WaitGroup
	for range DefaultWorkers() {
		workers.Go(func() { c.work(ctx) })
	}
	workers.Wait()
	if ctx.Err() != nil {
		return c.total, context.Cause(ctx)
	}
	return c.total, nil
}

// counter shares out directories, the deepest first: so the list stays as short as the tree is deep.
type counter struct {
	root     *Root
	o        Options
	progress func(int64)
	each     func(dir string, e *ref) // called for each entry, by several goroutines; may be nil

	mu      sync.Mutex
	changed sync.Cond
	todo    []group
	busy    int // directories being read
	stopped bool
	total   int64
}

func (c *counter) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	c.changed.Broadcast()
}

func (c *counter) work(ctx context.Context) {
	for {
		dir, ok := c.claim()
		if !ok {
			return
		}
		n, dirs := c.read(ctx, dir)
		c.finish(dir, n, dirs)
	}
}

func (c *counter) claim() (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.stopped && len(c.todo) == 0 && c.busy > 0 {
		c.changed.Wait()
	}
	if c.stopped || len(c.todo) == 0 {
		return "", false
	}
	g := &c.todo[len(c.todo)-1]
	dir := Join(g.dir, g.names[0])
	if g.names = g.names[1:]; len(g.names) == 0 {
		*g = group{}
		c.todo = c.todo[:len(c.todo)-1]
	}
	c.busy++
	return dir, true
}

func (c *counter) finish(dir string, n int, dirs []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy--
	c.total += int64(n)
	if len(dirs) > 0 {
		c.todo = append(c.todo, group{dir: dir, names: dirs})
	}
	if len(dirs) > 0 || c.busy == 0 {
		c.changed.Broadcast()
	}
	if c.progress != nil && !c.stopped {
		c.progress(c.total)
	}
}

// read counts the children of dir and names those that are directories.
func (c *counter) read(ctx context.Context, dir string) (n int, dirs []string) {
	given, known := c.o.given(dir)
	fd, err := c.root.openListed(dir, known)
	if err != nil {
		return 0, nil
	}
	defer unix.Close(fd)
	if c.o.OneFileSystem {
		if st, err := fstat(fd); err != nil || st.Dev != c.root.id.Dev {
			return 0, nil
		}
	}
	s := scratches.Get().(*scratch)
	defer s.release()
	if known {
		s.refs, _ = refsOf(given, s.refs[:0])
		return c.tell(fd, dir, s.refs, nil)
	}
	for ctx.Err() == nil {
		refs, got, err := readNames(fd, s.buf[:], dir, c.o.Skip, s.refs[:0])
		s.refs = refs
		more := 0
		more, dirs = c.tell(fd, dir, refs, dirs)
		n += more
		if err != nil || got == 0 {
			break
		}
	}
	return n, dirs
}

// tell counts those of refs that are there, and adds the directories among them to dirs.
func (c *counter) tell(fd int, dir string, refs []ref, dirs []string) (int, []string) {
	n := 0
	for i := range refs {
		isDir, ok := c.kind(fd, dir, &refs[i])
		if !ok {
			continue
		}
		n++
		if c.each != nil {
			c.each(dir, &refs[i])
		}
		if isDir {
			dirs = append(dirs, refs[i].name)
		}
	}
	return n, dirs
}

// kind reports whether an entry is a directory, and whether it counts.
func (c *counter) kind(fd int, dir string, ref *ref) (isDir, ok bool) {
	if ref.typ != unix.DT_UNKNOWN {
		return ref.typ == unix.DT_DIR, true
	}
	var st unix.Stat_t
	if err := lstatat(fd, ref.name, &st); err != nil {
		return false, false
	}
	isDir = st.Mode&unix.S_IFMT == unix.S_IFDIR
	return isDir, c.o.Skip == nil || !c.o.Skip(dir, ref.name, isDir)
}
