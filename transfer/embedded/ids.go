package embedded

import (
	"os/user"
	"strconv"
	"sync"

	"github.com/syncd/syncd/internal/rsync/flist"
)

// ids translates the owners of a file list as a receiving rsync does: by name where the sender has one that is known
// here, else by number. Safe for concurrent use; the zero value is ready.
type ids struct {
	mu    sync.Mutex
	known map[string]int64 // by "u" or "g" and name; -1: no such name here
}

func (x *ids) user(id uint32, names flist.Names) uint32 {
	if names == nil || id == 0 {
		return id
	}
	return x.lookup(id, "u", names.User(id), func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
}

func (x *ids) group(id uint32, names flist.Names) uint32 {
	if names == nil || id == 0 {
		return id
	}
	return x.lookup(id, "g", names.Group(id), func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
}

func (x *ids) lookup(id uint32, kind, name string, find func(string) (string, error)) uint32 {
	if name == "" {
		return id
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	here, ok := x.known[kind+name]
	if !ok {
		here = -1
		if text, err := find(name); err == nil {
			if n, err := strconv.ParseUint(text, 10, 32); err == nil {
				here = int64(n)
			}
		}
		if x.known == nil {
			x.known = make(map[string]int64)
		}
		x.known[kind+name] = here
	}
	if here < 0 {
		return id
	}
	return uint32(here)
}
