package scan

import (
	"context"
	"sync"
)

// Find calls found with the path of every entry that the directories of the tree name with an inode number in inodes.
// Like Count it reads names only. Numbers are those of one file system: what stands on another one, or changes its name
// meanwhile, has to be looked at by found, which is called by one goroutine at a time. What cannot be read is not found.
// The error is that of ctx.
func (r *Root) Find(ctx context.Context, o Options, inodes map[uint64]struct{}, found func(path string)) error {
	var mu sync.Mutex
	c := &counter{root: r, o: o}
	c.each = func(dir string, e *ref) {
		if _, ok := inodes[e.ino]; ok {
			mu.Lock()
			defer mu.Unlock()
			found(Join(dir, e.name))
		}
	}
	_, err := c.run(ctx)
	return err
}
