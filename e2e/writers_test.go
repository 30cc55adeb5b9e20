package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncd/syncd/internal/attr"
)

// A crowd is writers that share one directory and its few names, so that they meet: what one makes, another renames,
// replaces or deletes meanwhile. Much of what they try fails for that reason, which is no failure of the test.
type crowd struct {
	dir, outside string // outside is no part of the tree, but of its file system
	// exact lets a file's time be set back to exactly what it was before its content changed. Only who sees the change
	// happen can know of it: a service that was not there at the time cannot.
	exact bool
	ops   []crowdOp

	// Writing into open files excludes moving them out: a write through a name outside of the tree to an inode that has
	// another one inside is nothing that the kernel would tell a watcher of the tree.
	writing sync.RWMutex

	mu   sync.Mutex
	done map[string]int // operations that succeeded, by name
}

func newCrowd(t *testing.T, dir, outside string, exact bool) *crowd {
	t.Helper()
	for _, d := range []string{dir, outside} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return &crowd{dir: dir, outside: outside, exact: exact, ops: crowdOps, done: map[string]int{}}
}

var crowdNames = []string{
	"a", "b", "c", "d", "e", " ", "-rf", "a\nb", "*", "\xff", "\\#012", "é", "...", strings.Repeat("n", 200),
}

type crowdOp struct {
	name string
	do   func(*crowd, *rand.Rand) error
}

// attrOps change what only -X and -A copy.
var attrOps = []crowdOp{
	{"set xattr", (*crowd).setXattr},
	{"set xattr", (*crowd).setXattr},
	{"set xattr", (*crowd).setXattr},
	{"remove xattr", (*crowd).removeXattr},
	{"set ACL", (*crowd).setACL},
	{"set default ACL", (*crowd).setDefaultACL},
	{"remove ACL", (*crowd).removeACL},
}

// crowdOps has the likely ones more than once.
var crowdOps = []crowdOp{
	{"create", (*crowd).create},
	{"create", (*crowd).create},
	{"create", (*crowd).create},
	{"mkdir", (*crowd).mkdir},
	{"mkdir", (*crowd).mkdir},
	{"mkdir", (*crowd).mkdir},
	{"rewrite", (*crowd).rewrite},
	{"rewrite", (*crowd).rewrite},
	{"mmap", (*crowd).mmap},
	{"truncate", (*crowd).truncate},
	{"touch", (*crowd).touch},
	{"chmod", (*crowd).chmod},
	{"chown", (*crowd).chown},
	{"link", (*crowd).link},
	{"symlink", (*crowd).symlink},
	{"special", (*crowd).special},
	{"replace", (*crowd).replace},
	{"replace", (*crowd).replace},
	{"rename", (*crowd).rename},
	{"rename", (*crowd).rename},
	{"exchange", (*crowd).exchange},
	{"move out", (*crowd).moveOut},
	{"move in", (*crowd).moveIn},
	{"move in", (*crowd).moveIn},
	{"unlink", (*crowd).unlink},
	{"rmdir", (*crowd).rmdir},
	{"remove tree", (*crowd).removeTree},
}

// act does n operations, each with the first of some paths that it is possible with.
func (c *crowd) act(rng *rand.Rand, n int) {
	for range n {
		op := one(rng, c.ops)
		for range 20 {
			if op.do(c, rng) == nil {
				c.mu.Lock()
				c.done[op.name]++
				c.mu.Unlock()
				break
			}
		}
	}
}

// idle names the operations that never succeeded: a test that does not do what it is for must say so.
func (c *crowd) idle() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var idle []string
	for _, op := range c.ops {
		if c.done[op.name] == 0 {
			idle = append(idle, op.name)
		}
	}
	return idle
}

func one[T any](rng *rand.Rand, of []T) T { return of[rng.IntN(len(of))] }

