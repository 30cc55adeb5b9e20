package embedded

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// loosened counts the Sends that work in one directory. An unprivileged process cannot work in a read-only directory,
// not even in its own, so its owner gives itself all rights for that time; the last Send to leave sets the mode that
// is to stay.
type loosened struct {
	users int
	mode  uint32 // before
}

// enter prepares a directory for work in it and returns the mode that it has when no one works in it. It must be
// followed by leave. A privileged process needs none of it.
func (d *Dest) enter(dir int, name, path string, st *unix.Stat_t) (uint32, error) {
	mode := st.Mode & permBits
	if d.root {
		return mode, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.loose[path]; l != nil {
		l.users++
		return l.mode, nil
	}
	if mode&0o700 != 0o700 && st.Uid == uint32(os.Geteuid()) {
		if err := chmod(dir, name, mode|0o700); err != nil {
			return mode, fmt.Errorf("set permissions of %q: %w", path, err)
		}
	}
	d.loose[path] = &loosened{users: 1, mode: mode}
	return mode, nil
}

// leave ends what enter began. finish is called with the bits to add to the directory's mode: those that others, who
// still work in it, need.
func (d *Dest) leave(path string, finish func(add uint32)) {
	if d.root {
		finish(0)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.loose[path]
	if l.users--; l.users > 0 {
		finish(0o700)
		return
	}
	delete(d.loose, path)
	finish(0)
}