// path is up to three levels deep.
func (c *crowd) path(rng *rand.Rand) string {
	path := c.dir
	for range one(rng, []int{1, 1, 1, 2, 2, 3}) {
		path += "/" + one(rng, crowdNames)
	}
	return path
}

func data(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// edit opens a regular file, which edits then change.
func (c *crowd) edit(path string, flags int, edits func(f *os.File, size int) error) error {
	c.writing.RLock()
	defer c.writing.RUnlock()
	// Neither a fifo without a reader nor a lease of the service's must hold the writer.
	f, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return unix.EINVAL
	}
	return edits(f, int(st.Size()))
}

func (c *crowd) create(rng *rand.Rand) error {
	return c.edit(c.path(rng), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, func(f *os.File, _ int) error {
		n := rng.IntN(20_000)
		if rng.IntN(20) == 0 {
			n = rng.IntN(1 << 20)
		}
		_, err := f.Write(data(rng, n))
		return err
	})
}

// rewrite changes content several times at once, keeping the size.
func (c *crowd) rewrite(rng *rand.Rand) error {
	path := c.path(rng)
	for range 1 + rng.IntN(3) {
		err := c.edit(path, os.O_RDWR, func(f *os.File, size int) error {
			before, err := f.Stat()
			if err != nil {
				return err
			}
			_, err = f.WriteAt(data(rng, max(1, size)), 0)
			if err != nil || !c.exact || rng.IntN(2) == 0 {
				return err
			}
			return c.date(f, before.ModTime())
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// date sets the time of an open file.
func (c *crowd) date(f *os.File, mtime time.Time) error {
	m, err := unix.TimeToTimespec(mtime)
	if err != nil {
		return err
	}
	return unix.UtimesNanoAt(int(f.Fd()), "", []unix.Timespec{{Nsec: unix.UTIME_OMIT}, m}, unix.AT_EMPTY_PATH)
}

// someTime never comes twice.
func someTime(rng *rand.Rand) time.Time {
	return time.Unix(rng.Int64N(4<<30)-1<<30, rng.Int64N(1e9))
}

// mmap writes through a mapping that outlives its descriptor.
func (c *crowd) mmap(rng *rand.Rand) error {
	return c.edit(c.path(rng), os.O_RDWR, func(f *os.File, size int) error {
		if size == 0 {
			return unix.EINVAL
		}
		// Only the first write of each flushed page moves the time. Without this, a service that dies between two of
		// them could not know of the later one.
		if !c.exact {
			if err := c.date(f, someTime(rng)); err != nil {
				return err
			}
		}
		return mapped(f, size, func(m []byte) {
			for range 10 {
				m[rng.IntN(len(m))]++
			}
		})
	})
}

// mapped lets write change the file's pages, after its descriptor is closed. Another writer may cut the file off meanwhile;
// touching what is gone is an error then.
func mapped(f *os.File, size int, write func([]byte)) (err error) {
	m, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("%v", fault)
		}
		err = errors.Join(err, unix.Munmap(m))
	}()
	if err := f.Close(); err != nil {
		return err
	}
	write(m)
	return nil
}

func (c *crowd) truncate(rng *rand.Rand) error {
	return c.edit(c.path(rng), os.O_WRONLY, func(f *os.File, size int) error {
		return f.Truncate(int64(1 + rng.IntN(size+1000)))
	})
}

func (c *crowd) touch(rng *rand.Rand) error {
	m, err := unix.TimeToTimespec(someTime(rng))
	if err != nil {
		return err
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, c.path(rng), []unix.Timespec{{Nsec: unix.UTIME_OMIT}, m}, unix.AT_SYMLINK_NOFOLLOW)
}

func (c *crowd) chmod(rng *rand.Rand) error {
	path := c.path(rng)
	if st, err := os.Lstat(path); err != nil || st.Mode()&os.ModeSymlink != 0 {
		return errors.Join(err, unix.ELOOP)
	}
	return unix.Chmod(path, rng.Uint32N(0o10000))
}

func (c *crowd) chown(rng *rand.Rand) error {
	return os.Lchown(c.path(rng), rng.IntN(2)*70000, rng.IntN(2)*1000)
}

func (c *crowd) link(rng *rand.Rand) error { return os.Link(c.path(rng), c.path(rng)) }

func (c *crowd) symlink(rng *rand.Rand) error {
	return os.Symlink(one(rng, []string{"a", "b", "no\nwhere", "/nowhere", "d/e", "\xff"}), c.path(rng))
}

func (c *crowd) special(rng *rand.Rand) error {
	kind := one(rng, []uint32{unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR})
	return unix.Mknod(c.path(rng), kind|0o644, int(unix.Mkdev(1, 3)))
}

// replace is how careful programs save: a new file beside the old one, renamed over it.
func (c *crowd) replace(rng *rand.Rand) error {
	path := c.path(rng)
	temp := filepath.Join(filepath.Dir(path), fmt.Sprintf(".save-%x", rng.Uint64()))
	if err := os.WriteFile(temp, data(rng, rng.IntN(20_000)), 0o600); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}

func (c *crowd) mkdir(rng *rand.Rand) error { return os.Mkdir(c.path(rng), 0o755) }

func (c *crowd) rename(rng *rand.Rand) error { return unix.Rename(c.path(rng), c.path(rng)) }

func (c *crowd) exchange(rng *rand.Rand) error {
	return unix.Renameat2(unix.AT_FDCWD, c.path(rng), unix.AT_FDCWD, c.path(rng), unix.RENAME_EXCHANGE)
}

func (c *crowd) moveOut(rng *rand.Rand) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return unix.Rename(c.path(rng), c.outside+"/"+one(rng, crowdNames))
}

func (c *crowd) moveIn(rng *rand.Rand) error {
	return unix.Rename(c.outside+"/"+one(rng, crowdNames), c.path(rng))
}

func (c *crowd) unlink(rng *rand.Rand) error { return unix.Unlink(c.path(rng)) }

func (c *crowd) rmdir(rng *rand.Rand) error { return unix.Rmdir(c.path(rng)) }

// removeTree may fail half-way, when another writer adds to the tree meanwhile.
func (c *crowd) removeTree(rng *rand.Rand) error {
	path := c.path(rng)
	if _, err := os.Lstat(path); err != nil {
		return err
	}
	return os.RemoveAll(path)
}

func (c *crowd) xattr(rng *rand.Rand) string {
	return one(rng, []string{"user.", "user.", "trusted.", "security."}) + one(rng, []string{"a", "b", "\xff\n"})
}

// setXattr sets a value that is often one that others have.
func (c *crowd) setXattr(rng *rand.Rand) error {
	value := strings.Repeat(one(rng, []string{"x", "y"}), one(rng, []int{0, 10, 32, 33, 150}))
	return unix.Lsetxattr(c.path(rng), c.xattr(rng), []byte(value), 0)
}

func (c *crowd) removeXattr(rng *rand.Rand) error {
	return unix.Lremovexattr(c.path(rng), c.xattr(rng))
}

func (c *crowd) setACL(rng *rand.Rand) error { return c.acl(rng, "system.posix_acl_access") }

func (c *crowd) setDefaultACL(rng *rand.Rand) error { return c.acl(rng, "system.posix_acl_default") }

func (c *crowd) acl(rng *rand.Rand, name string) error {
	perm := func() uint8 { return uint8(rng.IntN(8)) }
	a := attr.ACL{User: perm(), Group: perm(), Mask: perm(), Other: perm(), Names: []attr.ACE{{ID: rng.Uint32N(3), Perm: perm()}}}
	return unix.Lsetxattr(c.path(rng), name, a.Bytes(), 0)
}

func (c *crowd) removeACL(rng *rand.Rand) error {
	return unix.Lremovexattr(c.path(rng), one(rng, []string{"system.posix_acl_access", "system.posix_acl_default"}))
}
